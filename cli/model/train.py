"""`simexplore train`: a training step over many GPUs."""

from __future__ import annotations

from pathlib import Path

import click

from simexplore.archs.units import BYTES_PER_SECOND, parse
from simexplore.cli.console import say
from simexplore.cli.machines import load_any
from simexplore.cli.options import arch_option, engine_option, json_option, param_option, set_option
from simexplore.cli.output import percent, print_answer, print_table, quantity
from simexplore.sim.training.step import TrainingStep, step_on
from simexplore.workloads.families.llm import model_named
from simexplore.workloads.importers import huggingface
from simexplore.workloads.operators.parameters import from_values
from simexplore.workloads.training.options import TrainOptions
from simexplore.workloads.training.pipeline import Pipeline

EXAMPLE = "--param tensor_parallel=8 --param precision=mixed"


@click.command(
    epilog="Example: simexplore train llama-3-70b --arch nvidia/h100-sxm --param tensor_parallel=8 --param "
    "precision=mixed --param recompute=attention --param sequence=parallel --stages 4 --micro-batches 16 --network "
    "'50 GB/s'"
)
@click.argument("model", metavar="MODEL|hf:CONFIG")
@arch_option()
@engine_option()
@set_option()
@param_option()
@click.option("--stages", default=1, show_default=True, type=click.IntRange(1), help="Stages of the pipeline.")
@click.option("--chunks", default=1, show_default=True, type=click.IntRange(1), help="Parts of a stage, interleaved.")
@click.option("--micro-batches", default=1, show_default=True, type=click.IntRange(1), help="Passes before the update.")
@click.option("--network", metavar="BANDWIDTH", help="Of a GPU's own link to other nodes, each way: '25 GB/s'.")
@click.option("--events", is_flag=True, help="Play the passes on their stages; transfers go on beside them.")
@json_option()
def train(
    model: str,
    arch: str,
    engine: str | None,
    overrides: dict[str, str],
    params: dict[str, str],
    stages: int,
    chunks: int,
    micro_batches: int,
    network: str | None,
    events: bool,
    as_json: bool,
) -> None:
    """Predict the time and memory of a training step of MODEL over many GPUs.

    Each of the stages of a pipeline has tensor_parallel GPUs, and there are data_parallel copies of them. The machine
    is one GPU and its link to others (--network), or a system of nodes (systems/dgx-h100-x4), whose links are its own.
    For one GPU's part as events, with a trace, run llm/MODEL/train.
    """
    loaded = load_any(arch, overrides, engine)
    bandwidth = None if network is None else parse(network, BYTES_PER_SECOND)
    options = from_values(TrainOptions, model, params, EXAMPLE)
    prefix = huggingface.PREFIX
    shape = huggingface.read_model(Path(model.removeprefix(prefix))) if model.startswith(prefix) else model_named(model)
    pipeline = Pipeline(stages, chunks, micro_batches)
    told = step_on(shape, model, options, pipeline, loaded.machine, bandwidth, events=events)
    if as_json:
        print_answer(told.to_json(), loaded.machine.name, model)
    else:
        _show(told, loaded.gpu.dram.capacity_bytes)


def _show(told: TrainingStep, capacity_bytes: float) -> None:
    step = told.step
    rows = [
        ["passes", quantity(step.passes.time_s, "s")],
        ["of which a stage idles", percent(step.passes.bubble)],
        ["gradients exchanged", quantity(told.exchange_s, "s")],
        ["update", quantity(step.update_s, "s")],
        ["step", quantity(told.time_s, "s")],
        ["tokens", quantity(told.tokens / told.time_s, "/s")],
        ["work of a GPU", quantity(told.flops / told.time_s / told.gpus, "flop/s")],
    ]
    print_table([f"{told.gpus} GPU{'s' * (told.gpus > 1)}", "step"], rows)
    say()
    held = [[kind, quantity(size, "B")] for kind, size in told.held_bytes.items()]
    total = sum(told.held_bytes.values())
    fits = "fits" if total <= capacity_bytes else "does not fit"
    held.append([f"in all, {fits} {quantity(capacity_bytes, 'B')}", quantity(total, "B")])
    print_table(["a GPU of the first stage holds", "size"], held)
    if told.activation_bytes is not None:
        say()
        print_table(
            ["activations of passes in flight", "at most"],
            [[stage, quantity(size, "B")] for stage, size in told.activation_bytes.items()],
        )
