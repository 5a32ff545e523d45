"""Sweeps that serve a load: points are what `serve` says of each machine, and mistakes are told in a line."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import ROOT
from served import SERVED
from sweeps import write

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.explore.analysis import bottleneck_changes, bottlenecks
from simexplore.sim.explore.evaluation.executor import Chunks
from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.spec.file import Spec, read_spec
from simexplore.sim.explore.spec.serving import KEYS
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.explore.table import FloatArray
from simexplore.sim.serve.asked import Given, Placed, Promised
from simexplore.sim.serve.campaign import Campaign
from simexplore.sim.serve.question import FIGURES, HIGHEST, Answers, Question
from simexplore.workloads.families.llm import MODELS

SETTINGS = {"max_tokens": "256", "max_sequences": "8"}
PROMISED = Promised("20ms", "10ms")


def campaign(bandwidth: str, load: Given, params: dict[str, str] | None = None, **placed: int) -> Campaign:
    """What `simexplore serve --set dram.bandwidth=…` is asked."""
    machine = load_arch("nvidia/h100-sxm", {"dram.bandwidth": bandwidth})
    return Campaign(
        MODELS["llama-3-8b"], machine, load, Placed(params or {"layers": "1"}, SETTINGS, **placed), PROMISED, "", {}
    )


def given(rate: str | None = "4", **more: str | int) -> Given:
    """The load of the small sweep."""
    return replace(Given(rate, None, None, "3 s", None, None, "20:60", "3:6", None, 3), **more)  # type: ignore[arg-type]


def test_points_are_what_serve_says_of_each_machine(tmp_path: Path) -> None:
    table = Sweep.from_yaml(write(tmp_path, SERVED)).run()
    assert table["dram.bandwidth"].tolist() == [2.5e12, 2.5e12, 3.35e12, 3.35e12]
    assert table["serve.rate"].tolist() == [4.0, 12.3456789] * 2
    assert HIGHEST not in table
    rows = [row for _, row in table.iterrows()]
    for row, (bandwidth, rate) in zip(
        rows, [(b, r) for b in ("2.5 TB/s", "3.35 TB/s") for r in ("4", "12.3456789")], strict=True
    ):
        ((_, told),) = campaign(bandwidth, given(rate)).points()
        for name in FIGURES:
            if name != HIGHEST:
                what, _, part = name.removesuffix("_s").rpartition("_")
                spread = told.get(f"{what}_s")
                assert row[name] == (spread[part] if isinstance(spread, dict) else told[name]), name
    assert rows[0]["ttft_p99_s"] != rows[2]["ttft_p99_s"]


def test_figures_have_units_and_the_way_that_is_better(tmp_path: Path) -> None:
    text = SERVED.replace("[ttft_p99_s, energy_per_output_token_j]", "[goodput_requests_per_s, kv_peak_share, ttft_s]")
    with pytest.raises(SimexploreError, match=r"objectives\.2: expected one of .*found 'ttft_s'"):
        read_spec(write(tmp_path, text))
    problem = read_spec(write(tmp_path, text.replace("ttft_s]", "tpot_p50_s]"))).problem
    columns = {column.name: (column.unit, column.role, column.direction) for column in problem.columns}
    assert columns["goodput_requests_per_s"] == ("1/s", "objective", "max")
    assert columns["kv_peak_share"] == ("1", "objective", "min")
    assert columns["tpot_p50_s"] == ("s", "objective", "min")
    assert columns["ttft_p99_s"] == ("s", "metric", None)
    assert not {"time_s", "bound", "peak_memory_bytes", "tokens_per_s"} & set(columns)


def test_the_highest_rate_is_searched_where_it_is_asked_for(tmp_path: Path) -> None:
    text = SERVED.replace("ttft_p99_s, energy", "highest_rate_per_s, energy").replace("output: 3:6", "output: 40")
    text = text.replace("2.5 TB/s, 3.35 TB/s", "2.5 TB/s").replace("max_sequences: 8", "max_sequences: 1")
    text = text.replace("  serve.rate: [4, 12.3456789]\n", "").replace("constraints: [held_share >= 0.99]\n", "")
    table = Sweep.from_yaml(write(tmp_path, text)).run()
    told = campaign("2.5 TB/s", given("8", answer="40"))
    told.placed = Placed({"layers": "1"}, {**SETTINGS, "max_sequences": "1"})
    (found,) = told.highest_rates(lambda _: None)
    assert table[HIGHEST].tolist() == [found["rate_per_s"]]
    assert 1.0 < found["rate_per_s"] < 1000.0


def test_axes_of_the_load_the_model_and_the_engine(tmp_path: Path) -> None:
    axes = "  serve.users: [1, 2]\n  serve.tensor_parallel: [1, 3]\n  serve.replicas: [1, 2]\n"
    text = SERVED.replace("  rate: 8\n  duration: 3 s\n", "").replace("  serve.rate: [4, 12.3456789]\n", axes)
    with Store.create(tmp_path, Sweep.from_yaml(write(tmp_path, text)).header):
        pass
    spec = read_spec(write(tmp_path, text))
    chunk = Evaluator(spec.problem).evaluate(0, np.array([[0.1, 0.9, 0.1, 0.9], [0.1, 0.1, 0.9, 0.1]]))
    assert list(chunk.failures) == [1]
    assert "tensor_parallel=3 must divide" in chunk.failures[1]
    names = [column.name for column in spec.problem.columns]
    ((_, told),) = campaign("2.5 TB/s", given(None, users="2", duration=None), replicas=2).points()  # type: ignore[arg-type]
    assert chunk.values[names.index("gpus"), 0] == 2.0 == told["gpus"]
    assert chunk.values[names.index("duration_s"), 0] == told["duration_s"]
    assert spec.problem.together == 8


def test_axes_are_of_what_counts_for_the_load(tmp_path: Path) -> None:
    """Of requests that are all there at once, how many there are; and a point is told of by the file's keys."""
    text = SERVED.replace("  rate: 8\n  duration: 3 s\n", "  rate: inf\n")
    text = text.replace("serve.rate: [4, 12.3456789]", "serve.requests: [2, 5]\n  serve.input: [20, 999999999]")
    problem = read_spec(write(tmp_path, text)).problem
    chunk = Evaluator(problem).evaluate(0, np.array([[0.1, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]]))
    assert list(chunk.failures) == [2]
    assert chunk.failures[2].startswith("input: expected 1 to")
    ((_, told),) = campaign("2.5 TB/s", given("inf", duration=None, requests="5", prompt="20")).points()  # type: ignore[arg-type]
    names = [column.name for column in problem.columns]
    assert chunk.values[names.index("duration_s"), 1] == told["duration_s"] > chunk.values[names.index("duration_s"), 0]
    text = text.replace("serve.requests: [2, 5]", "serve.burstiness: [2, 5]")
    with pytest.raises(SimexploreError, match="expected one of requests, input, output, pipeline"):
        read_spec(write(tmp_path, text))


