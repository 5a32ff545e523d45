"""Physics of machines of which no row was fitted, against measured kernels: bounds that hold.

Some stand on data sheets and published latencies alone, some on what other machines taught too.

The measured tables are not part of the project: they are looked for beside the checkout, and in the package
aiconfigurator-core (extra `measured`). A plain roofline is off by about 0.50 on the GEMMs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import simexplore
from simexplore.sim.studies import unseen

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "measured"

FILES = [
    ("nvidia/h200-sxm", "aic_h200_sxm_gemm.csv", "gemm", "bf16", 0.22),
    ("nvidia/a100-sxm-80gb", "aic_a100_sxm_gemm.csv", "gemm", "bf16", 0.22),
    ("nvidia/l40s", "aic_l40s_gemm.csv", "gemm", "bf16", 0.22),
    ("nvidia/h200-sxm", "aic_h200_sxm_attention_prefill.csv", "attention_prefill", "bf16", 0.40),
    ("nvidia/h200-sxm", "aic_h200_sxm_attention_decode.csv", "attention_decode", "bf16", 0.40),
    ("nvidia/h200-sxm", "aic_h200_sxm_quantize.csv", "quant_scale_matrix", "fp8", 0.15),
]
PACKAGE = [
    ("nvidia/h200-sxm", "aiconfigurator:h200_sxm/gemm/trtllm", "gemm", "bf16", 0.22),
    ("nvidia/h200-sxm", "aiconfigurator:h200_sxm/attention/trtllm", "attention_prefill", "bf16", 0.40),
    ("nvidia/h200-sxm", "aiconfigurator:h200_sxm/attention/trtllm", "attention_decode", "bf16", 0.40),
    ("nvidia/h200-sxm", "aiconfigurator:h200_sxm/quantize/trtllm", "quant_scale_matrix", "fp8", 0.15),
]


@pytest.mark.parametrize(("arch", "file", "op", "dtype", "bound"), FILES, ids=lambda value: str(value))
def test_error_on_tables_beside_the_checkout(arch: str, file: str, op: str, dtype: str, bound: float) -> None:
    if not (SHARED / file).is_file():
        pytest.skip(f"no {file} beside the checkout")
    result = simexplore.compare(f"{arch}@facts", SHARED / file, op=op, dtype=dtype)
    assert result.total.rows > 1000
    assert not result.refused
    assert not result.warnings
    assert result.total.mape <= bound


@pytest.mark.parametrize(("arch", "name", "op", "dtype", "bound"), PACKAGE, ids=lambda value: str(value))
def test_error_on_the_package(arch: str, name: str, op: str, dtype: str, bound: float) -> None:
    pytest.importorskip("aiconfigurator_core", reason="the extra [measured] is not installed")
    result = simexplore.compare(f"{arch}@facts", name, op=op, dtype=dtype)
    assert result.total.rows > 1000
    assert not result.refused
    assert result.total.mape <= bound


SAMPLED = 1.05
"""600 rows tell a mean error of 10 % to about half a per cent."""


def test_machines_from_what_others_taught() -> None:
    pytest.importorskip("aiconfigurator_core", reason="the extra [measured] is not installed")
    if not SHARED.is_dir():
        pytest.skip("no measured tables beside the checkout")
    figures = list(unseen.figures(unseen.tables(), SHARED))
    assert len(figures) == len(unseen.tables())
    for table, errors, _refused, too_fast in figures:
        assert (too_fast > 0) == (table.name == "nvidia/a100-sxm-80gb: attention_decode bf16")
        error = 100.0 * errors.mape
        if table.gap:
            assert error > table.most / SAMPLED, f"{table.name}: a gap that has closed is to be promoted"
        else:
            assert error <= table.most * SAMPLED, table.name
