"""A training step as a graph over a GPU `gpu`, host memory `cpu` and drives `ssd`: what is computed, copied, awaited.

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
    ABOVE,
    BROUGHT_AFTER,
    HALF_BYTES,
    INPUT,
    Model,
    Part,
    backward_parts,
    forward_parts,
)
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Add, Embedding, HostWork, Operator, Transfer

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
    """Of a weight's gradient that goes to the states' device, and is read there by the optimizer [B]; 0: none does."""
    beside_backward: bool
    """Whether a layer's optimizer begins when its gradient is there; else all wait for the backward pass."""
    inputs_stay: bool
    """Whether the inputs of layers stay on the GPU."""


FUYOU = Schedule("fuyou", "ssd", "ssd", 0, beside_backward=True, inputs_stay=False)
ZERO_INFINITY = Schedule("zero-infinity", "ssd", "ssd", 4, beside_backward=False, inputs_stay=False)
ZERO_OFFLOAD = Schedule("zero-offload", "gpu", "cpu", 0, beside_backward=False, inputs_stay=True)

SCHEDULES = {schedule.name: schedule for schedule in (FUYOU, ZERO_INFINITY, ZERO_OFFLOAD)}
"""By name."""


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


def _fetch(
    built: _Built, model: Model, schedule: Schedule, layer: int, phase: str, waits: tuple[str, str]
) -> tuple[str, ...]:
    """A layer's weights on their way to host memory and to the GPU, each after one of `waits`.

    Nothing where they never leave the GPU.
    """
    if schedule.weights == "gpu":
        return ()
    move = Transfer(HALF_BYTES * _weights_of(model, layer), dtype="fp16")
    mark, group = ".b" if phase == "backward" else "", f"{phase} {layer}"
    read = built.add(f"{layer}/read{mark}", move, (), waits[:1], READ, "weights", group)
    return (built.add(f"{layer}/up{mark}", move, (read,), waits[1:], UP, "weights", group),)


def _embed(built: _Built, model: Model, schedule: Schedule) -> None:
    weights = _fetch(built, model, schedule, -1, "forward", ("", ""))
    op = Embedding(model.tokens, model.hidden, model.vocabulary, dtype="fp16")
    built.add("embed", op, weights, group="forward -1")


def _forward(built: _Built, model: Model, schedule: Schedule, layer: int) -> None:
    group, source = f"forward {layer}", _last(layer - 1)
    waits = (_last(layer - 1 - model.ahead), _last(layer - 2))
    weights = _fetch(built, model, schedule, layer, "forward", waits)
    before = source
    for part in forward_parts(model):
        reads = [source if name == INPUT else f"{layer}/{name}" for name in part.reads]
        room = f"{layer - 1}/{part.name}.down"  # a result takes the place of the layer before's
        before = built.add(
            f"{layer}/{part.name}", part.op, [*reads, *(weights if part.weighs else ())], (before, room), group=group
        )
    if schedule.inputs_stay:
        return
    for name in (INPUT, *model.kept):
        move = Transfer(model.value_bytes(name), dtype="fp16")
        made = source if name == INPUT else f"{layer}/{name}"
        down = built.add(f"{layer}/{name}.down", move, (made,), (), DOWN, group=group)
        if layer < model.spilled:
            built.add(f"{layer}/{name}.spill", move, (down,), (), WRITE, group=group)


@dataclass
class _Again:
    """A layer's values of the forward pass as its backward pass finds them: there, brought back, or made again."""

    built: _Built
    model: Model
    layer: int
    weights: tuple[str, ...]
    before: str
    """The node of the GPU that came last."""

    def value(self, name: str) -> str:
        """The node that has a value on the GPU."""
        built, layer = self.built, self.layer
        if f"{layer}/{name}.down" in built.names:
            return self._back(name)
        if name == INPUT:
            return _last(layer - 1)
        again = f"{layer}/{name}.again"
        if again not in built.names:
            part = next(part for part in forward_parts(self.model) if part.name == name)
            self.run(again, part, [self.value(read) for read in part.reads])
        return again

    def run(self, name: str, part: Part, reads: Sequence[str]) -> str:
        """An operator on the GPU, behind the one before."""
        kind = "gradients" if part.name.endswith(".dw") else "activations"
        reads = [*reads, *(self.weights if part.weighs else ())]
        self.before = self.built.add(name, part.op, reads, (self.before,), kind=kind, group=f"backward {self.layer}")
        return name

    def _back(self, name: str) -> str:
        built, layer = self.built, self.layer
        back, group = f"{layer}/{name}.back", f"backward {layer}"
        if back in built.names:
            return back
        move = Transfer(self.model.value_bytes(name), dtype="fp16")
        source = f"{layer}/{name}.down"
        if f"{layer}/{name}.spill" in built.names:
            early = f"{layer + 1 + self.model.ahead}/add.dx"
            source = built.add(f"{layer}/{name}.fetch", move, (f"{layer}/{name}.spill",), (early,), READ, group=group)
        late = BROUGHT_AFTER.get(name) if {"fc1", "fc2"} <= {*self.model.kept} else None
        waits = f"{layer + 1}/{ABOVE}" if late is None else f"{layer}/{late}"
        return built.add(back, move, (source,), (waits,), UP, group=group)


