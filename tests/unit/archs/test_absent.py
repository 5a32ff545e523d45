"""Machines that lack kernels: their files say nothing of them, and operators that need them are refused in one line."""

from __future__ import annotations

import json

import pytest

import simexplore
from simexplore.archs.fields import field_of, leaf_fields
from simexplore.archs.load import load_arch, resolved
from simexplore.archs.schema.quantities import has, stated
from simexplore.errors import SimexploreError

HEADS = "batch=1,heads=8,kv_heads=8,head_dim=64"
REFUSED = {
    f"attention_decode({HEADS},seq_kv=64,dtype=fp32)": "attention kernels (library.attention)",
    f"attention_prefill({HEADS},seq_q=8,seq_kv=8,dtype=fp32)": "attention kernels (library.attention)",
    "conv2d(batch=1,cin=8,cout=8,ksize=3,hw=8,stride=1,pad=1,dtype=fp32)": "convolution kernels (library.conv)",
    "quant_scale_matrix(rows=8,cols=8,dtype=fp8)": "kernel that converts (library.elementwise.conversion)",
}


@pytest.mark.parametrize(("operator", "what"), REFUSED.items(), ids=lambda text: text.split("(")[0])
def test_what_a_machine_has_no_kernel_for_is_refused(operator: str, what: str) -> None:
    with pytest.raises(SimexploreError) as caught:
        simexplore.estimate(operator, load_arch("cpu/lavapipe"))
    assert str(caught.value).endswith(f"llvmpipe has no {what}")


def test_the_software_device_states_no_key_of_a_gpu() -> None:
    data = resolved("cpu/lavapipe")
    assert "compute_capability" not in data
    assert set(data["library"]) == {"overlap_exponent", "barrier", "gemm", "elementwise"}
    assert set(data["library"]["gemm"]).isdisjoint({"tensor", "two_stage", "split", "gemv"})
    told = json.dumps(stated(load_arch("cpu/lavapipe")))
    assert not [word for word in ("attention", "conv", "compute_capability", "mma_sync", "split") if word in told]


def test_absent_sections_have_no_values() -> None:
    gpu = load_arch("cpu/lavapipe")
    assert not has(gpu.library.gemm, "tensor")
    assert field_of("library.gemm.tensor.efficiency", gpu).read(gpu) is None
    assert field_of("library.attention.setup_round_trips", gpu).read(gpu) is None
    assert field_of("library.gemm.simt.overlap_exponent", gpu).read(gpu) == 2.0
    assert not [path for path in leaf_fields(gpu) if path.startswith(("library.gemm.tensor", "library.attention"))]
    assert "library.gemm.tensor.efficiency" in leaf_fields(load_arch("nvidia/t4"))


def test_a_field_of_a_section_that_was_set_is_there() -> None:
    gpu = load_arch(
        "cpu/lavapipe", {"library.gemm.gemv": "{used: true, setup_round_trips: 1, unroll: 2, dram_rate: 1}"}
    )
    assert field_of("library.gemm.gemv.unroll", gpu).read(gpu) == 2.0


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("library.gemm.tensor", "library.gemm.tensor: expected kernels, since sm.tensor has rates, found nothing"),
        ("sm.latency.tensor", "sm.latency.tensor: expected a number of clock cycles, since sm.tensor has rates"),
    ],
)
def test_tensor_cores_need_all_their_keys(key: str, says: str) -> None:
    with pytest.raises(SimexploreError, match=says):
        load_arch("nvidia/t4", {key: "null"})
