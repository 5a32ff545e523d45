"""The stored predictions that tests hold simexplore to: `python tools/golden_predictions.py` writes them anew.

A row is an operator, how it is run, and what simexplore says that it takes: `tests/golden/predictions/MACHINE.csv`.
The shapes are drawn here, spread over the logarithms of their sizes; no measured time is among them. Refresh the files
after a deliberate change of the physics or a new calibration, and look at what moved before it is committed.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simexplore import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import COLD, WARM, CacheState, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import Operator, parse_operator

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden" / "predictions"
SHAPES = 40
"""Of each group of a machine."""
COLUMNS = ("operator", "conditions", "time_us")

RUNS: dict[str, Conditions] = {
    "graph warm": Conditions(cache=WARM, launch="graph"),
    "graph cold": Conditions(cache=COLD, launch="graph"),
    "graph rotated": Conditions(cache=CacheState(weight_copies=5.0), launch="graph"),
    "graph module": Conditions(cache=WARM, launch="graph", attention_module=True),
    "stream": Conditions(cache=COLD, launch="stream"),
    "queued": Conditions(cache=WARM, launch="queued"),
    "queued rotated": Conditions(cache=CacheState(weight_copies=6.0, activation_copies=1.0), launch="queued"),
}
"""How a kernel is run, by the words of the files."""


class Draw:
    """Sizes, evenly spread over their logarithms."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def size(self, least: int, most: int, step: int = 1) -> int:
        drawn = math.exp(self._random.uniform(math.log(least), math.log(most)))
        return max(round(drawn / step) * step, step)

    def one(self, *values: int) -> int:
        return int(self._random.choice(values))


class Group(NamedTuple):
    """Operators of one family and set of types, run alike."""

    conditions: str
    shape: Callable[[Draw], str]


def _gemm(types: str) -> Callable[[Draw], str]:
    def shape(draw: Draw) -> str:
        m, n, k = draw.size(1, 32768), draw.size(128, 28672, 64), draw.size(128, 28672, 64)
        return f"gemm(m={m},n={n},k={k},{types})"

    return shape


def _heads(draw: Draw) -> tuple[int, int, int]:
    kv_heads = draw.one(1, 2, 4, 8, 16)
    return kv_heads * draw.one(1, 2, 4, 8), kv_heads, draw.one(64, 128, 256)


def _prefill(types: str) -> Callable[[Draw], str]:
    def shape(draw: Draw) -> str:
        heads, kv_heads, width = _heads(draw)
        tokens = draw.size(32, 8192)
        sizes = f"batch={draw.size(1, 16)},heads={heads},kv_heads={kv_heads},head_dim={width}"
        return f"attention_prefill({sizes},seq_q={tokens},seq_kv={tokens},{types})"

    return shape


def _decode(types: str) -> Callable[[Draw], str]:
    def shape(draw: Draw) -> str:
        heads, kv_heads, width = _heads(draw)
        sizes = f"batch={draw.size(1, 256)},heads={heads},kv_heads={kv_heads},head_dim={width}"
        return f"attention_decode({sizes},seq_kv={draw.size(2, 65536)},{types})"

    return shape


def _rows(family: str, types: str) -> Callable[[Draw], str]:
    return lambda draw: f"{family}(rows={draw.size(1, 65536)},cols={draw.size(128, 16384, 32)},{types})"


def _collective(family: str, types: str) -> Callable[[Draw], str]:
    return lambda draw: f"{family}(elements={draw.size(256, 2**28)},num_gpus={draw.one(2, 4, 8)},{types})"


def _scan(draw: Draw) -> str:
    key_heads = draw.one(1, 2, 4, 8, 16)
    sizes = f"batch={draw.size(1, 64)},heads={key_heads * draw.one(1, 2, 4)},key_heads={key_heads}"
    return f"gdn_prefill({sizes},seq_q={draw.size(1, 8192)},dtype=bf16)"


def _step(draw: Draw) -> str:
    key_heads = draw.one(1, 2, 4, 8, 16)
    return (
        f"gdn_decode(batch={draw.size(1, 512)},heads={key_heads * draw.one(1, 2, 4)},key_heads={key_heads},dtype=bf16)"
    )


def _convolution(draw: Draw) -> str:
    sizes = f"batch={draw.size(1, 64)},channels={draw.size(512, 16384, 256)},seq_q={draw.size(1, 8192)}"
    return f"causal_conv1d({sizes},dtype=bf16)"


