"""Names are completed as docs/using/terminal.md says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


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
