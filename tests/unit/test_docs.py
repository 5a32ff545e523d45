"""What the documents point at is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from checkout import ROOT, tracked

LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
MENTION = re.compile(r"\bdocs/[\w./-]+\.md\b")
DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]
TEXTS = [path for path in tracked() if path.suffix in (".md", ".py", ".yaml", ".toml")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall((ROOT / path).read_text(encoding="utf-8")) if ":" not in link]
    lost = [link for link in links if not (ROOT / path.parent / link).exists()]
    assert not lost, f"{path}: {lost}"


def test_documents_that_a_text_names_exist() -> None:
    named = {(str(path), name) for path in TEXTS for name in MENTION.findall((ROOT / path).read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert not sorted((path, name) for path, name in named if not (ROOT / name).exists())


MEDIAN_WORDS, FEWEST_SENTENCES = 18, 20
"""Half of a document's sentences have no more words; a document of fewer sentences tells too little."""
NO_SENTENCES = re.compile(r"```.*?```|<!--.*?-->", re.DOTALL)


def sentences(text: str) -> Iterator[int]:
    """Words of each sentence of a document, without its tables, headings, code and pictures."""
    for paragraph in re.split(r"\n\s*\n", NO_SENTENCES.sub("", text)):
        if not paragraph.lstrip().startswith(("|", "#", "!")):
            plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", paragraph))
            for sentence in re.split(r"(?<=[.!?:])\s+", " ".join(plain.split())):
                words = len(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", sentence))
                if words > 2:
                    yield words


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_sentences_are_short(path: Path) -> None:
    found = list(sentences((ROOT / path).read_text(encoding="utf-8")))
    assert len(found) < FEWEST_SENTENCES or median(found) <= MEDIAN_WORDS


def test_words_of_sentences_are_counted() -> None:
    assert list(sentences("It isn't `a b c` long. Two words: of these four words.\n\n| no | table |")) == [4, 4]


OUR_WORDS = "mape,simpy"
"""A mean absolute percentage error and a package: no misspellings of other words."""


def test_words_are_spelled_as_dictionaries_have_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What users read: documents, examples, and the commands with their help."""
    codespell = pytest.importorskip("codespell_lib", reason="codespell is not installed: pip install 'simexplore[dev]'")
    read = [path for path in tracked() if path.suffix == ".md" or path.parts[0] in ("cli", "examples")]
    assert len(read) > 80
    assert (codespell.main("-L", OUR_WORDS, *(str(ROOT / path) for path in read)), capsys.readouterr().out) == (0, "")
    (tmp_path / "wrong.md").write_text("The bandwith of a mape.\n", encoding="utf-8")
    assert codespell.main("-L", OUR_WORDS, str(tmp_path)) > 0
    assert "bandwith ==> bandwidth" in capsys.readouterr().out
