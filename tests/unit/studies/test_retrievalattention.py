"""`reproduce retrievalattention`: statuses hold, and what a step is made of, by hand."""

from __future__ import annotations

import pytest

from simexplore.archs.load import read_document
from simexplore.archs.schema.system import system_of
from simexplore.archs.views.machines import load_machine
from simexplore.kernels.search.measured import visited_keys
from simexplore.sim.studies import caveat
from simexplore.sim.studies.systems.retrievalattention import PUBLISHED, Steps, study
from simexplore.workloads.ops import GraphSearch, HostWork

TABLE = read_document(PUBLISHED).data


@pytest.fixture(scope="module")
def records() -> list[dict[str, object]]:
    return study()


def test_statuses_hold(records: list[dict[str, object]]) -> None:
    assert len(records) == len(TABLE["figures"])
    for record, figure in zip(records, TABLE["figures"], strict=True):
        off = abs(float(record["ratio"]) - 1.0)  # type: ignore[arg-type]
        assert record["quantity"] == figure["quantity"]
        if figure["status"] == "known_gap":
            assert off > figure["within"], f"{figure['quantity']}: its gap has closed; enforce it"
            assert figure["reason"]
        else:
            assert off <= figure["within"], record
    assert "read from one row" in caveat("retrievalattention")


def test_one_row_alone_is_an_input(records: list[dict[str, object]]) -> None:
    inputs = [record for record in records if record["status"] == "input"]
    assert [record["quantity"] for record in inputs] == ["Flat, 128K: all but retrieval"]
    assert inputs[0]["ratio"] == pytest.approx(1.0)


def test_the_parts_of_a_step_add_up(records: list[dict[str, object]]) -> None:
    by_name = {record["quantity"]: float(record["simulated"]) for record in records}  # type: ignore[arg-type]
    for method in ("Flat", "IVF", "RetrievalAttention"):
        parts = by_name[f"{method}, 128K: retrieval"] + by_name[f"{method}, 128K: all but retrieval"]
        assert by_name[f"{method}, 128K"] == pytest.approx(parts)


def test_what_a_search_asks_of_the_cpu() -> None:
    steps = Steps(system_of(load_machine(TABLE["arch"])), TABLE["model"], TABLE["settings"])
    scanned = 1000 * 32 * 128
    assert steps.search("flat", 1000) == HostWork(2 * scanned, 4 * scanned)
    assert steps.search("ivf", 1000) == HostWork(2 * 300 * 32 * 128, 4 * 300 * 32 * 128)
    assert steps.search("graph", 5000) == GraphSearch(32, round(visited_keys(5000)), 128)
    cpu = steps.machine.place("cpu").arch
    flat_s = 32 * (131072 - 640) * 32 * 128 * 4 / cpu.bandwidth_bytes_per_s  # 32 layers
    assert steps.search_s("flat", 131072) == pytest.approx(flat_s, rel=1e-4)
    held = steps.graph("graph", 131072).resident_elsewhere["cpu"]["kv_cache"]
    assert held == 32 * 2 * (131072 - 640) * 8 * 128 * 4  # 34 GB of the CPU's 128
