"""Which call of an operator started which kernel: kernel → correlation → launch → innermost call around it.

Correlation ids are of one process. In a file of several ranks they collide, and only a GPU whose ids one process has
much more of than any other can be told to be that process's. An `External id` names a call in some traces and is the
correlation again in others, so it is a hint where there is no launch, and none where it is always the correlation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simexplore.kernels.profiles.kineto.events import Device, Host, Launch, Process, Thread, Trace

GRAPH = "launched by a CUDA graph, which no call is inside of: profile the model without graphs (enforce_eager, no \
mode='reduce-overhead')"
RANKS = "several ranks are in one file and their ids can't be told apart: import each rank's own trace"
NO_CALL = "not launched by a recorded call"
TOO_LATE = "it ended before its launch began: the times of the trace are damaged"
TORN = "calls on its thread have no place in time"
SEVERAL = "several calls have its id"

_CLEARLY = 2.0
"""A process has a GPU's ids if it has so many times more of them than any other."""

Place = tuple[Process, int | None]


@dataclass(frozen=True)
class Link:
    """What a kernel was started by: a call, or the reason why none is known."""

    call: Host | None
    reason: str = ""


def links(trace: Trace) -> list[Link]:
    """A link for each of `trace.on_gpu`; calls get their parents on the way."""
    _nest(trace)
    wanted = {device.correlation for device in trace.on_gpu}
    launched = {number: launches for number, launches in trace.launches.items() if number in wanted}
    hints = _hints(trace)
    by_launch = _Homes(
        trace,
        {number: {launch.thread[0] for launch in launches} for number, launches in launched.items()},
        [device.correlation for device in trace.on_gpu],
    )
    by_hint = _Homes(
        trace,
        {number: {call.thread[0] for call in calls} for number, calls in hints.items()},
        [device.external for device in trace.on_gpu],
    )
    found = []
    for device in trace.on_gpu:
        launches = launched.get(device.correlation or 0)
        if device.in_graph:
            found.append(Link(None, GRAPH))
        elif launches:
            found.append(_of_launch(device, launches, by_launch.of(device.place, device.correlation)))
        else:
            calls = hints.get(device.external or 0, ())
            found.append(_of_hint(device, calls, by_hint.of(device.place, device.external)))
    return found


def innermost_of(call: Host, torn: set[Thread]) -> Host | str:
    """The innermost call from this one outwards that is an operator of ours, or why there is none."""
    at: Host | None = call
    while at is not None and at.call is None:
        if at.end_us is None:
            return f"{at.name} around it has no duration"
        if call.thread in torn:
            return TORN
        at = at.parent
    if at is None:
        return f"launched by {call.name}"
    return at if at.end_us is not None else f"{at.name} around it has no duration"


def _nest(trace: Trace) -> None:
    """Give each call its parent and each launch the innermost call around it, thread by thread, in order of time.

    A call whose duration is not told is taken to last as long as it could: what comes after it may be inside of it.
    """
    threads: dict[Thread, list[tuple[float, int, float, Host | Launch]]] = defaultdict(list)
    for call in trace.calls:
        threads[call.thread].append((call.start_us, 0, -(call.end_us or call.start_us), call))
    for launches in trace.launches.values():
        for launch in launches:
            threads[launch.thread].append((launch.start_us, 1, 0.0, launch))
    for events in threads.values():
        stack: list[Host] = []
        for start_us, _, _, event in sorted(events, key=lambda entry: entry[:3]):
            inside = isinstance(event, Launch)
            while stack and _over(stack, start_us, inside):
                stack.pop()
            around = stack[-1] if stack else None
            if isinstance(event, Launch):
                event.around = around
                continue
            event.parent = around
            if around is not None and event.end_us is not None:
                around.children_us += event.end_us - event.start_us
            stack.append(event)


