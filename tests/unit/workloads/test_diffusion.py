"""U-Nets and TAESD layer by layer against counts made elsewhere, and what StreamDiffusion asks of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from checkout import ROOT

from simexplore.errors import SimexploreError
from simexplore.workloads import catalog
from simexplore.workloads.families.diffusion.net import Net
from simexplore.workloads.families.diffusion.taesd import add_decoder, add_encoder
from simexplore.workloads.families.diffusion.unet import UNETS, add_unet
from simexplore.workloads.graph import Graph
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.importers import import_model
from simexplore.workloads.ops import Conv2d, EncoderAttention, Gemm, GroupNorm, LayerNorm, Operator, Pointwise, Resample

LAYERS = ROOT.parent / "shared" / "facts" / "workload_layers.json"
NETWORKS = {
    "sd15_unet 64x64 latent b1": ("sd-1.5", 64, 4),
    "sd21/sd-turbo_unet 64x64 latent b1": ("sd-turbo", 64, 4),
    "taesd.encoder 512x512": ("encoder", 512, 3),
    "taesd.decoder 512x512": ("decoder", 64, 4),
}


def network(kind: str, hw: int, channels: int, batch: int = 1) -> Net:
    net = Net(batch, hw, channels, "fp16")
    if kind in UNETS:
        add_unet(net, UNETS[kind])
    else:
        {"encoder": add_encoder, "decoder": add_decoder}[kind](net)
    return net


def told(layer: dict[str, Any]) -> tuple[Any, ...]:
    if layer["op"] == "conv2d":
        return ("conv2d", layer["cin"], layer["cout"], layer["k"], layer["out"][0])
    return ("gemm", layer["m"], layer["n"], layer["k"])


def ours(op: Operator) -> tuple[Any, ...]:
    if isinstance(op, Conv2d):
        return ("conv2d", op.cin, op.cout, op.ksize, op.out)
    assert isinstance(op, Gemm)
    return ("gemm", op.m, op.n, op.k)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_those_that_were_counted_elsewhere(name: str) -> None:
    if not LAYERS.is_file():
        pytest.skip("the layer lists are not beside this checkout")
    listed = json.loads(LAYERS.read_text(encoding="utf-8"))[name]
    net = network(*NETWORKS[name])
    products = [layer for layer in listed["layers"] if layer["op"] in ("conv2d", "linear")]
    ops = [node.op for node in net.nodes if isinstance(node.op, Conv2d | Gemm)]
    assert Counter(map(ours, ops)) == Counter(map(told, products))
    norms = sum(layer["op"] == "norm" for layer in listed["layers"])
    assert sum(isinstance(node.op, LayerNorm | GroupNorm) for node in net.nodes) == norms
    assert sum(float(node.op.matmul_flops) for node in net.nodes) == 2 * sum(each["macs"] for each in listed["layers"])
    assert net.parameters == sum(layer["params"] for layer in listed["layers"])


@pytest.mark.parametrize(("name", "flops"), [("sd-1.5", 803.27344128e9), ("sd-turbo", 804.25720832e9)])
def test_products_of_a_unet(name: str, flops: float) -> None:
    """As torch's FlopCounterMode counts the first: 803.27 GFLOP."""
    for batch in (1, 3):
        net = network(name, 64, 4, batch)
        assert sum(float(node.op.matmul_flops) for node in net.nodes) == pytest.approx(batch * flops, rel=1e-6)


EXAMPLE = ROOT / "examples" / "models" / "stable_diffusion.py"
BUILDERS = {"sd15_unet": ("sd-1.5", 64, 4), "sd_turbo_unet": ("sd-turbo", 64, 4)} | {
    f"taesd_{part}": (part, hw, channels) for part, hw, channels in (("encoder", 512, 3), ("decoder", 64, 4))
}


