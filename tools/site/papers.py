"""Published beside simulated, a picture a paper: writes docs/studies/papers.md and docs/img/papers/.

    python tools/site/papers.py [--measured DIRECTORY]    # what `simexplore reproduce` prints, some two minutes

Needs the extra `plots`. GPPerf's tables are in the directory; without it the paper is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simexplore.sim.studies import STUDIES, reproduce

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURES = ROOT / "docs" / "studies" / "papers.md", ROOT / "docs" / "img" / "papers"
PAPERS = (
    *("ngpc", "hopper", "gpperf", "fuyou", "retrievalattention", "galore", "gradnormlorp", "selene"),
    *("streamdiffusion", "liveportrait", "moe2"),
)
COLOURS = {"enforced": "#0072b2", "known_gap": "#d55e00", "input": "#999999"}
WORDS = {"enforced": "enforced", "known_gap": "known gap", "input": "input, counts for nothing"}
HEAD = """# Papers

What `simexplore reproduce` prints, paper by paper: simulated over published. Blue figures are held by the tests within
bounds, orange ones are gaps that are known, with their reasons in `workloads/published/`, and grey ones are inputs that
come back. `python tools/site/papers.py` writes this page anew.

| paper | enforced | known gaps | inputs | mean distance of enforced ones |
|---|---|---|---|---|
"""
Record = dict[str, Any]


def row(name: str, records: Sequence[Record]) -> str:
    """A paper's line in the table."""
    count = {status: sum(record["status"] == status for record in records) for status in COLOURS}
    off = [abs(record["ratio"] - 1.0) for record in records if record["status"] == "enforced"]
    mean = f"{100.0 * sum(off) / len(off):.1f} %" if off else "–"
    link = f"[{STUDIES[name].title}](#{name})"
    return f"| {link} | {count['enforced']} | {count['known_gap']} | {count['input']} | {mean} |"


def draw(name: str, records: Sequence[Record]) -> Path:
    """Ratios on a logarithmic line, a row each where there are few, in the order of their tables."""
    from matplotlib.figure import Figure

    few = len(records) <= 40
    figure = Figure(figsize=(8.0, 1.2 + (0.2 * len(records) if few else 3.0)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(0.9, 1.1, color="#eeeeee", zorder=0)
    axes.axvline(1.0, color="black", linewidth=0.8, zorder=1)
    for status, colour in COLOURS.items():
        at = [index for index, record in enumerate(records) if record["status"] == status]
        if at:
            ratios = [records[index]["ratio"] for index in at]
            axes.scatter(ratios, [-index for index in at], s=18, color=colour, label=WORDS[status], zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="x", which="both", labelsize=7)
    axes.set_xlabel("simulated over published; the band is 10 % either way")
    names = [record["quantity"][:70] for record in records] if few else []
    axes.set_yticks([-index for index in range(len(names))], names, fontsize=7)
    axes.legend(fontsize=7, loc="best")
    PICTURES.mkdir(parents=True, exist_ok=True)
    file = PICTURES / f"{name}.png"
    figure.savefig(file, dpi=110)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, help="the directory of the studies' measured tables")
    measured = parser.parse_args().measured
    told = {name: reproduce(name, measured) for name in PAPERS if measured is not None or not STUDIES[name].files}
    lines = [row(name, records) for name, records in told.items()]
    for name, records in told.items():
        picture = draw(name, records).relative_to(ROOT / "docs").as_posix()
        lines += ["", f"## {name}", "", f"![{STUDIES[name].title}](../{picture})"]
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
