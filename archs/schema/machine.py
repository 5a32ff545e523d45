"""What the file of any machine has: what it is, for whom, and where its numbers come from."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator

from simexplore.archs.renamed import expected_name
from simexplore.archs.schema.calibration import Calibration
from simexplore.archs.schema.quantities import Spec, about, mistake


def _of_today(key: str) -> str:
    """A key of `sources`. Raises a mistake where it begins with a key that has another name now."""
    expected = expected_name(key)
    if expected is not None:
        raise mistake(expected, repr(key))
    return key


CurrentKey = Annotated[str, AfterValidator(_of_today)]


class Machine(Spec):
    """What every machine tells of itself."""

    kind: str = about("what the file describes", "text")
    abstract: bool = about("true in a family file, which others extend and nothing runs on", "text", default=False)
    name: str = about("name for people", "text")
    description: str = about("one sentence", "text", default="")
    vendor: str = about("who makes it", "text")
    calibration: Calibration | None = about("what measurements have taught about it", "mapping", default=None)
    sources: dict[CurrentKey, str] = about(
        "dotted key prefix -> where its numbers come from", "text", default_factory=dict
    )

    def physics_only(self) -> Self:
        """The machine without its learned correction; it still knows which rows it was fitted on."""
        if self.calibration is None or self.calibration.residual is None:
            return self
        residual = self.calibration.residual.without_corrections()
        return self.model_copy(update={"calibration": self.calibration.model_copy(update={"residual": residual})})

    def source_of(self, key: str) -> str | None:
        """The citation that covers a dotted YAML key: that of its longest prefix in `sources`, or None."""
        parts = key.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((self.sources[prefix] for prefix in prefixes if prefix in self.sources), None)
