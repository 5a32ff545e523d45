"""PyTorch modules as graphs, without weights.

`my_model.py:build` names a function that returns a module and its example inputs. It is called on the meta device,
where tensors have shapes and no memory. The module then runs once in inference, and each ATen operation that its
forward launches is one call; what ATen composes of others is taken apart as in eager mode, but for attention and
RMSNorm, which have fused kernels. Where it can't run so, `torch.export` makes a program of it, which can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.workloads.hints import found
from simexplore.workloads.importers.files import read_bytes
from simexplore.workloads.importers.imported import Imported
from simexplore.workloads.importers.recorder import Recorder
from simexplore.workloads.importers.torch_trace import Inputs, replayed, trace
from simexplore.workloads.operators.parameters import dtype_of, from_values, label_of

TYPES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
WAYS = ("auto", "trace", "export")
MOST_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """How a module is imported."""

    dtype: str | None = field(default=None, metadata=dtype_of("type of weights and inputs; none: the module's own"))
    via: str = field(
        default="auto",
        metadata=label_of(
            "trace: run it once on the meta device; export: torch.export; auto: export where the first fails"
        ),
    )


def imported(source: str, params: Mapping[str, object]) -> Imported:
    """The graph of one forward of the module that `file.py:function` makes.

    Raises:
        SimexploreError: PyTorch is missing, the file or function is not there or raises, it returns no module and
            inputs, or the module can be neither run on the meta device nor exported.
    """
    options = from_values(Options, source, params, "--param dtype=bf16")
    if options.via not in WAYS:
        raise SimexploreError(f"{source}: via: expected one of {', '.join(WAYS)}, found {found(options.via)}")
    if options.dtype is not None and options.dtype not in TYPES:
        raise SimexploreError(f"{source}: dtype: expected one of {', '.join(TYPES)}, found {found(options.dtype)}")
    torch = _torch()
    module, inputs = _built(torch, source)
    module.eval()
    if options.dtype is not None:
        kind = getattr(torch, TYPES[options.dtype])
        module, inputs = module.to(kind), inputs.to(kind)
    recorder = _recorded(torch, source, module, inputs, options.via)
    _, _, name = source.rpartition(":")
    return recorder.imported(f"torch/{Path(source.rpartition(':')[0]).stem}/{name}", {"weights": _weights(module)})


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError:
        raise SimexploreError("importing PyTorch modules needs PyTorch: pip install 'simexplore[torch]'") from None


def _built(torch: Any, source: str) -> tuple[Any, Inputs]:
    """The module and its inputs, on the meta device."""
    build = _function(source)
    try:
        with torch.device("meta"):
            result = build()
    except Exception as error:  # noqa: BLE001 - the user's own code
        raise _raised(source, error) from None
    pair = result if isinstance(result, tuple | list) and len(result) == 2 else (None, None)
    if not isinstance(pair[0], torch.nn.Module):
        raise SimexploreError(
            f"{source}: expected a module and its example inputs to be returned, found {found(result)}"
        )
    return pair[0].to("meta"), Inputs.of(pair[1]).to("meta")


def _function(source: str) -> Callable[[], Any]:
    """The function that a source names."""
    path, colon, name = source.rpartition(":")
    if not colon or not path or not name.isidentifier():
        raise SimexploreError(f"expected FILE.py:FUNCTION, as my_model.py:build, found {found(source)}")
    file = Path(path)
    read_bytes(file, MOST_BYTES, "name the file that defines the module")
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise SimexploreError(f"{file}: expected a file that ends in .py")
    namespace = module_from_spec(spec)
    try:
        spec.loader.exec_module(namespace)
    except Exception as error:  # noqa: BLE001
        raise _raised(str(file), error) from None
    function = getattr(namespace, name, None)
    if not callable(function):
        raise SimexploreError(f"{file}: expected a function {name!r}, found {found(function)}")
    result: Callable[[], Any] = function
    return result


def _recorded(torch: Any, source: str, module: Any, inputs: Inputs, via: str) -> Recorder:
    told = ""
    if via != "export":
        try:
            return trace(torch, module, inputs)
        except SimexploreError:
            raise
        except Exception as error:  # noqa: BLE001 - of the user's module
            if via == "trace":
                raise _raised(f"{source}: on the meta device", error) from None
            told = f"{_said(error)}; "
    try:
        return replayed(torch, module, inputs)
    except SimexploreError:
        raise
    except Exception as error:  # noqa: BLE001
        raise SimexploreError(
            f"{source}: expected a module that runs on the meta device or can be exported, found: {told}{_said(error)}"
        ) from None


def _raised(what: str, error: Exception) -> SimexploreError:
    return SimexploreError(f"{what}: expected it to run, found {_said(error)}")


def _said(error: Exception) -> str:
    """An error's first line, not too long."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _weights(module: Any) -> float:
    """Bytes of the parameters and buffers of a module [B], those that are shared once."""
    tensors = {id(each): each for each in (*module.parameters(), *module.buffers())}
    return float(sum(each.numel() * each.element_size() for each in tensors.values()))
