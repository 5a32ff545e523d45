"""Our own predictions of a fixed sample of shapes, as they were when they were last looked at.

Errors against measured tables can be told only where the tables are. This sample is everywhere: a change of the physics
that moves a shipped machine's predictions is seen, and is a mistake or stored with `tools/golden_predictions.py`.
"""

from __future__ import annotations

import golden_predictions as golden
import numpy as np
import pytest

from simexplore.archs.load import load_arch

WITHIN = 0.005
"""Of each time. Stored times have five digits; other versions of numpy sum in another order, far below this."""
NOTICED = 0.25
"""Share of a machine's rows that must move when its L2 serves half as much."""


@pytest.mark.parametrize("machine", golden.GROUPS)
def test_predictions_are_as_stored(machine: str) -> None:
    rows, before_us = golden.stored(machine)
    ratio = np.array(golden.times_us(load_arch(machine), rows)) / before_us
    moved = [f"{text} {how}: {share:.4f}" for (text, how), share in zip(rows, ratio, strict=True) if off(share)]
    assert not moved, f"{len(moved)} of {len(rows)}; deliberate? python tools/golden_predictions.py {machine}"


def off(share: float) -> bool:
    return bool(abs(share - 1.0) > WITHIN)


@pytest.mark.parametrize("machine", golden.GROUPS)
def test_stored_shapes_are_those_that_are_drawn(machine: str) -> None:
    """A group that is added or taken away is stored, and forty shapes stand for each."""
    rows, _ = golden.stored(machine)
    assert rows == list(golden.shapes(golden.GROUPS[machine]))
    assert len(rows) == golden.SHAPES * len(golden.GROUPS[machine])


@pytest.mark.parametrize("machine", golden.GROUPS)
def test_the_sample_notices_what_the_l2_costs(machine: str) -> None:
    rows, before_us = golden.stored(machine)
    gpu = load_arch(machine)
    slower = gpu.model_copy(
        update={"l2": gpu.l2.model_copy(update={"bandwidth_bytes_per_clk": 0.5 * gpu.l2.bandwidth_bytes_per_clk})}
    )
    ratio = np.array(golden.times_us(slower, rows)) / before_us
    assert np.mean(np.abs(ratio - 1.0) > WITHIN) > NOTICED


def test_every_machine_that_measurements_taught_is_stored() -> None:
    assert {"nvidia/h200-sxm", "nvidia/l40s", "nvidia/a100-sxm-80gb", "nvidia/rtx-3090"} < set(golden.GROUPS)
    assert all(load_arch(machine).calibration is not None for machine in golden.GROUPS if "@" not in machine)
