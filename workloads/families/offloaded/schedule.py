"""A training step as a graph over a GPU `gpu`, host memory `cpu` and drives `ssd`: what is computed, copied and awaited.

A schedule says three things: where weights and states live, whether the optimizer's work on a layer begins as soon as
that layer's gradient is there or after the whole backward pass, and what of the activations leaves the GPU.

- Fuyou (C. Liao et al., arXiv:2403.06504; code of its successor: github.com/Crispig/Ratel): weights and states on
  drives, the CPU's Adam beside the backward pass, activations swapped by benefit.
- ZeRO-Infinity (S. Rajbhandari et al., arXiv:2104.07857): weights and states on drives, gradients of FP32 among the
  latter; Adam after the backward pass; inputs of layers are kept in host memory, all else is computed again.
- ZeRO-Offload (J. Ren et al., arXiv:2101.06840): weights on the GPU, states in host memory; Adam after the backward
  pass; inputs of layers stay on the GPU, all else is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from simexplore.workloads.families.offloaded.gpt import (
    HALF_BYTES,
    Model,
    Part,
    backward_parts,
    forward_parts,
    recomputed_parts,
)
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Embedding, HostWork, Operator, Transfer

READ, WRITE = "ssd->cpu", "cpu->ssd"
UP, DOWN = "cpu->gpu", "gpu->cpu"
STATE_BYTES = 12
"""Of a weight: itself, momentum and variance in FP32 [B]."""
ADAM_BYTES = 2 * STATE_BYTES + 2 * HALF_BYTES
"""What Adam moves in memory of a weight: states read and written, gradient read, the new weight in fp16 written [B]."""
ADAM_FLOPS = 14
"""Of a weight: two moments (3 and 4), their corrections (2), root, quotient, decay and step (5)."""


@dataclass(frozen=True)
class Schedule:
    """What sets the systems apart."""

    name: str
    weights: str
    """Device that weights come from: `ssd`; `gpu`: they never leave it."""
    states: str
    """Device that the optimizer's states come from."""
    gradient_bytes: int
    """Of a weight's gradient that goes to the states' device before the optimizer reads it there [B]; 0: it does not."""
    beside_backward: bool
    """Whether a layer's optimizer begins when its gradient is there; else all wait for the backward pass."""
    inputs_stay: bool
    """Whether the inputs of layers stay on the GPU."""


FUYOU = Schedule("fuyou", "ssd", "ssd", 0, beside_backward=True, inputs_stay=False)
ZERO_INFINITY = Schedule("zero-infinity", "ssd", "ssd", 4, beside_backward=False, inputs_stay=False)
ZERO_OFFLOAD = Schedule("zero-offload", "gpu", "cpu", 0, beside_backward=False, inputs_stay=True)


