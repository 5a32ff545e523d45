"""What is asked of a language model's training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from simexplore.errors import SimexploreError
from simexplore.workloads.families.decoder.options import PrefillOptions
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.graph import Graph
from simexplore.workloads.hints import did_you_mean, found
from simexplore.workloads.operators.parameters import count_of, dtype_of, label_of
from simexplore.workloads.training.decoder import forward_pass, held_by_nodes, is_plain
from simexplore.workloads.training.methods.adapters import adapters_held, with_adapters
from simexplore.workloads.training.methods.low_rank import GaLore, GradNormLoRP, LoRA, Method, ReLoRA
from simexplore.workloads.training.methods.optimizers import Adafactor, Adam8bit, AdamW
from simexplore.workloads.training.parallel import in_parts
from simexplore.workloads.training.plan import Held, Plan
from simexplore.workloads.training.step import training_step

OPTIMIZERS: Mapping[str, Callable[[int], Method]] = MappingProxyType(
    {
        "adamw": lambda _: Method(AdamW()),
        "adamw_fp32": lambda _: Method(AdamW(moments="fp32")),
        "adam8bit": lambda _: Method(Adam8bit()),
        "adafactor": lambda _: Method(Adafactor()),
        "lora": lambda rank: LoRA(AdamW(), rank),
        "relora": lambda rank: ReLoRA(AdamW(), rank),
        "galore": lambda rank: GaLore(AdamW(steps=False), rank),
        "galore8bit": lambda rank: GaLore(Adam8bit(), rank),
        "galore_adafactor": lambda rank: GaLore(Adafactor(), rank),
        "gradnormlorp": lambda rank: GradNormLoRP(rank=rank),
    }
)
"""Methods by name, of a rank."""
MIXED = Method(AdamW(moments="fp32", master=True))
CHOICES = {
    "precision": ("pure", "mixed"),
    "recompute": ("none", "attention", "full"),
    "attention": ("fused", "unfused"),
    "update": ("at_end", "layer_wise"),
    "sequence": ("whole", "parallel"),
}


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """A training step on one of `tensor_parallel` GPUs, of which there are `data_parallel` groups."""

    batch: int = field(default=1, metadata=count_of("sequences of a micro-batch"))
    tokens: int = field(default=2048, metadata=count_of("tokens of each sequence"))
    micro_batches: int = field(default=1, metadata=count_of("passes whose gradients are added up before the update"))
    dtype: str = field(default="bf16", metadata=dtype_of("type of weights, activations and gradients"))
    precision: str = field(
        default="pure",
        metadata=label_of("pure: all of dtype; mixed: gradients of fp32, AdamW with moments and a copy of fp32"),
    )
    optimizer: str = field(default="adamw", metadata=label_of(f"one of {', '.join(OPTIMIZERS)}"))
    rank: int = field(default=128, metadata=count_of("rank of lora, relora, galore and gradnormlorp"))
    update: str = field(
        default="at_end", metadata=label_of("layer_wise: each tensor as soon as its gradient is there; at_end: all")
    )
    recompute: str = field(
        default="none",
        metadata=label_of("what of the forward pass is done again, not kept: none, attention (selective) or full"),
    )
    attention: str = field(
        default="fused", metadata=label_of("unfused: products, softmax and dropout apart; fused: one kernel")
    )
    sequence: str = field(
        default="whole", metadata=label_of("parallel: norms and additions on a part of the tokens; whole: on all")
    )
    tensor_parallel: int = field(default=1, metadata=count_of("GPUs that share every layer"))
    data_parallel: int = field(default=1, metadata=count_of("copies of the model, whose gradients are added up"))
    layers: int = field(default=0, metadata=count_of("layers, for a quick run; 0: all of the model's", minimum=0))
    expert_parallel: int = field(
        default=1,
        metadata=count_of("groups of these GPUs among which experts are divided; dense models: 1"),
    )
    svd_every: int = field(
        default=0,
        metadata=count_of("steps that share galore's decompositions; 1: a step with them; 0: one without", minimum=0),
    )

    @property
    def forward(self) -> PrefillOptions:
        """The forward pass as a prefill."""
        return PrefillOptions(
            batch=self.batch,
            prompt=self.tokens,
            dtype=self.dtype,
            tensor_parallel=self.tensor_parallel,
            layers=self.layers,
            expert_parallel=self.expert_parallel,
        )


def build_train(model: Decoder, name: str, options: TrainOptions) -> Graph:
    """The graph of a training step of a model, one GPU's share.

    Raises:
        SimexploreError: a word that is none of its choices, a model without known gradients, or what does not divide.
    """
    forward, held, plan = planned(model, name, options)
    return training_step(forward, plan, held)


def planned(model: Decoder, name: str, options: TrainOptions) -> tuple[Graph, Held, Plan]:
    """A model's forward pass, the tensors of its nodes, and how they are trained; raises as `build_train` does."""
    _check(model, name, options)
    held = held_by_nodes(model, name, options.forward)
    forward = forward_pass(model, name, options.forward, unfused=options.attention == "unfused")
    if options.sequence == "parallel":
        forward = in_parts(forward, options.tensor_parallel)
    mixed = options.precision == "mixed"
    plan = Plan(
        method=MIXED if mixed else OPTIMIZERS[options.optimizer](options.rank),
        dtype=options.dtype,
        gradient_dtype="fp32" if mixed else None,
        micro_batches=options.micro_batches,
        recompute=options.recompute,  # type: ignore[arg-type]  # checked above
        layer_wise=options.update == "layer_wise",
        replicas=options.data_parallel,
        of_copy=options.tensor_parallel,
        cross_entropy=True,
        svd_every=options.svd_every,
    )
    return with_adapters(forward, held, plan), {**held, **adapters_held(held, plan)}, plan


def _check(model: Decoder, name: str, options: TrainOptions) -> None:
    for parameter, words in {**CHOICES, "optimizer": tuple(OPTIMIZERS)}.items():
        word = getattr(options, parameter)
        if word not in words:
            expected = f"expected {', '.join(words)}, found {found(word)}{did_you_mean(word, words)}"
            raise SimexploreError(f"{name}: {parameter}: {expected}")
    if options.precision == "mixed" and options.optimizer != "adamw":
        raise SimexploreError(f"{name}: precision=mixed has an AdamW of its own: leave out {options.optimizer}")
    if options.svd_every and not isinstance(OPTIMIZERS[options.optimizer](options.rank), GaLore):
        raise SimexploreError(f"{name}: svd_every is of galore and gradnormlorp: leave it out for {options.optimizer}")
    if not is_plain(model) and (options.sequence == "parallel" or options.attention == "unfused"):
        raise SimexploreError(
            f"{name}: sequence=parallel and attention=unfused are of dense layers of grouped attention: leave them out"
        )
