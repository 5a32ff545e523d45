"""The graph of a training step from any forward graph: forward passes, backward passes, the optimizer.

Kernels run on one stream, in the order in which frameworks launch them: a backward operator for the inputs comes before
that for the tensors. A node's result is in memory until the last node that reads it has ended, so what the backward
pass reads is what stays alive: activations are a property of the graph. Gradients of tensors and states are resident,
unless updates are layer-wise. Where GPUs share layers (Shoeybi et al., "Megatron-LM", arXiv:1909.08053), an all-reduce
of the forward pass has its twin where the backward pass leaves the part that they share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simexplore.errors import SimexploreError
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.tensors.elements import fit
from simexplore.workloads.ops import Add, AllGather, AllReduce, Copy, Embedding, Gemm, Norm, Pointwise, Softmax
from simexplore.workloads.training.gradients import Gradients, beside_bytes, gradients_of
from simexplore.workloads.training.methods.footprint import gradient_bytes, state_bytes, weight_bytes
from simexplore.workloads.training.methods.weights import Weight
from simexplore.workloads.training.plan import Held, Plan, held_by
from simexplore.workloads.training.segments import segments_of
from simexplore.workloads.training.tape import BACKWARD, FORWARD, UPDATE, Tape
from simexplore.workloads.training.update import add_updates


def training_step(forward: Graph, plan: Plan, held: Held | None = None) -> Graph:
    """The graph of a step: `micro_batches` forward and backward passes, then the optimizer.

    Args:
        forward: a graph without what only serving does; its operators' fields are numbers.
        plan: how it is trained.
        held: the tensors that nodes hold; by default what their operators tell (`held_by`).

    Raises:
        SimexploreError: an operator whose gradient is not known, or layer-wise updates of what is added up first.
    """
    if plan.layer_wise and (plan.micro_batches > 1 or plan.replicas > 1):
        raise SimexploreError(
            "layer-wise updates free each gradient: take one micro-batch and one copy, or updates at the end"
        )
    tensors = held_by(forward) if held is None else held
    tape = Tape()
    for index in range(plan.micro_batches):
        prefix = f"batch{index}/" if plan.micro_batches > 1 else ""
        batch = _Batch(forward, plan, tensors, tape, prefix, last=index == plan.micro_batches - 1)
        batch.add_forward()
        batch.add_backward()
    if not plan.layer_wise:
        _add_optimizer(tape, forward, plan, tensors)
    tape.wait()
    return Graph(forward.name, tuple(tape.nodes), resident_bytes(tensors, plan))


def resident_bytes(held: Held, plan: Plan) -> dict[str, float]:
    """What is held from step to step by kind [B]; layer-wise updates hold no gradients."""
    weights = [weight for each in held.values() for weight in each if weight.role != "adapter"]  # the method adds them
    kept = {
        "weights": weight_bytes(weights, plan.method, plan.dtype),
        "states": sum(state_bytes(weights, plan.method, plan.dtype).values()),
    }
    if not plan.layer_wise:
        kept["gradients"] = gradient_bytes(weights, plan.method, plan.dtype, gradient_dtype=plan.gradient_dtype)
    return kept


def _add_optimizer(tape: Tape, forward: Graph, plan: Plan, held: Held) -> None:
    tape.wait()
    tape.phase = UPDATE
    groups: dict[str, list[Weight]] = defaultdict(list)
    for node in forward.nodes:
        groups[node.group or node.name] += [each for each in held.get(node.name, ()) if not plan.method.frozen(each)]
    for group, weights in groups.items():
        add_updates(tape, group, weights, plan, (), group)


@dataclass
class _Batch:
    """One micro-batch: its forward pass, and its backward pass in the making."""

    forward: Graph
    plan: Plan
    held: Held
    tape: Tape
    prefix: str
    last: bool

    def __post_init__(self) -> None:
        self._nodes = {node.name: node for node in self.forward.nodes}
        self._redone: set[str] = set()
        self._segments = segments_of(self.forward, self.plan.recompute)
        self._twins = _twins(self.forward)
        self._flowing: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        self._slices: dict[str, tuple[str, ...]] = defaultdict(tuple)
        self._pending: dict[str, list[str]] = defaultdict(list)
        self._trained = {name for name, held in self.held.items() if not all(map(self.plan.method.frozen, held))}
        self._needs = _downstream(self.forward, self._trained)
        self._left = {group: len(nodes) for group, nodes in self._groups().items()}

    def _groups(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = defaultdict(list)
        for node in self.forward.nodes:
            groups[node.group].append(node.name)
        return groups

    def add_forward(self) -> None:
        """The forward pass."""
        self.tape.phase = FORWARD
        for node in self.forward.nodes:
            reads = [self.prefix + name for name in node.reads]
            # A mask beside the result is made again where the result is.
            held = min(node.output_bytes, float(node.op.output_bytes)) if self._replayed(node) else self._kept_of(node)
            self.tape.add(self.prefix + node.name, node.op, reads, node.group, held)

    def _kept_of(self, node: Node) -> float:
        """The memory of a node's result, and of what its gradients need beside [B]."""
        wanted = node.name in self._needs or node.name in self._trained
        return node.output_bytes + (beside_bytes(node.op) if wanted else 0.0)

    def _replayed(self, node: Node) -> bool:
        """Whether a node is done once more with others, and not only gathered."""
        return len(self._segments.get(node.name, ())) > 1

    def add_backward(self) -> None:
        """The backward pass, from what no node reads to what reads nothing."""
        self.tape.phase = BACKWARD
        read = {name for node in self.forward.nodes for name in node.reads}
        for node in reversed(self.forward.nodes):
            if node.name in self._needs:
                if node.name not in read:
                    self._flowing[node.name].append(self._add_loss(node))
                if self._replayed(node):
                    self._replay(node.name)
                self._add_gradients(node)
            self._left[node.group] -= 1
            if not self._left[node.group]:
                self._close_group(node.group)

    def _add_loss(self, node: Node) -> tuple[str, ...]:
        """The loss of what a node makes, and its gradient."""
        name, op, group = self.prefix + node.name, node.op, node.group
        if self.plan.cross_entropy and isinstance(op, Gemm):
            elements = int(op.m * op.n)
            wide = self.tape.add(f"{name}.float", Copy(elements, op.dtype, "fp32"), [name], group)
            loss = self.tape.add(f"{name}.loss", Softmax(op.m, op.n, "fp32"), [wide], group)
            back = Pointwise(elements, 1, 1, 2, "fp32", "cross_entropy_backward")
            return (self.tape.add(f"{name}.loss_backward", back, [loss], group),)
        elements = round(float(op.output_bytes) / bytes_of(op.dtype))
        return (self.tape.add(f"{name}.loss", Pointwise(elements, 2, 1, 3, op.dtype, "square"), [name], group),)

    def _add_gradients(self, node: Node) -> None:
        arriving = self._summed(node)
        if node.name in self._twins:
            arriving = (self._at(f"{node.name}.all_reduce_backward", self._twins[node.name], arriving, node.group),)
        if isinstance(node.op, AllReduce):
            self._pass_on(node, arriving)
            return
        needed, trained = gradients_of(node.op), node.name in self._trained
        upstream = any(name in self._needs for name in node.reads)
        made = arriving
        if needed.of_inputs and (upstream or (trained and (needed.made_for_weights or not needed.of_weights))):
            made = self._add_to_inputs(node, needed, arriving)
        if trained:
            self._add_to_weights(node, needed, arriving, made)
        if upstream:
            self._pass_on(node, made)

    def _add_to_inputs(self, node: Node, needed: Gradients, arriving: tuple[str, ...]) -> tuple[str, ...]:
        reads = [*arriving]
        if needed.inputs_for_inputs:
            reads += [self._kept(name, node.name) for name in node.reads]
        if needed.result:
            reads.append(self._kept(node.name, node.name))
        suffixes = [""] if len(needed.of_inputs) == 1 else [str(index) for index in range(len(needed.of_inputs))]
        return tuple(
            self._at(f"{node.name}.backward{suffix}", op, reads, node.group)
            for suffix, op in zip(suffixes, needed.of_inputs, strict=True)
        )

    def _add_to_weights(self, node: Node, needed: Gradients, arriving: tuple[str, ...], made: tuple[str, ...]) -> None:
        """Gradients of a node's tensors; where they come with those of its inputs, they are there already."""
        weights = [weight for weight in self.held[node.name] if not self.plan.method.frozen(weight)]
        # What lies beside a result is read to the end: it holds what these multiply.
        reads = [*made, self._kept(node.name, node.name)] if needed.made_for_weights else [*arriving]
        if needed.inputs_for_weights:
            reads += [self._kept(name, node.name) for name in node.reads]
        held = self._gradient_bytes(weights) if self.plan.layer_wise else 0.0
        done: tuple[str, ...] = () if needed.of_weights else made
        for index, op in enumerate(needed.of_weights):
            name = f"{self.prefix}{node.name}.weights_backward{index or ''}"
            # A second kernel adds to what the first one made.
            added = self.tape.add(name, op, [*reads, *done], node.group, 0.0 if index else held, "gradients")
            done = (*done, added)
            self._accumulate(op)
        self._pending[node.group] += done
        if self.plan.layer_wise and self.last:
            self.tape.phase = UPDATE
            add_updates(self.tape, node.name, weights, self.plan, done, node.group)
            self.tape.phase = BACKWARD

    def _accumulate(self, op: Operator) -> None:
        """Let the last kernel add to gradients that are there, or that are of another type than what it makes."""
        plan, elements = self.plan, round(float(op.output_bytes) / bytes_of(op.dtype))
        dtype = plan.gradient_dtype or op.dtype
        if plan.micro_batches > 1 or dtype != op.dtype:
            moved = elements * (2.0 * bytes_of(dtype) - bytes_of(op.dtype))
            self.tape.merge(Add(elements, dtype), moved)

    def _gradient_bytes(self, weights: Sequence[Weight]) -> float:
        return bytes_of(self.plan.gradient_dtype or self.plan.dtype) * sum(weight.total for weight in weights)

    def _close_group(self, group: str) -> None:
        """All gradients of a group are there: GPUs with copies of the model add them up, while others are made."""
        done = self._pending.pop(group, [])
        if not done or not self.last or self.plan.replicas == 1:
            return
        weights = [w for node in self.forward.nodes if node.group == group for w in self.held.get(node.name, ())]
        elements = sum(weight.total for weight in weights if not self.plan.method.frozen(weight))
        if elements:
            total = AllReduce(elements, self.plan.replicas, self.plan.gradient_dtype or self.plan.dtype)
            self.tape.beside(f"{group}.gradients_all_reduce", total, done, group, self.plan.of_copy)

    def _summed(self, node: Node) -> tuple[str, ...]:
        """The gradient of what a node made: that of its only reader, or the sum of several; slices lie side by side."""
        parts, slices = self._flowing.pop(node.name, []), self._slices.pop(node.name, ())
        if not parts:
            return slices
        total = parts[0]
        for index, part in enumerate(parts[1:]):
            elements = round(float(node.op.output_bytes) / bytes_of(node.op.dtype))
            name = f"{node.name}.sum{index or ''}"
            total = (self._at(name, Add(elements, node.op.dtype), (*total, *part), node.group),)
        return (*total, *slices)

    def _pass_on(self, node: Node, made: tuple[str, ...]) -> None:
        for name in node.reads:
            if name not in self._needs:
                continue
            if fit(self._nodes[name].op, node.op):
                self._flowing[name].append(made)
            else:
                self._slices[name] += made

    def _kept(self, name: str, reader: str) -> str:
        """The node that holds a result of the forward pass; what leaves a segment is kept, gathered parts are not."""
        gathered = isinstance(self._nodes[name].op, AllGather)
        if name not in self._segments or (reader not in self._segments[name] and not gathered):
            return self.prefix + name
        if name not in self._redone:
            self._replay(name)
        return f"{self.prefix}{name}.again"

    def _replay(self, name: str) -> None:
        """Do the nodes of a segment once more, if they have not been yet."""
        for each in self._segments[name]:
            if each in self._redone:
                return
            node = self._nodes[each]
            reads = [self._kept(before, each) for before in node.reads]
            self.tape.add(f"{self.prefix}{each}.again", node.op, reads, node.group, self._kept_of(node))
            self._redone.add(each)

    def _at(self, name: str, op: Operator, reads: Iterable[str], group: str) -> str:
        return self.tape.add(self.prefix + name, op, reads, group)


def _downstream(forward: Graph, trained: set[str]) -> set[str]:
    """Nodes whose result depends on a trained tensor."""
    needs: set[str] = set()
    for node in forward.nodes:
        if node.name in trained or not needs.isdisjoint(node.reads):
            needs.add(node.name)
    return needs


def _twins(forward: Graph) -> dict[str, AllReduce]:
    """All-reduces of the backward pass, by the node whose gradient they add up: the norm before what GPUs share."""
    nodes = {node.name: node for node in forward.nodes}
    twins: dict[str, AllReduce] = {}
    for node in forward.nodes:
        if isinstance(node.op, AllReduce):
            entry = nodes[node.reads[0]]
            if isinstance(entry.op, Embedding):
                continue  # parts of the table are shared, and nothing before them
            while entry.reads and not (isinstance(entry.op, Norm) and _reads_a_sum(entry, nodes)):
                entry = nodes[entry.reads[0]]
            twins[entry.name] = node.op
    return twins


def _reads_a_sum(norm: Node, nodes: dict[str, Node]) -> bool:
    """Whether a norm is that of the residual stream, not one of heads, which follow a product or one another."""
    return not isinstance(nodes[norm.reads[0]].op, Gemm | Norm) if norm.reads else True
