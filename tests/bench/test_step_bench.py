"""Speed of a whole training step in events: 13 billion parameters that stream from drives.

Run with `pytest tests/bench --benchmark-enable`; otherwise a small step checks that it is played.
"""

from __future__ import annotations

from time import process_time

from pytest_benchmark.fixture import BenchmarkFixture

from simexplore.archs.views.machines import load_machine
from simexplore.sim.play.execute import execute
from simexplore.sim.play.result import Run
from simexplore.workloads.families.offloaded.gpt import Model
from simexplore.workloads.families.offloaded.schedule import FUYOU, step

MOST_S = 2.0
"""CPU time of the step on one core [s]."""


def test_a_step_of_13b_is_played_within_two_seconds(benchmark: BenchmarkFixture) -> None:
    system = load_machine("systems/rtx-4090-fuyou")
    model = Model(batch=64, layers=40 if benchmark.enabled else 1)

    def played() -> tuple[Run, float]:
        """The run, and the CPU time that it took: other processes share the machine."""
        begun_s = process_time()
        return execute(step(model, FUYOU), system), process_time() - begun_s

    run, cpu_s = benchmark.pedantic(played, rounds=3 if benchmark.enabled else 1)
    assert len(run.ops) == 8 + 46 * model.layers
    if benchmark.enabled:
        assert cpu_s <= MOST_S
