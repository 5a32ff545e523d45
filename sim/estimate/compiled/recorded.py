"""A recording of what the physics computes: each step as a node, so that it can be written down and compiled.

The physics is run once on `Recorded` values, which stand for arrays of one row. Each carries the value that it has for
an example row, so that whatever the physics asks (`np.any(…)`) is answered by the example; the question is kept as a
condition under which the recording holds for another row. Steps on numbers alone are not recorded: they are the
machine's, and become constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from simexplore.sim.demand import Symbolic

Array = NDArray[Any]


class UnrecordableError(Exception):
    """A step that a recording has no word for: the physics is then computed as it stands."""


class Node(NamedTuple):
    """One step."""

    word: str
    """A ufunc's name, or one of `input`, `constant`, `lanes`, `where`, `repeat`, `tile`, `join`, `search`, `at`."""
    inputs: tuple[int, ...]
    """Positions of the nodes that it reads."""
    size: int
    """1, or how many candidates it has a value for."""
    kind: str
    """`f`, `i` or `b`: of its values."""
    number: int = 0
    """Of an input: its place. Of a constant: where it stands among the constants. Of `repeat`: how often."""


class Condition(NamedTuple):
    """What holds of every candidate's value wherever the recording does."""

    node: int
    true: bool


class Recording:
    """Nodes in an order in which they can be computed, each different one once."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: list[float] = []
        """Numbers, and one after another the values of lanes."""
        self.conditions: list[Condition] = []
        self._known: dict[Any, int] = {}

    def add(self, node: Node, key: Any = None) -> int:
        """The position of a node, new or known."""
        key = node if key is None else key
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def input(self, place: int, example: float) -> Recorded:
        """A number that each row has: a whole one, or a float where the example is one."""
        value = np.array([example])
        return Recorded(self, self.add(Node("input", (), 1, value.dtype.kind, place)), value)

    def lifted(self, value: Any) -> Recorded:
        """A number or an array of one row as part of the recording.

        Raises:
            UnrecordableError: an array of another shape.
        """
        if isinstance(value, Recorded):
            return value
        array = np.asarray(value)
        if array.dtype.kind not in "fib" or array.ndim > 2 or (array.ndim == 2 and len(array) != 1):
            raise UnrecordableError(f"an array of {array.dtype} of shape {array.shape}")
        if array.ndim == 1 and array.size != 1:
            raise UnrecordableError("a column of several rows")
        array = array.reshape((1, -1)) if array.ndim == 2 else array.reshape(array.shape)
        kind = array.dtype.kind
        values = array.ravel()
        if np.all(values == values[0]):
            key = ("constant", kind, float(values[0]))
            return Recorded(self, self._constant("constant", values[:1], kind, key), array)
        return Recorded(self, self._constant("lanes", values, kind, ("lanes", kind, values.tobytes())), array)

    def _constant(self, word: str, values: Array, kind: str, key: Any) -> int:
        known = self._known.get(key)
        if known is not None:
            return known
        place = len(self.constants)
        self.constants += [float(value) for value in values]
        return self.add(Node(word, (), len(values), kind, place), key)

    def step(self, word: str, inputs: Sequence[Any], value: Any, number: int = 0) -> Recorded:
        """A step with the value that it has for the example."""
        array = np.asarray(value)
        read = tuple(self.lifted(each).position for each in inputs)
        if word not in ("repeat", "tile", "join", "search", "at"):
            sizes = {self.nodes[position].size for position in read} - {1}
            if len(sizes) > 1:
                raise UnrecordableError(f"{word} of {sizes} candidates")
        size = 1 if all(self.nodes[position].size == 1 for position in read) and word != "join" else array.size
        if word in ("search", "at"):
            size = 1
        return Recorded(self, self.add(Node(word, read, size, array.dtype.kind, number)), array)

    def answer(self, value: Recorded, true: bool) -> bool:
        """The example's answer to a question, kept as a condition."""
        condition = Condition(value.position, true)
        if condition not in self.conditions:
            self.conditions.append(condition)
        return true


