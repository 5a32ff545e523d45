"""How engines deal out sequences of a latent cache among CTAs, against schedules worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from round_gpu import plain, round_gpu

from simexplore.archs.load import load_arch
from simexplore.sim.libraries.latent import latent_rules
from simexplore.sim.libraries.latent.interface import Layout
from simexplore.workloads.ops import MlaDecode, MlaPrefill


def layout(batch: int, heads: int, seq_kv: int, rules: str = "flash_mla") -> dict[str, float]:
    """On ten SMs, 64 heads and 64 tokens at once, five steps for each sequence's begin and end."""
    gpu = round_gpu({"library.mla.rules": rules})
    found: Layout = latent_rules(gpu).decode_layout(MlaDecode(batch, heads, seq_kv), gpu)
    return {name: plain(value) for name, value in found._asdict().items()}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 16, 64), {"ctas": 1, "steps": 1, "sequences": 1, "splits": 1}),  # payload ceil(6 / 10) + 5 is one step
        ((1, 16, 65), {"ctas": 2, "steps": 1, "sequences": 1, "splits": 2}),
        ((1, 16, 6400), {"ctas": 10, "steps": 11, "sequences": 1, "splits": 10}),  # ceil(105 / 10) + 5 = 16
        ((1, 65, 6400), {"ctas": 10, "steps": 21, "sequences": 1, "splits": 5}),  # five parts of ceil(105 / 5) + 5
        ((3, 70, 130), {"ctas": 6, "steps": 3, "sequences": 1, "splits": 1}),  # payload 10 holds one of 3 + 5
        ((20, 64, 64), {"ctas": 10, "steps": 2, "sequences": 2, "splits": 1}),  # payload 17 holds two of 6
        ((20, 64, 640), {"ctas": 10, "steps": 20, "sequences": 2, "splits": 1}),  # payload 35 holds two of 15
        ((15, 64, 1280), {"ctas": 10, "steps": 33, "sequences": 2, "splits": 5 / 3}),  # payload 43: 25, and 13 steps
    ],
)
def test_flash_mla(shape: tuple[int, int, int], expected: dict[str, float]) -> None:
    assert layout(*shape) == pytest.approx({"heads": 64, **expected})


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 16, 320), {"ctas": 1, "steps": 5, "splits": 1}),  # five steps have a CTA
        ((1, 16, 321), {"ctas": 2, "steps": 3, "splits": 2}),
        ((3, 64, 64000), {"ctas": 9, "steps": 334, "splits": 3}),
        ((3, 65, 64000), {"ctas": 6, "steps": 1000, "splits": 1}),
        ((30, 65, 64000), {"ctas": 60, "steps": 1000, "splits": 1}),
    ],
)
@pytest.mark.parametrize("rules", ["whole_waves", "absorbing"])
def test_whole_waves(rules: str, shape: tuple[int, int, int], expected: dict[str, float]) -> None:
    assert layout(*shape, rules) == {"heads": 64, "sequences": 1, **expected}


def test_who_absorbs_prefill() -> None:
    op = MlaPrefill(1, 16, 8, 8)
    found = {rules: latent_rules(round_gpu({"library.mla.rules": rules})).absorbs_prefill(op) for rules in RULES}
    assert found == {"flash_mla": False, "whole_waves": False, "absorbing": True}


RULES = ("flash_mla", "whole_waves", "absorbing")


def test_columns_are_their_rows() -> None:
    gpu = load_arch("nvidia/h100-sxm")
    batch, heads, tokens = np.array([1, 128, 7, 300]), np.array([128, 16, 70, 1]), np.array([131072, 4096, 1, 999])
    together = latent_rules(gpu).decode_layout(MlaDecode(batch, heads, tokens), gpu)
    for row in range(4):
        alone = latent_rules(gpu).decode_layout(MlaDecode(int(batch[row]), int(heads[row]), int(tokens[row])), gpu)
        assert [float(x[row, 0]) for x in together] == [float(x[0, 0]) for x in alone]
