"""`simexplore run`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import simexplore

FILES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))
EXAMPLES = [path for path in FILES if "\nparameters:" not in path.read_text(encoding="utf-8")]  # the others are sweeps
GEMM = "gemm(m=4096,n=4096,k=4096,dtype=bf16)"
DECODE = ("llm/llama-3-8b/decode", "--arch", "nvidia/h200-sxm", "--param", "batch=8", "--param", "context=4096")


def of(quantity: str, unit: str) -> tuple[str, str, str]:
    """Keys of a figure and its interval."""
    return f"{quantity}_{unit}", f"{quantity}_low_{unit}", f"{quantity}_high_{unit}"


def test_json_has_the_promised_keys(command: Callable[..., Result]) -> None:
    result = command("run", GEMM, "--arch", "nvidia/rtx-4090", "--set", "l2.capacity=36 MiB", "--json")
    data = json.loads(result.stdout)
    figures = {*of("time", "s"), *of("energy", "j"), "energies_j", "clock_over_boost"}
    of_the_run = {*figures, "mean_power_w", "peak_memory_bytes", "memory", "utilization", "ops"}
    of_repeats = {"runs", "time_per_run_s", "energy_per_run_j", "duty"}
    about = {"version", "machine", "workload"}
    assert set(data) == of_the_run | of_repeats | about | {"correction", "gpus", "figures_of", "warnings"}
    told = (simexplore.__version__, simexplore.load_arch("nvidia/rtx-4090").name, GEMM)
    assert tuple(data[name] for name in ("version", "machine", "workload")) == told
    (op,) = data["ops"]
    assert set(op) == {*figures, "name", "op", "start_s", "bound", "kernel", "stands_on"}
    assert op["op"] == GEMM
    assert data["time_s"] == pytest.approx(op["start_s"] + op["time_s"])
    assert data["energy_j"] > op["energy_j"] > 0


def test_json_names_a_system_and_not_its_gpu(command: Callable[..., Result]) -> None:
    data = json.loads(command("run", GEMM, "--arch", "systems/rtx-4090-i9", "--json").stdout)
    assert data["machine"] == "RTX 4090 with a Core i9-10900X and 128 GB"


def test_a_gemm_is_not_faster_than_its_peak(command: Callable[..., Result]) -> None:
    data = json.loads(command("run", GEMM, "--arch", "nvidia/h200-sxm", "--json").stdout)
    peak = json.loads(command("arch", "show", "nvidia/h200-sxm", "--json").stdout)["derived"]["tensor_bf16_ops_per_s"]
    assert 2 * 4096**3 / peak * 0.9 < data["time_s"] < 2 * 4096**3 / peak * 3


def test_table_groups_the_layers(command: Callable[..., Result]) -> None:
    shown = command("run", *DECODE).stdout
    (line,) = (line.split() for line in shown.splitlines() if "attention_decode(" in line)
    assert line[0] == "layer*.attention"
    assert line[3] == "32"
    figures = {line.split("  ")[0] for line in shown.splitlines()}
    assert {"time", "tokens", "energy", "peak memory", "dram in use"} <= figures


def test_names_that_end_in_a_number_of_their_own_stay_apart(command: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "mlp.yaml"
    ops = (
        "- {name: fc1, op: 'gemm(m=1,n=512,k=256,dtype=fp16)'}\n- {name: fc2, op: 'gemm(m=1,n=256,k=512,dtype=fp16)'}\n"
    )
    path.write_text(f"repeat: 3\noperators:\n{ops}", encoding="utf-8")
    shown = command("run", path, "--arch", "nvidia/t4").stdout
    assert [line.split()[0] for line in shown.splitlines() if "gemm(" in line] == ["fc1.*", "fc2.*"]


CHANGED = ("gemm(m=64,n=4096,k=4096)", "--arch", "nvidia/h200-sxm", "--set", "sm.count=96")
WHY = "the machine is not the one that it was learned on: sm.count"


def test_a_correction_that_fades_says_by_how_much_and_why(command: Callable[..., Result]) -> None:
    changed = command("run", *CHANGED)
    told = json.loads(command("run", *CHANGED, "--json").stdout)
    faded = told["correction"].pop("faded")
    assert 0.001 < faded < 0.1
    assert told["correction"] == {"applied": 1, "operators": 1, "left_out": {}, "lenders": ["NVIDIA H200 SXM 141 GB"]}
    by = f"fades by {faded:.1%}".replace("%", " %")
    assert f"simexplore: the learned correction of NVIDIA H200 SXM 141 GB {by}, since {WHY}\n" in changed.stderr
    assert "1 of 1 operators" in changed.stdout
    assert f"NVIDIA H200 SXM 141 GB, faded by {faded:.1%}".replace("%", " %") in changed.stdout
    assert told["warnings"] == [
        "sm.count is your own, and what depends on it is as in h200-sxm.yaml: l2.bandwidth, power.tdp"
    ]


def test_what_is_quite_another_machine_is_told_so(command: Callable[..., Result]) -> None:
    run = command("run", *CHANGED[:3], "--set", "dram.bandwidth=0.3 TB/s", "--json")
    told = json.loads(run.stdout)["correction"]
    assert (told["applied"], told["faded"], told["lenders"]) == (0, 0.0, [])
    assert told["left_out"] == {
        "gemm takes quite another time on NVIDIA H200 SXM 141 GB, where it was learned: it fades": 1
    }


@pytest.mark.parametrize(
    ("work", "applied", "why"),
    [
        ("gemm(m=64,n=4096,k=4096)", 1, ""),
        ("gemm(m=64,n=4096,k=4096,dtype=fp16)", 0, "nothing was learned of gemm fp16 graph"),
        ("gemm(m=400000,n=400000,k=200000)", 0, "sizes of gemm are more than 1.2 octaves from measured ones"),
        ("rmsnorm(rows=8,cols=4096)", 0, "nothing was learned of rmsnorm bf16 graph"),
    ],
)
def test_each_operator_says_whether_it_was_learned_of(
    command: Callable[..., Result], work: str, applied: int, why: str
) -> None:
    run = command("run", work, "--arch", "nvidia/h200-sxm", "--allow-overflow", "--json")
    told = json.loads(run.stdout)["correction"]
    assert (told["applied"], len(told["left_out"])) == (applied, 1 - applied)
    assert all(reason.startswith(why) for reason in told["left_out"])
    assert run.stderr == ""


def test_a_machine_that_was_never_measured_has_nothing_to_say(command: Callable[..., Result]) -> None:
    run = command("run", "gemm(m=64,n=4096,k=4096)", "--arch", "nvidia/l4", "--json")
    told = {"applied": 0, "operators": 1, "left_out": {}, "lenders": [], "faded": 0.0}
    assert json.loads(run.stdout)["correction"] == told


def test_what_changes_no_kernel_changes_no_time(command: Callable[..., Result]) -> None:
    work = CHANGED[:3]
    learned, physics = (json.loads(command("run", *work, *more, "--json").stdout) for more in ((), ("--physics-only",)))
    assert physics["correction"]["left_out"] == {"--physics-only": 1}
    assert physics["time_s"] != learned["time_s"]
    same = json.loads(command("run", *work, "--set", "links.pcie.latency=9 us", "--json").stdout)
    assert same["time_s"] == learned["time_s"]


def test_a_lower_power_limit_makes_nothing_faster(command: Callable[..., Result]) -> None:
    full, less, least = (
        json.loads(command("run", *DECODE, "--set", f"power.tdp={watts} W", "--json").stdout)["time_s"]
        for watts in (700, 600, 300)
    )
    assert full <= less < least


PARALLEL = ("llm/llama-3-70b/decode", "--arch", "nvidia/h200-sxm", "--param", "layers=1", "--param")


def test_parallel_runs_say_whose_figures_they_are(command: Callable[..., Result]) -> None:
    shown = command("run", *PARALLEL, "tensor_parallel=8").stdout
    assert "on NVIDIA H200 SXM 141 GB, one of 8 alike" in shown
    lines = {line.split("  ")[0]: line.split() for line in shown.splitlines() if line}
    assert lines["in all"][2:] == ["one", "GPU", "all", "8", "GPUs"]
    assert lines["time"][1:3] == lines["time"][3:5]
    told = json.loads(command("run", *PARALLEL, "tensor_parallel=8", "--json").stdout)
    assert told["gpus"] == 8
    of_one = ("energy_j", "energies_j", "mean_power_w", "clock_over_boost", "peak_memory_bytes")
    others = ("memory", "utilization", "ops", "duty")
    assert told["figures_of"] == {"time_s": "all", **dict.fromkeys((*of_one, *others), "one")}
    one = json.loads(command("run", *PARALLEL, "tensor_parallel=1", "--json").stdout)
    assert one["gpus"] == 1


def test_more_gpus_than_a_node_has_are_refused(command: Callable[..., Result], fails: Callable[..., str]) -> None:
    for more in ((), ("--estimate",)):
        told = fails("run", *PARALLEL, "tensor_parallel=64", *more)
        assert "expected at most 8 GPUs to work together" in told
        assert "(links.node_gpus), found 64" in told
    assert command("run", *PARALLEL, "tensor_parallel=64", "--set", "links.node_gpus=72").exit_code == 0


def test_a_second_machine_is_refused_where_they_are_not_compared(fails: Callable[..., str]) -> None:
    told = fails("compare", "--measured", "rows.csv", "--arch", "nvidia/t4", "--arch", "nvidia/l4")
    assert "--arch: expected one machine, found nvidia/t4, nvidia/l4" in told


def test_closed_form_agrees_with_events_on_a_chain(command: Callable[..., Result]) -> None:
    events = json.loads(command("run", *DECODE, "--json").stdout)
    closed = json.loads(command("run", *DECODE, "--estimate", "--json").stdout)
    assert set(closed) == set(events)
    assert closed["peak_memory_bytes"] is None
    assert closed["time_s"] == pytest.approx(events["time_s"], rel=0.01)
    assert closed["energy_j"] == pytest.approx(events["energy_j"], rel=0.01)
    assert [op["name"] for op in closed["ops"]] == [op["name"] for op in events["ops"]]


def test_trace(command: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "decode.json"
    result = command("run", *DECODE, "--param", "layers=2", "--trace", file)
    assert result.stderr == f"simexplore: trace written to {file}: open it in ui.perfetto.dev\n"
    trace = json.loads(file.read_text(encoding="utf-8"))
    events = trace["traceEvents"]
    assert {"layer0.attention", "layer1.attention"} <= {event.get("name") for event in events}
    assert {"M", "B", "E", "C", "s", "f"} == {event["ph"] for event in events}
    about = {"machine": "NVIDIA H200 SXM 141 GB", "workload": "llm/llama-3-8b/decode"}
    assert trace["otherData"] == {"version": simexplore.__version__, **about}


def test_conditions_matter(command: Callable[..., Result]) -> None:
    def time_s(*options: str) -> float:
        arguments = ("run", "gemm(m=8,n=4096,k=2048,dtype=bf16)", "--arch", "nvidia/h200-sxm", "--json", *options)
        return float(json.loads(command(*arguments).stdout)["time_s"])

    assert time_s("--cache", "warm") < time_s("--cache", "cold") == time_s()
    assert time_s("--launch", "graph") < time_s("--launch", "stream")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(command: Callable[..., Result], example: Path) -> None:
    data = json.loads(command("run", example, "--arch", "nvidia/l40s", "--json").stdout)
    assert data["time_s"] > 0
    assert data["ops"]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "an empty file"),
        ("operators:\n  - gemm(m=1,n=1)\n", 2, "k"),
        ("operators:\n  - {op: gemm, m: 1, n: 1, k: none}\n", 2, "k: expected a positive integer"),
        ("operators:\n  - gemm(m=1,n=1,k=1)\n  - {op: gelu, elements: 1, dtype: bf61}\n", 3, "did you mean 'bf16'"),
        ("- {name: a, op: 'gelu(elements=4)', after: [b]}\n", 1, "after"),
        ("operators: 3\n", 1, "operators: expected a list of operators"),
        ("name: x\noperators:\n- gelu(elements=4)\nrepat: 2\n", 4, "did you mean 'repeat'"),
        ("operators: [\n", 2, "expected YAML"),
    ],
)
def test_a_broken_graph_is_one_line_with_its_place(
    fails: Callable[..., str], tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    told = fails("run", path, "--arch", "nvidia/t4")
    assert f"{path}:{line}" in told
    assert "expected" in told
    assert "found" in told
    assert said in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gemm(m=1,n=1,k=1,dtype=bf17)",), "did you mean 'bf16'"),
        (("gem(m=1,n=1,k=1)",), "did you mean 'gemm'"),
        (("gemm(m=0,n=1,k=1)",), "m: expected a positive integer, found '0'"),
        (("gemm(m=1,n=1",), "expected"),
        (("gemm",), "expected '('"),
        (("llm/llama-3-8b/decod",), "did you mean 'llm/llama-3-8b/decode'"),
        (("llm/llama-3-8b/decode", "--param", "batch"), "--param: expected key=value"),
        (("llm/llama-3-8b/decode", "--param", "batches=2"), "did you mean 'batch'"),
        (("gelu(elements=4)", "--param", "batch=2"), "expected no parameters"),
        (("absent.yaml",), "absent.yaml:1: expected a readable file"),
        (("gelu(elements=4)", "--set", "sm.cuont=4"), "did you mean"),
        (("gelu(elements=4)", "--set", "sm.count=many"), "--set sm.count: expected a whole number"),
        (("gemm(m=64,n=64,k=64,dtype=fp8)",), "fp8"),
        (("llm/llama-3-70b/decode",), "memory"),
        (("gelu(elements=4)", "--trace", "/absent/folder/trace.json"), "can't be written"),
    ],
)
def test_mistakes(fails: Callable[..., str], arguments: tuple[str, ...], said: str) -> None:
    assert said in fails("run", *arguments, "--arch", "nvidia/t4")


def test_a_closed_form_has_no_trace(command: Callable[..., Result], tmp_path: Path) -> None:
    result = command("run", GEMM, "--arch", "nvidia/t4", "--estimate", "--trace", tmp_path / "trace.json")
    assert result.exit_code == 2
    assert "--trace needs events" in result.stderr


def test_overflow_can_be_allowed(command: Callable[..., Result]) -> None:
    arguments = ("llm/llama-3-70b/decode", "--param", "layers=40", "--arch", "nvidia/rtx-4090", "--allow-overflow")
    data = json.loads(command("run", *arguments, "--json").stdout)
    assert data["peak_memory_bytes"] > 24 * 1024**3
