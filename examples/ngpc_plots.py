"""Draw the plots of docs/studies/ngpc.md, and print how its results move with what the paper did not publish.

    python examples/ngpc_plots.py docs/img

Without a folder nothing is drawn. Plots need matplotlib: pip install 'simexplore[plots]'.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from simexplore.sim.studies import reproduce
from simexplore.sim.studies.ngpc import APPLICATIONS, ENCODINGS, SCALES, Frames
from simexplore.workloads.families.neural_graphics import WIDTHS

COLOURS = dict(zip(APPLICATIONS, ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), strict=True))
"""Told apart by those who see no red or no green (Okabe and Ito, Color universal design, 2008)."""
MARKS = dict(zip(APPLICATIONS, "os^D", strict=True))
PARTS = {"encoding": "#0072b2", "mlp": "#e69f00", "rest": "#bbbbbb"}
PUBLISHED = {"color": "#000000", "marker": "*", "linestyle": "none", "markersize": 9, "zorder": 5}
VARIANTS: dict[str, tuple[dict[str, str], ...]] = {
    "as shipped": ({},),
    "clock": tuple({"ngpc.clock": clock} for clock in ("0.8 GHz", "1 GHz", "1.3 GHz", "2 GHz")),
    "banks": ({"ngpc.encoding.banks": "4"}, {"ngpc.encoding.banks": "1"}),
    "interleave": ({"ngpc.encoding.interleave": "index"},),
    "ports": ({"ngpc.encoding.interleave": "index", "ngpc.encoding.ports": "2"},),
    "packing": ({"ngpc.mlp.packing": "whole"},),
    "slice": ({"ngpc.mlp.slice": "64"}, {"ngpc.mlp.slice": "1024"}),
    "switch": ({"ngpc.mlp.switch": "8 clk"}, {"ngpc.mlp.switch": "64 clk"}),
    "batch": tuple({"ngpc.batch.queries": size} for size in ("16384", "131072", "524288")),
    "in flight": ({"ngpc.batch.in_flight": "1"}, {"ngpc.batch.in_flight": "3"}),
    "doorbell": ({"ngpc.batch.doorbell_round_trips": "1"}, {"ngpc.batch.doorbell_round_trips": "8"}),
    "result bits": ({"ngpc.result_bits": "32"},),
    "overflow": ({"ngpc.encoding.overflow": "narrow"}, {"ngpc.encoding.overflow": "spill"}),
}


def means(overrides: Mapping[str, str]) -> tuple[float, float]:
    """Mean speed-up of the four applications under hashgrid with 8 and 64 NFPs."""
    frames = Frames(dict(overrides))
    return frames.mean_speed_up("hashgrid", 8), frames.mean_speed_up("hashgrid", 64)


def print_sensitivity() -> None:
    print("| changed | NGPC-8 | NGPC-64 |\n|---|---|---|")
    for name, changes in VARIANTS.items():
        for overrides in changes:
            small, large = means(overrides)
            changed = ", ".join(f"`{key}: {value}`" for key, value in overrides.items()) or name
            print(f"| {changed} | {small:.1f} | {large:.1f} |")


def draw(folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "ngpc"})
    frames = Frames()
    for name, plot in (
        ("speed-up", speed_ups),
        ("frame-rate", frame_rates),
        ("kernels", kernels),
        ("engines", engines),
    ):
        figure = plot(plt, frames)
        figure.savefig(folder / f"ngpc-{name}.png", dpi=90, metadata={"Software": None})
        plt.close(figure)


@cache
def published() -> Mapping[str, float]:
    """What the paper reports, by quantity."""
    return {record["quantity"]: float(record["published"]) for record in reproduce("ngpc", None)}


def above(figure: Any, panel: Any, **options: Any) -> None:
    """The legend over the figure, where nothing is drawn."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, **options)


def speed_ups(plt: Any, frames: Frames) -> Any:
    """Speed-up over the number of NFPs; dashed: Amdahl's limit, the GPU's fused part alone; stars: published means."""
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True, layout="constrained")
    for panel, encoding in zip(panels, ENCODINGS, strict=True):
        for application, colour in COLOURS.items():
            values = [frames.speed_up(application, encoding, scale) for scale in SCALES]
            panel.plot(SCALES, values, f"{MARKS[application]}-", color=colour, label=application, markersize=4)
            panel.axhline(frames.ceiling(application, encoding), color=colour, linestyle="--", linewidth=0.8)
        names = {scale: f"mean speed-up of four applications, {encoding}, NGPC-{scale}" for scale in SCALES}
        known = [(scale, published()[name]) for scale, name in names.items() if name in published()]
        if known:
            panel.plot(*zip(*known, strict=True), label="published, mean of the four", **PUBLISHED)
        panel.set(title=encoding, xlabel="NFPs", xscale="log", yscale="log", xticks=SCALES, xticklabels=SCALES)
        panel.minorticks_off()
        panel.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    panels[0].set_ylabel("speed-up over the RTX 3090")
    above(figure, panels[0])
    return figure


