"""From what a user writes to deployments and loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from simexplore.archs import units
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.serve.deployment import Deployment, gpus_of
from simexplore.sim.serve.engine.defaults import settings_of
from simexplore.sim.serve.engine.machines import Where
from simexplore.sim.serve.engine.tuning import Shape, fitting, tuned
from simexplore.sim.serve.load.arrivals import MOST_REQUESTS, Arrivals, Lengths, Users
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.load.traces import BLOCK_TOKENS, read_trace
from simexplore.sim.serve.results import Objectives
from simexplore.sim.serve.study import Load
from simexplore.workloads.families.decoder.options import StepOptions
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.hints import did_you_mean, found
from simexplore.workloads.importers import huggingface
from simexplore.workloads.operators.parameters import from_values

PREFIX = "llm/"
AT_ONCE = "inf"
"""The rate of requests that are all there from the beginning."""
MOST_RATES = 1000
DURATION, THINK, PROMPT, ANSWER, BURSTINESS, AT_ONCE_REQUESTS = "60s", "0s", "1000", "200", "1", "1000"
SHARE = "0.99"
"""What is meant where nothing is said."""
TUNED = ("trtllm",)
"""Engines whose own benchmark chooses the size of steps for its load."""
DECIDED = ("batch", "engine")
"""Parameters of a model's steps that serving decides."""
_EXAMPLE = "--param tensor_parallel=4 --param dtype=fp8"


Kind = Literal["rate", "at once", "users", "trace"]
KINDS: Mapping[Kind, str] = MappingProxyType(
    {"rate": "--rate", "at once": "--rate inf", "users": "--users", "trace": "--trace"}
)
"""Kinds of loads, each as a user asks for it."""
DRAWN: tuple[Kind, ...] = ("rate", "at once", "users")
COUNTS: Mapping[str, tuple[tuple[Kind, ...], str]] = MappingProxyType(
    {
        "--duration": (("rate",), "--requests says how many come"),
        "--burstiness": (("rate",), "only requests at a rate have gaps between them"),
        "--think": (("users",), "only --users wait and think"),
        "--requests": (("at once", "users", "trace"), "at a rate, --duration says how many come"),
        "--input": (DRAWN, "a trace says how long its prompts are"),
        "--output": (DRAWN, "a trace says how long its answers are"),
        "--seed": (DRAWN, "nothing of a trace is drawn"),
    }
)
"""Of each option the loads that it counts for, and why it does not for others."""


def counts_for(option: str, kind: Kind) -> bool:
    """Whether an option says something of a kind of loads: it asks for that kind, or counts for it."""
    return option == KINDS[kind] or (option in COUNTS and kind in COUNTS[option][0])


