"""The one converter between written quantities (`4.8 TB/s`, `50 MiB`, `264 clk`) and SI floats.

A quantity is a number, a space and a unit. Decimal prefixes are powers of 1000 (`kB`), binary ones of 1024 (`KiB`).
Arithmetic is decimal, so `parse(format(x)) == x` holds for every finite x, to the last bit.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Context, Decimal

from simexplore.errors import SimexploreError

_DECIMAL = {"": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12)}
_PETA = _DECIMAL | {"P": Decimal(10**15)}
_BINARY = {"Ki": Decimal(1024), "Mi": Decimal(1024**2), "Gi": Decimal(1024**3), "Ti": Decimal(1024**4)}
_SMALL = {"m": Decimal("1e-3"), "u": Decimal("1e-6"), "µ": Decimal("1e-6"), "μ": Decimal("1e-6")}
_TINY = _SMALL | {"n": Decimal("1e-9"), "p": Decimal("1e-12"), "f": Decimal("1e-15")}
_ONE = {"": Decimal(1)}

# 64 digits: a double in a binary prefix needs more than the default 28 to come back unchanged.
_EXACT = Context(prec=64)
_NUMBER = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?"
_QUANTITY = re.compile(rf"({_NUMBER})\s*([^\W\d_].*)?")
MAX_SHOWN = 60
_MOST_WORDS = 2000


class UnitError(SimexploreError):
    """A text that is not the quantity that is due; `expected` and `found` are the two halves of the message."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found


@dataclass(frozen=True, eq=False)
class Dimension:
    """What a quantity measures: its SI unit, the units it may be written in and one example."""

    name: str
    si: str
    example: str
    units: dict[str, Decimal]
    shown: tuple[str, ...]  # the units `format` chooses from, small to large

    @property
    def expected(self) -> str:
        """The words with which an error asks for such a quantity."""
        return f"{self.name} such as '{self.example}'"

    @property
    def pattern(self) -> str:
        """A regular expression of what may be written, for JSON Schema."""
        units = "|".join(re.escape(unit) for unit in sorted(self.units, key=len, reverse=True))
        return rf"^\s*\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*({units})\s*$"


def _units(prefixes: dict[str, Decimal], *bases: str, scale: str = "1") -> dict[str, Decimal]:
    return {prefix + base: factor * Decimal(scale) for base in bases for prefix, factor in prefixes.items()}


BYTES = Dimension(
    "a size", "B", "50 MiB", _units(_DECIMAL | _BINARY, "B"),
    ("B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"),
)  # fmt: skip
SECONDS = Dimension("a time", "s", "1.26 us", _units(_ONE | _TINY, "s"), ("fs", "ps", "ns", "us", "ms", "s"))
HERTZ = Dimension("a frequency", "Hz", "1.83 GHz", _units(_DECIMAL, "Hz"), ("Hz", "kHz", "MHz", "GHz"))
CYCLES = Dimension("a number of clock cycles", "clk", "264 clk", _units(_ONE, "clk"), ("clk",))
BYTES_PER_SECOND = Dimension(
    "a bandwidth", "B/s", "4.8 TB/s", _units(_DECIMAL | _BINARY, "B/s"), ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")
)
BYTES_PER_CLK = Dimension("bytes per clock", "B/clk", "128 B/clk", _units(_ONE, "B/clk"), ("B/clk",))
OPS_PER_SECOND = Dimension(
    "a rate of operations", "op/s", "989.4 TFLOPS", _units(_PETA, "FLOPS", "OPS", "FLOP/s", "op/s"),
    ("FLOPS", "kFLOPS", "MFLOPS", "GFLOPS", "TFLOPS"),
)  # fmt: skip
OPS_PER_CLK = Dimension(
    "operations per clock", "op/clk", "4096 op/clk", _units(_ONE, "op/clk", "FLOP/clk"), ("op/clk",)
)
WATTS = Dimension(
    "a power", "W", "700 W", _units({"": _ONE[""], "m": _SMALL["m"], "k": _DECIMAL["k"]}, "W"), ("mW", "W")
)
JOULES = Dimension(
    "an energy", "J", "1.5 J", _units(_DECIMAL | _TINY, "J"), ("fJ", "pJ", "nJ", "uJ", "mJ", "J", "kJ", "MJ")
)
JOULES_PER_OP = Dimension(
    "an energy per operation", "J/op", "0.52 pJ/op", _units(_ONE | _TINY, "J/op", "J/FLOP"),
    ("fJ/op", "pJ/op", "nJ/op", "uJ/op", "J/op"),
)  # fmt: skip
JOULES_PER_BYTE = Dimension(
    "an energy per byte", "J/B", "11.7 pJ/B",
    _units(_ONE | _TINY, "J/B") | _units(_ONE | _TINY, "J/bit", scale="8"),
    ("fJ/B", "pJ/B", "nJ/B", "uJ/B", "J/B"),
)  # fmt: skip
METRES = Dimension("a length", "m", "8 nm", _units(_ONE | _TINY, "m"), ("nm", "um", "mm", "m"))
SQUARE_METRES = Dimension(
    "an area", "m2", "814 mm2",
    {base + two: scale for two in ("2", "²") for base, scale in
     {"nm": Decimal("1e-18"), "um": Decimal("1e-12"), "mm": Decimal("1e-6"), "m": Decimal(1)}.items()},
    ("um2", "mm2", "m2"),
)  # fmt: skip
DOLLARS = Dimension("a price", "USD", "16988 USD", _units(_ONE, "USD"), ("USD",))
DOLLARS_PER_BYTE = Dimension(
    "a price of memory", "USD/B", "17 USD/GB",
    {"USD/GB": Decimal("1e-9"), "USD/B": Decimal(1)},
    ("USD/GB", "USD/B"),
)  # fmt: skip

