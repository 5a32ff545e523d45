"""What optimizers keep, byte for byte, of a LLaMA of two layers.

Numbers are what PyTorch 2.13, transformers 5.24, galore-torch 1.0, bitsandbytes 0.50, peft 0.21 and the released
GradNormLoRP (@66c8e767) held; `test_real_optimizers.py` asks them again where they are installed.
"""

from __future__ import annotations

import pytest
from small_llama import MODEL

from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.training.methods.footprint import footprint, gradient_bytes, state_bytes, weight_bytes
from simexplore.workloads.training.methods.low_rank import GaLore, GradNormLoRP, LoRA, Method, ReLoRA
from simexplore.workloads.training.methods.optimizers import Adafactor, Adam8bit, AdamW
from simexplore.workloads.training.methods.weights import Weight, weights_of

WEIGHTS = weights_of(MODEL)
ADAM, GALORE_ADAM = AdamW(), AdamW(steps=False)
SLICED = {
    "fp32": {"projector": 73728, "factor": 331776},
    "bf16": {"projector": 36864},
}


def test_a_small_models_tensors_are_counted_one_by_one() -> None:
    assert sum(weight.total for weight in WEIGHTS) == MODEL.parameters == 172_512
    assert sum(weight.count for weight in WEIGHTS) == 21
    shapes = {weight.name: (weight.rows, weight.cols) for weight in WEIGHTS}
    assert shapes["layer1.k"] == (48, 96)
    assert shapes["layer0.down"] == (96, 160)
    assert shapes["layer0.gate"] == (160, 96)
    assert shapes["layer0.norm"] == (96, 0)


@pytest.mark.parametrize("name", MODELS)
def test_tensors_sum_up_to_the_models_parameters(name: str) -> None:
    assert sum(weight.total for weight in weights_of(MODELS[name])) == MODELS[name].parameters


@pytest.mark.parametrize(
    ("method", "dtype", "kept"),
    [
        (Method(ADAM), "fp32", {"exp_avg": 690048, "exp_avg_sq": 690048, "step": 84}),
        (Method(ADAM), "bf16", {"exp_avg": 345024, "exp_avg_sq": 345024, "step": 84}),
        (
            Method(AdamW(moments="fp32", master=True, steps=False)),
            "bf16",
            {"exp_avg": 690048, "exp_avg_sq": 690048, "master": 690048},
        ),
        (
            Method(Adam8bit()),
            "bf16",
            {"state1": 173952, "state2": 173952, "absmax1": 2688, "absmax2": 2688, "shared": 2048},
        ),
        (Method(Adafactor()), "bf16", {"exp_avg_sq_row": 6656, "exp_avg_sq_col": 6656, "exp_avg_sq": 1920, "RMS": 84}),
        (
            Method(Adafactor(momentum=True)),
            "bf16",
            {"exp_avg": 690048, "exp_avg_sq_row": 6656, "exp_avg_sq_col": 6656, "exp_avg_sq": 1920, "RMS": 84},
        ),
        (GaLore(GALORE_ADAM, 16), "fp32", {"exp_avg": 210816, "exp_avg_sq": 210816, **SLICED["fp32"]}),
        (GaLore(GALORE_ADAM, 16), "bf16", {"exp_avg": 105408, "exp_avg_sq": 105408, **SLICED["bf16"]}),
        (
            GaLore(Adafactor(), 16),
            "bf16",
            {"exp_avg_sq_row": 5504, "exp_avg_sq_col": 4096, "exp_avg_sq": 1920, "RMS": 84, **SLICED["fp32"]},
        ),
        (
            GradNormLoRP(rank=16),
            "fp32",
            {
                "v": 690048, "g": 6676, "exp_avg_g": 6676, "exp_avg_sq_g": 6676,
                "exp_avg": 210816, "exp_avg_sq": 210816, **SLICED["fp32"],
            },
        ),
        (
            GradNormLoRP(rank=16),
            "bf16",
            {
                "v": 345024, "g": 3338, "exp_avg_g": 3338, "exp_avg_sq_g": 3338,
                "exp_avg": 105408, "exp_avg_sq": 105408, **SLICED["bf16"],
            },
        ),
        (LoRA(ADAM, 8), "bf16", {"exp_avg": 92160, "exp_avg_sq": 92160, "step": 112}),
    ],
)  # fmt: skip
def test_states_are_those_of_the_implementation(method: Method, dtype: str, kept: dict[str, int]) -> None:
    assert state_bytes(WEIGHTS, method, dtype) == kept


