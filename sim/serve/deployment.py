"""A model on a machine: how many GPUs share it, what room they leave for its KV cache, and the engines of it.

Figures of a deployment are of all its GPUs. Tensor and expert parallelism divide every layer among the GPUs of one
NVLink domain. A pipeline of `stages` has as many groups of sequences on their way, each with its part of the cache;
stages are taken to be balanced, so that a group's step takes as long as on one stage after another and never waits.
Replicas share nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System, system_of
from simexplore.errors import SimexploreError
from simexplore.sim.serve.engine.defaults import Room
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.steps.exact import Model
from simexplore.sim.serve.steps.table import StepTable
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families.decoder.options import StepOptions
from simexplore.workloads.families.decoder.shape import Decoder, Experts, FeedForward, Grouped, Latent, Layer
from simexplore.workloads.families.decoder.share import resident_bytes, shard

LOGIT_BYTES = 4.0
"""Of a logit, which engines sample from in 32 bits."""


@dataclass(frozen=True)
class Deployment:
    """Engines of a model on a machine.

    Args:
        decoder: the model.
        options: its types, and the GPUs that share each layer.
        gpu: each of them.
        together: GPUs of an NVLink domain; None: any number.
        settings: of each engine, without its pages.
        room: what of each GPU's memory they use.
        stages: of a pipeline.
        replicas: of all that; of disaggregated ones those that decode.
        prefill_replicas: that only prefill; 0: every replica does both.
    """

    decoder: Decoder
    options: StepOptions
    gpu: Gpu
    together: int | None
    settings: Settings
    room: Room
    stages: int = 1
    replicas: int = 1
    prefill_replicas: int = 0

    def __post_init__(self) -> None:
        """Check that the machine can hold it.

        Raises:
            SimexploreError: more GPUs share a layer than an NVLink domain has, the model does not divide as asked, or
                its weights leave no room for a cache.
        """
        tensor = self.options.tensor_parallel
        if self.together is not None and tensor > self.together:
            raise SimexploreError(
                f"tensor_parallel={tensor}: {self.gpu.name} has {self.together} GPUs in an NVLink domain, and all that "
                f"share a layer are in one: take at most {self.together}, and pipeline stages or replicas beyond"
            )
        if self.stages > len(self.decoder.layers):
            most = len(self.decoder.layers)
            raise SimexploreError(f"pipeline: expected at most {most} stages, one a layer, found {self.stages}")
        if self.prefill_replicas and self.settings.batching == "static":
            raise SimexploreError(
                "batching=static: expected without prefill replicas, found with them: keys and values come one prompt "
                "after the other, and a static batch begins at once"
            )
        if self.pages < 1:
            held = (self.weight_bytes + self.activation_bytes + self.state_bytes) / 1e9
            raise SimexploreError(
                f"{self.decoder.name} leaves no room for a KV cache: weights and activations take {held:,.1f} of "
                f"{self.gpu.dram.capacity_bytes / 1e9:,.1f} GB on each GPU: more tensor_parallel, or a narrower dtype"
            )

    @property
    def gpus(self) -> int:
        """All GPUs."""
        return self.options.tensor_parallel * self.stages * (self.replicas + self.prefill_replicas)

    @cached_property
    def share(self) -> Decoder:
        """What each GPU of a stage would hold if there were one stage."""
        return shard(self.decoder, self.decoder.name, self.options)

    @property
    def weight_bytes(self) -> float:
        """Weights on each GPU [B]."""
        return resident_bytes(self.share, self.options, 0)["weights"] / self.stages

    @property
    def token_bytes(self) -> float:
        """KV cache of a token on each GPU [B]; layers with windows keep all tokens too."""
        elements = sum(layer.attention.kv_elements for layer in self.share.layers)
        return elements * bytes_of(self.options.kv_dtype or self.options.activation_dtype) / self.stages

    @property
    def state_bytes(self) -> float:
        """States of delta networks on each GPU, for as many sequences as there may be [B]."""
        element = bytes_of(self.options.activation_dtype)
        return self.settings.max_sequences * self.share.state_bytes(element) / self.stages

    @property
    def activation_bytes(self) -> float:
        """What the longest step writes on a GPU and reads again at most [B]: of one layer, the sum, and the logits.

        The CUDA context and what libraries keep are not in it.
        """
        widest = max(_widest(layer) for layer in set(self.share.layers))
        element = bytes_of(self.options.activation_dtype)
        sampled = min(self.settings.max_sequences, self.settings.max_tokens)
        logits = LOGIT_BYTES * sampled * self.decoder.vocabulary
        return element * self.settings.max_tokens * (widest + 2 * self.decoder.hidden) + logits

    @property
    def pages(self) -> int:
        """Pages of the KV cache of each engine."""
        capacity, (share, of_all, within) = self.gpu.dram.capacity_bytes, self.room
        taken = self.weight_bytes + self.state_bytes + (self.activation_bytes if within else 0.0)
        room = share * capacity - taken if of_all else share * (capacity - taken)
        return int(max(room, 0.0) / (self.token_bytes * self.settings.page_tokens) / self.stages)

    @property
    def reckoned_tokens(self) -> float:
        """Tokens that the KV caches of all stages hold, as `trtllm-bench` reckons: activations are not counted."""
        room = self.room.memory_share * (self.gpu.dram.capacity_bytes - self.weight_bytes)
        return max(room, 0.0) / self.token_bytes

    @property
    def engine_settings(self) -> Settings:
        """Of each engine, with its pages; groups of a pipeline share what one engine may have."""
        settings = self.settings
        page_bytes = self.token_bytes * settings.page_tokens
        return replace(
            settings,
            pages=self.pages,
            max_sequences=max(settings.max_sequences // self.stages, 1),
            swap_s=page_bytes * self.stages / self.gpu.links.pcie.bandwidth_bytes_per_s,
        )

    def table(self, longest: int) -> StepTable:
        """The steps of an engine; contexts are at most so long [tokens]."""
        model = Model(self.decoder, self.options, self.gpu)
        send = self._send_s if self.stages > 1 else None
        return StepTable(model, longest, self.settings.max_tokens, self.options.tensor_parallel, send)

    def _send_s(self, tokens: float) -> float:
        """Time that the activations of tokens take from stage to stage, for all stages [s]."""
        link = self.gpu.links.nvlink or self.gpu.links.pcie
        size = tokens * self.decoder.hidden * bytes_of(self.options.activation_dtype) / self.options.tensor_parallel
        return (self.stages - 1) * (link.latency_s + size / link.bandwidth_bytes_per_s)

    def engines(self, table: StepTable) -> tuple[list[Engine], list[Engine]]:
        """Engines that prefill and nothing else, and the others; with nothing to do."""
        settings = self.engine_settings
        counts = (self.prefill_replicas * self.stages, self.replicas * self.stages)
        prefill, decode = (
            [Engine(table, settings, name, sends) for name in range(count)]
            for count, sends in zip(counts, (True, False), strict=True)
        )
        return prefill, decode

    def handover_s(self, tokens: int) -> float:
        """Time that a prompt's keys and values take to another pool [s]: each GPU sends its part to one like it.

        Over NVLink where all GPUs are in one domain, else over what PCIe carries.
        """
        links = self.gpu.links
        inside = links.nvlink is not None and (self.together is None or self.gpus <= self.together)
        link = links.nvlink if inside and links.nvlink is not None else links.pcie
        return link.latency_s + self.token_bytes * tokens / link.bandwidth_bytes_per_s


def _widest(layer: Layer) -> int:
    """Features of a token that are there at once in a layer's attention, or in its feed-forward."""
    attention = layer.attention
    if isinstance(attention, Grouped):
        heads = attention.qkv_features + attention.heads * attention.head_dim
    elif isinstance(attention, Latent):
        heads = attention.heads * (attention.nope + attention.rope + attention.nope + 2 * attention.value)
    else:
        heads = attention.channels + 2 * attention.values
    return max(heads, _wide(layer.feed_forward))


def _wide(kind: FeedForward) -> int:
    return 3 * kind.chosen * kind.width // kind.slices if isinstance(kind, Experts) else kind.up_features + kind.width


def gpus_of(machine: Gpu | System) -> tuple[Gpu, int | None]:
    """The GPU of a machine, and how many of them are in one NVLink domain."""
    system = system_of(machine)
    gpu = system.devices[system.first_gpu].arch
    assert isinstance(gpu, Gpu)
    return gpu, system.gpus_together