@dataclass(frozen=True, slots=True)
class Given:
    """A load as a user writes it: one of rate, trace and users; None: nothing was said."""

    rate: str | None = None
    trace: str | None = None
    users: str | None = None
    duration: str | None = None
    requests: str | None = None
    think: str | None = None
    prompt: str | None = None
    answer: str | None = None
    burstiness: str | None = None
    seed: int | None = None

    @property
    def kind(self) -> Kind:
        """Which load it is.

        Raises:
            SimexploreError: none or several are given, or something is that does not count for it.
        """
        kinds = {"--rate": self.rate, "--trace": self.trace, "--users": self.users}
        chosen = [option for option, text in kinds.items() if text is not None]
        if len(chosen) != 1:
            told = " and ".join(chosen) or "none"
            raise SimexploreError(f"expected one of --rate, --trace and --users, found {told}")
        kind: Kind = "trace" if self.trace is not None else "users" if self.users is not None else "rate"
        kind = "at once" if self.rate == AT_ONCE else kind
        said = (self.duration, self.burstiness, self.think, self.requests, self.prompt, self.answer, self.seed)
        for (option, (counts, why)), value in zip(COUNTS.items(), said, strict=True):
            if value is not None and kind not in counts:
                beside = ", ".join(KINDS[each] for each in counts)
                raise SimexploreError(
                    f"{option}: expected beside {beside} only, found it beside {KINDS[kind]}: leave it out, {why}"
                )
        return kind

    def loads(self) -> list[tuple[dict[str, float], Load]]:
        """What comes, each with what tells it from the others.

        Raises:
            SimexploreError: as `kind`, or one of them is none.
        """
        if (kind := self.kind) == "trace":
            return [({}, self.traced())]
        if kind == "users":
            return [self._users(self.users or "")]
        if kind == "at once":
            return [({}, self._at_once())]
        return [({"rate_per_s": rate}, self._arrivals(rate)) for rate in rates(self.rate or "")]

    def traced(self) -> list[Request]:
        """The requests of the trace.

        Raises:
            SimexploreError: as `read_trace`.
        """
        limit = None if self.requests is None else count("--requests", self.requests, MOST_REQUESTS)
        return read_trace(Path(self.trace or ""), limit)

    @property
    def _lengths(self) -> tuple[Lengths, Lengths]:
        """Of prompts and answers."""
        return Lengths.parse(_said(self.prompt, PROMPT), "--input"), Lengths.parse(
            _said(self.answer, ANSWER), "--output"
        )

    def _at_once(self) -> list[Request]:
        asked = count("--requests", _said(self.requests, AT_ONCE_REQUESTS), MOST_REQUESTS)
        questions = Users(1, 0.0, asked, *self._lengths, self.seed or 0).questions()
        return [Request(0.0, prompt, answer) for prompt, answer in questions]

    def _arrivals(self, rate_per_s: float) -> Arrivals:
        duration_s = seconds("--duration", _said(self.duration, DURATION))
        shape = number("--burstiness", _said(self.burstiness, BURSTINESS))
        return Arrivals(rate_per_s, duration_s, *self._lengths, shape, self.seed or 0)

    def _users(self, text: str) -> tuple[dict[str, float], Users]:
        people = count("--users", text, MOST_REQUESTS)
        asked = 10 * people if self.requests is None else count("--requests", self.requests, MOST_REQUESTS)
        think_s = seconds("--think", _said(self.think, THINK))
        return {"users": people}, Users(people, think_s, asked, *self._lengths, self.seed or 0)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a model is to run, as a user writes it."""

    params: Mapping[str, str]
    settings: Mapping[str, str]
    pipeline: int = 1
    replicas: int = 1
    prefill_replicas: int = 0

    def deployments(self, decoder: Decoder, machine: Gpu | System, loads: Sequence[Load]) -> dict[str, Deployment]:
        """A deployment by what tells it from the others: parameters of several values, each in turn.

        Args:
            decoder: the model.
            machine: the GPU and its neighbours.
            loads: that each of them will serve.

        Raises:
            SimexploreError: an unknown parameter or setting, or the machine can't hold the model as asked.
        """
        gpu, together = gpus_of(machine)
        shape, given = shape_of(loads), frozenset(self.settings)
        shared = any(shares_blocks(load) for load in loads)
        made = {}
        for chosen, several in self._choices():
            options = self._options(decoder, gpu, chosen)
            where = Where(gpu.name, gpu.dram.capacity_bytes, options.tensor_parallel, self.pipeline)
            settings, room = settings_of(gpu.engine, self.settings, where)
            settings = fitting(replace(settings, block_tokens=BLOCK_TOKENS if shared else 0), shape, given)
            name = ", ".join(f"{key}={chosen[key]}" for key in several) or decoder.name
            made[name] = deployment = Deployment(
                decoder, options, gpu, together, settings, room, self.pipeline, self.replicas, self.prefill_replicas
            )
            if gpu.engine in TUNED and settings.batching == "continuous" and all(is_at_once(load) for load in loads):
                better = tuned(settings, shape, deployment.reckoned_tokens, self.pipeline, given)
                made[name] = replace(deployment, settings=better)
        return made

    def _choices(self) -> list[tuple[dict[str, str], list[str]]]:
        values = {key: text.split(",") for key, text in self.params.items()}
        several = [key for key, each in values.items() if len(each) > 1]
        return [(dict(zip(values, each, strict=True)), several) for each in product(*values.values())]

    def _options(self, decoder: Decoder, gpu: Gpu, chosen: Mapping[str, str]) -> StepOptions:
        for name in DECIDED:
            if name in chosen:
                raise SimexploreError(f"{decoder.name}: {name} is what serving decides: leave it out")
        options = from_values(StepOptions, decoder.name, chosen, _EXAMPLE)
        collectives = gpu.collective_library
        own = collectives is not None and gpu.engine in collectives.custom
        return replace(options, engine=gpu.engine if own else None)


@dataclass(frozen=True, slots=True)
class Promised:
    """What users are promised, as a user writes it."""

    ttft: str | None = None
    tpot: str | None = None
    latency: str | None = None
    share: str | None = None

    def objectives(self) -> Objectives:
        """As numbers.

        Raises:
            SimexploreError: a time or a share that is none.
        """
        limits = (("--ttft", self.ttft), ("--tpot", self.tpot), ("--latency", self.latency))
        ttft_s, tpot_s, latency_s = (None if text is None else seconds(option, text) for option, text in limits)
        share = number("--share", _said(self.share, SHARE))
        if not 0.0 < share <= 1.0:
            raise SimexploreError(f"--share: expected a share above 0, up to 1, found {self.share!r}")
        return Objectives(ttft_s, tpot_s, latency_s, share)


def _said(text: str | None, meant: str) -> str:
    """What was said, or what is meant where nothing was."""
    return meant if text is None else text


def model_of(work: str) -> Decoder:
    """The model of a name or of a `config.json`.

    Raises:
        SimexploreError: there is none.
    """
    if work.startswith(huggingface.PREFIX):
        return huggingface.read_model(Path(work.removeprefix(huggingface.PREFIX)))
    name = work.removeprefix(PREFIX)
    if work.startswith(PREFIX) and name in MODELS:
        return MODELS[name]
    known = [f"{PREFIX}{each}" for each in MODELS]
    hint = did_you_mean(work, known)
    raise SimexploreError(
        f"expected a language model such as {PREFIX}llama-3-8b or hf:config.json, found {found(work)}{hint}"
    )


def rates(text: str) -> list[float]:
    """`10`, `2,4,8`, or `2:40:2` for 2, 4, … up to 40 [1/s].

    Raises:
        SimexploreError: it is none of these, or has too many.
    """
    parts = text.split(":")
    if len(parts) == 1:
        return [_positive(part) for part in text.split(",")]
    if len(parts) != 3:
        raise SimexploreError(f"--rate: expected 10, or 2,4,8, or first:last:step, found {text!r}")
    first, last, step = (_positive(part) for part in parts)
    if last < first:
        raise SimexploreError(f"--rate: expected the lowest rate first, found {text!r}")
    steps = int((last - first) / step * (1.0 + 1e-12) + 1e-9)
    if steps >= MOST_RATES:
        raise SimexploreError(f"--rate: expected at most {MOST_RATES:,} rates, found {steps + 1:,}")
    return [first + index * step for index in range(steps + 1)]


def _positive(text: str) -> float:
    value = number("--rate", text)
    if value <= 0.0:
        raise SimexploreError(f"--rate: expected requests a second, above 0, found {text!r}")
    return value


def number(option: str, text: str) -> float:
    """A finite number.

    Raises:
        SimexploreError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise SimexploreError(f"{option}: expected a number, found {text!r}")
    return value


