"""LivePortrait's modules layer by layer against counts made elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from checkout import ROOT

from simexplore.workloads import catalog
from simexplore.workloads.families.portrait.liveportrait import MODULES
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.ops import Conv, Conv2d, Gemm, Operator

LAYERS = ROOT.parent / "shared" / "facts" / "workload_layers.json"
PARAMETERS = {"F": 836_224, "M": 28_118_728, "W": 45_529_829, "G": 55_365_388, "S": 227_263}
GFLOPS = {"F": 64.114130944, "M": 11.637436416, "W": 342.071443456, "G": 891.574812672, "S": 0.0004512}
"""Of convolutions and linear layers."""


def listed(module: str) -> list[dict[str, Any]]:
    if not LAYERS.is_file():
        pytest.skip("the layer lists are not beside this checkout")
    networks = json.loads(LAYERS.read_text(encoding="utf-8"))
    mark = "MLPs" if module == "S" else f"({module})"
    return next(net["layers"] for name, net in networks.items() if name.startswith("liveportrait") and mark in name)


def told(layer: dict[str, Any]) -> tuple[Any, ...]:
    if layer["op"] == "linear":
        return (layer["m"], layer["n"], layer["k"])
    return (layer["cin"], layer["cout"], layer["k"], layer["groups"], *layer["out"])


def ours(op: Operator) -> tuple[Any, ...]:
    if isinstance(op, Conv2d):
        return (op.cin, op.cout, op.ksize, 1, op.out, op.out)
    if isinstance(op, Conv):
        return (op.cin, op.cout, op.cols, op.groups, *(op.out[1:] if op.depth == 1 else op.out))
    assert isinstance(op, Gemm)
    return (op.m, op.n, op.k)


@pytest.mark.parametrize("module", MODULES)
def test_layers_are_those_that_were_counted_elsewhere(module: str) -> None:
    products = [layer for layer in listed(module) if layer["op"] in ("conv2d", "conv3d", "linear")]
    nodes = [node for node in MODULES[module]("fp16").nodes if isinstance(node.op, Conv | Conv2d | Gemm)]
    ops = [node.op for node in nodes if not node.name.endswith(".sigma")]
    assert Counter(map(ours, ops)) == Counter(map(told, products))


@pytest.mark.parametrize("module", MODULES)
def test_parameters_and_flops(module: str) -> None:
    net = MODULES[module]("fp16")
    flops = sum(float(node.op.matmul_flops) for node in net.nodes if not node.name.endswith(".sigma"))
    assert net.parameters == PARAMETERS[module]
    assert flops == pytest.approx(GFLOPS[module] * 1e9, rel=1e-9)
    graph = catalog.build(f"liveportrait/{module}")
    assert graph.resident_bytes["weights"] == 2 * PARAMETERS[module]
    assert from_data(to_data(graph)) == graph
    for node in graph.nodes:
        node.op.validate()


def test_filters_of_residual_blocks_are_divided_by_their_norm_in_every_forward() -> None:
    nodes = {node.name: node for node in MODULES["G"]("fp16").nodes}
    sigmas = [name for name in nodes if name.endswith(".sigma")]
    assert len(sigmas) == 18  # two convolutions of each of eight blocks, and two shortcuts
    assert nodes["mid0.conv0.sigma"].op == Gemm(1, 512, 512 * 9, dtype="fp16")
    assert "mid0.conv0.weight" in nodes["mid0.conv0"].after
    assert nodes["up1.add"].after == ("up1.conv1.bias", "up1.convs")


def test_the_three_networks_of_s_do_not_wait_for_one_another() -> None:
    first = [node.name for node in MODULES["S"]("fp16").nodes if not node.after]
    assert first == ["mlp0.0", "mlp1.0", "mlp2.0"]
