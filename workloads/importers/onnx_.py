"""ONNX files as graphs. Weights are not read: shapes come from the file and from ONNX's own shape inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.hints import did_you_mean, found, in_words
from simexplore.workloads.importers import lowering
from simexplore.workloads.importers.arrays.calls import OnnxCall
from simexplore.workloads.importers.files import read_bytes
from simexplore.workloads.importers.imported import Imported
from simexplore.workloads.importers.lowering import Lowered, Value
from simexplore.workloads.importers.onnx_attention import Pieces, attentions
from simexplore.workloads.importers.onnx_ops import DTYPES, FREE, flops_of, lowered
from simexplore.workloads.importers.recorder import Call, Recorder
from simexplore.workloads.operators.parameters import integer

MOST_BYTES = 2 * 2**30
"""Largest file [B]: that of a protocol buffer."""
TYPES = ("fp64", "fp32", "fp16", "bf16")
BODIES = ("If", "Loop", "Scan", "SequenceMap")
"""Operations that hold graphs of their own."""
UNSHAPED = "shape not known"
ALIKE = ("GroupNormalization", "RMSNormalization")
"""Operations whose results ONNX's inference may not know, and which are of their first operand's shape."""
MOST_NUMBERS = 64
"""Integers of a constant that is read: there are no more axes than that."""


def imported(source: str, params: Mapping[str, object]) -> Imported:
    """The graph of an ONNX file.

    Args:
        source: the file.
        params: `dtype` (all floating-point tensors are of it), and a size for each dimension that the file has a name
            for.

    Raises:
        SimexploreError: `onnx` is missing; the file is not there, is no ONNX, or has no operations; an unknown
            parameter or a bad value; a dimension that has a name and no size.
    """
    file = Path(source)
    return graph_of(read_bytes(file, MOST_BYTES, "name an .onnx file"), file, params)


def graph_of(data: bytes, file: Path, params: Mapping[str, object]) -> Imported:
    """The graph of what an ONNX file holds; `params` and errors as of `imported`."""
    onnx = _onnx()
    model = _loaded(onnx, file, data)
    dtype = _dtype(file, params.get("dtype"))
    _resize(file, model.graph, {name: size for name, size in params.items() if name != "dtype"})
    try:
        if model.functions:
            model = import_module("onnx.inliner").inline_local_functions(model)
        model = import_module("onnx.shape_inference").infer_shapes(model, data_prop=True)
    except Exception as error:  # noqa: BLE001 - onnx raises several of its own for one damaged file
        raise _damaged(file, error) from None
    return _Reader(onnx, model, dtype).imported(f"onnx/{file.stem}")


def _onnx() -> Any:
    try:
        return import_module("onnx")
    except ImportError:
        raise SimexploreError("importing ONNX files needs the package onnx: pip install 'simexplore[onnx]'") from None


def _loaded(onnx: Any, file: Path, data: bytes) -> Any:
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # noqa: BLE001 - of the protocol buffer's several
        raise _damaged(file, error) from None
    if not model.graph.node:
        raise SimexploreError(f"{file}: expected an ONNX model with operations, found none")
    named = (*model.graph.node, *model.graph.input, *model.graph.initializer, *model.graph.output)
    words = [word for each in named for word in (each.name, *getattr(each, "input", ()), *getattr(each, "output", ()))]
    if not all(isinstance(word, str) for word in (*words, *(node.op_type for node in model.graph.node))):
        raise SimexploreError(f"{file}: expected names of text in an ONNX model, found other bytes")
    return model


def _damaged(file: Path, error: Exception) -> SimexploreError:
    told = " ".join(str(error).split())[:200]
    return SimexploreError(f"{file}: expected an ONNX model, found: {type(error).__name__}: {told}")


def _dtype(source: Path, dtype: object) -> str | None:
    if dtype is not None and dtype not in TYPES:
        raise SimexploreError(f"{source}: dtype: expected one of {', '.join(TYPES)}, found {found(dtype)}")
    return None if dtype is None else str(dtype)


def _resize(source: Path, graph: Any, sizes: Mapping[str, object]) -> None:
    """Give each dimension of the inputs that has a name the size that is told."""
    held = {each.name for each in graph.initializer}
    named: dict[str, list[Any]] = {}
    for value in graph.input:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim if value.name not in held else ()):
            if not dimension.HasField("dim_value"):
                named.setdefault(dimension.dim_param or f"{value.name}.{axis}", []).append(dimension)
    for name in sizes:
        if name not in named:
            known = ", ".join(["dtype", *named])
            raise SimexploreError(
                f"{source}: {in_words(name)}: expected one of the parameters {known}, found {found(name)}"
                f"{did_you_mean(name, ['dtype', *named])}"
            )
    for name, dimensions in named.items():
        size = integer(sizes.get(name))
        if size is None or not 0 < size < 2**31:
            raise SimexploreError(
                f"{source}: {in_words(name)}: expected the size of this dimension (--param {in_words(name)}=1), "
                f"found {found(sizes.get(name))}"
            )
        for dimension in dimensions:
            dimension.dim_value = size


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What a file knows of a tensor; a shape of None is not known."""

    shape: tuple[int, ...] | None
    kind: str


