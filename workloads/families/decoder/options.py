"""What is asked of a language model: how many sequences, how long, in which types, on how many GPUs."""

from __future__ import annotations

from dataclasses import dataclass, field

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Count
from simexplore.workloads.operators.parameters import count_of, dtype_of, label_of

QUANTIZE = ("fused", "kernels")


@dataclass(frozen=True, slots=True)
class Options:
    """What prefill and decode have in common."""

    batch: int = field(default=1, metadata=count_of("sequences"))
    dtype: str = field(
        default="bf16",
        metadata=dtype_of("type of the layers' GEMMs; when narrower than 16 bits, all else is bf16, the head too"),
    )
    weight_dtype: str | None = field(
        default=None, metadata=dtype_of("type the layers' weights are stored in; none: dtype")
    )
    kv_dtype: str | None = field(default=None, metadata=dtype_of("type of the KV cache; none: as the activations"))
    quantize: str = field(
        default="fused",
        metadata=label_of(
            "how activations are narrowed for the layers' GEMMs. fused: by the norm or activation before them; "
            "kernels: by kernels of their own"
        ),
    )
    tensor_parallel: int = field(default=1, metadata=count_of("GPUs that share every layer"))
    expert_parallel: int = field(
        default=1, metadata=count_of("groups of these GPUs among which a layer's experts are divided; dense models: 1")
    )
    skew: int = field(
        default=0,
        metadata=count_of("exponent of the power law of tokens over experts, in hundredths; 0: balanced", minimum=0),
    )
    layers: int = field(default=0, metadata=count_of("layers, for a quick run; 0: all of the model's", minimum=0))

    @property
    def activation_dtype(self) -> str:
        """Type of everything that is not a layer's GEMM."""
        return self.dtype if bytes_of(self.dtype) >= 2 else "bf16"

    @property
    def written_dtype(self) -> str | None:
        """Type that norms and activations write for the layers' GEMMs; None: the activations' own."""
        fused = self.quantize == "fused" and self.dtype != self.activation_dtype
        return self.dtype if fused else None

    @property
    def summed_by(self) -> str | None:
        """The engine whose own kernel adds up what GPUs made; None: NCCL."""
        return None


@dataclass(frozen=True, slots=True)
class PrefillOptions(Options):
    """A prefill: every prompt goes through the model once."""

    prompt: int = field(default=2048, metadata=count_of("tokens of each prompt"))


@dataclass(frozen=True, slots=True)
class DecodeOptions(Options):
    """A decode step: one new token for each sequence."""

    context: int = field(
        default=2048, metadata=count_of("tokens in the KV cache of each sequence, the new one included")
    )


@dataclass(frozen=True, slots=True)
class StepOptions(Options):
    """What of a step does not change from one to the next: types, and how many GPUs share it."""

    engine: str | None = field(
        default=None, metadata=label_of("engine whose own kernel adds up what GPUs made; none: NCCL")
    )

    @property
    def summed_by(self) -> str | None:
        """As the engine does it."""
        return self.engine


@dataclass(frozen=True, slots=True)
class Sizes:
    """The work of a step, or columns of it.

    Args:
        sequences: that get one new token each.
        context: tokens of each of them, the new one included.
        pieces: of prompts.
        queries: tokens of each piece.
        past: tokens of its prompt before it.
        tokens: of all sequences and pieces.
        sampled: tokens that go through the output head.
    """

    sequences: Count
    context: Count
    pieces: Count
    queries: Count
    past: Count
    tokens: Count
    sampled: Count
