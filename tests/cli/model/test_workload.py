"""`simexplore workload`."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

from simexplore.workloads.catalog import list_workloads
from simexplore.workloads.ops import FAMILIES


def test_list_names_every_workload_and_operator(command: Callable[..., Result]) -> None:
    words = {line.split()[0] for line in command("workload", "list").stdout.splitlines() if line}
    assert set(list_workloads()) | set(FAMILIES) <= words


def test_show_counts_the_work_of_the_parameters_given(command: Callable[..., Result]) -> None:
    shown = command("workload", "show", "llm/llama-3-8b/decode", "--param", "batch=8").stdout
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line}
    assert lines["batch"][1:3] == ["8", "1"]
    assert lines["attention_decode"][1] == "32"
    assert lines["weights"][1:] == ["16.06", "GB"]


def test_mistakes(fails: Callable[..., str]) -> None:
    assert "did you mean 'llm/llama-3-8b/decode'" in fails("workload", "show", "llm/llama3-8b/decode")
    told = fails("workload", "show", "llm/llama-3-8b/decode", "--param", "batch=0")
    assert "batch: expected a positive integer, found '0'" in told
    assert "did you mean 'batch'" in fails("workload", "show", "llm/llama-3-8b/decode", "--param", "bach=1")
