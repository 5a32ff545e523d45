"""What a sweep's file says under `serve`: a load on a model instead of workloads.

serve: {model: llm/llama-3-8b, rate: 8, duration: 20 s, input: 1000, output: 200, ttft: 500 ms, tpot: 50 ms}
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from simexplore.archs.units import nearest, show
from simexplore.errors import SimexploreError
from simexplore.sim.explore.spec.axes import Parameter
from simexplore.sim.explore.spec.reader import Reader
from simexplore.sim.serve.asked import Given, Placed, Promised, model_of
from simexplore.sim.serve.engine.defaults import settings_of
from simexplore.sim.serve.question import HIGHEST, LOADS, PLACES, Question
from simexplore.workloads.families.decoder.options import StepOptions
from simexplore.workloads.importers import huggingface
from simexplore.workloads.operators.parameters import from_values

KEY = "serve"
WRITTEN = (*LOADS, "duration", "think")
"""What of a load is written as on the command line."""
PROMISE = ("ttft", "tpot", "latency", "share")
KEYS = ("model", *WRITTEN, "seed", "trace", *PLACES, "parameters", "settings", *PROMISE)
CLOSED = ("workload", "workloads", "fidelity", "launch", "allow_overflow")
"""Keys of a sweep's file that say nothing where a load is served: steps are captured, and priced in closed form."""
KINDS = ("rate", "users", "trace")
_EXAMPLE = "model: llm/llama-3-8b"


def read_question(reader: Reader, data: Mapping[str, Any], engine: str) -> Question | None:
    """The question of a sweep's file; None where it has none.

    Args:
        reader: of the file.
        data: all of it.
        engine: the machine's.

    Raises:
        SimexploreError: in one line, `file:line: key: expected …, found …`.
    """
    if KEY not in data:
        return None
    given = reader.mapping((KEY,), data[KEY], _EXAMPLE)
    reader.known_keys((KEY,), given, KEYS)
    for key in CLOSED:
        if key in data:
            reader.fail((key,), f"no {key} beside {KEY}", show(data[key]))
    if "model" not in given:
        reader.fail((KEY, "model"), "a language model such as 'llm/llama-3-8b'", "nothing")
    question = _question(reader, given)
    with _told(reader):
        question.one_load()
        question.promised.objectives()
        settings_of(engine, question.placed.settings)
        from_values(StepOptions, question.model.name, question.placed.params, "dtype: fp8")
    return question


def _question(reader: Reader, given: Mapping[str, Any]) -> Question:
    plain = {key: _text(reader, (KEY, key), given[key]) for key in (*WRITTEN, *PROMISE) if key in given}
    load: dict[str, Any] = {LOADS.get(key, key): text for key, text in plain.items() if key in WRITTEN}
    if "seed" in given:
        load["seed"] = reader.integer((KEY, "seed"), given["seed"], 0, 2**31)
    source = reader.text((KEY, "model"), given["model"], "llm/llama-3-8b")
    with reader.at((KEY, "model")):
        model = model_of(_beside(reader, source))
    if "trace" in given:
        trace = reader.text((KEY, "trace"), given["trace"], "requests.csv")
        load["trace"] = str((reader.document.path.parent / trace).resolve())
    asked = Given(**(_varied(reader, load) | load))
    with _told(reader):
        requests = tuple(asked.traced()) if asked.kind == "trace" else ()
    places = {key: reader.integer((KEY, key), given[key], PLACES[key], 4096) for key in PLACES if key in given}
    params, settings = (_pairs(reader, key, given) for key in ("parameters", "settings"))
    promised = Promised(**{key: plain[key] for key in PROMISE if key in plain})
    return Question(source, model, asked, Placed(params, settings, **places), promised, requests)


def _varied(reader: Reader, load: Mapping[str, Any]) -> dict[str, str]:
    """Stands for a rate, or users, that an axis says at each point, where the load itself says none."""
    axes = reader.document.data.get("parameters")
    if any(kind in load for kind in KINDS) or not isinstance(axes, dict):
        return {}
    return {kind: "1" for kind in KINDS if f"{KEY}.{kind}" in axes and kind != "trace"}


def _pairs(reader: Reader, key: str, given: Mapping[str, Any]) -> dict[str, str]:
    if key not in given:
        return {}
    pairs = reader.mapping((KEY, key), given[key], "dtype: fp8" if key == "parameters" else "max_sequences: 128")
    return {name: _text(reader, (KEY, key, name), value) for name, value in pairs.items()}


def _text(reader: Reader, path: tuple[str, ...], value: Any) -> str:
    """A value as the command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        reader.fail(path, "a number or a word", show(value))
    return value.strip() if isinstance(value, str) else repr(value)


def _beside(reader: Reader, source: str) -> str:
    """A configuration's path relative to the sweep's file as an absolute one; a name as it is."""
    if not source.startswith(huggingface.PREFIX):
        return source
    path = (reader.document.path.parent / source.removeprefix(huggingface.PREFIX)).resolve()
    return f"{huggingface.PREFIX}{path}"


def in_keys(text: str) -> str:
    """A mistake that names options of the command line, with the keys of a sweep's file instead."""
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: found[1].replace("-", "_"), text)


@contextmanager
def _told(reader: Reader) -> Iterator[None]:
    """Put the key before a mistake that names an option of the command line, and call it as the file does."""
    try:
        yield
    except SimexploreError as error:
        text = in_keys(str(error))
        name, _, rest = text.partition(": ")
        known = name in reader.document.data[KEY]
        with reader.at((KEY, name) if known else (KEY,)):
            raise SimexploreError(rest if known else text) from None


def serving_parameter(name: str, question: Question) -> Parameter:
    """What an axis `serve.NAME` changes.

    Raises:
        SimexploreError: nothing of that name may be another at each point.
    """
    known = question.takes()
    if name not in known:
        raise SimexploreError(f"expected one of {', '.join(known)}, found {show(name)}{nearest(name, list(known))}")
    return Parameter(name, (KEY,), *known[name])


def check_search(reader: Reader, question: Question, asked: Collection[str]) -> None:
    """Hold what a sweep asks for against what its load can answer.

    Raises:
        SimexploreError: the highest rate of a load that has none, or a share of requests that nothing asks for.
    """
    if HIGHEST in asked:
        with reader.at((KEY,)):
            question.check_search()
    elif question.promised.share is not None:
        reader.fail((KEY, "share"), f"it where {HIGHEST} is an objective or in a constraint only", "it elsewhere")