class _Reader:
    """One model, node by node."""

    def __init__(self, onnx: Any, model: Any, dtype: str | None) -> None:
        self._onnx = onnx
        self._graph = model.graph
        self._dtype = dtype
        self._opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=1)
        self._tensors = dict(self._told())
        self._constants = {each.name for each in self._graph.initializer}
        self._numbers = dict(self._small_integers())
        self._attentions = {
            name: pieces
            for name, pieces in attentions(model.graph.node, [each.name for each in model.graph.output]).items()
            if not {pieces.keys, pieces.values} & self._constants  # products with weights are layers
        }
        self._inside = {name for pieces in self._attentions.values() for name in pieces.inside}
        self._weights: dict[str, float] = {}
        self._recorder = Recorder()

    def imported(self, name: str) -> Imported:
        """The graph, and what is left out of it."""
        for node in self._graph.node:
            self._read(node)
        return self._recorder.imported(name, {"weights": sum(self._weights.values())})

    def _told(self) -> Any:
        """Names and what the file knows of each."""
        for each in self._graph.initializer:
            yield each.name, _Tensor(tuple(each.dims), self._kind(each.data_type))
        for each in (*self._graph.input, *self._graph.value_info, *self._graph.output):
            tensor = each.type.tensor_type
            sizes = [one.dim_value if one.HasField("dim_value") else -1 for one in tensor.shape.dim]
            known = tensor.HasField("shape") and min(sizes, default=0) >= 0
            yield each.name, _Tensor(tuple(sizes) if known else None, self._kind(tensor.elem_type))

    def _small_integers(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names of constants of a few 64-bit integers, such as axes, and the integers."""
        told = [(each.name, each) for each in self._graph.initializer]
        told += [
            (node.output[0], each.t)
            for node in self._graph.node
            if node.op_type == "Constant"
            for each in node.attribute
            if each.name == "value"
        ]
        for name, tensor in told:
            if tensor.data_type == self._onnx.TensorProto.INT64 and prod(tensor.dims) <= MOST_NUMBERS:
                with suppress(ValueError):  # their bytes may be in another file
                    yield name, tuple(int(each) for each in self._onnx.numpy_helper.to_array(tensor).reshape(-1))

    def _kind(self, number: int) -> str:
        """The name of a type by its number."""
        try:
            return str(self._onnx.TensorProto.DataType.Name(number))
        except ValueError:
            return "UNDEFINED"

    def _value(self, name: str) -> Value | None:
        """A tensor whose shape is known."""
        tensor = self._tensors.get(name)
        if not name or tensor is None or tensor.shape is None:
            return None
        own = DTYPES.get(tensor.kind)
        if own is not None:
            kind = self._dtype or own
            return Value(tensor.shape, kind, bytes_of(kind))
        return Value(tensor.shape, None, self._size(tensor.kind))

    def _size(self, kind: str) -> float:
        """Bytes of an element of a type that no operator has [B]."""
        try:
            number = self._onnx.TensorProto.DataType.Value(kind)
            return float(self._onnx.helper.tensor_dtype_to_np_dtype(number).itemsize)
        except (KeyError, ValueError, TypeError):
            return 0.0

    def _read(self, node: Any) -> None:
        """A node; one that only constants go into is done before the model runs."""
        inputs = [name for name in node.input if name]
        if node.op_type in ALIKE and inputs and node.output and self._value(node.output[0]) is None:
            self._tensors[node.output[0]] = self._tensors.get(inputs[0], _Tensor(None, "UNDEFINED"))
        if set(inputs) <= self._constants and node.op_type not in BODIES:
            self._constants.update(node.output)
            return
        operands = tuple(self._value(name) for name in node.input)
        results = tuple(value for name in node.output if (value := self._value(name)) is not None)
        self._hold(node.op_type, inputs)
        values = [value for value in (*operands, *results) if value is not None]
        numbers = tuple(self._numbers.get(name) for name in node.input)
        call = OnnxCall(node.op_type, self._attributes(node), operands, results, self._opset, numbers)
        known = len(results) == len([name for name in node.output if name]) and len(values) - len(results) == len(
            inputs
        )
        flops, moved = (flops_of(call) if known else 0.0), sum(value.bytes for value in values)
        told = Call(node.op_type, _group(node.name), tuple(inputs), tuple(node.output), flops, moved)
        made = next(iter(node.output), "")
        if made in self._attentions and known:
            self._recorder.add(told, self._attention(self._attentions[made]))
        elif made in self._inside or _is_free(node, results, known=known):
            self._recorder.passes(told)
        else:
            self._recorder.add(told, self._lowered(node, call) if known else UNSHAPED)

    def _attention(self, pieces: Pieces) -> Lowered:
        """An attention that the file has in pieces."""
        q, k, v, mask = (self._value(name or "") for name in (pieces.queries, pieces.keys, pieces.values, pieces.mask))
        if q is None or k is None or v is None or len({len(each.shape) for each in (q, k, v)}) > 1:
            return UNSHAPED
        keys = Value((*k.shape[:-2], k.shape[-1], k.shape[-2]), k.dtype, k.element_bytes)
        return lowering.attention(q, keys, v, False, mask)

    def _lowered(self, node: Any, call: OnnxCall) -> Lowered:
        if node.op_type in BODIES:
            return "its body is not read"
        if node.domain not in ("", "ai.onnx"):
            return f"of {node.domain}"
        try:
            return lowered(call)
        except (IndexError, ValueError, TypeError, ZeroDivisionError):
            return "operands that don't fit it"

    def _hold(self, operation: str, names: list[str]) -> None:
        """Count the constants that a node reads; sizes and axes are not floating-point, and what is free reads none."""
        for name in names:
            value = self._value(name)
            if name in self._constants and value is not None and value.dtype is not None and operation not in FREE:
                self._weights[name] = value.bytes

    def _attributes(self, node: Any) -> dict[str, Any]:
        read = self._onnx.helper.get_attribute_value
        return {each.name: read(each) for each in node.attribute if each.type != each.GRAPH}


def _is_free(node: Any, results: tuple[Value, ...], *, known: bool) -> bool:
    """Whether a node launches nothing, or makes nothing."""
    return node.op_type in FREE or (known and not any(value.numel for value in results))


def _group(name: str) -> str:
    """The part of the model that a node belongs to, where its name tells: `/layers.0/mlp/MatMul`: `layers.0.mlp`."""
    return name.strip("/").rpartition("/")[0].replace("/", ".")
