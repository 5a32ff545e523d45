"""GaLore (Zhao et al., arXiv:2403.03507): memory by the paper's own accounting, and by the bytes that are held.

The 60 entries of tables 2 and 6 are the accounting's (`accounting.py`). For LLaMA 7B both are told: the accounting,
which gives the paper's percentages, and what the released optimizers keep byte for byte (`workloads.training`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.sim.play.execute import execute
from simexplore.sim.studies import record_of
from simexplore.sim.studies.training.accounting import G_BYTES, METHODS, counted, elements_g, states_of_8_bits
from simexplore.sim.studies.training.shares import less
from simexplore.workloads.families.decoder.readers import decoder_of
from simexplore.workloads.training.methods.footprint import gradient_bytes, state_bytes
from simexplore.workloads.training.methods.low_rank import GaLore, Method
from simexplore.workloads.training.methods.optimizers import Adam8bit, AdamW
from simexplore.workloads.training.methods.weights import Weight, weights_of
from simexplore.workloads.training.options import TrainOptions, build_train

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "training" / "galore.yaml"
DTYPE = "bf16"
ADAMW, ADAM_8BIT = Method(AdamW()), Method(Adam8bit())


def study() -> list[dict[str, Any]]:
    """A record for each published figure, and for the same by true bytes."""
    table = read_document(PUBLISHED).data
    model = table["models"]["7B"]
    told = {**seven_billion(model, table["accounting"]), **played(model, table["step"])}
    records = [record_of(table, entry, told[entry["quantity"]]) for entry in table["figures"]]
    return [*_of_tables(table), *records]


def _of_tables(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each entry of tables 2 and 6."""
    for size, model in table["models"].items():
        if "size_m" not in model:
            continue
        by_method = counted(tensors(model), model["rank"], model["size_m"])
        for part in ("weights", "states", "total"):
            for method in METHODS:
                figure = {
                    "quantity": f"{size}, {method}: {part}",
                    "published": table[part][method][size],
                    "unit": "G",
                    "source": part,
                    "status": "input" if [size, method, part] in table["inputs"] else "enforced",
                }
                yield record_of(table, figure, getattr(by_method[method], part))


def tensors(model: Mapping[str, Any]) -> tuple[Weight, ...]:
    """The tensors of a model of the table."""
    return weights_of(decoder_of(model["config"], "galore", "galore"))


def seven_billion(model: Mapping[str, Any], accounting: Mapping[str, Any]) -> dict[str, float]:
    """Every figure of LLaMA 7B by its name, by the paper's accounting and by true bytes."""
    weights, rank = tensors(model), model["rank"]
    galore = GaLore(Adam8bit(), rank)
    one_gradient = gradient_bytes(weights, galore, DTYPE, layer_wise=True) / G_BYTES
    bf16, of_8_bits, low = elements_g(weights, 4.0), elements_g(weights, 2.0), states_of_8_bits(weights, rank)
    model_g, activations = elements_g(weights, 2.0), accounting["activations_g"]
    totals = {
        "bf16": 2.0 * model_g + bf16 + activations,
        "8 bits": 2.0 * model_g + of_8_bits + activations,
        "GaLore": model_g + one_gradient + low + activations,
    }
    true = {name: sum(state_bytes(weights, method, DTYPE).values()) for name, method in _methods(galore)}
    return {
        "7B, states of AdamW in bf16": bf16,
        "7B, states of 8-bit Adam": of_8_bits,
        "7B, states of 8-bit GaLore": low,
        "7B, states: 8-bit GaLore under 8-bit Adam": less(low, of_8_bits),
        "7B, states: 8-bit GaLore under AdamW in bf16": less(low, bf16),
        "7B, total of 8-bit GaLore": totals["GaLore"],
        "7B, total: 8-bit GaLore under AdamW in bf16": less(totals["GaLore"], totals["bf16"]),
        "7B, total: 8-bit GaLore under 8-bit Adam": less(totals["GaLore"], totals["8 bits"]),
        "7B, true bytes: states of 8-bit GaLore": true["GaLore"] / 1e9,
        "7B, true bytes: states, 8-bit GaLore under 8-bit Adam": less(true["GaLore"], true["8 bits"]),
        "7B, true bytes: states, 8-bit GaLore under AdamW in bf16": less(true["GaLore"], true["bf16"]),
    }


def played(model: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, float]:
    """The most that a training step of 7B holds, played as events on one GPU, in the paper's G."""
    options = TrainOptions(tokens=step["tokens"], optimizer="galore8bit", rank=model["rank"], update="layer_wise")
    graph = build_train(decoder_of(model["config"], "galore", "galore"), "galore", options)
    return {"7B, a step as played": execute(graph, load_arch(step["arch"])).peak_memory_bytes / G_BYTES}


def _methods(galore: GaLore) -> tuple[tuple[str, Method], ...]:
    return (("bf16", ADAMW), ("8 bits", ADAM_8BIT), ("GaLore", galore))
