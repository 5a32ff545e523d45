"""Clocks of a GPU: what its vendor specifies, and what a board reaches by itself."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from simexplore.archs import units
from simexplore.archs.schema.quantities import Hertz, Spec, about, mistake


class Clock(Spec):
    """Clocks of the SM array."""

    base_hz: Hertz | None = about("guaranteed clock", "Hz", default=None)
    boost_hz: Hertz = about("highest clock that the vendor specifies", "Hz")
    max_hz: Hertz | None = about(
        "clock that the board reaches by itself where neither power nor heat holds it back; absent: boost",
        "Hz",
        default=None,
    )
    tensor_spec_hz: Hertz | None = about(
        "clock at which the datasheet's tensor peaks hold; absent: boost", "Hz", default=None
    )

    @model_validator(mode="after")
    def _base_is_slowest(self) -> Self:
        if self.base_hz is not None and self.base_hz > self.boost_hz:
            boost, base = (units.format(hz, units.HERTZ) for hz in (self.boost_hz, self.base_hz))
            raise mistake(f"at most clock.boost, {boost!r}", repr(base), key="base")
        if self.max_hz is not None and self.max_hz < self.boost_hz:
            boost, most = (units.format(hz, units.HERTZ) for hz in (self.boost_hz, self.max_hz))
            raise mistake(f"at least clock.boost, {boost!r}", repr(most), key="max")
        return self

    @property
    def top_hz(self) -> float:
        """The clock at which kernels run that nothing holds back [Hz]."""
        return self.boost_hz if self.max_hz is None else self.max_hz
