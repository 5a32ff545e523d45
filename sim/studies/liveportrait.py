"""LivePortrait (Guo et al., arXiv:2407.03168): five modules as TorchInductor compiles them, synchronised one by one.

A module's latency is its graph, and the host's time of a call, of which nothing is hidden since `speed.py` waits for
every module. That time is read from S, three calls of small networks, and is the same for all. Nothing of the RTX 4090
was fitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.studies import record_of
from simexplore.workloads import catalog
from simexplore.workloads.compilers import COMPILERS

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "liveportrait.yaml"
MS = 1e3


def study() -> list[dict[str, Any]]:
    """A record for each published latency; `input` is the one that the host's time was read from."""
    table = read_document(PUBLISHED).data
    gpu, compiler, host = load_arch(table["arch"]), COMPILERS[table["compiler"]], table["host"]
    names = dict.fromkeys(name for figure in table["figures"] for name in figure["modules"])
    worked = {
        name: estimate_graph(
            compiler.compiled(catalog.build(f"liveportrait/{name}")), gpu, launch=compiler.launch
        ).time_s
        for name in names
    }
    (given,) = (figure["published"] for figure in table["figures"] if figure["modules"] == [host["module"]])
    call_ms = (given - worked[host["module"]] * MS) / host["calls"]
    calls = {name: host["calls"] if name == host["module"] else 1 for name in names}
    latencies = {name: worked[name] * MS + calls[name] * call_ms for name in names}
    return [
        record_of(table, figure, sum(latencies[name] for name in figure["modules"]), unit="ms")
        for figure in table["figures"]
    ]
