"""`reproduce moe2`: its claims hold on our testbed, and would be missed if they did not; its page has its figures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from documents import paper_is_told

from simexplore.sim.edge.problem import Problem
from simexplore.sim.edge.tradeoff import Reached
from simexplore.sim.studies import caveat, reproduce
from simexplore.sim.studies.systems import moe2

pytest.importorskip("scipy", reason="pip install 'simexplore[edge]'")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def testbed() -> Problem:
    return moe2.testbed(moe2.table()["testbed"])


def test_all_claims_hold(testbed: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moe2, "testbed", lambda _given: testbed)
    records = reproduce("moe2")
    assert len(records) == len(moe2.CLAIMS) == 5
    assert {record["quantity"]: record["simulated"] for record in records if record["ratio"] != 1.0} == {}
    assert {record["status"] for record in records} == {"enforced"}
    assert paper_is_told("moe2", records)
    assert "no figure of the paper beyond its abstract" in caveat("moe2")


def test_the_page_has_the_table_of_the_example(testbed: Problem) -> None:
    spec = importlib.util.spec_from_file_location("edge_experts", ROOT / "examples" / "studies" / "edge_experts.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.as_markdown(testbed) in (ROOT / "docs" / "studies" / "moe2.md").read_text(encoding="utf-8")


def reached(way: str, energy_j: float, delay: float, cross_entropy: float, within: bool = True) -> Reached:
    return Reached(way, energy_j, delay, within, 1, cross_entropy, 0.5, 1.0, 1.0)


def test_claims_that_fail_are_counted(testbed: Problem) -> None:
    made_up = [
        reached("polyblock", 1.0, 1.0, 0.5),
        reached("polyblock", 2.0, 1.0, 0.6),  # more energy, yet more left open
        reached("polyblock", 3.0, 1.0, 0.4),
        reached("polyblock", 1.0, 2.0, 0.3),
        reached("greedy", 1.0, 1.0, 0.4),  # better than ours
        reached("all", 2.0, 1.0, 0.1, within=False),
        reached("greedy", 3.0, 1.0, 0.9),
        reached("greedy", 1.0, 2.0, 0.3),
    ]
    claimed = {name: moe2.CLAIMS[name]({}, testbed, made_up) for name in ("baselines", "energy", "delay")}
    assert claimed == {"baselines": 0.75, "energy": 0.5, "delay": 1.0}
