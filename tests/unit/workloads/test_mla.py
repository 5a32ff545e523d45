"""Records of attention over a latent cache: work and bytes by hand."""

from __future__ import annotations

import pytest

from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.ops import MlaDecode, MlaPrefill


def test_prefill_by_hand() -> None:
    """Three queries after one token see 2 + 3 + 4 keys; of 192 features, values of 128."""
    op = MlaPrefill(batch=2, heads=5, seq_q=3, seq_kv=4)
    assert op.pairs == 9
    assert op.flops == op.matmul_flops == 2 * 2 * 5 * 9 * (192 + 128)
    assert op.special_ops == 2 * 5 * 9
    assert op.query_bytes == 2 * 2 * 5 * 3 * 192
    assert op.kv_bytes == 2 * 2 * 4 * (5 * (128 + 128) + 64)
    assert op.output_bytes == 2 * 2 * 5 * 3 * 128
    assert op.min_bytes == op.query_bytes + op.kv_bytes + op.output_bytes
    with pytest.raises(ParameterError, match="seq_q: expected at most seq_kv = 4, found 5"):
        MlaPrefill(1, 1, 5, 4).validate()


def test_decode_by_hand() -> None:
    op = MlaDecode(batch=2, heads=5, seq_kv=7, kv_dtype="fp8")
    assert op.width == 576
    assert op.flops == op.matmul_flops == 2 * 2 * 5 * 7 * (576 + 512)
    assert op.special_ops == 2 * 5 * 7
    assert op.kv_bytes == 2 * 7 * 576
    assert op.query_bytes == 2 * 2 * 5 * 576
    assert op.output_bytes == 2 * 2 * 5 * 512
    assert op.min_bytes == op.kv_bytes + op.query_bytes + op.output_bytes
    assert MlaDecode(2, 5, 7).kv_bytes == 2 * op.kv_bytes
