"""A served load as a Chrome trace, which ui.perfetto.dev opens: steps, requests, and counters of each engine.

The format is the Trace Event Format of the Chromium project, JSON object form. Each engine is a process with a slice a
step; requests are slices that may overlap, from arrival to first token and from there to the last.
"""

from __future__ import annotations

import json
from typing import Any

from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.load.request import Served
from simexplore.sim.serve.results import Result

MOST_STEPS = 20_000
"""Steps of each engine that are drawn, from the beginning."""
MOST_REQUESTS = 5_000
STEPS = 100
"""Number of the thread of steps, apart from process numbers."""

Event = dict[str, Any]


def trace_json(result: Result, machine: str) -> str:
    """The text of the trace; steps are those that engines have kept."""
    events: list[Event] = []
    for number, engine in enumerate(result.engines, 1):
        events += _of_engine(number, engine, machine)
    for served in result.served[:MOST_REQUESTS]:
        events += _of_request(len(result.engines) + 1, served)
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, separators=(",", ":"))


def _of_engine(process: int, engine: Engine, machine: str) -> list[Event]:
    name = {"name": f"engine {engine.name} on {machine}"}
    events: list[Event] = [{"ph": "M", "pid": process, "name": "process_name", "args": name}]
    for step in engine.tally.log:
        kind = "decode" if not step.prompt_tokens else "prefill" if not step.sequences else "mixed"
        told = {"sequences": step.sequences, "prompt tokens": step.prompt_tokens}
        begin_s = step.end_s - step.gpu_s
        events.append(
            {
                "ph": "X", "pid": process, "tid": STEPS, "name": kind, "cat": "step",
                "ts": begin_s * 1e6, "dur": step.gpu_s * 1e6, "args": told,
            }
        )  # fmt: skip
        counters = {"kv pages": step.pages, "sequences": step.sequences}
        for counter, value in counters.items():
            event = {"ph": "C", "pid": process, "name": counter, "ts": step.end_s * 1e6, "args": {counter: value}}
            events.append(event)
    return events


def _of_request(process: int, served: Served) -> list[Event]:
    request = served.request
    told = {
        "prompt": request.input_tokens,
        "answer": request.output_tokens,
        "evictions": served.evictions,
        "engine": served.replica,
    }
    phases = (("first token", served.arrival_s, served.first_s), ("answer", served.first_s, served.finish_s))
    events: list[Event] = []
    for name, begin_s, end_s in phases:
        both = {"pid": process, "tid": STEPS, "cat": "request", "id": served.order, "name": name}
        events.append({**both, "ph": "b", "ts": begin_s * 1e6, "args": told})
        events.append({**both, "ph": "e", "ts": end_s * 1e6})
    return events
