"""`NAME@facts` holds nothing that was read off tables of measured kernels, which are what predictions are judged by.

Micro-benchmarks (a pointer chase, a stream, a loop of one instruction) are facts: they tell a latency or a bandwidth of
the machine and time no operator. Names and grids of a library's kernels are facts
too. `docs/calibration.md` has the rule.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simexplore.archs.load import HERE, load_arch, read_document
from simexplore.archs.views.variants import calibrations

JUDGES = re.compile(
    r"""^calibrated: | read\ off | come\ out\ nearest | \bfitted\b
    | aiconfigurator-core | (TensorRT-LLM|SGLang|vLLM)\ \d | \bGPPerf | LLMServingSim
    | NeuSight.*(elementwise|softmax|layernorm|conv2d\b|rows\ over)
    | (decode|prefill)\ (attention|of|over|rows|times)\b | all-reduce\ of\ the\ smallest""",
    re.VERBOSE,
)
"""What a citation says that rests on a table of measured kernels, or on reading one."""
SIMULATOR = re.compile(r"Accel-Sim|AccelWattch")
"""Their configurations were fitted to micro-benchmarks, and say so."""


def rests_on_measured_kernels(citation: str) -> bool:
    return bool(JUDGES.search(citation)) and not SIMULATOR.search(citation)


def facts_files() -> list[Path]:
    """Files that `@facts` keeps: those without a `calibration:`."""
    return [
        path
        for path in sorted(HERE.rglob("*.yaml"))
        if not any(True for _ in calibrations(read_document(path).layer()))
    ]


@pytest.mark.parametrize("path", facts_files(), ids=lambda path: str(path.relative_to(HERE)))
def test_no_source_of_a_fact_is_a_table_of_measured_kernels(path: Path) -> None:
    sources = read_document(path).data.get("sources", {})
    assert {key: told for key, told in sources.items() if told and rests_on_measured_kernels(told)} == {}


@pytest.mark.parametrize(
    "citation",
    [
        "read off GEMMs on an A100 (aiconfigurator-core, SGLang 0.5.10)",
        "derived: from decode of two tokens on an L40S, 20 ns a CTA",
        "derived from NCCL 2.27.3 all-reduce of the smallest message in aiconfigurator-core, L40S",
        "between 0.81 and the 0.92 of the best decode attention in aiconfigurator-core",
        "derived: NeuSight V100-PCIE-32GB elementwise, what rows over 150 us take",
        "calibrated: NeuSight A100-PCIE-80GB conv2d, 400 rows",
        "an RTX 4070 at rest: GPPerf's readings of 29 to 34 W",
        "chosen for the others: the tiles under which prefill rows of an L40S come out nearest",
    ],
)
def test_what_was_read_off_tables_is_refused(citation: str) -> None:
    assert rests_on_measured_kernels(citation)


@pytest.mark.parametrize(
    "citation",
    [
        "RRZE-HPC/gpu-benches @1038c5d0 gpu-latency, L40 at 2490 MHz",
        "inherited: Accel-Sim SM86_RTX3070 @667834cf lat_sfu (fitted)",
        "NVIDIA aiconfigurator @095f58a5, aiconfigurator_core/systems, dense figures",
        "cuDNN kernel names scudnn_128x32 and scudnn_128x64 in the collected launches of sitar-lab/NeuSight @6945927d",
        "NVIDIA NCCL v2.29.2 src/graph/tuning.cc, hwLatencies of PCI, ring with LL",
        "TensorRT-LLM, decoderXQAImplCommon.h, computeMultiBlockCount",
    ],
)
def test_facts_are_let_in(citation: str) -> None:
    assert not rests_on_measured_kernels(citation)


def test_most_files_are_looked_at() -> None:
    assert len(facts_files()) > 50


def test_facts_leave_out_rules_read_off_tables() -> None:
    """What only tables show, by machines that had it among their facts."""
    ada, a100 = load_arch("nvidia/l40s@facts"), load_arch("nvidia/a100-sxm-80gb@facts")
    assert ada.library.gemm.split.min_products == 1
    assert a100.library.gemm.two_stage is None or not a100.library.gemm.two_stage.sizes
    assert load_arch("nvidia/l40s").library.gemm.split.min_products == 2**21
    kernels = load_arch("nvidia/a100-pcie-40gb").library.gemm.two_stage
    assert kernels is not None
    assert len(kernels.sizes) == 4
