"""A recording written down in LLVM's language, as a function that computes many rows.

    rows(n, sizes, constants, work, told, holds)

`sizes` are the rows' own numbers, `constants` the recording's, `work` is room for the values of candidates, and
`told` takes the outputs of each row. `holds` says whether the recording's conditions hold of a row; what is told of
others is of no worth. The machine's numbers are arguments: one function serves all machines whose physics takes the
same steps. Whole numbers are divided as numpy divides them: rounded down, and by 0 there is 0. Rows of which the
recording does not hold may well divide by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simexplore.sim.estimate.compiled.plan import Plan, reachable
from simexplore.sim.estimate.compiled.recorded import Node, Recording, UnrecordableError

TYPES = {"f": "double", "i": "i64", "b": "i1"}
_FLOATS = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv", "true_divide": "fdiv"}
_INTEGERS = {"add": "add", "subtract": "sub", "multiply": "mul"}
_DIVIDED = {"remainder": "@remainder", "floor_divide": "@floor_divide"}
_COMPARED = {
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "equal": "eq", "not_equal": "ne",
}  # fmt: skip
_BITS = {"bitwise_and": "and", "bitwise_or": "or", "logical_and": "and", "logical_or": "or"}
_INTRINSICS = {name: f"@llvm.{name}.f64" for name in ("ceil", "floor", "sqrt", "exp", "log", "log2")}
_HEAD = """
declare double @llvm.pow.f64(double, double)
declare double @llvm.ceil.f64(double)
declare double @llvm.floor.f64(double)
declare double @llvm.sqrt.f64(double)
declare double @llvm.exp.f64(double)
declare double @llvm.log.f64(double)
declare double @llvm.log2.f64(double)

define internal i64 @gcd(i64 %a, i64 %b) {
entry:
  br label %loop
loop:
  %x = phi i64 [ %a, %entry ], [ %y, %step ]
  %y = phi i64 [ %b, %entry ], [ %rest, %step ]
  %done = icmp eq i64 %y, 0
  br i1 %done, label %end, label %step
step:
  %rest = srem i64 %x, %y
  br label %loop
end:
  ret i64 %x
}

define internal i64 @floor_divide(i64 %a, i64 %b) alwaysinline {
  %none = icmp eq i64 %b, 0
  %by = select i1 %none, i64 1, i64 %b
  %whole = sdiv i64 %a, %by
  %rest = srem i64 %a, %by
  %odd = icmp ne i64 %rest, 0
  %mixed = xor i64 %rest, %by
  %signs = icmp slt i64 %mixed, 0
  %off = and i1 %odd, %signs
  %one = zext i1 %off to i64
  %floor = sub i64 %whole, %one
  %told = select i1 %none, i64 0, i64 %floor
  ret i64 %told
}

define internal i64 @remainder(i64 %a, i64 %b) alwaysinline {
  %times = call i64 @floor_divide(i64 %a, i64 %b)
  %under = mul i64 %times, %b
  %rest = sub i64 %a, %under
  %none = icmp eq i64 %b, 0
  %told = select i1 %none, i64 0, i64 %rest
  ret i64 %told
}

define internal i64 @least(ptr %work, i64 %size) {
entry:
  br label %loop
loop:
  %j = phi i64 [ 0, %entry ], [ %next, %loop ]
  %best = phi i64 [ 0, %entry ], [ %better, %loop ]
  %low = phi double [ 0x7FF0000000000000, %entry ], [ %lower, %loop ]
  %at = getelementptr double, ptr %work, i64 %j
  %value = load double, ptr %at
  %less = fcmp olt double %value, %low
  %better = select i1 %less, i64 %j, i64 %best
  %lower = select i1 %less, double %value, double %low
  %next = add i64 %j, 1
  %more = icmp slt i64 %next, %size
  br i1 %more, label %loop, label %end
end:
  ret i64 %better
}
"""

_ROWS = """
define void @rows(i64 %n, ptr noalias %sizes, ptr noalias %constants, ptr noalias %work, ptr noalias %told,
                  ptr noalias %holds) {{
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %loop, label %end
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %s = mul i64 %i, {sizes}
  %size = getelementptr i64, ptr %sizes, i64 %s
  %t = mul i64 %i, {told}
  %tell = getelementptr double, ptr %told, i64 %t
  %failed = call i64 @compute(ptr %size, ptr %constants, ptr %work, ptr %tell)
  %held = icmp eq i64 %failed, 0
  %as = zext i1 %held to i8
  %at = getelementptr i8, ptr %holds, i64 %i
  store i8 %as, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}}
