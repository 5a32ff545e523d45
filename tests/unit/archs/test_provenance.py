"""Whose number a number is: a citation is inherited with its value, and never by another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.archs.load import load_arch, resolve
from simexplore.archs.merge import leaf_paths
from simexplore.archs.provenance import DEPENDENTS, WORDS, own_keys, warnings

BASE = "nvidia/rtx-4090"
VALUES = {
    ".".join(map(str, path)): value
    for path in leaf_paths(resolve(BASE).data)
    if path[0] not in WORDS and all(isinstance(step, str) for step in path)
    for value in [resolve(BASE).data]
}


def mine(folder: Path, **data: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": BASE, **data}), encoding="utf-8")
    return path


def nested(keys: set[str]) -> dict[str, object]:
    """Values of the base at dotted keys, as they are."""
    tree: dict[str, object] = {}
    for key in keys:
        *around, last = key.split(".")
        value, branch = resolve(BASE).data, tree
        for step in around:
            value, branch = value[step], branch.setdefault(step, {})  # type: ignore[assignment]
        branch[last] = value[last]
    return tree


def test_an_override_without_a_source_is_ones_own(tmp_path: Path) -> None:
    path = mine(tmp_path, sm={"count": 192}, dram={"technology": "HBM3"})
    gpu = load_arch(path)
    assert gpu.source_of("sm.count") == "own value, mine.yaml:5"
    assert gpu.source_of("dram.technology") == "own value, mine.yaml:2"
    assert "whitepaper" in (gpu.source_of("dram.bandwidth") or "")
    told = warnings(resolve(path))
    assert told == [
        "sm.count is your own, and what depends on it is as in rtx-4090.yaml: l2.bandwidth, power.tdp",
        "dram.technology is your own, and what depends on it is as in facts.yaml and rtx-4090.yaml: "
        "energy.dram, dram.latency, dram.efficiency",
    ]


def test_a_source_in_the_same_file_speaks_for_it(tmp_path: Path) -> None:
    path = mine(tmp_path, sm={"count": 192, "latency": {"fma": "5 clk"}}, sources={"sm": "my own die shots"})
    gpu = load_arch(path)
    assert gpu.source_of("sm.count") == "my own die shots"  # though the base cites sm.count itself
    assert gpu.source_of("sm.latency.fma") == "my own die shots"
    assert "whitepaper" not in str(gpu.source_of("sm.latency.fma"))
    assert own_keys(resolve(path)) == {}
    assert warnings(resolve(path)) == []


def test_what_is_set_is_marked_and_warned_of() -> None:
    overrides = {"sm.count": "96"}
    assert load_arch(BASE, overrides).source_of("sm.count") == "--set"
    assert len(warnings(resolve(BASE, overrides))) == 1
    both = {**overrides, "l2.bandwidth": "1300 B/clk", "power.tdp": "400 W"}
    assert warnings(resolve(BASE, both)) == []


def test_a_child_of_a_child_warns_of_what_the_grandchild_left(tmp_path: Path) -> None:
    mine(tmp_path, sm={"count": 192}, l2={"bandwidth": "2000 B/clk"}, power={"tdp": "600 W"})
    (tmp_path / "younger.yaml").write_text("extends: mine.yaml\nsm: {count: 96}\n", encoding="utf-8")
    (told,) = warnings(resolve(tmp_path / "younger.yaml"))
    assert told == "sm.count is your own, and what depends on it is as in mine.yaml: l2.bandwidth, power.tdp"


@pytest.mark.parametrize("key", sorted({*DEPENDENTS, *(other for others in DEPENDENTS.values() for other in others)}))
def test_the_table_names_keys_that_there_are(key: str) -> None:
    assert key in VALUES


def test_the_learned_correction_belongs_to_the_same_machine_whatever_a_node_holds() -> None:
    gpu = load_arch("nvidia/h200-sxm", {"links.node_gpus": "72"})
    assert gpu.digest() == load_arch("nvidia/h200-sxm").digest()
    assert gpu.links.node_gpus == 72
    assert load_arch("nvidia/h200-sxm", {"links.pcie.latency": "9 us"}).digest() != gpu.digest()


KEYS = st.sets(st.sampled_from(sorted(VALUES)), min_size=1, max_size=8)


@settings(max_examples=40)
@given(changed=KEYS, cited=KEYS)
def test_whatever_is_overridden_is_cited_by_its_own_file_or_by_none(
    tmp_path_factory: pytest.TempPathFactory, changed: set[str], cited: set[str]
) -> None:
    path = mine(tmp_path_factory.mktemp("mine"), **nested(changed), sources=dict.fromkeys(cited, "my own citation"))
    gpu, base = load_arch(path), load_arch(BASE)
    for key in VALUES:
        if key in cited:
            assert gpu.source_of(key) == "my own citation"
        elif key in changed:
            assert (gpu.source_of(key) or "").startswith("own value, mine.yaml:")
        else:
            assert gpu.source_of(key) == base.source_of(key)
    assert set(own_keys(resolve(path))) == changed - cited