def test_a_trace_is_read_once_and_its_place_does_not_matter(tmp_path: Path) -> None:
    trace = tmp_path / "requests.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,30,4\n1,30,4\n")
    load = "  rate: 8\n  duration: 3 s\n  input: 20:60\n  output: 3:6\n"
    text = SERVED.replace(load, "  trace: requests.csv\n").replace("  seed: 3\n", "")
    text = text.replace("serve.rate: [4, 12.3456789]", "serve.prefill_replicas: [0, 1]")
    spec = read_spec(write(tmp_path, text))
    moved = tmp_path / "moved.csv"
    trace.rename(moved)
    again = read_spec(write(tmp_path, text.replace("requests.csv", "moved.csv")))
    assert Sweep(spec).header.digest == Sweep(again).header.digest
    problem = pickle.loads(pickle.dumps(spec.problem))
    moved.write_text("arrival_s,input_tokens,output_tokens\n0,31,4\n1,30,4\n")
    other = read_spec(write(tmp_path, text.replace("requests.csv", "moved.csv")))
    assert Sweep(spec).header.digest != Sweep(other).header.digest
    chunk = Evaluator(problem).evaluate(0, np.array([[0.1, 0.1], [0.1, 0.9]]))
    names = [column.name for column in problem.columns]
    assert chunk.values[names.index("gpus")].tolist() == [1.0, 2.0]
    assert not chunk.failures