"""
_COMPUTE = (
    "define internal i64 @compute(ptr noalias %sizes, ptr noalias %constants, ptr noalias %work, ptr noalias %told) {"
)
INFINITY = "0x7FF0000000000000"
SLACK = "0x3FF0000000001198"
"""1 + 1e-12: how far above the best a candidate's least time may lie, as rounding goes."""


class Source(NamedTuple):
    """A module, and how much room its function needs."""

    text: str
    work: int


class _Writer:
    """Statements of all blocks, and how each value is called."""

    def __init__(self, recording: Recording, outputs: tuple[int, ...], sizes: int) -> None:
        self._nodes, self._sizes = recording.nodes, sizes
        conditions = {each.node: each.true for each in recording.conditions}
        needed = reachable(self._nodes, {*outputs, *conditions})
        self._needed = sorted(needed)
        self._conditions = conditions
        self.plan = Plan(self._nodes, self._needed, outputs)
        self._outputs = outputs
        self._here = 0
        self._lane = "%j0"
        self._names = 0
        self._loaded: dict[tuple[int, int], str] = {}
        self.lines: list[str] = []

    def write(self) -> None:
        """The body of `compute`."""
        self._entry()
        for block, (size, search) in enumerate(self.plan.blocks):
            self._here = block
            inside = [index for index in self._needed if self.plan.block_of.get(index) == block]
            if search is not None:
                self._search(size, search, [index for index in inside if index != search])
            elif size > 1:
                self._loop(size, inside)
            else:
                for index in inside:
                    self._statement(index)
        self._here = len(self.plan.blocks)
        for place, index in enumerate(self._outputs):
            at = self._new(f"getelementptr double, ptr %told, i64 {place}")
            self._say(f"store double {self._typed(index, 'f')}, ptr {at}")
        self._say(f"ret i64 {self._new('load i64, ptr %failed')}")

    def _say(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def _new(self, expression: str) -> str:
        self._names += 1
        self._say(f"%x{self._names} = {expression}")
        return f"%x{self._names}"

    def _entry(self) -> None:
        self._say("%failed = alloca i64")
        self._say("store i64 0, ptr %failed")
        for index in self._needed:
            node = self._nodes[index]
            if node.word == "constant":
                self._name_value(index, self._constant(str(node.number), node.kind))
            elif node.word == "input":
                at = self._new(f"getelementptr i64, ptr %sizes, i64 {node.number}")  # as long as a double
                self._name_value(index, self._new(f"load {TYPES[node.kind]}, ptr {at}"))

    def _name_value(self, index: int, name: str) -> None:
        self._loaded[index, -1] = name

    def _constant(self, place: str, kind: str) -> str:
        at = self._new(f"getelementptr double, ptr %constants, i64 {place}")
        return self._narrowed(self._new(f"load double, ptr {at}"), kind)

    def _narrowed(self, name: str, kind: str) -> str:
        """A number that was kept as a double, in its own type."""
        if kind == "i":
            return self._new(f"fptosi double {name} to i64")
        return self._new(f"fcmp une double {name}, 0.0") if kind == "b" else name

    def _loop(self, size: int, inside: Sequence[int]) -> None:
        block = self._here
        self._lane = f"%j{block}"
        self._say(f"br label %before{block}")
        self.lines.append(f"before{block}:")
        self._say(f"br label %loop{block}")
        self.lines.append(f"loop{block}:")
        self._say(f"%j{block} = phi i64 [ 0, %before{block} ], [ %next{block}, %loop{block} ]")
        for index in inside:
            self._statement(index)
        self._say(f"%next{block} = add i64 %j{block}, 1")
        self._say(f"%more{block} = icmp slt i64 %next{block}, {size}")
        self._say(f"br i1 %more{block}, label %loop{block}, label %after{block}")
        self.lines.append(f"after{block}:")

    def _search(self, size: int, search: int, inside: Sequence[int]) -> None:
        """Candidates one after another, the likeliest first, leaving out those whose least time is too long."""
        block, (bound, exact) = self._here, self._nodes[search].inputs
        kept = self._new(f"getelementptr double, ptr %work, i64 {self.plan.place[bound]}")
        first = self._new(f"call i64 @least(ptr {kept}, i64 {size})")
        self._say(f"br label %before{block}")
        for line in (
            f"before{block}:",
            f"  br label %loop{block}",
            f"loop{block}:",
            f"  %turn{block} = phi i64 [ -1, %before{block} ], [ %next{block}, %step{block} ]",
            f"  %best{block} = phi double [ 0x7FF0000000000000, %before{block} ], [ %better{block}, %step{block} ]",
            f"  %who{block} = phi i64 [ {first}, %before{block} ], [ %winner{block}, %step{block} ]",
            f"  %begin{block} = icmp slt i64 %turn{block}, 0",
            f"  %j{block} = select i1 %begin{block}, i64 {first}, i64 %turn{block}",
            f"  %b{block} = getelementptr double, ptr {kept}, i64 %j{block}",
            f"  %bound{block} = load double, ptr %b{block}",
            f"  %most{block} = fmul double %best{block}, {SLACK}",
            f"  %try{block} = fcmp ole double %bound{block}, %most{block}",
            f"  br i1 %try{block}, label %inside{block}, label %step{block}",
            f"inside{block}:",
        ):
            self.lines.append(line)
        self._lane = f"%j{block}"
        for index in inside:
            self._statement(index)
        value = self._typed(exact, "f")
        for line in (
            f"  %less{block} = fcmp olt double {value}, %best{block}",
            f"  %same{block} = fcmp oeq double {value}, %best{block}",
            f"  %lower{block} = icmp slt i64 %j{block}, %who{block}",
            f"  %tie{block} = and i1 %same{block}, %lower{block}",
            f"  %take{block} = or i1 %less{block}, %tie{block}",
            f"  %found{block} = select i1 %take{block}, double {value}, double %best{block}",
            f"  %named{block} = select i1 %take{block}, i64 %j{block}, i64 %who{block}",
            f"  br label %step{block}",
            f"step{block}:",
            f"  %better{block} = phi double [ %best{block}, %loop{block} ], [ %found{block}, %inside{block} ]",
            f"  %winner{block} = phi i64 [ %who{block}, %loop{block} ], [ %named{block}, %inside{block} ]",
            f"  %next{block} = add i64 %turn{block}, 1",
            f"  %more{block} = icmp slt i64 %next{block}, {size}",
            f"  br i1 %more{block}, label %loop{block}, label %after{block}",
            f"after{block}:",
        ):
            self.lines.append(line)
        self._name_value(search, f"%winner{block}")

    def _statement(self, index: int) -> None:
        node = self._nodes[index]
        self._loaded[index, self._here if node.size > 1 else -1] = self._expression(node)
        if index in self.plan.place:
            at = self._new(f"add i64 {self._lane}, {self.plan.place[index]}")
            there = self._new(f"getelementptr double, ptr %work, i64 {at}")
            self._say(f"store double {self._typed(index, 'f')}, ptr {there}")
        if index in self._conditions:
            held = self._typed(index, "b")
            wrong = self._new(f"xor i1 {held}, true") if self._conditions[index] else held
            more = self._new(f"zext i1 {wrong} to i64")
            total = self._new(f"add i64 {self._new('load i64, ptr %failed')}, {more}")
            self._say(f"store i64 {total}, ptr %failed")

    def _expression(self, node: Node) -> str:
        if node.word in ("repeat", "tile"):
            at = self._new(f"{'sdiv' if node.word == 'repeat' else 'srem'} i64 {self._lane}, {node.number}")
            return self._elsewhere(node.inputs[0], at)
        if node.word == "at":
            return self._elsewhere(node.inputs[0], self._typed(node.inputs[1], "i"))
        if node.word == "join":
            return self._joined(node)
        return self._computed(node)

    def _joined(self, node: Node) -> str:
        first, second = node.inputs
        early = self._new(f"icmp slt i64 {self._lane}, {node.number}")
        beyond = self._new(f"sub i64 {self._lane}, {node.number}")
        at_first = self._new(f"select i1 {early}, i64 {self._lane}, i64 0")
        at_second = self._new(f"select i1 {early}, i64 0, i64 {beyond}")
        kind = node.kind
        one, other = (self._as(self._elsewhere(x, at), self._nodes[x].kind, kind) for x, at in
                      ((first, at_first), (second, at_second)))  # fmt: skip
        return self._new(f"select i1 {early}, {TYPES[kind]} {one}, {TYPES[kind]} {other}")

    def _computed(self, node: Node) -> str:
        word, kinds = node.word, [self._nodes[read].kind for read in node.inputs]
        if word in _COMPARED:
            kind = "f" if "f" in kinds else "i"
            x, y = (self._typed(read, kind) for read in node.inputs)
            sign = _COMPARED[word]
            if kind == "f":
                return self._new(f"fcmp {'une' if sign == 'ne' else 'o' + sign} double {x}, {y}")
            return self._new(f"icmp {sign if sign in ('eq', 'ne') else 's' + sign} i64 {x}, {y}")
        if word == "isinf":
            return self._new(f"fcmp oeq double {self._typed(node.inputs[0], 'f')}, {INFINITY}")
        values = [self._typed(read, node.kind) for read in node.inputs]
        if word == "where":
            condition = self._typed(node.inputs[0], "b")
            return self._new(f"select i1 {condition}, {TYPES[node.kind]} {values[1]}, {TYPES[node.kind]} {values[2]}")
        if word in ("minimum", "maximum"):
            return self._chosen(node, values)
        if word in _BITS and node.kind in "ib":
            return self._new(f"{_BITS[word]} {TYPES[node.kind]} {values[0]}, {values[1]}")
        if node.kind == "f" and word in _FLOATS:
            return self._new(f"{_FLOATS[word]} double {values[0]}, {values[1]}")
        if node.kind == "i" and word in _INTEGERS:
            return self._new(f"{_INTEGERS[word]} i64 {values[0]}, {values[1]}")
        if node.kind == "i" and word in _DIVIDED:
            return self._new(f"call i64 {_DIVIDED[word]}(i64 {values[0]}, i64 {values[1]})")
        return self._called(node, values)

    def _chosen(self, node: Node, values: list[str]) -> str:
        sign = "lt" if node.word == "minimum" else "gt"
        kind = TYPES[node.kind]
        asked = f"fcmp o{sign}" if node.kind == "f" else f"icmp s{sign}"
        first = self._new(f"{asked} {kind} {values[0]}, {values[1]}")
        return self._new(f"select i1 {first}, {kind} {values[0]}, {kind} {values[1]}")

    def _called(self, node: Node, values: list[str]) -> str:
        if node.word in _INTRINSICS:
            return self._new(f"call double {_INTRINSICS[node.word]}(double {values[0]})")
        if node.word == "power" and node.kind == "f":
            return self._new(f"call double @llvm.pow.f64(double {values[0]}, double {values[1]})")
        if node.word == "gcd":
            return self._new(f"call i64 @gcd(i64 {values[0]}, i64 {values[1]})")
        if node.word == "negative":
            return self._new(f"fneg double {values[0]}" if node.kind == "f" else f"sub i64 0, {values[0]}")
        if node.word == "invert":
            return self._new(f"xor {TYPES[node.kind]} {values[0]}, {'true' if node.kind == 'b' else -1}")
        if node.word in ("as_f", "as_i"):
            return values[0]
        raise UnrecordableError(node.word)

    def _typed(self, index: int, kind: str) -> str:
        """A value in a type."""
        return self._as(self._value(index), self._nodes[index].kind, kind)

    def _as(self, name: str, kind: str, wanted: str) -> str:
        if kind == wanted:
            return name
        if wanted == "b":
            return self._new(f"fcmp une double {name}, 0.0" if kind == "f" else f"icmp ne i64 {name}, 0")
        how = {"if": "sitofp", "bf": "uitofp", "bi": "zext", "fi": "fptosi"}[kind + wanted]
        return self._new(f"{how} {TYPES[kind]} {name} to {TYPES[wanted]}")

    def _elsewhere(self, index: int, place: str) -> str:
        """A node's value for a candidate, in the node's own type."""
        node = self._nodes[index]
        if node.size == 1:
            return self._value(index)
        begin = node.number if node.word == "lanes" else self.plan.place[index]
        at = self._new(f"add i64 {place}, {begin}")
        there = self._new(f"getelementptr double, ptr %{'constants' if node.word == 'lanes' else 'work'}, i64 {at}")
        return self._narrowed(self._new(f"load double, ptr {there}"), node.kind)

    def _value(self, index: int) -> str:
        """What a node's value is called here; loaded where another block has made it."""
        key = (index, -1 if self._nodes[index].size == 1 else self._here)
        if key not in self._loaded:
            self._loaded[key] = self._elsewhere(index, self._lane)
        return self._loaded[key]


def source(recording: Recording, outputs: tuple[int, ...], sizes: int) -> Source:
    """The module of a recording with so many inputs, whose `told` gets the values of the nodes `outputs` in order.

    Raises:
        UnrecordableError: a step has no word in it.
    """
    writer = _Writer(recording, outputs, sizes)
    writer.write()
    body = "\n".join([_COMPUTE, "entry:", *writer.lines, "}"])
    rows = _ROWS.format(sizes=sizes, told=len(outputs))
    return Source("\n".join([_HEAD, body, rows]), writer.plan.work)
