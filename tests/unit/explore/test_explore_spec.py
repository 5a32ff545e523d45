"""Whatever is wrong with a sweep's file, its author reads one line: file, line, key, expected, found."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import SMALL, write

from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.spec.file import Options, Spec, read_spec
from simexplore.sim.explore.spec.problem import UNITS
from simexplore.sim.explore.spec.reader import MAX_FILE_BYTES
from simexplore.sim.explore.storage.header import difference
from simexplore.sim.explore.study import Sweep
from simexplore.sim.explore.table import RESERVED

HEAD = "arch: nvidia/h200-sxm\nworkload: llm/llama-3-8b/decode\n"
AXIS = "parameters:\n  l2.capacity: [25 MiB, 50 MiB]\n"

# text, line of the fault, its key, what the message must say
CASES: dict[str, tuple[str, int, str, str]] = {
    "empty": ("", 1, "top level", "a mapping, found an empty file"),
    "a list": ("- a", 1, "top level", "a mapping such as 'arch: nvidia/h200-sxm', found a list"),
    "no arch": ("workload: gelu(elements=4)\n" + AXIS, 1, "arch", "a machine, found nothing"),
    "no parameters": (HEAD, 1, "parameters", "at least one parameter with its values, found nothing"),
    "no workload": ("arch: nvidia/h200-sxm\n" + AXIS, 1, "workload", "a workload such as"),
    "unknown key": (HEAD + AXIS + "objectivs: [time_s]", 5, "objectivs", "did you mean 'objectives'"),
    "duplicate key": (HEAD + AXIS + "arch: x", 5, "arch", "each key once"),
    "unknown arch": (HEAD.replace("h200", "h201") + AXIS, 1, "arch", "found 'nvidia/h201-sxm'"),
    "arch not text": ("arch: [a]\nworkload: gelu(elements=4)\n" + AXIS, 1, "arch", "text such as"),
    "absent arch file": (HEAD.replace("nvidia/h200-sxm", "mine.yaml") + AXIS, 1, "arch", "a readable file"),
    "unknown workload": (HEAD.replace("decode", "decod") + AXIS, 2, "workload", "did you mean"),
    "broken operator": ("arch: nvidia/h200-sxm\nworkload: gemm(m=1\n" + AXIS, 2, "workload", "found"),
    "absent workload file": (HEAD.replace("llm/llama-3-8b/decode", "w.yaml") + AXIS, 2, "workload", "a readable file"),
    "both workloads": (HEAD + AXIS + "workloads: {a: gelu(elements=4)}", 5, "workloads", "either workload or workl"),
    "bad workload name": (
        "arch: nvidia/h200-sxm\nworkloads: {'a b': gelu(elements=4)}\n" + AXIS, 2, "workloads.'a b'", "a name of let"),
    "weight of zero": (
        "arch: nvidia/h200-sxm\nworkload: {name: gelu(elements=4), weight: 0}\n" + AXIS, 2, "workload.weight",
        "a number above 0, found 0"),
    "unknown workload key": (
        "arch: nvidia/h200-sxm\nworkload: {nam: gelu(elements=4)}\n" + AXIS, 2, "workload.nam", "did you mean 'name'"),
    "unknown workload parameter": (
        "arch: nvidia/h200-sxm\nworkload:\n  name: llm/llama-3-8b/decode\n  parameters: {batches: 2}\n" + AXIS, 4,
        "workload.parameters", "found 'batches'"),
    "bad workload parameter": (
        "arch: nvidia/h200-sxm\nworkload:\n  name: llm/llama-3-8b/decode\n  parameters: {batch: 0}\n" + AXIS, 4,
        "workload.parameters", "a positive integer"),
    "parameters a list": (HEAD + "parameters: [a]", 3, "parameters", "a mapping such as"),
    "empty parameters": (HEAD + "parameters: {}", 3, "parameters", "a mapping such as"),
    "unknown path": (HEAD + "parameters:\n  l2.capasity: [1 MiB]", 4, "parameters.'l2.capasity'", "did you mean 'cap"),
    "path of a record": (HEAD + "parameters:\n  l2: [1 MiB]", 4, "parameters.l2", "the path of one value"),
    "unknown axis parameter": (HEAD + "parameters:\n  workload.bach: [1]", 4, "workload.bach", "did you mean 'batch'"),
    "no unit": (HEAD + "parameters:\n  l2.capacity: [25 MiB, 50]", 4, "parameters.'l2.capacity'.1", "50 (no unit)"),
    "wrong unit": (HEAD + "parameters:\n  l2.capacity: [25 GB/s]", 4, "'l2.capacity'.0", "(a bandwidth)"),
    "unit of a count": (HEAD + "parameters:\n  sm.count: [12 B]", 4, "'sm.count'.0", "a whole number from 1"),
    "fraction of an SM": (HEAD + "parameters:\n  sm.count: [1.5]", 4, "'sm.count'.0", "found 1.5"),
    "the same twice": (HEAD + "parameters:\n  sm.count: [12, 13, 12]", 4, "'sm.count'.2", "each value once"),
    "the same twice in other units": (HEAD + "parameters:\n  l2.capacity: [1 MiB, 1024 KiB]", 4, ".1", "each value on"),
    "empty list": (HEAD + "parameters:\n  sm.count: []", 4, "'sm.count'", "a list of values, found an empty list"),
    "a number": (HEAD + "parameters:\n  sm.count: 12", 4, "'sm.count'", "a list, a range {from, to, steps} or an exp"),
    "range without end": (HEAD + "parameters:\n  sm.count: {from: 1}", 4, "'sm.count'.to", "an end of the range"),
    "range backwards": (HEAD + "parameters:\n  sm.count: {from: 9, to: 3}", 4, "'sm.count'.to", "more than 9, found 3"),
    "range with a wrong key": (HEAD + "parameters:\n  sm.count: {from: 1, to: 3, stps: 2}", 4, ".stps", "did you mean"),
    "one step": (HEAD + "parameters:\n  sm.count: {from: 1, to: 3, steps: 1}", 4, ".steps", "a whole number from 2"),
    "step and steps": (HEAD + "parameters:\n  sm.count: {from: 1, to: 3, steps: 2, step: 1}", 4, ".step", "one of ste"),
    "unknown scale": (HEAD + "parameters:\n  sm.count: {from: 1, to: 3, scale: lg}", 4, ".scale", "one of linear, log"),
    "log from zero": (
        HEAD + "parameters:\n  launch.graph: {from: 0 s, to: 1 us, scale: log}", 4, ".from", "above zero on a log"),
    "range of words": (HEAD + "parameters:\n  workload.dtype: {from: a, to: b}", 4, "workload.dtype", "a list of word"),
    "grid without steps": (
        HEAD + "parameters:\n  sm.count: {from: 1, to: 3}", 4, "'sm.count'", "steps, a grid needs a number of values"),
    "expression that does not parse": (
        HEAD + AXIS + "  sm.count: 3 +", 5, "'sm.count'", "an expression such as '0.3 MiB * sm.count', found '3 +'"),
    "expression of the unknown": (HEAD + AXIS + "  sm.count: 3 * sm.cuont", 5, "'sm.count'", "did you mean 'sm.count'"),
    "expression in another unit": (HEAD + AXIS + "  sm.count: l2.capacity", 5, "'sm.count'", "an expression in no un"),
    "expressions in a circle": (
        HEAD + AXIS + "  dram.capacity: l2.sector * sm.count\n  sm.count: dram.capacity / 1 GB", 5, "'dram.capacity'",
        "no expressions that need each other"),
    "expressions alone": (HEAD + "parameters:\n  sm.count: 3 * 4", 3, "parameters", "at least one list or range"),
    "expression for a word": (HEAD + AXIS + "  workload.dtype: 3 * 4", 5, "workload.dtype", "a list of words"),
    "unknown objective": (HEAD + AXIS + "objectives: [time]", 5, "objectives.0", "did you mean 'time_s'"),
    "objective without definition": (
        HEAD.replace("h200-sxm", "b200") + AXIS + "objectives: [cost]", 5, "objectives.0", "define it: 'define: {c"),
    "constraint on no silicon": (
        HEAD.replace("h200-sxm", "b200") + AXIS + "constraints: [area_mm2 <= 858 mm2]", 5, "constraints.0", "area_mm2"),
    "area without a unit": (
        HEAD + AXIS + "constraints: [area_mm2 <= 858]", 5, "constraints.0", "the same unit on both sides"),
    "objective twice": (HEAD + AXIS + "objectives: [time_s, time_s]", 5, "objectives.1", "each objective once"),
    "no objectives": (HEAD + AXIS + "objectives: []", 5, "objectives", "a list such as [time_s, energy_j]"),
    "objective either way": (HEAD + AXIS + "objectives: {time_s: up}", 5, "objectives.time_s", "one of min, max"),
    "constraint a mapping": (HEAD + AXIS + "constraints: {a: b}", 5, "constraints", "a list of conditions such as"),
    "constraint without unit": (
        HEAD + AXIS + "constraints: [peak_memory_bytes <= 141]", 5, "constraints.0", "the same unit on both sides"),
    "constraint that compares nothing": (HEAD + AXIS + "constraints: [time_s]", 5, "constraints.0", "one comparison"),
    "constraint of the unknown": (HEAD + AXIS + "constraints: [tme_s < 1 s]", 5, "constraints.0", "did you mean"),
    "definition of a taken name": (HEAD + AXIS + "define: {time_s: 3}", 5, "define.time_s", "a name that is taken"),
    "definition of an interval": (HEAD + AXIS + "define: {time_low_s: 3}", 5, "define.time_low_s", "that is taken"),
    "definition of a definition's interval": (
        HEAD + AXIS + "define: {x: 2 * time_s, x_low: 3}", 5, "define.x_low", "a name that is taken"),
    "definition of a word": (HEAD + AXIS + "define: {lambda: 3}", 5, "define.lambda", "a new name of letters"),
    "definition of a placeholder": (HEAD + AXIS + "define: {__quantity0: 3}", 5, "define.__quantity0", "a new name"),
    "definition that folds": (HEAD + AXIS + "define: {ﬁ: 3}", 5, "define.ﬁ", "a new name of letters"),
    "constraint twice": (HEAD + AXIS + "constraints: [time_s < 1 s, time_s  < 1 s]", 5, "constraints.1", "each constr"),
    "minus signs": (HEAD + AXIS + f"define: {{x: {'-' * 480}1}}", 5, "define.x", "at most 100 levels of operations"),
    "definition of a bad name": (HEAD + AXIS + "define: {a-b: 3}", 5, "define.a-b", "a new name of letters"),
    "definition that mixes": (HEAD + AXIS + "define: {cost: 3 + time_s}", 5, "define.cost", "the same unit"),
    "unknown sampler": (HEAD + AXIS + "sampler: sobl", 5, "sampler", "did you mean 'sobol'"),
    "unknown fidelity": (HEAD + AXIS + "fidelity: exact", 5, "fidelity", "one of estimate, execute"),
    "budget of a grid": (HEAD + AXIS + "budget: 10", 5, "budget", "no budget, a grid takes all its points"),
    "budget of nothing": (HEAD + AXIS + "sampler: sobol\nbudget: 0", 6, "budget", "a whole number from 1"),
    "budget too small": (HEAD + AXIS + "sampler: saltelli\nbudget: 4", 6, "budget", "at least 6 points"),
    "seed not whole": (HEAD + AXIS + "seed: 1.5", 5, "seed", "a whole number from 0"),
    "overflow not a truth": (HEAD + AXIS + "allow_overflow: yes", 5, "allow_overflow", "true or false, found 'yes'"),
    "unknown launch": (HEAD + AXIS + "launch: grph", 5, "launch", "did you mean 'graph'"),
    "tab": (HEAD + "parameters:\n\tsm.count: [1]", 4, "", "spaces as indentation, found a tab"),
    "anchor": (HEAD + "parameters: &a {}", 3, "parameters", "plain YAML without anchors"),
    "too many points": (
        HEAD + "parameters:\n  sm.count: {from: 1, to: 900000, step: 1}\n  l2.partitions: {from: 1, to: 900, step: 1}",
        3, "parameters", "at most 100000000 points, found 810000000"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "said"), CASES.values(), ids=CASES.keys())
def test_one_line_names_file_line_key_expected_and_found(
    tmp_path: Path, text: str, line: int, key: str, said: str
) -> None:
    path = write(tmp_path, text + "\n" if text else text)
    with pytest.raises(SimexploreError) as caught:
        read_spec(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    match = re.fullmatch(r"(?P<file>.+?):(?P<line>\d+): (?P<key>.+?): (?P<rest>.*expected .+, found.+)", message)
    assert match is not None, message
    assert match["file"] == str(path)
    assert int(match["line"]) == line, message
    assert key in match["key"], message
    assert said in message


def test_there_are_thirty_and_more() -> None:
    assert len(CASES) >= 60


def test_a_good_file(tmp_path: Path) -> None:
    spec = read_spec(write(tmp_path))
    problem = spec.problem
    assert (spec.name, spec.points, spec.sampler) == ("small", 24, "grid")
    assert [axis.path for axis in problem.axes] == ["dram.bandwidth", "sm.count", "decode.context", "l2.bandwidth"]
    assert problem.free[0].levels == pytest.approx([2.4e12, 3.8097625e12, 6.0476e12, 9.6e12], rel=1e-4)
    assert problem.free[2].target.parameter is not None
    assert problem.free[2].target.parameter.workloads == ("decode",)
    assert dict(problem.objectives) == {"time_s": "min", "area_mm2": "min"}
    assert problem.definitions[0].unit == "mm2"


@pytest.mark.parametrize("name", [*RESERVED, *UNITS, "time_high_s", "tokens_per_s_low"])
def test_no_definition_takes_the_place_of_a_result(tmp_path: Path, name: str) -> None:
    with pytest.raises(SimexploreError, match=f"define.{name}: expected a new name of letters, digits and _, found"):
        read_spec(write(tmp_path, SMALL, ("  area_mm2: 294", f"  {name}: 3\n  area_mm2: 294")))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.from_regex(r"[a-z][a-z_]{0,9}(_s|_j|_low|_high_s)?", fullmatch=True), best=st.booleans())
def test_columns_have_names_of_their_own(tmp_path: Path, name: str, best: bool) -> None:
    """Whatever a definition is called, and whether it is an objective with an interval."""
    text = f"{HEAD}{AXIS}define:\n  {name}: 2 * time_s\nobjectives: [{name if best else 'time_s'}]\n"
    try:
        columns = [column.name for column in read_spec(write(tmp_path, text)).problem.columns]
    except SimexploreError:
        return
    assert len({*columns, *RESERVED}) == len(columns) + len(RESERVED) - len({"bound", "feasible"})


def test_what_a_sweep_reads_is_read_once(tmp_path: Path) -> None:
    """The files change after that; the machine, the work and what the store is told do not."""
    (tmp_path / "mine.yaml").write_text("extends: nvidia/t4\nsm: {count: 30}\n")
    (tmp_path / "work.yaml").write_text("- gelu(elements=4000)\n")
    path = write(tmp_path, "arch: mine.yaml\nworkload: work.yaml\nparameters:\n  sm.registers: [32768, 65536]\n")
    sweep = Sweep(read_spec(path))
    before = sweep.header.digest
    for name in ("mine.yaml", "work.yaml"):
        (tmp_path / name).write_text("- [")
    assert sweep.header.digest == before
    assert sweep.header.metadata["workloads"]["workload"]["data"] == ["gelu(elements=4000)"]
    assert sweep.header.metadata["arch"]["data"]["sm"]["count"] == 30
    evaluator = Evaluator(pickle.loads(pickle.dumps(sweep.spec.problem)))
    chunk = evaluator.evaluate(0, np.array([[0.1], [0.9]]))
    assert chunk.failures == {}
    assert sweep.spec.problem.machine.sm.count == 30


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mine.yaml", "extends: parent.yaml\nsm: {count: 31}\n"),
        ("parent.yaml", "extends: nvidia/t4\nl2: {capacity: 5 MiB}\n"),
        ("work.yaml", "- gelu(elements=4001)\n"),
    ],
)
def test_another_file_is_another_sweep(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "parent.yaml").write_text("extends: nvidia/t4\n")
    (tmp_path / "mine.yaml").write_text("extends: parent.yaml\nsm: {count: 30}\n")
    (tmp_path / "work.yaml").write_text("- gelu(elements=4000)\n")
    path = write(tmp_path, "arch: mine.yaml\nworkload: work.yaml\nparameters:\n  sm.registers: [32768, 65536]\n")
    before = Sweep(read_spec(path)).header
    (tmp_path / file).write_text(text)
    assert Sweep(read_spec(path)).header.digest != before.digest
    assert difference(before, Sweep(read_spec(path)).header) in ("its arch was another", "its workloads were others")


def test_another_residual_is_another_sweep(tmp_path: Path) -> None:
    """It changes what the command says that the sweep leaves out."""
    spec = read_spec(write(tmp_path))
    residual = spec.machine.machine.calibration.residual
    assert spec.machine.told()["data"]["calibration"]["residual"] == f"sha256:{residual.digest}"
    assert "residual" not in spec.problem.layer.data["calibration"], "workers do not look for its file"
    assert str(tmp_path) not in json.dumps(Sweep(spec).header.decisive)


def test_what_is_no_file_of_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SimexploreError, match="expected a readable file, found a device or a pipe"):
        read_spec(tmp_path / "pipe.yaml")
    with pytest.raises(SimexploreError, match="expected a readable file, found a device or a pipe"):
        read_spec("/dev/zero")
    with pytest.raises(SimexploreError, match=r"workload: .*pipe.yaml:1: expected a readable file"):
        read_spec(write(tmp_path, HEAD.replace("llm/llama-3-8b/decode", "pipe.yaml") + AXIS))
    with (tmp_path / "big.yaml").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(SimexploreError, match="expected a file of at most 16 MiB, found 16777217 B"):
        read_spec(tmp_path / "big.yaml")


def test_options_are_laid_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    spec = read_spec(path, Options(sampler="sobol", budget=10, seed=7, fidelity="execute"))
    assert (spec.sampler, spec.points, spec.seed, spec.problem.fidelity) == ("sobol", 10, 7, "execute")
    assert spec.data != read_spec(path).data


def test_axes_of_every_kind(tmp_path: Path) -> None:
    text = HEAD + (
        "sampler: random\nparameters:\n  arch.sm.count: {from: 60, to: 100, step: 16}\n  workload.dtype: [bf16, fp8]\n"
        "  dram.efficiency: {from: 0.5, to: 0.9}\n  library.gemm.tensor.instruction: [mma_sync, wgmma]\n"
        "  launch.stream: 2 * launch.graph\n  launch.graph: {from: 1 us, to: 2 us, steps: 3}\n"
    )
    axes = {axis.path: axis for axis in read_spec(write(tmp_path, text)).problem.axes}
    assert axes["sm.count"].levels == (60.0, 76.0, 92.0)
    assert axes["workload.dtype"].words == ("bf16", "fp8")
    assert axes["dram.efficiency"].span == (0.5, 0.9)
    assert axes["library.gemm.tensor.instruction"].target.field is not None
    assert not axes["library.gemm.tensor.instruction"].target.field.columnar
    assert list(axes)[-1] == "launch.stream"


def test_files_lie_beside_the_sweep_or_have_a_whole_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: nvidia/t4\nname: Mine\n")
    (tmp_path / "work.yaml").write_text("- gelu(elements=4000)\n- {op: gelu(elements=5000), after: []}\n")
    text = "arch: mine.yaml\nworkload: work.yaml\nparameters:\n  sm.count: [10, 20]\n"
    whole = text.replace("work.yaml", str(tmp_path / "work.yaml"))
    for spec in (read_spec(write(tmp_path, text)), read_spec(write(tmp_path, whole))):
        assert spec.problem.arch == str(tmp_path / "mine.yaml")
        assert spec.problem.workloads[0].kind == "file"


FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(data=st.data())
def test_a_damaged_file_is_read_or_explained(tmp_path: Path, data: st.DataObject) -> None:
    lines = SMALL.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        here, there = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(["lose", "double", "exchange", "indent", "letter"])):
            case "lose" if len(lines) > 1:
                del lines[here]
            case "double":
                lines.insert(there, lines[here])
            case "exchange":
                lines[here], lines[there] = lines[there], lines[here]
            case "letter":
                at = data.draw(st.integers(0, len(lines[here])))
                letter = data.draw(st.sampled_from("0x{}[]:,.-'# "))
                lines[here] = lines[here][:at] + letter + lines[here][at + 1 :]
            case _:
                lines[here] = "  " + lines[here]
    _reads_or_explains(tmp_path / "fuzz.yaml", "\n".join(lines).encode())


@FUZZ
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_one_line(tmp_path: Path, raw: bytes) -> None:
    _reads_or_explains(tmp_path / "fuzz.yaml", raw)


def _reads_or_explains(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    try:
        outcome: Spec | str = read_spec(path)
    except SimexploreError as error:
        outcome = str(error)
    assert isinstance(outcome, Spec) or outcome.startswith(f"{path}:")
    assert isinstance(outcome, Spec) or len(outcome.splitlines()) == 1
