"""The machine of a comparison, for each row with the kernels of the engine that ran it."""

from __future__ import annotations

from collections.abc import Callable

from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.records import OperatorColumn

WithEngine = Callable[[str], Gpu]
"""An engine's name → the machine with its kernels."""


class Machines:
    """A machine with the engines that its file tells of, each loaded when a row first asks for it."""

    def __init__(self, gpu: Gpu, with_engine: WithEngine | None) -> None:
        """`with_engine` None: whoever ran a row, it is predicted with the kernels that `gpu` has."""
        self.gpu = gpu
        self._with_engine = with_engine
        self._known: dict[str, Gpu] = {}

    def of(self, column: OperatorColumn) -> Gpu:
        """The machine for a column's rows; an engine that it does not tell of is taken to have its own kernels."""
        engine = column.conditions.engine
        if self._with_engine is None or engine not in self.gpu.engines:
            return self.gpu
        if engine not in self._known:
            self._known[engine] = self._with_engine(engine)
        return self._known[engine]
