"""What the documents show a reader to type: commands, and blocks of code."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from checkout import ROOT, tracked

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(simexplore [^`]+)`")
ASIDE = re.compile(r"\s{3,}|\s+#")
"""What ends a command in a block: the remark beside it."""
PLACEHOLDER = re.compile(r"…|\b(NAME|FILE|ARCH|TABLE|DIR|SPEC|MODEL)\b")
"""What a reader replaces."""


@cache
def documents() -> tuple[Path, ...]:
    """Pages for readers, relative to the root; the changelog tells of commands as they were."""
    return tuple(path for path in tracked() if path.suffix == ".md" and path.name != "CHANGELOG.md")


def text_of(document: Path) -> str:
    """A document as it stands."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    """Its fenced blocks of a language; `""` is those that name none."""
    return [found[2] for found in FENCED.finditer(text_of(document)) if found[1] == language]


def commands(document: Path) -> list[str]:
    """Calls of `simexplore` in its blocks and sentences, each once, as they are typed."""
    return list(dict.fromkeys(_commands(document)))


def _commands(document: Path) -> Iterator[str]:
    for block in blocks(document, ""):
        for line in block.splitlines():
            for part in line.removeprefix("$ ").split("&&"):
                if part.strip().startswith("simexplore "):
                    yield ASIDE.split(part.strip())[0]
    for found in INLINE.findall(FENCED.sub("", text_of(document))):
        yield " ".join(found.split())


@cache
def _paper_rows() -> Callable[[str, Sequence[Mapping[str, Any]]], str]:
    row: Callable[[str, Sequence[Mapping[str, Any]]], str] = runpy.run_path(str(ROOT / "tools/site/papers.py"))["row"]
    return row


def paper_is_told(name: str, records: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the page of papers has the counts and the mean distance that a study's records give."""
    return _paper_rows()(name, list(records)) in text_of(Path("docs/studies/papers.md")).splitlines()
