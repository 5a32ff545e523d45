"""A sweep as a page: which points are best, what decides, what bounds, and every point to search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.sim.explore.display import display_name, display_unit
from simexplore.sim.explore.report_data import NOT_ON_FRONT, PageColumns, Words, page_columns
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Column
from simexplore.sim.report.page import (
    Page,
    Section,
    facts,
    folded,
    live_table,
    note,
    plot,
    render,
    select,
    table,
    text,
    tiles,
    versions,
)

FAILURES_LISTED = 20
SEED = 0


def sweep_html(store: Store, made: str, seed: int = SEED) -> str:
    """A sweep's page, as one self-contained HTML document.

    Args:
        store: the sweep, complete or not.
        made: date and time, as the reader shall see it.
        seed: chooses the points that are drawn where there are too many to draw all.

    Raises:
        SimexploreError: no point of the sweep has a result; plotly is not installed.
    """
    results = store.results()
    if results.empty:
        raise SimexploreError(_nothing(store))
    front = _front(store, results)
    shown = page_columns(results, store.columns, front, np.random.default_rng(seed))
    sections = [
        Section("trade-off", "Trade-off", _trade_off(shown, len(results))),
        Section("coordinates", "Parallel coordinates", _parallel()),
        Section("sensitivity", "What decides", _sensitivity(store)),
        Section("bottlenecks", "What bounds the points", _bottlenecks(store, results), "Bottlenecks"),
        Section("table", "Points", _table(shown)),
        Section("failures", "Failed points", _failures(store.failures())),
        Section("machine", "Machine", _machine(store.metadata["arch"])),
        Section("spec", "The sweep's file", f'<pre tabindex="0">{text(store.spec_text.strip())}</pre>', "File"),
        Section("provenance", "Provenance", _provenance(store, made)),
    ]
    page = Page(
        title=str(store.metadata.get("name") or store.metadata["arch"]["name"]),
        kind="design-space sweep",
        lead=_lead(store),
        opening=_opening(store, results, front),
        sections=tuple(sections),
        data={"figures": _figures(store, results), "sweep": _start(store, shown)},
        scripts=("sweep.js", "parallel.js"),
    )
    return render(page, made)