def _over(stack: list[Host], now_us: float, inclusive: bool) -> bool:
    """Whether the innermost open call has ended; one of unknown end has when the call around it has."""
    end_us = next((call.end_us for call in reversed(stack) if call.end_us is not None), None)
    return end_us is not None and (now_us > end_us if inclusive else now_us >= end_us)


def _hints(trace: Trace) -> Mapping[int, list[Host]]:
    """Calls by their `External id`, unless kernels' ids are their correlations, or may be."""
    both = [device for device in trace.on_gpu if device.external is not None and device.correlation is not None]
    if 2 * sum(device.external != device.correlation for device in both) <= len(both):
        return {}
    wanted = {device.external for device in trace.on_gpu}
    hints: dict[int, list[Host]] = defaultdict(list)
    for call in trace.calls:
        if call.external is not None and call.external in wanted:
            hints[call.external].append(call)
    return hints


class _Homes:
    """Which process may have started a kernel, by who knows its id.

    Where calls are of one process, so is everything. Of several, each must know ids, else the file lacks some; a GPU
    must be clearly one's; and an id counts only if no other process knows it, nor another GPU's kernel has it. A
    launch may have been lost, and the same number of another rank would stand in its place.
    """

    def __init__(self, trace: Trace, known: Mapping[int, set[Process]], numbers: Sequence[int | None]) -> None:
        """`numbers` are the ids of `trace.on_gpu`, `known` the processes that know each."""
        callers = {call.thread[0] for call in trace.calls} - {None}
        owners = {process for processes in known.values() for process in processes} - {None}
        self._one = (*(callers | owners), None)[:1] if len(callers | owners) <= 1 else None
        self._clear: dict[Place, Process] = {}
        self._places: dict[int, set[Place]] = defaultdict(set)
        self._known = known
        if self._one is None and callers <= owners:
            self._compare([device.place for device in trace.on_gpu], numbers)

    def _compare(self, places: Sequence[Place], numbers: Sequence[int | None]) -> None:
        counts: dict[Place, Counter[Process]] = defaultdict(Counter)
        for place, number in zip(places, numbers, strict=True):
            if number is not None:
                self._places[number].add(place)
                counts[place].update(self._known.get(number, ()))
        for place, count in counts.items():
            (first, most), (_, next_most), *_ = [*count.most_common(2), (None, 0), (None, 0)]
            if most > _CLEARLY * next_most:
                self._clear[place] = first

    def of(self, place: Place, number: int | None) -> tuple[Process, ...]:
        """The process that started what has this id on this GPU; none where that is not sure."""
        if self._one is not None:
            return self._one
        sure = number is not None and len(self._places[number]) == 1 and len(self._known.get(number, ())) == 1
        return (self._clear[place],) if sure and place in self._clear else ()


def _of_launch(device: Device, launches: Iterable[Launch], homes: tuple[Process, ...]) -> Link:
    own = [launch for launch in launches if launch.thread[0] in homes]
    if not own:
        return Link(None, RANKS)
    if any("GraphLaunch" in launch.name for launch in own):
        return Link(None, GRAPH)
    if len({launch.around for launch in own}) > 1:
        return Link(None, SEVERAL)
    around = own[0].around
    if around is None:
        return Link(None, NO_CALL)
    return _in_time(device, around, own[0].start_us)


def _of_hint(device: Device, calls: Iterable[Host], homes: tuple[Process, ...]) -> Link:
    named = list(calls)
    if not named:
        return Link(None, NO_CALL)
    own = [call for call in named if call.thread[0] in homes]
    if not own:
        return Link(None, RANKS)
    return Link(None, SEVERAL) if len(own) > 1 else _in_time(device, own[0], own[0].start_us)


def _in_time(device: Device, call: Host, launched_us: float) -> Link:
    """The link, unless the kernel was over before it was launched."""
    if device.start_us is None:
        return Link(None, "its event has no time")
    return Link(None, TOO_LATE) if device.start_us + (device.time_us or 0.0) < launched_us else Link(call)
