"""What real optimizers hold after a step on a CPU, tensor by tensor, beside what is counted.

They need torch and, one by one, transformers, galore-torch, bitsandbytes and peft; `test_states.py` holds the same
numbers where these are not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from small_llama import MODEL, SIZES

from simexplore.workloads.training.methods.footprint import state_bytes, weight_bytes
from simexplore.workloads.training.methods.low_rank import GaLore, LoRA, Method
from simexplore.workloads.training.methods.optimizers import Adafactor, Adam8bit, AdamW
from simexplore.workloads.training.methods.weights import weights_of

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")
RANK = 16
WEIGHTS = weights_of(MODEL)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def package(name: str) -> ModuleType:
    found: ModuleType = pytest.importorskip(name, reason=f"{name} is not installed")
    return found


def llama(dtype: str) -> Any:
    transformers = package("transformers")
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).to(DTYPES[dtype])


def stepped(model: Any, make: Callable[[Any], Any]) -> Any:
    """An optimizer after one step."""
    ids = torch.randint(0, SIZES["vocab_size"], (2, 8))
    optimizer = make(model)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    return optimizer


def tensors(kept: Any) -> Iterator[Any]:
    if isinstance(kept, torch.Tensor):
        yield kept
    elif isinstance(kept, dict):
        for each in kept.values():
            yield from tensors(each)
    elif hasattr(kept, "ortho_matrix"):
        yield kept.ortho_matrix


def held_bytes(optimizer: Any) -> int:
    """Bytes of all storage that the states keep alive, once where several share it."""
    storages = [tensor.untyped_storage() for kept in optimizer.state.values() for tensor in tensors(kept)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def groups(model: Any) -> list[dict[str, Any]]:
    """As torchrun_main.py of GaLore makes them: matrices of attention and feed-forward, and the rest."""
    low = [
        weight for name, weight in model.named_parameters() if weight.ndim == 2 and ("attn" in name or "mlp" in name)
    ]
    others = [weight for weight in model.parameters() if all(weight is not each for each in low)]
    settings = {"rank": RANK, "update_proj_gap": 10, "scale": 0.25, "proj_type": "std"}
    return [{"params": others}, {"params": low, **settings}]


@pytest.mark.parametrize("dtype", DTYPES)
def test_adamw(dtype: str) -> None:
    optimizer = stepped(llama(dtype), lambda model: torch.optim.AdamW(model.parameters()))
    assert held_bytes(optimizer) == sum(state_bytes(WEIGHTS, Method(AdamW()), dtype).values())


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_adafactor(momentum: float | None) -> None:
    adafactor = package("transformers.optimization").Adafactor
    settings = {"lr": 1e-3, "beta1": momentum, "relative_step": False, "scale_parameter": False}
    optimizer = stepped(llama("bf16"), lambda model: adafactor(model.parameters(), **settings))
    counted = state_bytes(WEIGHTS, Method(Adafactor(momentum=momentum is not None)), "bf16")
    assert held_bytes(optimizer) == sum(counted.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_galore(dtype: str) -> None:
    galore = package("galore_torch")
    optimizer = stepped(llama(dtype), lambda model: galore.GaLoreAdamW(groups(model), lr=1e-3))
    counted = state_bytes(WEIGHTS, GaLore(AdamW(steps=False), RANK), dtype)
    assert held_bytes(optimizer) == sum(counted.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_galore_of_adafactor(dtype: str) -> None:
    galore = package("galore_torch")
    settings = {"lr": 1e-3, "beta1": None, "relative_step": False, "scale_parameter": False}
    optimizer = stepped(llama(dtype), lambda model: galore.GaLoreAdafactor(groups(model), **settings))
    assert held_bytes(optimizer) == sum(state_bytes(WEIGHTS, GaLore(Adafactor(), RANK), dtype).values())


def test_adam_of_8_bits() -> None:
    bitsandbytes = package("bitsandbytes")
    optimizer = stepped(llama("bf16"), lambda model: bitsandbytes.optim.Adam8bit(model.parameters()))
    assert held_bytes(optimizer) == sum(state_bytes(WEIGHTS, Method(Adam8bit()), "bf16").values())


def test_lora() -> None:
    peft = package("peft")
    method = LoRA(AdamW(), RANK)
    config = peft.LoraConfig(
        r=RANK, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    model = peft.get_peft_model(llama("bf16"), config)
    held = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    assert held == weight_bytes(WEIGHTS, method, "bf16")
    optimizer = stepped(model, lambda model: torch.optim.AdamW([w for w in model.parameters() if w.requires_grad]))
    assert held_bytes(optimizer) == sum(state_bytes(WEIGHTS, method, "bf16").values())


def test_tensors_have_the_shapes_of_transformers() -> None:
    shapes = sorted(tuple(weight.shape) for weight in llama("fp32").parameters())
    ours = [(each.rows, each.cols) if each.cols else (each.rows,) for each in WEIGHTS for _ in range(each.count)]
    assert shapes == sorted(ours)