def frame_rates(plt: Any, frames: Frames) -> Any:
    """Frames a second at each resolution, hashgrid: RTX 3090 alone (hollow) and with NGPC-64."""
    figure, panel = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for application, colour in COLOURS.items():
        with_cluster = [1.0 / frames.with_cluster(application, "hashgrid", 64, size).time_s for size in WIDTHS]
        alone = [1.0 / frames.on_gpu(application, "hashgrid", size).time_s for size in WIDTHS]
        mark = MARKS[application]
        panel.plot(list(WIDTHS), with_cluster, f"{mark}-", color=colour, label=application, markersize=4)
        panel.plot(list(WIDTHS), alone, f"{mark}--", color=colour, markerfacecolor="white", markersize=4, linewidth=0.8)
    for rate in (30, 60, 120):
        panel.axhline(rate, color="#999999", linewidth=0.6)
        panel.annotate(f"{rate}", (1.01, rate), xycoords=("axes fraction", "data"), fontsize=7, va="center")
    panel.set(yscale="log", ylabel="frames/s", title="NGPC-64 (filled) and RTX 3090 alone (hollow), hashgrid")
    above(figure, panel)
    return figure


def kernels(plt: Any, frames: Frames) -> Any:
    """Share of the RTX 3090's frame time by kernel."""
    figure, panel = plt.subplots(figsize=(10, 3.6), layout="constrained")
    names = [f"{application}\n{encoding.split('-')[0]}" for encoding in ENCODINGS for application in APPLICATIONS]
    parts = [frames.on_gpu(application, encoding) for encoding in ENCODINGS for application in APPLICATIONS]
    below = [0.0] * len(parts)
    for label, colour in PARTS.items():
        shares = [getattr(part, f"{label}_s") / part.time_s for part in parts]
        panel.bar(range(len(parts)), shares, bottom=below, color=colour, label=label)
        below = [a + b for a, b in zip(below, shares, strict=True)]
    panel.set_xticks(range(len(names)), names, fontsize=7)
    panel.set(ylabel="share of the frame", title="RTX 3090 alone, full HD")
    above(figure, panel)
    return figure


def engines(plt: Any, frames: Frames) -> Any:
    """What is in use with NGPC-8 and NGPC-64, and the cluster's traffic with L2."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    shown = ("fma", "l2", "dram", "ngpc", "ngpc_banks", "ngpc_mlp")
    for offset, application in enumerate(APPLICATIONS):
        run = frames.with_cluster(application, "hashgrid", 64)
        at = [place + 0.2 * (offset - 1.5) for place in range(len(shown))]
        values = [run.utilization[name] for name in shown]
        panels[0].bar(at, values, width=0.18, color=COLOURS[application], label=application)
        moved = []
        for scale in SCALES:
            asked = frames.frame(application, "hashgrid").asked
            time_s = frames.with_cluster(application, "hashgrid", scale).time_s
            moved.append(asked.queries * (asked.input_bytes + asked.result_bytes) / time_s / 1e9)
        panels[1].plot(SCALES, moved, f"{MARKS[application]}-", color=COLOURS[application], markersize=4)
    labels = ("GPU FMA", "L2", "DRAM", "NGPC", "grid SRAM", "MLP arrays")
    panels[0].set_xticks(range(len(shown)), labels, fontsize=8)
    panels[0].set(ylabel="share in use", title="NGPC-64, hashgrid, full HD")
    above(figure, panels[0])
    panels[1].set(title="queries and answers through L2", xlabel="NFPs", ylabel="GB/s", xscale="log", yscale="log")
    panels[1].set_yticks([50, 100, 200, 400, 800], ["50", "100", "200", "400", "800"])
    panels[1].set_xticks(SCALES, [str(scale) for scale in SCALES])
    panels[1].minorticks_off()
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for the plots; without it the results are printed")
    if (folder := parser.parse_args().folder) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder)
    else:
        print_sensitivity()
