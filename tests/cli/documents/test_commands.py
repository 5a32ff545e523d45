"""Commands in the documents have the options that they are shown with, and run."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import click
import pytest
from checkout import ROOT, tracked
from click.testing import CliRunner
from documents import PLACEHOLDER, commands, documents, text_of

from simexplore.cli.main import main
from simexplore.kernels.suites import SUITES
from simexplore.sim.studies import STUDIES

EVERY = sorted({command for document in documents() for command in commands(document)})
NOTHING_ASKED = re.compile(r"simexplore (run|explain|serve|train) --(?!help)")
WHOLE = [
    command
    for command in EVERY
    if not PLACEHOLDER.search(command) and len(shlex.split(command)) > 2 and not NOTHING_ASKED.match(command)
]
"""Commands that a reader can type as they stand; the others name a command, or leave something to fill in."""

ELSEWHERE = {
    "measure ": "tests/cli/test_measure.py",  # a device
    "calibrate ": "tests/cli/test_calibrate.py",
    "measured ": "tests/cli/test_measured.py",
    "import ": "tests/cli/test_import.py",  # a profile
    "workload import ": "tests/cli/model/test_workload_import.py",  # a model's own files
    "arch import ": "tests/cli/model/test_arch_import.py",
    "arch from-point ": "tests/unit/test_site.py",
    "reproduce": "tests/cli/test_reproduce.py",
    "compare ": "tests/cli/test_compare.py",  # a data set
    "sweep ": "tests/cli/explore/test_sweep.py",
    "report ": "tests/cli/explore/test_report.py",
    "pareto ": "tests/cli/explore/test_sweep.py",
    "serve ": "tests/cli/explore/test_serve.py",
    "explain llm/": "tests/unit/test_site.py",  # two seconds each
    "explain 'gemm(": "tests/validation/test_documented.py",
    "arch list": "tests/cli/model/test_arch.py",
    "run ngp/nerf/hashgrid --arch ngpc/": "tests/cli/test_ngpc.py",  # a second of events
}
"""Commands of which only the words are checked here: they need what a page can't bring, and run there."""
AS_EVENTS = {"--trace", "--memory", "--every", "--repeat"}
"""Options that closed forms have nothing for; all other runs are closed forms here, in half the time."""
FOREIGN = {
    "CONTRIBUTING.md": {"--benchmark-enable", "--mutation", "--only", "--sample"},
    "docs/measuring/gpu-kernels.md": {"--backends"},  # tools/measure_gpu.py
    "docs/measuring/profiles.md": {"--cache-control", "--clock-control", "--nvtx", "--page", "--print-nvtx-rename"},
}
"""Options of other programs."""
HERE = [
    text
    for text in WHOLE
    if text not in commands(Path("docs/guide/tutorial.md"))
    and not any(text.startswith(f"simexplore {kind}") for kind in ELSEWHERE)
]
"""Commands that run here; those of the tutorial run in tests/unit/test_site.py."""
EXAMPLES = [
    str(path)
    for path in tracked()
    if path.parts[0] == "examples" and path.suffix == ".py" and "__main__" in text_of(path)
]
"""Programs; the other examples are modules that a command reads."""
CONFIG = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 1000, "hidden_act": "silu",
}  # fmt: skip


def parsed(words: list[str]) -> click.Context:
    """A command's words as its options take them, nothing run.

    Raises:
        click.UsageError: there is no such command, option or value.
    """
    command: click.Command = main
    context: click.Context | None = None
    while True:
        context = command.make_context(command.name, words, parent=context)
        if not isinstance(command, click.Group):
            return context
        name, found, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None, name
        command = found


def options_of(words: list[str]) -> set[str]:
    """The options of the command that words begin with."""
    command: click.Command | None = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words:
        command = command.get_command(context, words.pop(0))
    assert command is not None
    return {text for option in command.params for text in (*option.opts, *option.secondary_opts)} | {"--help"}


def test_there_are_commands() -> None:
    assert len(WHOLE) > 80
    assert len(HERE) > 30
    assert len(EXAMPLES) > 5
    assert all(any(text.startswith(f"simexplore {kind}") for text in WHOLE) for kind in ELSEWHERE)
    assert all((ROOT / file).is_file() for file in ELSEWHERE.values())


@pytest.mark.parametrize("text", EVERY, ids=EVERY)
def test_a_command_has_the_options_it_is_shown_with(text: str) -> None:
    words = shlex.split(text)[1:]
    assert {word for word in words if re.fullmatch(r"-{1,2}[a-z][a-z-]*", word)} <= options_of(words.copy())
    if text not in WHOLE or "--help" in words:
        return
    told = parsed(words).params
    if words[0] == "measure":
        assert (told["backend"], told["suite"]) in SUITES
    if words[0] == "reproduce":
        assert set(told["names"]) <= set(STUDIES)


@pytest.mark.parametrize("document", documents(), ids=str)
def test_options_in_sentences_exist(document: Path) -> None:
    every = set(FOREIGN.get(str(document), ()))
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        groups = command.commands if isinstance(command, click.Group) else {"": command}
        every |= {option for below in groups for option in options_of([name, below] if below else [name])}
    assert set(re.findall(r"`(--[a-z][a-z-]*)", text_of(document))) <= every


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: examples, a model's configuration, a graph, a machine."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "path" / "to").mkdir(parents=True)
    (folder / "path" / "to" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    shutil.copy(ROOT / "examples" / "models" / "mlp.yaml", folder / "g.yaml")
    (folder / "mine.yaml").write_text("extends: nvidia/rtx-4090\nname: mine\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("text", HERE, ids=HERE)
def test_a_command_runs(text: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    words = shlex.split(text)[1:]
    if words[0] == "run" and not AS_EVENTS & set(words):
        words.append("--estimate")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert result.stdout


def test_programs_that_are_named_are_there() -> None:
    for document in documents():
        for name, options in re.findall(r"python ((?:tools|examples)/[\w/.-]+)([^`#\n]*)", text_of(document)):
            path = ROOT / name
            source = path.read_text("utf-8") if path.is_file() else (path / "__main__.py").read_text("utf-8")
            assert all(f'"{option}"' in source for option in re.findall(r"--[a-z-]+", options)), (name, options)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_how_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / name), run_name="__main__")
    assert left.value.code == 0
    assert f"    python {name}" in capsys.readouterr().out
