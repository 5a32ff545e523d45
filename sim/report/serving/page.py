"""A study of serving as a page: latency and throughput by load, the knee, and the KV cache over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simexplore.sim.report.error_charts import colour
from simexplore.sim.report.page import (
    Page,
    Section,
    facts,
    label,
    note,
    pair,
    percent,
    plot,
    render,
    rounded,
    table,
    tiles,
    versions,
)
from simexplore.sim.serve.engine.tally import Sample
from simexplore.sim.serve.study import knee

Point = Mapping[str, Any]
Curves = Mapping[str, Sequence[Point]]
Spec = dict[str, Any]
QUANTILES = ("p50", "p99")


def serving_html(
    title: str,
    curves: Curves,
    samples: Sequence[Sample],
    asked: Sequence[tuple[str, object]],
    made: str,
) -> str:
    """A study as one self-contained HTML document.

    Args:
        title: of the page.
        curves: points by the name of their deployment, at rising rates.
        samples: of the cache of the last point that was run; none where all were done before.
        asked: what was asked for, as (name, value).
        made: date and time, as the reader shall see it.

    Raises:
        SimexploreError: plotly is not installed.
    """
    figures = {
        "ttft": _latency(curves, "ttft_s", "time to first token (s)"),
        "tpot": _latency(curves, "tpot_s", "time per output token (s)"),
        "throughput": _by_load(curves, "output_tokens_per_s", "output tokens/s"),
        "energy": _by_load(curves, "energy_per_output_token_j", "energy per output token (J)"),
    }
    sections = [
        Section("latency", "Latency by load", _plots("ttft", "tpot"), "Latency"),
        Section("load", "Throughput and energy by load", _plots("throughput", "energy"), "Throughput"),
        Section("points", "All points", _all_points(curves), "Points"),
        Section("asked", "What was asked", facts([*asked, *versions()]), "Asked"),
    ]
    if samples:
        figures["cache"] = _cache(samples)
        body = plot("cache", "KV cache over time", "Pages that sequences hold, and sequences that decode.")
        sections.insert(2, Section("memory", "KV cache over time", body, "Cache"))
    lead = "What users see of a language model's answers, and what they take, by a simulated engine."
    page = Page(title, "serving", lead, _opening(curves), tuple(sections), {"figures": figures})
    return render(page, made)


def _opening(curves: Curves) -> str:
    told = []
    for name, points in curves.items():
        best = max(points, key=lambda point: float(point["output_tokens_per_s"]))
        told.append((f"{name}: most", f"{best['output_tokens_per_s']:,.0f} tokens/s", _gpus(int(best["gpus"]))))
        rate = knee(points) if all("rate_per_s" in point for point in points) else None
        if rate is not None:
            told.append((f"{name}: knee", f"{rate:g} requests/s", "the highest rate that is answered as it comes"))
    return tiles(told)


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _plots(*names: str) -> str:
    words = {
        "ttft": ("Time to first token", "The median, and what one request in a hundred exceeds."),
        "tpot": ("Time per output token", "The mean over an answer: its median, and its 99th percentile."),
        "throughput": ("Throughput", "Output tokens of all GPUs together."),
        "energy": ("Energy", "Of all GPUs, idle ones too, over the tokens of all answers."),
    }
    return pair(*(plot(name, *words[name]) for name in names))


def _load(point: Point) -> float:
    return float(point["rate_per_s"] if "rate_per_s" in point else point["requests_per_s"])


def _latency(curves: Curves, key: str, title: str) -> Spec:
    traces = [
        _line(f"{name}, {quantile}", points, [(point[key] or {}).get(quantile) for point in points], index, dash)
        for index, (name, points) in enumerate(curves.items())
        for quantile, dash in zip(QUANTILES, ("solid", "dash"), strict=True)
    ]
    layout = {
        **_axes(title, {"type": "log", "tickformat": "~g", "dtick": "D2"}),
        "legend": {"itemsizing": "trace"},
    }  # which shows dashes
    return {"data": traces, "layout": layout}


def _by_load(curves: Curves, key: str, title: str) -> Spec:
    lines = enumerate(curves.items())
    traces = [_line(name, points, [point[key] for point in points], index, "solid") for index, (name, points) in lines]
    return {"data": traces, "layout": _axes(title, {"rangemode": "tozero"})}


def _line(name: str, points: Sequence[Point], values: Sequence[float | None], index: int, dash: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(name),
        "x": rounded(_load(point) for point in points),
        "y": rounded(float("nan") if value is None else value for value in values),
        "line": {"color": colour(index), "dash": dash},
    }


def _axes(title: str, more: Spec) -> Spec:
    return {"xaxis": {"title": {"text": "requests/s"}}, "yaxis": {"title": {"text": title}, **more}}


def _cache(samples: Sequence[Sample]) -> Spec:
    times = rounded(sample.time_s for sample in samples)
    pages = {"name": "pages", "y": rounded(sample.pages for sample in samples), "line": {"color": colour(0)}}
    sequences = {
        "name": "sequences",
        "y": rounded(sample.sequences for sample in samples),
        "line": {"color": colour(1)},
    }
    traces = [
        {"type": "scatter", "mode": "lines", "x": times, **trace} for trace in (pages, {**sequences, "yaxis": "y2"})
    ]
    right = {"overlaying": "y", "side": "right", "tickmode": "auto", "showgrid": False}
    second = {"title": {"text": "sequences"}, "rangemode": "tozero", **right}
    first = {"title": {"text": "pages"}, "rangemode": "tozero"}
    layout = {"xaxis": {"title": {"text": "time (s)"}}, "yaxis": first, "yaxis2": second}
    return {"data": traces, "layout": layout}


def _all_points(curves: Curves) -> str:
    heads = ("deployment", "requests/s", "tokens/s", "TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99", "held", "J/token")
    rows = []
    for name, points in curves.items():
        for point in points:
            spread = [(point[key] or {}).get(each) for key in ("ttft_s", "tpot_s") for each in QUANTILES]
            times = ["–" if value is None else f"{value * 1e3:,.1f} ms" for value in spread]
            whole = (f"{_load(point):g}", f"{point['output_tokens_per_s']:,.0f}")
            rows.append(
                (name, *whole, *times, percent(point["held_share"]), f"{point['energy_per_output_token_j']:.3g}")
            )
    return table("", heads, rows) + note("Figures are of all GPUs of a deployment.")
