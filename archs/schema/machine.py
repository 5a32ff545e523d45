"""What the file of any machine has: what it is, for whom, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self, cast

from pydantic import AfterValidator, PrivateAttr

from simexplore.archs.renamed import expected_name
from simexplore.archs.schema.calibration import Calibration
from simexplore.archs.schema.quantities import Spec, about, mistake
from simexplore.errors import SimexploreError


def _of_today(key: str) -> str:
    """A key of `sources`. Raises a mistake where it begins with a key that has another name now."""
    expected = expected_name(key)
    if expected is not None:
        raise mistake(expected, repr(key))
    return key


Value = str | int | float | bool
"""A value of a machine's file, as a user writes it in Python; numbers stand for themselves."""

CurrentKey = Annotated[str, AfterValidator(_of_today)]


class Origin:
    """Where a machine comes from; machines of the same values are equal wherever they do."""

    __slots__ = ("load",)

    def __init__(self, load: Callable[[Mapping[str, Value]], Any] | None) -> None:
        self.load = load
        """Loads it once more, with values laid over those of its file; None: it is not as any file has it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return 0


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
    _reference: Self | None = PrivateAttr(None)
    _kin: Self | None = PrivateAttr(None)
    _origin: Origin = PrivateAttr(default_factory=lambda: Origin(None))

    @property
    def lenders(self) -> tuple[Self, ...]:
        """The machines whose learned corrections serve this one, the nearest first.

        The first is the one whose values its own correction was learned with: itself, or the one that it is a variant
        of. The second, if there is one, is its kin.
        """
        own = self if self._reference is None else self._reference
        return (own,) if self._kin is None else (own, self._kin)

    @property
    def stands_on_another(self) -> bool:
        """Whether its fitted values are another machine's, which its file extends under a name of its own."""
        return self.lenders[0].name != self.name

    @property
    def lends(self) -> bool:
        """Whether it has a learned correction of its own."""
        residual = self.calibration.residual if self.calibration is not None else None
        return residual is not None and bool(residual.corrections)

    def lent_by(self, reference: Self | None, kin: Self | None = None) -> Self:
        """The same machine as a variant of `reference` (None: of none), to which its `kin` lends what it learned."""
        lent = self.model_copy()
        lent._reference, lent._kin = reference, kin
        return lent

    def replace(self, changes: Mapping[str, Value]) -> Self:
        """The machine with other values, keys and units as in its file: `replace({"sm.count": 160})`.

        A learned correction stays with it, faded by how far the physics moves, as it does for `--set`.

        Raises:
            SimexploreError: a key that it has not, a unit that is not the key's, or a machine that came from no file.
        """
        if self._origin.load is None:
            raise SimexploreError(
                "expected a machine as load_arch gives it, found one that was changed in Python since"
            )
        return cast(Self, self._origin.load(changes))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; a copy with other values no longer is what its file says."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._origin = Origin(None)
        return copied

    def physics_only(self) -> Self:
        """The machine without a learned correction; it still knows which rows it was fitted on."""
        alone = self if self._reference is None and self._kin is None else self.lent_by(None)
        if self.calibration is None or self.calibration.residual is None:
            return alone
        residual = self.calibration.residual.without_corrections()
        return alone.model_copy(update={"calibration": self.calibration.model_copy(update={"residual": residual})})

    def source_of(self, key: str) -> str | None:
        """The citation that covers a dotted YAML key: that of its longest prefix in `sources`, or None."""
        return longest_prefix(key, self.sources)


def longest_prefix(key: str, sources: Mapping[str, str]) -> str | None:
    """What `sources` has for the longest prefix of a dotted key."""
    parts = key.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((sources[prefix] for prefix in prefixes if prefix in sources), None)