def count(option: str, text: str, most: int) -> int:
    """An integer from 1 on.

    Raises:
        SimexploreError: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise SimexploreError(f"{option}: expected an integer from 1 to {most:,}, found {text!r}")
    return int(text)


def seconds(option: str, text: str) -> float:
    """A time with its unit, such as `500ms` [s].

    Raises:
        SimexploreError: it is none.
    """
    try:
        return units.parse(text, units.SECONDS)
    except (SimexploreError, ValueError):
        raise SimexploreError(f"{option}: expected a time such as 500ms or 60s, found {found(text)}") from None


def is_at_once(load: Load) -> bool:
    """Whether all requests of a load are there from the beginning."""
    return not isinstance(load, Arrivals | Users) and all(request.arrival_s <= 0.0 for request in load)


def shape_of(loads: Sequence[Load]) -> Shape:
    """Lengths of all loads together."""
    prompts, answers = [], []
    for load in loads:
        if isinstance(load, Arrivals | Users):
            prompts += [load.prompt.least, load.prompt.most]
            answers += [load.answer.least, load.answer.most]
        else:
            prompts += [request.input_tokens for request in load]
            answers += [request.output_tokens for request in load]
    return Shape(sum(prompts) / len(prompts), sum(answers) / len(answers), max(prompts))


def shares_blocks(load: Load) -> bool:
    """Whether prompts of a load begin with blocks that others have too."""
    return not isinstance(load, Arrivals | Users) and any(request.blocks for request in load)
