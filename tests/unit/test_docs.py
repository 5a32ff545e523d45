"""What the documents point at is there."""

from __future__ import annotations

import re
from pathlib import Path

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