DIMENSIONS = (
    BYTES, SECONDS, HERTZ, CYCLES, BYTES_PER_SECOND, BYTES_PER_CLK, OPS_PER_SECOND, OPS_PER_CLK, WATTS, JOULES,
    JOULES_PER_OP, JOULES_PER_BYTE, METRES, SQUARE_METRES, DOLLARS, DOLLARS_PER_BYTE,
)  # fmt: skip


def show(value: object) -> str:
    """A value as an error message quotes it: `repr` on one line, cut short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def one_line(text: str) -> str:
    """A name or path as it is where it is printable, its unprintable characters escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def nearest(word: str, words: list[str]) -> str:
    """` (did you mean 'x'?)`, or nothing when no word is near; case does not count.

    Only the first words are asked where there are thousands.
    """
    if not word or len(word) > _MOST_WORDS:
        return ""
    asked = word.lower()
    known = {candidate.lower(): candidate for candidate in reversed(words[:_MOST_WORDS])}
    begun = [candidate for candidate in reversed(known) if candidate.startswith(asked)]
    close = [asked] if asked in known else begun or difflib.get_close_matches(asked, list(known), n=1, cutoff=0.6)
    return f" (did you mean {known[close[0]]!r}?)" if close else ""


def parse(text: object, dimension: Dimension) -> float:
    """The SI value of a written quantity.

    Raises UnitError when there is no unit, when it is unknown or measures something else, and when the number is
    negative, infinite or not a number.
    """
    if not isinstance(text, str):
        bare_number = isinstance(text, (int, float)) and not isinstance(text, bool)
        raise UnitError(dimension.expected, show(text) + (" (no unit)" if bare_number else ""))
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise UnitError(dimension.expected, show(text))
    number, unit = match.group(1), (match.group(2) or "").strip()
    scale = dimension.units.get(unit)
    if scale is None:
        raise UnitError(dimension.expected, show(text) + _what_is(unit, dimension))
    if number.startswith("-"):
        raise UnitError(dimension.expected, show(text) + " (negative)")
    value = float(_EXACT.multiply(Decimal(number), scale))
    if value == float("inf"):
        raise UnitError(dimension.expected, show(text) + " (too large)")
    return value


def _what_is(unit: str, dimension: Dimension) -> str:
    """Why a unit is not one of the dimension's, in brackets."""
    if not unit:
        return " (no unit)"
    for other in DIMENSIONS:
        if unit in other.units:
            return f" ({other.name})"
    other_case = [known for known in dimension.units if known.lower() == unit.lower()]
    hint = f" (did you mean {other_case[-1]!r}?)" if other_case else nearest(unit, list(dimension.units))
    return f" (unknown unit{hint.replace(' (', ': ').rstrip(')')})"


def format(value: float, dimension: Dimension) -> str:  # noqa: A001 - `units.format` reads as it should
    """The shortest way to write a quantity in a unit of which it has at least one: 4.8e12 B/s is '4.8 TB/s'.

    `parse` gives back the same float.
    """
    exact = Decimal(repr(float(value)))
    fitting = [unit for unit in dimension.shown if exact >= dimension.units[unit]] or [dimension.shown[0]]
    if not exact:
        fitting = [dimension.si if dimension.si in dimension.units else dimension.shown[0]]
    written = [(_number(exact, dimension.units[unit]), unit) for unit in fitting]
    number, unit = min(written, key=lambda pair: (len(pair[0]), -dimension.units[pair[1]]))
    return f"{number} {unit}"


def _number(exact: Decimal, scale: Decimal) -> str:
    """The quotient in plain digits, or with an exponent where those would be a long row of zeros."""
    quotient = _EXACT.divide(exact, scale).normalize(_EXACT)
    plain = f"{quotient:f}"
    return plain if len(plain) <= 24 else str(quotient)


_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def quantity(value: float, unit: str) -> str:
    """A result for people, to four digits: `0.00123, 's'` is `1.23 ms`."""
    if value == 0:
        return f"0 {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s * 0.99995), (1e-12, "p"))
    return f"{float(f'{value / scale:.4g}'):g} {prefix}{unit}"