def test_a_store_knows_what_was_served(tmp_path: Path) -> None:
    sweep = Sweep.from_yaml(write(tmp_path, SERVED))
    told = sweep.header.metadata["workloads"]["serve"]
    assert told["source"] == "llm/llama-3-8b"
    assert told["parameters"]["input"] == "20:60"
    assert "rate" not in told["parameters"]
    assert json.loads(json.dumps(told)) == told
    other = Sweep.from_yaml(write(tmp_path, SERVED.replace("seed: 3", "seed: 4")))
    assert sweep.header.digest != other.header.digest


def test_chunks_keep_together_what_shares_a_machine() -> None:
    chunks = Chunks([(0, 40)], slots=1, together=6)
    assert chunks.take() == (0, 6)
    chunks.learn(6, 0.5)
    assert chunks.take() == (6, 12)
    chunks.learn(6, 0.06)
    assert chunks.take() == (12, 36)
    assert Chunks([(0, 40)], slots=2, together=6).take() == (0, 6)


@pytest.mark.parametrize("machines", ["2.5 TB/s, 3.35 TB/s", "2.5 TB/s"])
def test_a_forecast_times_what_nobody_remembers(machines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point to import all, then the loads of a whole machine, each answered anew."""
    path = write(tmp_path, SERVED, ("[2.5 TB/s, 3.35 TB/s]", f"[{machines}]"))
    evaluate, answer = Evaluator.evaluate, Answers.answer
    points: list[int] = []
    answered: list[Question] = []

    def evaluated(self: Evaluator, first: int, u: FloatArray) -> Chunk:
        points.append(len(u))
        return evaluate(self, first, u)

    def asked(self: Answers, question: Question, *more: Any) -> dict[str, float]:
        answered.append(question)
        return answer(self, question, *more)

    monkeypatch.setattr(Evaluator, "evaluate", evaluated)
    monkeypatch.setattr(Answers, "answer", asked)
    assert Sweep.from_yaml(path).forecast().point_s > 0.0
    assert points == [1, 2]
    assert len(answered) == 3


def test_nothing_bounds_a_load(tmp_path: Path) -> None:
    Sweep.from_yaml(write(tmp_path, SERVED)).fill(tmp_path / "out")
    with Store.open(tmp_path / "out") as store:
        assert bottlenecks(store).empty
        assert bottleneck_changes(store).empty


LOAD = "  rate: 8\n  duration: 3 s\n"
LENGTHS = "  input: 20:60\n  output: 3:6\n"
MISTAKES = {
    "unknown key": ("  seed: 3\n", "  sede: 3\n", "serve.sede: expected one of the keys model, rate"),
    "no model": ("  model: llm/llama-3-8b\n", "", "serve.model: expected a language model"),
    "no such model": ("llama-3-8b\n", "llama-3-8c\n", "serve.model: expected a language model"),
    "a phase": ("llama-3-8b\n", "llama-3-8b/decode\n", "serve.model: expected a language model"),
    "two loads": (
        LOAD,
        "  rate: 8\n  users: 3\n",
        "serve: expected one of rate, trace and users, found r",
    ),
    "a time without an effect": (LOAD, "  users: 3\n  duration: 3 s\n", "serve.duration: expected beside rate only"),
    "a thought at a rate": (LOAD, "  rate: 8\n  think: 1 s\n", "serve.think: expected beside users only"),
    "several rates": (LOAD, "  rate: 2,4\n", "several are an axis"),
    "rate of a word": (LOAD, "  rate: fast\n", "serve.rate: expected a number, found 'fast'"),
    "rate of a list": (LOAD, "  rate: [1]\n", "serve.rate: expected a number or a word, found a list"),
    "a time in bytes": ("duration: 3 s", "duration: 3 MB", "serve.duration: expected"),
    "lengths beside a trace": (
        LOAD,
        "  trace: nowhere.csv\n",
        "input: expected beside rate, rate inf, users only",
    ),
    "no such trace": (LOAD + LENGTHS, "  trace: nowhere.csv\n", "nowhere.csv: the trace can't be read"),
    "unknown parameter": ("{layers: 1}", "{layer: 1}", "did you mean 'layers'"),
    "unknown setting": ("max_sequences: 8", "max_sequence: 8", "did you mean 'max_sequences'"),
    "a promise in bytes": ("ttft: 20 ms", "ttft: 20 MB", "serve.ttft: expected"),
    "a share that nothing asks for": ("  seed: 3\n", "  share: 0.9\n", "serve.share: expected it where highest_rate"),
    "a seed of a word": ("seed: 3", "seed: x", "serve.seed: expected a whole number from 0"),
    "workload beside": ("serve:\n", "workload: gelu(elements=4)\nserve:\n", "workload: expected no workload beside"),
    "events": ("serve:\n", "fidelity: execute\nserve:\n", "fidelity: expected no fidelity beside serve"),
    "unknown axis": ("serve.rate:", "serve.rates:", "did you mean 'rate'"),
    "an axis of another load": ("serve.rate:", "serve.users:", "expected one of rate, input"),
    "a workload's axis": ("serve.rate:", "workload.batch:", "'workload.batch'"),
    "half a replica": ("serve.rate: [4, 12.3456789]", "serve.replicas: [0.5]", "expected a whole number from 1"),
    "a result of a workload": ("[ttft_p99_s,", "[time_s,", "expected one of highest_rate_per_s, ttft_mean_s"),
    "a serve that is none": ("arch: nvidia/h100-sxm\n", "arch: nvidia/h100-sxm\nserve: 3\n", "each key once"),
    "no replicas": ("  seed: 3\n", "  replicas: 0\n", "serve.replicas: expected a whole number from 1"),
    "several values": ("{layers: 1}", "{tensor_parallel: '1,2'}", "tensor_parallel: expected a positive integer"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_a_line_with_their_place(name: str, tmp_path: Path) -> None:
    old, new, words = MISTAKES[name]
    if "trace" in new and old != LOAD:
        new += "  ttft: 20 ms\n"
        old += "  ttft: 20 ms\n  tpot: 10 ms\n  seed: 3\n"
    with pytest.raises(SimexploreError) as told:
        read(tmp_path, old, new)
    said = str(told.value)
    assert words in said
    assert said.startswith(f"{tmp_path / 'sweep.yaml'}:")
    assert "\n" not in said
    assert "--" not in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (LOAD, "  users: 3\n", "expected a load at a rate, which the search begins at"),
        ("  ttft: 20 ms\n  tpot: 10 ms\n", "", "expected a promise to hold"),
    ],
)
def test_what_has_no_highest_rate(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = SERVED.replace("[ttft_p99_s,", f"[{HIGHEST},").replace("  serve.rate: [4, 12.3456789]\n", "")
    with pytest.raises(SimexploreError, match=f"serve: {HIGHEST}: {words}"):
        read_spec(write(tmp_path, text.replace("constraints: [held_share >= 0.99]", "").replace(old, new)))


def read(folder: Path, old: str, new: str) -> Spec:
    return read_spec(write(folder, SERVED, (old, new)))


def test_the_guide_shows_the_example_and_names_all_figures() -> None:
    guide = (ROOT / "docs" / "guide" / "serving.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert block in (ROOT / "examples" / "serve-hopper.yaml").read_text(encoding="utf-8")
    section = guide.partition("## Which machine serves best")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z0-9_]+)`", section))
    whole = {name for name in FIGURES if name.split("_")[0] not in ("ttft", "tpot", "latency")}
    assert whole | {"ttft_p99_s"} <= named
    assert {*KEYS} <= named | {"model"}