@dataclass
class _Built:
    """The nodes so far; names are `layer/part`."""

    nodes: list[Node] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(
        self, name: str, op: Operator, reads: Sequence[str] = (), waits: Iterable[str] = (), place: str | None = None,
        kind: str = "activations", group: str = "", output_bytes: float | None = None,
    ) -> str:  # fmt: skip
        """A node that reads some nodes' results, and waits for those others that there are."""
        unread = tuple(each for each in dict.fromkeys(waits) if each in self.names and each not in reads)
        node = Node.of(name, op, (*dict.fromkeys(reads), *unread), group, place)
        changed = {} if output_bytes is None else {"output_bytes": output_bytes}
        self.nodes.append(replace(node, unread=unread, kind=kind, **changed))  # type: ignore[arg-type]
        self.names.add(name)
        return name

    def known(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the names that are nodes."""
        return tuple(name for name in names if name in self.names)


def step(model: Model, schedule: Schedule) -> Graph:
    """One training step: forward, backward, and the optimizer."""
    built = _Built()
    _embed(built, model, schedule)
    for layer in range(model.layers):
        _forward(built, model, schedule, layer)
    for layer in reversed(range(model.layers)):
        _backward(built, model, schedule, layer)
    _embed_backward(built, model, schedule)
    for layer in reversed(range(-1, model.layers)) if not schedule.beside_backward else ():
        _optimizer(built, model, schedule, layer)
    name = f"{schedule.name} step, {model.parameters / 1e9:.3g} B parameters, batch {model.batch}"
    resident, elsewhere = _resident(model, schedule)
    return Graph(name, tuple(built.nodes), resident, (), elsewhere)


def _resident(model: Model, schedule: Schedule) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """What is there from start to end: on the GPU, and elsewhere."""
    weights = {"weights": float(HALF_BYTES * model.parameters)}
    states = {"states": float((STATE_BYTES + schedule.gradient_bytes) * model.parameters)}
    if schedule.weights == "gpu":
        return weights, {schedule.states: states}
    return {}, {schedule.states: states | weights}


def _weights_of(model: Model, layer: int) -> int:
    """Parameters of a layer; -1 is the embedding."""
    return model.embedding_parameters if layer < 0 else model.layer_parameters


def _last(layer: int) -> str:
    """The node whose result the next layer reads."""
    return "embed" if layer < 0 else f"{layer}/add2"


def _fetch(built: _Built, model: Model, schedule: Schedule, layer: int, phase: str, waits: Sequence[str]) -> list[str]:
    """A layer's weights on their way to the GPU, not before `waits`; nothing where they never leave it."""
    if schedule.weights == "gpu":
        return []
    move = Transfer(HALF_BYTES * _weights_of(model, layer), dtype="fp16")
    mark, group = (".b", f"backward {layer}") if phase == "backward" else ("", f"forward {layer}")
    read = built.add(f"{layer}/read{mark}", move, (), waits, READ, "weights", group)
    return [built.add(f"{layer}/up{mark}", move, (read,), waits, UP, "weights", group)]


def _embed(built: _Built, model: Model, schedule: Schedule) -> None:
    weights = _fetch(built, model, schedule, -1, "forward", ())
    op = Embedding(model.tokens, model.hidden, model.vocabulary, dtype="fp16")
    built.add("embed", op, weights, group="forward -1")


def _forward(built: _Built, model: Model, schedule: Schedule, layer: int) -> None:
    group, source = f"forward {layer}", _last(layer - 1)
    weights = _fetch(built, model, schedule, layer, "forward", (_last(layer - 1 - model.ahead),))
    room = (f"{layer - model.ahead}/down",)
    before = source
    for part in forward_parts(model):
        reads = [before, *(weights if part.weighs else ())]
        if part.name == "add1":
            reads.append(source)
        if part.name == "add2":
            reads.append(f"{layer}/add1")
        before = built.add(f"{layer}/{part.name}", part.op, reads, room, group=group)
    if layer == model.layers - 1 or schedule.inputs_stay:
        return  # its backward pass is next; or its input stays
    kept = [source, *(f"{layer}/{name}" for name in model.kept)]
    move = Transfer(model.kept_bytes, dtype="fp16")
    down = built.add(f"{layer}/down", move, kept, (_last(layer),), DOWN, group=group)
    if layer < model.spilled:
        built.add(f"{layer}/spill", move, (down,), (), WRITE, group=group)


def _backward(built: _Built, model: Model, schedule: Schedule, layer: int) -> None:
    group = f"backward {layer}"
    gradient = f"{layer + 1}/add.dx"
    early = (f"{layer + 1 + model.ahead}/add.dx",) if layer + 1 + model.ahead < model.layers else (_last(model.layers - 2),)
    weights = _fetch(built, model, schedule, layer, "backward", early)
    kept = _returned(built, model, layer, early)
    before = _recomputed(built, model, layer, weights, kept, gradient)
    made = _last(model.layers - 1) if layer == model.layers - 1 else gradient
    changes: list[str] = []
    for part in backward_parts(model):
        reads = [made, *(weights if part.weighs else kept)]
        node = built.add(f"{layer}/{part.name}", part.op, reads, before, group=group, kind=_kind(part))
        changes.append(node) if part.name.endswith(".dw") else None
        made = made if part.name.endswith(".dw") else node
    _gradient(built, model, schedule, layer, changes)


def _kind(part: Part) -> str:
    return "gradients" if part.name.endswith(".dw") else "activations"


def _returned(built: _Built, model: Model, layer: int, waits: Sequence[str]) -> list[str]:
    """What the layer kept, on the GPU again."""
    move, group = Transfer(model.kept_bytes, dtype="fp16"), f"backward {layer}"
    if f"{layer}/down" not in built.names:
        return list(built.known([_last(layer - 1), *(f"{layer}/{name}" for name in model.kept)]))
    source = f"{layer}/down"
    if f"{layer}/spill" in built.names:
        source = built.add(f"{layer}/fetch", move, (f"{layer}/spill",), waits, READ, group=group)
    return [built.add(f"{layer}/back", move, (source,), waits, UP, group=group)]


def _recomputed(
    built: _Built, model: Model, layer: int, weights: list[str], kept: list[str], gradient: str
) -> tuple[str, ...]:
    """The forward operators of the layer that run again; what the backward pass waits for."""
    if layer == model.layers - 1:
        return ()
    before: tuple[str, ...] = built.known([gradient])
    for part in recomputed_parts(model):
        reads = [*kept, *(weights if part.weighs else ())]
        name = f"{layer}/{part.name}.again"
        before = (built.add(name, part.op, reads, before, group=f"backward {layer}"),)
    return before


def _gradient(built: _Built, model: Model, schedule: Schedule, layer: int, changes: Sequence[str]) -> None:
    """A layer's gradient on its way to the optimizer."""
    group = f"backward {layer}"
    move = Transfer(HALF_BYTES * _weights_of(model, layer), dtype="fp16")
    down = built.add(f"{layer}/gradient", move, changes, (), DOWN, "gradients", group)
    if schedule.gradient_bytes:
        whole = Transfer(schedule.gradient_bytes * _weights_of(model, layer), dtype="fp32")
        built.add(f"{layer}/gradient.out", whole, (down,), (), WRITE, "gradients", group, 0.0)
    if schedule.beside_backward:
        _optimizer(built, model, schedule, layer)


def _embed_backward(built: _Built, model: Model, schedule: Schedule) -> None:
    op = Embedding(model.tokens, model.hidden, model.vocabulary, dtype="fp16")
    made = built.add("embed.dw", op, ("0/add.dx",), group="backward -1", kind="gradients",
                     output_bytes=float(HALF_BYTES * model.embedding_parameters))  # fmt: skip
    _gradient(built, model, schedule, -1, (made,))


def _optimizer(built: _Built, model: Model, schedule: Schedule, layer: int) -> None:
    """Adam of one layer: its states to host memory, the step, and back."""
    count, group = _weights_of(model, layer), f"optimizer {layer}" if not schedule.beside_backward else f"backward {layer}"
    room = (f"{layer + model.ahead}/write", f"{layer + model.ahead}/adam")
    begins = (f"{layer + model.ahead}/add.dx", _last(model.layers - 1)) if schedule.beside_backward else ("embed.dw",)
    states, gradient = [], f"{layer}/gradient"
    if schedule.states == "ssd":
        per_weight = STATE_BYTES + schedule.gradient_bytes
        waits = (*built.known(begins)[:1], *room, f"{layer}/gradient.out")
        states = [built.add(f"{layer}/states", Transfer(per_weight * count, dtype="fp32"), (), waits, READ, "states", group)]
    adam = built.add(f"{layer}/adam", HostWork(ADAM_FLOPS * count, ADAM_BYTES * count), [*states, gradient],
                     (f"{layer + 1}/adam", *begins[-1:]) if not schedule.beside_backward else (f"{layer + 1}/adam",),
                     "cpu", "weights", group, float(HALF_BYTES * count))  # fmt: skip
    if schedule.states == "ssd":
        written = Transfer((STATE_BYTES + HALF_BYTES) * count, dtype="fp32")
        built.add(f"{layer}/write", written, [adam, *states], (), WRITE, "states", group, 0.0)
    else:
        built.add(f"{layer}/renew", Transfer(HALF_BYTES * count, dtype="fp16"), [adam], (), UP, "weights", group, 0.0)
