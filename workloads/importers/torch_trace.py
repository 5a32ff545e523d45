"""One forward of a PyTorch module, seen by what ATen is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from simexplore.workloads.importers.arrays.calls import AtenCall
from simexplore.workloads.importers.aten import DTYPES, FREE, LOWERINGS, lowered
from simexplore.workloads.importers.lowering import Value
from simexplore.workloads.importers.recorder import Call, Recorder


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a module's forward is called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, given: Any) -> Inputs:
        """From a tuple of arguments, a mapping of them by name, or one."""
        if isinstance(given, dict):
            return cls((), given)
        return cls(tuple(given) if isinstance(given, tuple | list) else (given,), {})

    def to(self, target: Any) -> Inputs:
        """On another device, or, of floating-point tensors, in another type."""

        def moved(each: Any) -> Any:
            if not hasattr(each, "is_floating_point"):
                return each
            return each.to(target) if isinstance(target, str) or each.is_floating_point() else each

        return Inputs(tuple(map(moved, self.args)), {name: moved(each) for name, each in self.kwargs.items()})


def trace(torch: Any, module: Any, inputs: Inputs) -> Recorder:
    """What a module's forward asks of ATen. What it raises is the module's."""
    watcher = _Watcher(torch)
    with watcher.groups(module), _eager(torch), watcher.mode():
        module(*inputs.args, **inputs.kwargs)
    return watcher.recorder


def replayed(torch: Any, module: Any, inputs: Inputs) -> Recorder:
    """The same of the program that `torch.export` makes of a module."""
    with torch.device("meta"):
        program = torch.export.export(module, inputs.args, inputs.kwargs, strict=False)
    watcher = _Watcher(torch)

    class Replay(torch.fx.Interpreter):  # type: ignore[misc]  # torch is Any here
        """Runs a program node by node, and tells which part of the module each is from."""

        def run_node(self, node: Any) -> Any:
            stack = node.meta.get("nn_module_stack") or {}
            watcher.group = next(reversed([path for path, _ in stack.values()]), "")
            return super().run_node(node)

    flat = program.module()
    with _eager(torch), watcher.mode():
        Replay(flat).run(*import_module("torch.utils._pytree").tree_leaves((inputs.args, inputs.kwargs)))
    return watcher.recorder


@contextmanager
def _eager(torch: Any) -> Iterator[None]:
    """Inference on the meta device, without the fused transformer layers of nested tensors."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.device("meta"), torch.inference_mode():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Watcher:
    """Turns each call of ATen into one of a `Recorder`."""

    def __init__(self, torch: Any) -> None:
        self.recorder = Recorder()
        self.group = ""
        self._torch = torch
        self._counters: dict[Any, Callable[..., int]] = import_module("torch.utils.flop_counter").flop_registry
        self._tree = import_module("torch.utils._pytree")
        self._composed: dict[Any, bool] = {}
        self.composed = torch._C.DispatchKey.CompositeImplicitAutograd
        self._kept: list[Any] = []
        """Storages stay alive, so that no address stands for two."""

    def is_composed(self, func: Any) -> bool:
        """Whether ATen makes an operation of others, on any device."""
        if func not in self._composed:
            has = self._torch._C._dispatch_has_kernel_for_dispatch_key
            self._composed[func] = has(func.name(), "CompositeImplicitAutograd")
        return self._composed[func]

    def mode(self) -> Any:
        """A context in which calls are recorded."""
        base = import_module("torch.utils._python_dispatch").TorchDispatchMode

        def dispatch(mode: Any, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            """One call; one that is composed is taken apart, and its parts are seen in turn."""
            kwargs = kwargs or {}
            if _name(func) not in LOWERINGS and self.is_composed(func):
                with mode:
                    if _name(func) == "matmul" and args[0].dim() > 2 and args[1].dim() == 2:
                        return _folded(*args)
                    return func._op_dk(self.composed, *args, **kwargs)
            result = func(*args, **kwargs)
            self.record(func, args, kwargs, result)
            return result

        return type("Mode", (base,), {"__torch_dispatch__": dispatch})()

    @contextmanager
    def groups(self, module: Any) -> Iterator[None]:
        """A context in which `group` is the part of the module that is running."""
        names = {id(part): name for name, part in module.named_modules()}
        hooks = import_module("torch.nn.modules.module")
        outer: list[str] = []

        def enter(part: Any, _inputs: Any) -> None:
            outer.append(self.group)
            self.group = names.get(id(part), self.group)

        def leave(_part: Any, _inputs: Any, _result: Any) -> None:
            self.group = outer.pop()

        handles = (
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """One call that ATen runs."""
        results = self._tensors(result)
        operands = self._tensors((args, kwargs))
        name = _name(func)
        made = tuple(map(_value, results))
        moved = sum(value.bytes for value in (*map(_value, operands), *made))
        flops = self._flops(func, args, kwargs, result, made)
        call = Call(f"aten.{name}", self.group, self._keys(operands), self._keys(results), flops, moved)
        if name in FREE or _aliases(func) or not any(value.numel for value in made):
            self.recorder.passes(call)
            return
        told = AtenCall(name, self._values(args), self._values(kwargs), made)
        self.recorder.add(call, lowered(told))

    def _flops(self, func: Any, args: Any, kwargs: Any, result: Any, made: tuple[Value, ...]) -> float:
        """As torch counts them where it does, else one for each element of the results."""
        counter = self._counters.get(func.overloadpacket)
        if counter is None:
            return float(sum(value.numel for value in made))
        return float(counter(*args, **kwargs, out_val=result))

    def _values(self, arguments: Any) -> Any:
        """Arguments with a `Value` for each tensor."""
        is_tensor = self._torch.is_tensor
        return self._tree.tree_map(lambda each: _value(each) if is_tensor(each) else each, arguments)

    def _tensors(self, arguments: Any) -> list[Any]:
        return [each for each in self._tree.tree_leaves(arguments) if self._torch.is_tensor(each)]

    def _keys(self, tensors: list[Any]) -> tuple[int, ...]:
        """What stands for the memory that tensors lie in: views have that of what they show."""
        storages = [each.untyped_storage() for each in tensors]
        self._kept += storages
        return tuple(storage._cdata for storage in storages)


def _folded(rows: Any, weights: Any) -> Any:
    """Rows of many axes by a matrix, as eager mode has it of weights that could be trained: one product of all rows.

    In inference mode ATen's own rule would see weights that can't be, and multiply a stack of matrices.
    """
    product = rows.reshape(-1, rows.shape[-1]).mm(weights)
    return product.view(*rows.shape[:-1], weights.shape[-1])


def _name(func: Any) -> str:
    """`mm` of `aten.mm.default`."""
    return str(func.overloadpacket.__name__)


def _aliases(func: Any) -> bool:
    """Whether an operation's results show its operands' memory and change nothing."""
    returns = func._schema.returns
    return bool(returns) and all(each.alias_info is not None and not each.alias_info.is_write for each in returns)


def _value(tensor: Any) -> Value:
    kind = DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    return Value(tuple(int(size) for size in tensor.shape), kind, float(tensor.element_size()))