DENSE = (
    Group("graph rotated", _gemm("dtype=bf16")),
    Group("graph warm", _gemm("dtype=bf16")),
    Group("stream", _gemm("dtype=bf16")),
    Group("graph module", _prefill("dtype=bf16")),
    Group("graph module", _decode("dtype=bf16")),
    Group("graph warm", _rows("rmsnorm", "dtype=bf16")),
    Group("stream", _collective("all_reduce", "dtype=bf16")),
    Group("stream", _collective("all_gather", "dtype=bf16")),
)
NARROW = (
    Group("graph rotated", _gemm("dtype=fp8")),
    Group("graph rotated", _gemm("dtype=fp8_block")),
    Group("graph module", _prefill("dtype=bf16,kv_dtype=fp8")),
    Group("graph module", _prefill("dtype=fp8,kv_dtype=fp8")),
    Group("graph module", _decode("dtype=bf16,kv_dtype=fp8")),
    Group("graph module", _rows("quant_scale_matrix", "dtype=fp8,input_dtype=bf16")),
)
LINEAR = (Group("graph warm", _scan), Group("graph warm", _step), Group("stream", _convolution))
QUEUED = (
    Group("queued rotated", _gemm("dtype=bf16")),
    Group("queued rotated", _gemm("dtype=bf16,weight_dtype=fp8")),
    Group("queued", _prefill("dtype=bf16")),
    Group("queued", _decode("dtype=bf16")),
    Group("queued", _decode("dtype=bf16,kv_dtype=fp8")),
    Group("graph warm", _gemm("dtype=bf16")),
)
GROUPS: dict[str, tuple[Group, ...]] = {
    "nvidia/h200-sxm": (*DENSE, *NARROW, *LINEAR),
    "nvidia/h100-sxm": (*DENSE, *NARROW),
    "nvidia/b200": (*DENSE, *NARROW, *LINEAR),
    "nvidia/l40s": (*DENSE, *NARROW),
    "nvidia/rtx-pro-6000": (*DENSE, *NARROW),
    "nvidia/a100-sxm-80gb": (*DENSE, Group("stream", _gemm("dtype=bf16,weight_dtype=int4"))),
    "nvidia/rtx-3090": DENSE[:6],
    "intel/arc-pro-b60": QUEUED,
    "nvidia/h200-sxm@facts": DENSE,
}
"""Of each machine that measurements taught anything, and of one by its facts."""


def shapes(groups: Iterable[Group]) -> Iterator[tuple[str, str]]:
    """Operators and the words of how they are run."""
    for seed, group in enumerate(groups):
        draw = Draw(seed)
        for _ in range(SHAPES):
            yield group.shape(draw), group.conditions


def times_us(gpu: Gpu, rows: Iterable[tuple[str, str]]) -> list[float]:
    """What the machine takes for each [us]; operators of one kind that are run alike are predicted together."""
    rows = list(rows)
    kinds: dict[tuple[Any, ...], list[int]] = {}
    records = [parse_operator(text) for text, _ in rows]
    for place, (record, (_, words)) in enumerate(zip(records, rows, strict=True)):
        kinds.setdefault((words, type(record), *_types(record).items()), []).append(place)
    found = np.zeros(len(rows))
    for (words, *_), places in kinds.items():
        found[places] = predict(_together([records[place] for place in places]), gpu, RUNS[words]).time_s * 1e6
    return [float(value) for value in found]


def _types(record: Operator) -> dict[str, Any]:
    named = parameters_of(record)
    return {name: getattr(record, name) for name, (_, parameter) in named.items() if parameter.kind != "count"}


def _together(records: list[Operator]) -> Operator:
    """One record with a column for every count."""
    family, types = type(records[0]), _types(records[0])
    counts = [name for name in parameters_of(family) if name not in types]
    columns = {name: np.array([getattr(record, name) for record in records], dtype=np.int64) for name in counts}
    return family(**columns, **types)


def path_of(machine: str) -> Path:
    """The file of a machine's rows."""
    return FOLDER / f"{machine.rpartition('/')[2].replace('@', '-')}.csv"


def stored(machine: str) -> tuple[list[tuple[str, str]], list[float]]:
    """A machine's stored rows, and their times [us]."""
    with path_of(machine).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row["operator"], row["conditions"]) for row in rows], [float(row["time_us"]) for row in rows]


def write(machine: str) -> None:
    """Draw a machine's shapes, predict them, and store both."""
    rows = list(shapes(GROUPS[machine]))
    FOLDER.mkdir(exist_ok=True)
    with path_of(machine).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (operator, conditions), time_us in zip(rows, times_us(load_arch(machine), rows), strict=True):
            writer.writerow([operator, conditions, f"{time_us:.5g}"])


def main() -> None:
    """Write the files of the machines named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help=f"some of {', '.join(GROUPS)}; all by default")
    for machine in parser.parse_args().machines or GROUPS:
        write(machine)
        print(path_of(machine))


if __name__ == "__main__":
    main()
