"""Figures in the documents that commands print: write them anew, or say which are stale.

    python tools/documented.py [--check] [DOCUMENT …]

A document marks what is generated with a comment before and one after it, in a line or around a table:

    <!-- figure: ngpc; full-HD frame of NeRF on the RTX 3090, hashgrid; {:.0f} ms -->229 ms<!-- /figure -->
    <!-- table: ngpc frames --> … <!-- /table -->

A figure is the simulated one of `simexplore reproduce`, by study and quantity; a table is one of `TABLES`.
"""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache
from pathlib import Path

from simexplore.archs.load import list_archs, load_arch, resolve
from simexplore.archs.schema.calibration import HeldOut
from simexplore.sim.studies import Record, reproduce
from simexplore.sim.studies.ngpc import APPLICATIONS, SCALES, Frames

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / name
        for name in ("energy.md", "area-and-cost.md", "studies/ngpc.md", "explain.md", "sweeps.md", "lab/accuracy.md")
    ),
)
MARKED = re.compile(r"(<!-- (figure|table): ([^>]*?) -->)(.*?)(<!-- /\2 -->)", re.DOTALL)


def generated(text: str) -> str:
    """A document's text with every marked part as the commands print it now."""
    return MARKED.sub(lambda found: f"{found[1]}{_part(found[2], found[3])}{found[5]}", text)


def _part(kind: str, asked: str) -> str:
    if kind == "table":
        return TABLES[asked]()
    study, quantity, form = (part.strip() for part in asked.split(";"))
    return form.format(_records(study)[quantity]["simulated"])


@cache
def _records(study: str) -> Mapping[str, Record]:
    return {record["quantity"]: record for record in reproduce(study, None)}


def duty_cycle() -> str:
    """What `examples/duty_cycle.py` prints."""
    return f"\n{runpy.run_path(str(ROOT / 'examples' / 'duty_cycle.py'))['table']()}\n"


