"""What docs/using says works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[2] / "docs" / "using"


def test_python_of_the_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / "python.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)


@pytest.mark.parametrize(
    ("words", "position", "offered"),
    [
        ("simexplore run --arch nvidia/h2", 3, {"nvidia/h200-sxm"}),
        ("simexplore run llm/llama-3-8b/d", 2, {"llm/llama-3-8b/decode"}),
        ("simexplore run attention_p", 2, {"attention_prefill("}),
        ("simexplore arch show ngpc/rtx-3090-ngpc-1", 3, {"ngpc/rtx-3090-ngpc-16"}),
    ],
)
def test_names_are_completed(words: str, position: int, offered: set[str]) -> None:
    asked = {"_SIMEXPLORE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    call = [sys.executable, "-c", "from simexplore.cli.main import main; main(prog_name='simexplore')"]
    done = subprocess.run(call, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered
