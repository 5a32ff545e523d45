"""The documents as a site of plain files: staged as they lie, reference pages written from the code, then mkdocs.

    pip install 'simexplore[docs]'
    python tools/site/build.py -o site/

A link that leads nowhere, and a page that the contents do not name, fail the build.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "packaging"))

from links import ROOT, link_tree
from reference import pages

CONTENTS = Path(__file__).resolve().with_name("mkdocs.yml")
FOLDERS = ("docs", "examples")
"""What documents are in and link to."""


def stage(folder: Path) -> None:
    """All documents, as they lie in the repository, with the pages that are written from the code."""
    for file in ROOT.glob("*.md"):
        shutil.copy(file, folder / file.name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in pages().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def build(site: Path) -> None:
    """The site in a folder.

    Raises:
        SystemExit: mkdocs is not installed.
    """
    try:
        from mkdocs.commands.build import build as make
        from mkdocs.config import load_config
    except ImportError:
        raise SystemExit("the site needs mkdocs: pip install 'simexplore[docs]'") from None
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "staged"
        staged.mkdir()
        stage(staged)
        link_tree(ROOT, Path(folder) / "package")
        shutil.copy(CONTENTS, Path(folder) / CONTENTS.name)
        make(load_config(str(Path(folder) / CONTENTS.name), site_dir=str(site.resolve()), strict=True))


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "site")
    build(parser.parse_args().output)


if __name__ == "__main__":
    main()
