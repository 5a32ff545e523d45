"""Machines as columns: many machines in one call give what each gives alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from simexplore.archs.fields import Field, field_of, leaf_fields, with_columns
from simexplore.archs.load import list_archs, load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, SERVING, Conditions
from simexplore.sim.estimate.operators import at_boost, predict
from simexplore.sim.explore.evaluation.rows import BLOCK_ROWS, Machines, as_columns, evaluate, signature
from simexplore.workloads.ops import parse_operator

GPUS = [name for name in list_archs() if isinstance(load_arch(name), Gpu)]
OPERATORS = [
    "gemm(m=4096,n=4096,k=4096,dtype=fp16)",
    "gemm(m=17,n=4000,k=1000,dtype=fp16)",
    "gemm(m=300,n=200,k=100,dtype=fp32)",
    "rmsnorm(rows=64,cols=4096,dtype=fp16)",
    "softmax(rows=640,cols=512,dtype=fp16)",
    "attention_decode(batch=8,heads=32,kv_heads=8,head_dim=128,seq_kv=4096,dtype=fp16)",
    "attention_prefill(batch=1,heads=32,kv_heads=8,head_dim=128,seq_q=300,seq_kv=1000,dtype=fp16)",
    "gelu(elements=100000,dtype=fp16)",
    "embedding(tokens=64,width=4096,vocabulary=32000,dtype=fp16)",
    "all_reduce(elements=100000,num_gpus=4,dtype=fp16)",
]
MACHINES = 5


def columns_of(gpu: Gpu, seed: int) -> dict[Field, Any]:
    """Every number of the machine that may be a column, up to a fifth smaller or larger."""
    random = np.random.default_rng(seed)
    found = {}
    for field in leaf_fields(gpu).values():
        if field.columnar and not field.path.startswith("datasheet."):
            values = field.read(gpu) * random.uniform(0.8, 1.25, MACHINES)
            found[field] = np.maximum(np.rint(values), 1.0) if field.kind == "int" else values
    return found


@pytest.mark.parametrize("name", GPUS)
def test_a_column_of_machines_is_each_machine(name: str) -> None:
    gpu = load_arch(name)
    columns = columns_of(gpu, seed=len(name))
    assert len(columns) > 30
    works = [(parse_operator(text), Conditions(cache=SERVING)) for text in OPERATORS]
    pairs = np.array([(work, machine) for work in range(len(works)) for machine in range(MACHINES)])
    with np.errstate(all="ignore"):
        found, _, errors = evaluate(Machines(gpu, columns), works, pairs)
        for row, (work, machine) in enumerate(pairs):
            numbers = {
                field: round(values[machine]) if field.kind == "int" else float(values[machine])
                for field, values in columns.items()
            }
            one = with_columns(gpu, numbers)
            if work in errors:
                with pytest.raises(SimexploreError, match=re.escape(errors[work])):
                    predict(works[work][0], one, works[work][1])
                continue
            if np.isinf(found.time_s[row]):
                with pytest.raises(SimexploreError, match="no room for a CTA"):
                    predict(works[work][0], one, works[work][1])
                continue
            alone = at_boost(works[work][0], one, works[work][1])
            np.testing.assert_allclose(found.time_s[row], alone.time_s[0], rtol=1e-12)
            np.testing.assert_allclose(found.energies_j[:, row], alone.energies_j[:, 0], rtol=1e-9)
            kernels = len(alone.kernels)
            np.testing.assert_allclose(found.kernels[:kernels, :, row], alone.kernels[:, :, 0], rtol=1e-9)
            assert found.bound_code[row] == alone.bound_code[0]
    assert len(errors) < len(works) / 2


def test_rows_do_not_depend_on_their_company() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    field = field_of("dram.bandwidth", gpu)
    machines = Machines(gpu, {field: np.linspace(1e12, 9e12, 300)})
    works = [(parse_operator(f"gemm(m={m},n=1024,k=512)"), Conditions(cache=COLD)) for m in (16, 100, 2048)]
    pairs = np.array([(work, machine) for work in range(3) for machine in range(300)])
    together, *_ = evaluate(machines, works, pairs)
    chosen = np.random.default_rng(0).permutation(len(pairs))[: BLOCK_ROWS + 7]
    apart, *_ = evaluate(machines, works, pairs[chosen])
    np.testing.assert_array_equal(apart.time_s, together.time_s[chosen])
    np.testing.assert_array_equal(apart.busy_s, together.busy_s[:, chosen])


def test_an_operator_that_the_machine_lacks_is_an_error_of_its_own() -> None:
    gpu = load_arch("nvidia/v100-sxm")
    works = [(parse_operator(f"gemm(m=64,n=64,k=64,dtype={dtype})"), Conditions()) for dtype in ("fp16", "fp8")]
    found, _, errors = evaluate(Machines(gpu, {}), works, np.array([(0, 0), (1, 0)]))
    assert list(errors) == [1]
    assert "fp8" in errors[1]
    assert found.time_s[0] > 0
    assert np.isnan(found.time_s[1])


def test_columns_of_operators() -> None:
    ops = [parse_operator(f"gemm(m={m},n=2,k=3)") for m in (1, 2)]
    assert list(as_columns(ops).flops) == [op.flops for op in ops]
    conditions = Conditions()
    assert signature((ops[0], conditions)) == signature((ops[1], conditions))
    assert signature((ops[0], conditions)) != signature((parse_operator("gemm(m=1,n=2,k=3,dtype=fp8)"), conditions))
    assert signature((ops[0], conditions)) != signature((ops[0], Conditions(cache=SERVING)))


def test_fields() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    capacity = field_of("l2.capacity", gpu)
    assert (capacity.steps, capacity.unit, capacity.columnar) == (("l2", "capacity_bytes"), "B", True)
    assert capacity.write(50 * 2.0**20) == "50 MiB"
    assert field_of("sm.tensor.bf16", gpu).read(gpu) == gpu.sm.tensor_ops_per_clk["bf16"]
    assert not field_of("library.overlap_exponent", gpu).columnar
    assert field_of("clock.base", load_arch("nvidia/h200-sxm", {"clock.base": "null"})).columnar is False
    for path, said in (
        ("l2.capasity", "did you mean 'capacity'"),
        ("l2", "the path of one value"),
        ("l2.capacity.more", "goes beyond one"),
        ("", "expected one of the machine's keys"),
    ):
        with pytest.raises(SimexploreError, match="expected") as caught:
            field_of(path, gpu)
        assert said in str(caught.value)