@pytest.mark.parametrize(
    ("elements", "kept"),
    [
        (4095, {"state1": 4 * 4095, "state2": 4 * 4095}),
        (4096, {"state1": 4096, "state2": 4096, "absmax1": 4 * 16, "absmax2": 4 * 16}),
        (4097, {"state1": 4097, "state2": 4097, "absmax1": 4 * 17, "absmax2": 4 * 17}),
    ],
)
def test_moments_of_8_bits_begin_at_4096_elements(elements: int, kept: dict[str, int]) -> None:
    assert Adam8bit().states(Weight("w", elements, 0, "vector"), "bf16") == kept


def test_moments_of_8_bits_are_of_the_projected_gradient() -> None:
    """A matrix of 96 x 160 at rank 16: moments of 16 x 160, which are too few for 8 bits; at 32 they are not."""
    down = Weight("layer0.down", 96, 160, "mlp")
    assert GaLore(Adam8bit(), 16).states(down, "bf16") == {"state1": 10240, "state2": 10240, "projector": 2 * 96 * 16}
    scales = {"absmax1": 80, "absmax2": 80}
    kept = {"state1": 5120, "state2": 5120, **scales, "projector": 2 * 96 * 32}
    assert GaLore(Adam8bit(), 32).states(down, "bf16") == kept


@pytest.mark.parametrize(
    ("rows", "cols", "low_rank", "projector"),
    [(160, 96, (160, 16), 16 * 96), (96, 160, (16, 160), 16 * 96), (96, 96, (96, 16), 16 * 96), (8, 96, (8, 96), 64)],
)
def test_the_lesser_side_is_projected(rows: int, cols: int, low_rank: tuple[int, int], projector: int) -> None:
    method, weight = GaLore(GALORE_ADAM, 16), Weight("w", rows, cols, "mlp")
    assert (method.low_rank(weight).rows, method.low_rank(weight).cols) == low_rank
    assert method.projector_elements(weight) == projector


def test_adapters_are_of_fp32_beside_a_frozen_model() -> None:
    matrices = [weight for weight in WEIGHTS if weight.in_layer]
    adapters = sum(weight.count * 8 * (weight.rows + weight.cols) for weight in matrices)
    assert adapters == 23040
    held = footprint(WEIGHTS, LoRA(ADAM, 8), "bf16")
    assert held.weights == 2 * MODEL.parameters + 4 * adapters
    assert held.gradients == 4 * adapters
    assert held.states == 8 * adapters + 4 * 28
    assert held.total == held.weights + held.gradients + held.states
    assert footprint(WEIGHTS, ReLoRA(ADAM, 8), "bf16") == held
    of_16_bits = footprint(WEIGHTS, LoRA(ADAM, 8, ("embedding", "head"), adapter_dtype=None), "bf16")
    assert of_16_bits.gradients == 2 * (adapters + 2 * 128 * 96)


def test_layer_wise_updates_hold_one_gradient_at_a_time() -> None:
    whole, one = (gradient_bytes(WEIGHTS, Method(ADAM), "bf16", layer_wise=each) for each in (False, True))
    assert whole == 2 * MODEL.parameters
    assert one == 2 * 96 * 160
    assert gradient_bytes(WEIGHTS, Method(ADAM), "bf16", gradient_dtype="fp32") == 2 * whole
    assert weight_bytes(WEIGHTS, GaLore(GALORE_ADAM, 16), "bf16") == whole