@pytest.mark.parametrize("name", BUILDERS)
def test_the_networks_in_pytorch_have_the_same_operators(name: str) -> None:
    """But for copies: PyTorch lays heads and channels out anew, which a graph of layers knows nothing of."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    found, net = import_model("torch", f"{EXAMPLE}:{name}", {}), network(*BUILDERS[name])
    in_torch, here = (Counter(node.op.describe() for node in nodes) for nodes in (found.graph.nodes, net.nodes))
    assert not here - in_torch
    assert {text.partition("(")[0] for text in in_torch - here} <= {"copy"}
    assert (in_torch - here).total() == (3 * 16 + 11 if "unet" in name else 0)
    assert found.unknown == ()
    assert found.graph.resident_bytes["weights"] == 2 * net.parameters


def test_an_image_that_grows_is_read_once_and_written_four_times() -> None:
    ups = [node.op for node in network("sd-1.5", 64, 4).nodes if isinstance(node.op, Resample)]
    assert ups == [
        Resample(channels, hw**2, 4 * hw**2, dtype="fp16") for channels, hw in ((1280, 8), (1280, 16), (640, 32))
    ]


def frame(name: str = "sd-1.5", **params: object) -> Graph:
    return catalog.build(f"diffusion/{name}", params)


def batches(graph: Graph) -> list[int]:
    return [int(n.op.batch) for n in graph.nodes if n.name.endswith("conv_in") and isinstance(n.op, Conv2d)]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [1]),
        ({"steps": 4}, [4]),
        ({"steps": 4, "frames": 3}, [12]),
        ({"steps": 4, "guidance": "self"}, [4]),
        ({"steps": 4, "guidance": "onetime"}, [5]),
        ({"steps": 4, "guidance": "cfg"}, [8]),
        ({"steps": 3, "stream_batch": 0}, [1, 1, 1]),
        ({"steps": 3, "stream_batch": 0, "guidance": "self"}, [1, 1, 1]),
        ({"steps": 3, "stream_batch": 0, "guidance": "onetime"}, [2, 1, 1]),
        ({"steps": 3, "stream_batch": 0, "guidance": "cfg"}, [2, 2, 2]),
    ],
)
def test_the_unet_denoises_a_batch_of_steps(params: dict[str, object], expected: list[int]) -> None:
    assert batches(frame(**params)) == expected


def test_a_frame_is_encoded_denoised_and_decoded() -> None:
    graph = frame("sd-turbo")
    assert list(dict.fromkeys(node.group for node in graph.nodes)) == ["encoder", "latents", "unet", "decoder"]
    assert "encoder" not in {node.group for node in frame(task="txt2img").nodes}
    parameters = [
        network(*which).parameters for which in (("sd-turbo", 64, 4), ("encoder", 512, 3), ("decoder", 64, 4))
    ]
    assert graph.resident_bytes["weights"] == 2 * sum(parameters)
    assert frame(steps=3, stream_batch=0).resident_bytes == frame().resident_bytes
    first = {node.name for node in graph.nodes if not node.after}  # what needs no frame: the time step, and the text
    assert {name for name in first if ".x." not in name} == {"encoder.in", "unet.time1"}
    for node in graph.nodes:
        node.op.validate()


def test_attention_to_text_reads_its_keys_and_values() -> None:
    nodes = {node.name: node for node in frame(steps=2).nodes}
    cross, own = nodes["unet.d0.a0.x.attention"], nodes["unet.d0.a0.self.attention"]
    assert cross.op == EncoderAttention(2, 8, 8, 40, 4096, 77, "fp16")
    assert own.op == EncoderAttention(2, 8, 8, 40, 4096, 4096, "fp16")
    assert set(cross.after) == {f"unet.d0.a0.x.{part}" for part in "qkv"}
    assert nodes["unet.d0.a0.x.k"].after == ()  # of the text, which is there
    assert nodes["unet.d0.a0.self.k"].after == ("unet.d0.a0.ln1",)
    assert nodes["unet.d1.r0.add"].after == ("unet.d1.r0.conv2.bias", "unet.d1.r0.short.bias")
    assert nodes["unet.d0.r1.add"].after == ("unet.d0.r1.conv2.bias", "unet.d0.a0.add")
    assert nodes["unet.d0.r1.conv2.bias"].op == Pointwise(2 * 320 * 64**2, 1, 1, 1, "fp16", "add")
    assert "decoder.us0.bias" not in nodes  # of a convolution without one


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"guidance": "both"}, "guidance: expected none, self, onetime, cfg, found 'both'"),
        ({"task": "inpaint"}, "task: expected img2img, txt2img"),
        ({"stream_batch": 2}, "stream_batch: expected 0 or 1, found 2"),
        ({"size": 500}, "size: expected a multiple of 64, found 500"),
    ],
)
def test_a_mistake_is_one_line(params: dict[str, object], message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        frame(**params)


def test_it_survives_plain_data() -> None:
    graph = frame(steps=2)
    assert from_data(to_data(graph)) == graph
