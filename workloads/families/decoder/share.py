"""One GPU's share of a language model, and the memory that it holds."""

from __future__ import annotations

from dataclasses import replace

from simexplore.errors import SimexploreError
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families.decoder.options import QUANTIZE, Options
from simexplore.workloads.families.decoder.shape import Attention, Decoder, Delta, Experts, Grouped, Layer


def shard(model: Decoder, name: str, options: Options) -> Decoder:
    """One GPU's share of a model: heads, key-value heads, widths and experts divided, layers cut if asked.

    Args:
        name: of the workload, for messages.

    Raises:
        SimexploreError: something does not divide evenly, or there are not that many layers.
    """
    if options.quantize not in QUANTIZE:
        raise SimexploreError(f"{name}: quantize: expected {' or '.join(QUANTIZE)}, found {options.quantize!r}")
    gpus, kinds = options.tensor_parallel, dict.fromkeys(model.layers)
    for layer in kinds:
        _check_division(layer, name, gpus)
    _check_experts([layer.feed_forward for layer in kinds if isinstance(layer.feed_forward, Experts)], name, options)
    if options.layers > len(model.layers):
        raise SimexploreError(f"{name}: layers={options.layers} must be at most {len(model.layers)} (0: all)")
    shares = {layer: layer.share(gpus, options.expert_parallel) for layer in kinds}
    kept = model.layers[: options.layers or None]
    columns = -(-model.vocabulary // gpus)
    return replace(model, layers=tuple(shares[layer] for layer in kept), head_columns=columns)


def _check_division(layer: Layer, name: str, gpus: int) -> None:
    attention, kind = layer.attention, layer.feed_forward
    word, width = ("the shared experts' width", kind.shared) if isinstance(kind, Experts) else ("ffn", kind.width)
    kv_heads = _kv_heads(attention)
    if attention.heads % gpus or width % gpus or (kv_heads % gpus and gpus % kv_heads):
        raise SimexploreError(
            f"{name}: tensor_parallel={gpus} must divide heads={attention.heads} and {word}={width}, and divide "
            f"or be a multiple of kv_heads={kv_heads}"
        )


def _check_experts(kinds: list[Experts], name: str, options: Options) -> None:
    """Raise where experts can't be divided as asked, or aren't of one type."""
    gpus, groups = options.tensor_parallel, options.expert_parallel
    if not kinds:
        if groups > 1 or options.skew:
            raise SimexploreError(f"{name}: expert_parallel and skew are of experts, and it has none: leave them out")
        return
    if gpus % groups:
        raise SimexploreError(f"{name}: expert_parallel={groups} must divide tensor_parallel={gpus}")
    for kind in dict.fromkeys(kinds):
        if kind.count % groups or kind.width % (gpus // groups):
            raise SimexploreError(
                f"{name}: expert_parallel={groups} must divide {kind.count} experts, and tensor_parallel / "
                f"expert_parallel = {gpus // groups} an expert's width={kind.width}"
            )
    if options.weight_dtype not in (None, options.dtype):
        raise SimexploreError(
            f"{name}: weight_dtype={options.weight_dtype}: experts are multiplied in the type that they are stored in: "
            f"leave it out, and give dtype"
        )


def _kv_heads(attention: Attention) -> int:
    """Key-value heads; latent attention caches one vector for all heads, which every GPU holds."""
    if isinstance(attention, Delta):
        return attention.key_heads
    return attention.kv_heads if isinstance(attention, Grouped) else 1


def resident_bytes(share: Decoder, options: Options, tokens: int) -> dict[str, float]:
    """Memory held on one GPU from start to end [B]: weights, the KV cache of `tokens` tokens a sequence, and states.

    The biases and norm vectors of a layer, under 0.1 % of it, are counted in the type of its weights. A layer with a
    window caches no more tokens than the window.
    """
    outer_bytes = bytes_of(options.activation_dtype) * share.outer_parameters
    layer_bytes = bytes_of(options.weight_dtype or options.dtype) * share.layer_parameters
    kv_elements = float(options.batch) * share.kv_elements(tokens)
    states = options.batch * share.state_bytes(bytes_of(options.activation_dtype))
    return {
        "weights": outer_bytes + layer_bytes,
        "kv_cache": kv_elements * bytes_of(options.kv_dtype or options.activation_dtype),
        **({"states": states} if states else {}),
    }
