"""`simexplore serve`: requests over time to a language model on a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from simexplore.cli.machines import load_any
from simexplore.cli.options import arch_option, engine_option, json_option, pairs_option, param_option, set_option
from simexplore.cli.output import note, percent, print_answer, print_table, progress, quantity
from simexplore.cli.pages import now, write_page
from simexplore.errors import SimexploreError
from simexplore.sim.keeping.folder import written_aside
from simexplore.sim.serve.asked import Given, Placed, Promised, model_of
from simexplore.sim.serve.campaign import Campaign
from simexplore.sim.serve.study import knee
from simexplore.sim.serve.trace import trace_json

Point = Mapping[str, Any]
LOAD = (
    click.option(
        "--rate", metavar="R|R,R|A:B:STEP|inf", help="Requests a second; several make a curve; inf: all at once."
    ),
    click.option("--trace", metavar="FILE", help="Requests of a file: our CSV, Azure's, or Mooncake's."),
    click.option("--users", metavar="N", help="Users who each wait for an answer before they ask again."),
    click.option("--duration", metavar="TIME", help="Time in which requests at a rate arrive [default: 60s]"),
    click.option(
        "--requests", metavar="N", help="Of all users, --rate inf or a trace. [default: 10 a user, 1000, all]"
    ),
    click.option("--think", metavar="TIME", help="From an answer to a user's next question [default: 0s]"),
    click.option("--input", "prompt", metavar="N|A:B", help="Prompt tokens, or a range 100:2000 [default: 1000]"),
    click.option("--output", "answer", metavar="N|A:B", help="Answer tokens, or a range [default: 200]"),
    click.option("--burstiness", metavar="X", help="Of a rate's gaps; 1: Poisson; less: bursts [default: 1]"),
    click.option("--seed", type=click.IntRange(0), help="Of what is drawn [default: 0]"),
)
PLACE = (
    click.option(
        "--pipeline", type=click.IntRange(1, 1024), default=1, show_default=True, help="Stages of a pipeline."
    ),
    click.option(
        "--replicas", type=click.IntRange(1, 4096), default=1, show_default=True, help="Engines side by side."
    ),
    click.option(
        "--prefill-replicas", type=click.IntRange(0, 4096), default=0, help="Engines that only prefill, for the others."
    ),
    pairs_option("--setting", "settings", "NAME=VALUE", "Of the engine, e.g. --setting max_tokens=4096. Repeatable."),
)
PROMISE = (
    click.option("--ttft", metavar="TIME", help="Promised time to first token, e.g. 500ms."),
    click.option("--tpot", metavar="TIME", help="Promised time per output token after it, e.g. 50ms."),
    click.option("--latency", metavar="TIME", help="Promised time to the last token."),
    click.option("--share", metavar="X", help="Of requests that --find-rate holds this for [default: 0.99]"),
    click.option("--find-rate", is_flag=True, help="Search the highest rate that holds what is promised."),
)


def _with(*groups: tuple[Callable[..., Any], ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds options in their order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


@click.command(
    epilog="Example: simexplore serve llm/llama-3-8b --arch nvidia/h100-sxm --rate 2:40:2 --input 1000 --output 200 "
    "--ttft 500ms --tpot 50ms -o out/; or how much it can take: simexplore serve llm/llama-3-70b --arch "
    "nvidia/h100-sxm --param tensor_parallel=2,4,8 --param dtype=fp8 --rate 1 --ttft 1s --tpot 50ms --find-rate"
)
@click.argument("work", metavar="llm/MODEL|hf:CONFIG")
@arch_option()
@engine_option()
@set_option()
@param_option()
@_with(LOAD, PLACE, PROMISE)
@click.option(
    "-o", "--folder", type=click.Path(path_type=Path), help="Keep results, report and trace; continues there."
)
@json_option()
def serve(
    work: str,
    arch: str,
    engine: str | None,
    overrides: dict[str, str],
    params: dict[str, str],
    settings: dict[str, str],
    pipeline: int,
    replicas: int,
    prefill_replicas: int,
    ttft: str | None,
    tpot: str | None,
    latency: str | None,
    share: str | None,
    find_rate: bool,
    folder: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Serve a language model to many users: what they see, what it takes, and how many there can be.

    Figures are of all GPUs of a deployment. Parameters of several values (--param tensor_parallel=2,4) make several.
    """
    if share is not None and not find_rate:
        raise SimexploreError("--share: expected beside --find-rate only, which holds it: leave it out, or search")
    campaign = Campaign(
        model=model_of(work),
        machine=load_any(arch, overrides, engine).machine,
        load=Given(**given),
        placed=Placed(params, settings, pipeline, replicas, prefill_replicas),
        promised=Promised(ttft, tpot, latency, share),
        name=f"{work} on {arch}",
        asked={"engine": engine, "set": overrides},
    )
    if find_rate:
        if folder is not None:
            raise SimexploreError("--find-rate: nothing of a search is kept: leave out -o")
        _find(campaign, work, as_json)
        return
    curves: dict[str, list[Point]] = {}
    with progress("serving") as advance:
        for done, (name, point) in enumerate(campaign.points(folder), 1):
            curves.setdefault(name, []).append(point)
            advance(done, campaign.count)
    if as_json:
        every = [point for points in curves.values() for point in points]
        print_answer({"points": every, "knee_per_s": _knees(curves)}, campaign.machine_name, work)
    else:
        _show(curves, campaign.promised.objectives().any)
    if folder is not None:
        _keep(campaign, curves, folder)