def ngpc_frames() -> str:
    """Frame times, shares and speed-ups at full HD."""
    frames = Frames()
    rows = [
        "| | RTX 3090 | encoding, network, rest | NGPC-8 | 16 | 32 | 64 | limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for application in APPLICATIONS:
        alone = frames.on_gpu(application, "hashgrid")
        shares = ", ".join(f"{part / alone.time_s * 100:.0f}" for part in (alone.encoding_s, alone.mlp_s, alone.rest_s))
        speed_ups = " | ".join(f"{frames.speed_up(application, 'hashgrid', scale):.1f}x" for scale in SCALES)
        limit = f"{frames.ceiling(application, 'hashgrid'):.0f}x"
        time_ms = f"{alone.time_s * 1e3:.3g} ms"
        rows.append(f"| {application} hashgrid | {time_ms} | {shares} % | {speed_ups} | {limit} |")
    mean = "mean speed-up of four applications, {}, NGPC-{}"
    of_all = " | ".join(f"**{_beside(mean.format('hashgrid', scale), 'x')}**" for scale in SCALES)
    share = "encoding and network over frame time on the RTX 3090, {}, mean"
    rows.append(f"| **mean (published)** | | {_beside(share.format('hashgrid'), ' %')} | {of_all} | |")
    dense = _beside(mean.format("densegrid", 64), "x")
    rows.append(f"| mean, densegrid | | {_beside(share.format('densegrid'), ' %')} | | | | {dense} | |")
    low = f"{frames.mean_speed_up('lowres-densegrid', 64):.1f}x"
    rows.append(f"| mean, low-res densegrid | | {_beside(share.format('low-res densegrid'), ' %')} | | | | {low} | |")
    return "\n" + "\n".join(rows) + "\n"


def _beside(quantity: str, unit: str) -> str:
    """`10.5x (12)`: simulated, and published in brackets."""
    record = _records("ngpc")[quantity]
    return f"{record['simulated']:.1f}{unit} ({record['published']:.3g})"


def die_areas() -> str:
    """Dies that set no number of the model, then those that did, with the error of each."""
    rows = ["| die | published | from its parts | error | |", "|---|---|---|---|---|"]
    for record in _records("area").values():
        error = f"{100 * (record['ratio'] - 1):+.1f} %"
        areas = f"{record['published']:.0f} mm² | {record['simulated']:.0f} mm²"
        rows.append(f"| {record['quantity']} | {areas} | {error} | {record['status']} |")
    return "\n" + "\n".join(rows) + "\n"


def printed(*arguments: str) -> str:
    """What a command prints, as a block of text."""
    from click.testing import CliRunner

    from simexplore.cli.main import main as command

    told = CliRunner().invoke(command, arguments)
    if told.exit_code:
        raise SystemExit(told.output)
    return f"\n```\n$ simexplore {shlex.join(arguments)}\n{told.stdout.rstrip()}\n```\n"


def explained_gemm() -> str:
    """An operator on one machine, all of it."""
    return printed("explain", "gemm(m=4096,n=4096,k=4096)", "--arch", "nvidia/h200-sxm")


def explained_machines() -> str:
    """The same on two machines."""
    both = ("--arch", "nvidia/h200-sxm", "--arch", "nvidia/a100-sxm-80gb")
    return printed("explain", "gemm(m=4096,n=4096,k=4096)", *both)


def verdict() -> str:
    """What README's sweep answers: what is printed before its front."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out")
        block = printed("sweep", str(ROOT / "examples" / "hopper-memory.yaml"), "-o", out, "--jobs", "1")
    answer = block.partition("\n\nmemory of an H200")[0]
    _, _, below = answer.partition("-o ")
    return f"\n```\n$ simexplore sweep examples/hopper-memory.yaml -o out/\n{below.partition(chr(10))[2]}\n```\n"


GEMMS = {
    "bf16": ("gemm bf16 graph", "gemm bf16 profiled", "gemm bf16 queued"),
    "fp8": ("gemm fp8 activation_dtype=bf16 graph",),
    "fp8, block-scaled": (
        "gemm fp8_block activation_dtype=bf16 graph",
        "gemm fp8_block activation_dtype=bf16 stream eager",
    ),
    "NVFP4": ("gemm nvfp4 activation_dtype=bf16 graph",),
}
ATTENTION = {
    f"{phase}{told}": (f"attention_{phase} bf16 {kind}graph attention_module", f"attention_{phase} bf16 {kind}queued")
    for phase in ("prefill", "decode")
    for told, kind in (("", ""), (", fp8 cache", "kv_dtype=fp8 "))
}
OTHERS = {
    "conversion to fp8": ("quant_scale_matrix fp8 input_dtype=bf16 graph attention_module",),
    "prefill in fp8": ("attention_prefill fp8 graph attention_module",),
    "GEMM int8": ("gemm int8 stream",),
    "int8 weights": ("gemm bf16 weight_dtype=int8 stream",),
    "int4 weights": ("gemm bf16 weight_dtype=int4 stream",),
    "fp8 weights": ("gemm bf16 weight_dtype=fp8 queued",),
}
EXPERTS = {
    "bf16": ("moe bf16 graph", "moe bf16 queued"),
    "fp8": ("moe fp8 graph",),
    "fp8, block-scaled": ("moe fp8_block graph",),
    "NVFP4": ("moe nvfp4 graph",),
    "weights in fp8": ("moe bf16 weight_dtype=fp8 queued",),
    "weights in MXFP4": ("moe bf16 weight_dtype=mxfp4 graph", "moe bf16 weight_dtype=mxfp4 queued"),
    "weights in int4": ("moe bf16 weight_dtype=int4 graph",),
}
LATENT = {
    told: (f"{op} bf16 graph attention_module", f"{op} bf16 graph")
    for told, op in {
        "latent prefill": "mla_prefill",
        "latent decode": "mla_decode",
        "prefill, whole module": "mla_prefill_module",
        "decode, whole module": "mla_decode_module",
        "batched products": "bmm",
        "attention without a mask": "encoder_attention",
    }.items()
}
SHORT = {
    "GEMM bf16": GEMMS["bf16"],
    "GEMM fp8": GEMMS["fp8"],
    **{name: ATTENTION[name] for name in ("prefill", "decode")},
}
Groups = Mapping[str, tuple[str, ...]]
ENGINES = {"trtllm": "TensorRT-LLM", "vllm": "vLLM", "sglang": "SGLang", "torch": "PyTorch"}


@cache
def fitted() -> tuple[tuple[str, str, Mapping[str, HeldOut]], ...]:
    """Machines with rows of their own, their engines, and the errors that their calibrations state."""
    return tuple(_fitted())


def _fitted() -> Iterator[tuple[str, str, Mapping[str, HeldOut]]]:
    for name in list_archs():
        written = resolve(name).data
        taught_by_itself = name in str(written.get("calibration", {}).get("of", ""))
        for engine in (written.get("engine", ""), *written.get("engines", ())) if taught_by_itself else ():
            found = load_arch(name, engine=engine or None).calibration
            if found is not None and found.held_out and name in found.of:
                yield name, engine, found.held_out


def errors(groups: Groups, cell: Callable[[HeldOut], str], engines: Container[str] = ENGINES) -> str:
    """A row a machine and engine, a column a kind of operator, of those with any."""
    lines = ["| machine, engine | " + " | ".join(groups) + " |", "|---" * (1 + len(groups)) + "|"]
    for name, engine, held_out in fitted():
        found = [next((held_out[group] for group in names if group in held_out), None) for names in groups.values()]
        if any(found) and engine in engines:
            cells = " | ".join("–" if one is None else cell(one) for one in found)
            lines.append(f"| `{name}`, {ENGINES[engine]} | {cells} |")
    return "\n" + "\n".join(lines) + "\n"


def whole(one: HeldOut) -> str:
    """`4.8 → 3.7 (80)`: the physics, with the correction, and what the interval covers."""
    return f"{100 * one.physics_mape:.1f} → {100 * one.full_mape:.1f} ({100 * one.coverage:.0f})"


TABLES: dict[str, Callable[[], str]] = {
    "duty cycle": duty_cycle,
    "die areas": die_areas,
    "ngpc frames": ngpc_frames,
    "explained gemm": explained_gemm,
    "explained machines": explained_machines,
    "verdict": verdict,
    "errors of GEMMs": lambda: errors(GEMMS, whole),
    "errors of attention": lambda: errors(ATTENTION, whole),
    "errors of experts": lambda: errors(EXPERTS, whole),
    "errors of latent attention": lambda: errors(LATENT, whole),
    "errors of other operators": lambda: errors(OTHERS, whole),
    "errors in short": lambda: errors(SHORT, lambda one: f"{100 * one.full_mape:.1f} %", ("trtllm",)),
}


def main() -> int:
    """0; with `--check`, 1 where a document is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path, default=DOCUMENTS)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    given = parser.parse_args()
    stale = 0
    for document in given.documents:
        before = document.read_text(encoding="utf-8")
        after = generated(before)
        if after != before:
            stale = 1
            print(f"{document}: {'stale' if given.check else 'written'}")
            if not given.check:
                document.write_text(after, encoding="utf-8")
    return stale if given.check else 0


if __name__ == "__main__":
    sys.exit(main())