def _backward(built: _Built, model: Model, schedule: Schedule, layer: int) -> None:
    top = layer == model.layers - 1
    early = f"{layer + 1 + model.ahead}/add.dx"
    waits = (early if early in built.names else _last(model.layers - 2), f"{layer + 2}/add.dx")
    weights = _fetch(built, model, schedule, layer, "backward", waits)
    made = _last(layer) if top else f"{layer + 1}/add.dx"
    again = _Again(built, model, layer, weights, made)
    changes: list[str] = []
    around = made
    for part in backward_parts(model):
        reads = [made, *(again.value(name) for name in part.reads)]
        if part.name in ("ln2.dx", "add.dx"):  # gradients that go around the feed-forward, and around attention
            reads.append(around)
        node = again.run(f"{layer}/{part.name}", part, reads)
        if part.name.endswith(".dw"):
            changes.append(node)
        else:
            made = node
            around = node if part.name == "ln2.dx" else around
    _gradient(built, model, schedule, layer, changes)


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
    # Rows of the table's gradient are added up: the traffic of an addition.
    op = Add(model.tokens * model.hidden, "fp16")
    made = built.add("embed.dw", op, ("0/add.dx",), group="backward -1", kind="gradients",
                     output_bytes=float(HALF_BYTES * model.embedding_parameters))  # fmt: skip
    _gradient(built, model, schedule, -1, (made,))


def _optimizer(built: _Built, model: Model, schedule: Schedule, layer: int) -> None:
    """Adam of one layer: its states to host memory, the step, and back.

    One thread reads, one writes, and one works, each a layer after the other; buffers are there for `ahead` layers.
    """
    count = _weights_of(model, layer)
    group = f"{'backward' if schedule.beside_backward else 'optimizer'} {layer}"
    states = _states(built, model, schedule, layer, group)
    reads = [*states, f"{layer}/gradient"]
    waits = (f"{layer + 1}/adam", "" if schedule.beside_backward else "embed.dw")
    work, renewed = HostWork(ADAM_FLOPS * count, ADAM_BYTES * count), float(HALF_BYTES * count)
    adam = built.add(f"{layer}/adam", work, reads, waits, "cpu", "weights", group, renewed)
    if schedule.states == "ssd":
        written = Transfer((STATE_BYTES + HALF_BYTES) * count, dtype="fp32")
        built.add(f"{layer}/write", written, [adam, *states], (f"{layer + 1}/write",), WRITE, "states", group, 0.0)
    else:
        written = Transfer(HALF_BYTES * count, dtype="fp16")
        built.add(f"{layer}/renew", written, [adam], (), UP, "weights", group, 0.0)


def _states(built: _Built, model: Model, schedule: Schedule, layer: int, group: str) -> list[str]:
    """A layer's states on their way to host memory; nothing where they are there."""
    if schedule.states != "ssd":
        return []
    begins = ("embed.dw",)
    if schedule.beside_backward:
        above = f"{layer + model.ahead}/add.dx"
        begins = (above if above in built.names else _last(model.layers - 1),)
    room = f"{layer + model.ahead}/write"
    waits = (*begins, room, f"{layer}/gradient.out", f"{layer + 1}/states")
    move = Transfer((STATE_BYTES + schedule.gradient_bytes) * _weights_of(model, layer), dtype="fp32")
    return [built.add(f"{layer}/states", move, (), waits, READ, "states", group)]