def _find(campaign: Campaign, work: str, as_json: bool) -> None:
    with progress("searching") as advance:
        found = campaign.highest_rates(lambda tried: advance(tried, 0))
    if as_json:
        print_answer({"highest_rates": found}, campaign.machine_name, work)
        return
    rows = [[each["deployment"], str(each["gpus"]), f"{each['rate_per_s']:.4g}", *_cells(each)[1:]] for each in found]
    print_table(["deployment", "GPUs", "highest rate", *HEADS[1:]], rows)


HEADS = ("requests/s", "answered/s", "tokens/s", "TTFT p50", "p99", "TPOT p50", "p99", "held", "J/token", "KV peak")


def _cells(point: Point, promised: bool = True) -> list[str]:
    offered = point.get("rate_per_s", point.get("users"))
    times = [_time(point, key, each) for key in ("ttft_s", "tpot_s") for each in ("p50", "p99")]
    answered = (f"{point['requests_per_s']:.4g}", f"{point['output_tokens_per_s']:,.0f}")
    held, energy = percent(point["held_share"]) if promised else "–", f"{point['energy_per_output_token_j']:.3g}"
    return [
        "trace" if offered is None else f"{offered:g}",
        *answered,
        *times,
        held,
        energy,
        percent(point["kv_peak_share"]),
    ]


def _time(point: Point, key: str, quantile: str) -> str:
    spread = point[key]
    return "–" if spread is None else quantity(spread[quantile], "s")


def _knees(curves: Mapping[str, list[Point]]) -> dict[str, float | None]:
    return {name: knee(points) for name, points in curves.items() if all("rate_per_s" in point for point in points)}


def _show(curves: Mapping[str, list[Point]], promised: bool) -> None:
    rows = [[name, str(point["gpus"]), *_cells(point, promised)] for name, points in curves.items() for point in points]
    print_table(["deployment", "GPUs", *HEADS], rows)
    for name, rate in _knees(curves).items():
        if len(curves[name]) > 1:
            words = (
                "even the lowest rate is more than it answers" if rate is None else f"keeps up to {rate:g} requests/s"
            )
            click.echo(f"{name}: {words}")


def _keep(campaign: Campaign, curves: Mapping[str, list[Point]], folder: Path) -> None:
    """The report and the trace beside the points."""
    last = campaign.last
    if last is not None:
        file = folder / "trace.json"
        with written_aside(file, "the trace") as aside:
            aside.write_text(trace_json(last, campaign.machine_name), encoding="utf-8")
        note(f"trace written to {file}: open it in ui.perfetto.dev")
    if find_spec("plotly") is None:
        note("no report: pip install 'simexplore[report]'")
        return
    from simexplore.sim.report.serving.page import serving_html

    samples = last.samples() if last is not None else []
    write_page(folder / "report.html", serving_html(campaign.name, curves, samples, campaign.told(), now()))