class Recorded(Symbolic, NDArrayOperatorsMixin):
    """A value of the physics while it is recorded: an array of one row, or of one row's candidates."""

    __slots__ = ("position", "recording", "value")

    def __init__(self, recording: Recording, position: int, value: Array) -> None:
        self.recording, self.position, self.value = recording, position, value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return self.value.size

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    def __len__(self) -> int:
        return len(self.value)

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise UnrecordableError("a value taken for an array")

    def __float__(self) -> float:
        raise UnrecordableError("a value taken for a number")

    def __index__(self) -> int:
        raise UnrecordableError("a value taken for a position")

    def __iter__(self) -> Any:
        raise UnrecordableError("a value taken apart")

    def __bool__(self) -> bool:
        if self.size != 1:
            raise UnrecordableError("a question about several values")
        return self.recording.answer(self, bool(self.value.ravel()[0]))

    def astype(self, dtype: Any) -> Recorded:
        """The same as floats or whole numbers."""
        value = self.value.astype(dtype)
        return self if value.dtype == self.dtype else self.recording.step(f"as_{value.dtype.kind}", [self], value)

    def min(self) -> _EveryOne:
        """The least over the candidates; only asked for comparisons that hold of all of them."""
        return _EveryOne(self)

    def max(self) -> _EveryOne:
        """The largest over the candidates."""
        return _EveryOne(self)

    def __getitem__(self, key: Any) -> Recorded:
        first, second = key if isinstance(key, tuple) else (key, None)
        if isinstance(first, int) and isinstance(second, Recorded):
            index = int(second.value[0])
            return self.recording.step("at", [self, second], self.value[first, index].reshape(1))
        if isinstance(first, Recorded) or isinstance(second, Recorded):
            raise UnrecordableError("a choice among several")
        value = self.value[key]
        if value.size != self.size:
            raise UnrecordableError("a part of a value")
        return Recorded(self.recording, self.position, value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Recorded:
        if method != "__call__" or options:
            raise UnrecordableError(f"{ufunc.__name__}.{method}")
        values = [each.value if isinstance(each, Recorded) else each for each in inputs]
        with np.errstate(all="ignore"):
            return self.recording.step(ufunc.__name__, inputs, ufunc(*values))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        known = _FUNCTIONS.get(function.__name__)
        if known is None:
            raise UnrecordableError(f"numpy.{function.__name__}")
        return known(self.recording, *args, **kwargs)


class _EveryOne:
    """The least or the largest of the candidates' values, of which is only asked what then holds of each."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def _holds(self, compared: Any) -> bool:
        if not np.all(compared.value):
            raise UnrecordableError("a comparison that fails for some candidates")
        return compared.recording.answer(compared, True)  # type: ignore[no-any-return]

    def __gt__(self, other: float) -> bool:
        return self._holds(np.greater(self._of, other))

    def __lt__(self, other: float) -> bool:
        return self._holds(np.less(self._of, other))


def _where(recording: Recording, condition: Any, x: Any, y: Any) -> Any:
    values = [each.value if isinstance(each, Recorded) else each for each in (condition, x, y)]
    return recording.step("where", [condition, x, y], np.where(*values))


def _any(recording: Recording, value: Any, **_: Any) -> bool:
    return _asked(recording, value, np.any, np.all)


def _all(recording: Recording, value: Any, **_: Any) -> bool:
    return _asked(recording, value, np.all, np.all)


def _asked(recording: Recording, value: Any, question: Callable[..., Any], every: Callable[..., Any]) -> bool:
    """An answer that follows from what holds of every candidate, which is more than was asked."""
    asked = value if value.dtype.kind == "b" else recording.step("not_equal", [value, 0.0], value.value != 0.0)
    answer = bool(question(asked.value))
    if bool(every(asked.value == answer)):
        return recording.answer(asked, answer)
    raise UnrecordableError("an answer that holds of some candidates")


def _same(recording: Recording, value: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG001
    return value


def _shaped(function: Callable[..., Array]) -> Callable[..., Any]:
    """What changes no value and no order."""

    def known(recording: Recording, value: Any, *more: Any, **options: Any) -> Any:
        lifted = recording.lifted(value)
        shaped = function(lifted.value, *more, **options)
        if shaped.size != lifted.size and recording.nodes[lifted.position].size != 1:
            raise UnrecordableError("a value laid out over others")
        return Recorded(recording, lifted.position, np.array(shaped))

    return known


def _repeat(recording: Recording, value: Recorded, count: int, axis: int = 1) -> Any:
    repeated = np.repeat(value.value, count, axis=axis)
    if axis != 1 or len(value) != 1:
        raise UnrecordableError("repeated rows")
    return recording.step("repeat", [value], repeated, count)


def _tile(recording: Recording, value: Recorded, counts: tuple[int, int]) -> Any:
    tiled = np.tile(value.value, counts)
    if counts[0] != 1 or len(value) != 1:
        raise UnrecordableError("tiled rows")
    return recording.step("tile", [value], tiled, value.size)


def _concatenate(recording: Recording, values: Sequence[Any], axis: int = 0) -> Any:
    lifted = [recording.lifted(value) for value in values]
    if axis != 1 or len(lifted) != 2:
        raise UnrecordableError("joined rows")
    joined = np.concatenate([value.value for value in lifted], axis=1)
    return recording.step("join", lifted, joined, lifted[0].size)


def _clip(recording: Recording, value: Any, low: Any, high: Any) -> Any:  # noqa: ARG001
    return np.minimum(np.maximum(value, low), high)


def _broadcast_arrays(recording: Recording, *values: Any) -> Any:  # noqa: ARG001
    return values


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "any": _any,
    "all": _all,
    "clip": _clip,
    "repeat": _repeat,
    "tile": _tile,
    "concatenate": _concatenate,
    "broadcast_arrays": _broadcast_arrays,
    "broadcast_to": _shaped(np.broadcast_to),
    "atleast_1d": _shaped(np.atleast_1d),
    "atleast_2d": _shaped(np.atleast_2d),
}
"""Of numpy, what the physics of candidates uses beside ufuncs; all else refuses to be recorded."""
