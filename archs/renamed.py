"""Keys of arch files that have another name now: for the errors that name it, and for tools/rename_keys.py.

Each new key lies in the section of the old one. So a section of a file can be rewritten by itself.
"""

from __future__ import annotations

_IN_SECTION = {
    "sm": {
        "shared_latency": "latency.shared",
        "l1_latency": "latency.l1",
        "fma_latency": "latency.fma",
        "special_function_latency": "latency.special_function",
        "tensor_latency": "latency.tensor",
    },
    "library.gemm": {
        "instruction": "tensor.instruction",
        "tiles": "tensor.tiles",
        "modest_tiles": "tensor.modest_tiles",
        "overlap_exponent": "tensor.overlap_exponent",
        "dram_overlap_exponent": "tensor.dram_overlap_exponent",
        "tensor_efficiency": "tensor.efficiency",
        "quantize_kernels": "tensor.quantize_kernels",
        "simt_tiles": "simt.tiles",
        "simt_overlap_exponent": "simt.overlap_exponent",
        "two_stage": "two_stage.sizes",
        "two_stage_overlap_exponent": "two_stage.overlap_exponent",
        "two_stage_round_trips": "two_stage.setup_round_trips",
        "split_k": "split.counts",
        "split_k_reduction": "split.reduction",
        "reduction_round_trips": "split.reduction_round_trips",
        "split_min_products": "split.min_products",
        "split_always_depth": "split.always_depth",
        "split_reluctance": "split.reluctance",
        "gemv": "gemv.used",
        "gemv_round_trips": "gemv.setup_round_trips",
        "gemv_unroll": "gemv.unroll",
        "gemv_dram_rate": "gemv.dram_rate",
        "k_tile": "pipeline.k_tile",
        "max_stages": "pipeline.max_stages",
        "flight_share": "pipeline.flight_share",
        "multicast": "memory.multicast",
        "l2_share": "memory.l2_share",
        "dirty_share": "memory.dirty_share",
        "l2_rate": "memory.l2_rate",
        "dram_rate": "memory.dram_rate",
        "cold_round_trips": "memory.cold_round_trips",
    },
    "library.attention": {
        "prefill_tiles": "prefill.tiles",
        "prefill_short_keys": "prefill.short_keys",
        "prefill_short_tiles": "prefill.short_tiles",
        "overlap_exponent": "prefill.overlap_exponent",
        "tensor_efficiency": "prefill.tensor_efficiency",
        "l2_rate": "prefill.l2_rate",
        "dram_rate": "prefill.dram_rate",
        "prefill_round_trips": "prefill.round_trips",
        "step_round_trips": "prefill.step_round_trips",
        "prefill_tail_share": "prefill.tail_share",
        "module_kernels_prefill": "prefill.module_kernels",
        "narrow_prefill_heads": "prefill.narrow.head_dims",
        "decode_overlap_exponent": "decode.overlap_exponent",
        "decode_l2_rate": "decode.l2_rate",
        "decode_dram_rate": "decode.dram_rate",
        "queued_share": "decode.queued_share",
        "idle_cta_share": "decode.idle_cta_share",
        "module_kernels_decode": "decode.module_kernels",
        "max_group": "grouped.max_group",
        "decode_kv_tile": "grouped.kv_tile",
        "grouped_load": "grouped.load",
        "split_tokens": "grouped.split_tokens",
        "split_root": "grouped.split_root",
        "grouped_ctas_per_sm": "grouped.ctas_per_sm",
        "grouped_least_ctas_per_sm": "grouped.least_ctas_per_sm",
        "decode_flight_share": "grouped.flight_share",
        "grouped_round_trips": "grouped.round_trips",
        "grouped_step_round_trips": "grouped.step_round_trips",
        "merge_round_trips": "grouped.merge_round_trips",
        "merge_step_round_trips": "grouped.merge_step_round_trips",
        "partial_round_trips": "grouped.partial_round_trips",
        "narrow_grouped_round_trips": "grouped.narrow.round_trips",
        "narrow_step_round_trips": "grouped.narrow.step_round_trips",
        "narrow_merge_round_trips": "grouped.narrow.merge_round_trips",
        "narrow_kv_tile": "grouped.narrow.kv_tile",
        "narrow_max_splits": "grouped.narrow.max_splits",
        "narrow_fused_head_dim": "grouped.narrow.fused_head_dim",
        "narrow_conversions": "grouped.narrow.conversions",
        "narrow_cta_instructions": "grouped.narrow.cta_instructions",
        "head_threads": "one_head.threads",
        "head_instructions": "one_head.instructions",
        "head_round_trips": "one_head.round_trips",
        "head_step_round_trips": "one_head.step_round_trips",
        "head_merge_round_trips": "one_head.merge_round_trips",
        "narrow_head_round_trips": "one_head.narrow.round_trips",
        "narrow_head_conversions": "one_head.narrow.conversions",
    },
    "library.conv": {
        "simt_tiles": "implicit.simt_tiles",
        "implicit_efficiency": "implicit.efficiency",
        "winograd_patches": "winograd.fused.patches",
        "winograd_channels": "winograd.fused.channels",
        "winograd_efficiency": "winograd.fused.efficiency",
        "winograd_round_trips": "winograd.fused.round_trips",
        "product_tile": "winograd.separate.tile",
        "product_efficiency": "winograd.separate.efficiency",
        "image_group": "winograd.separate.image_group",
        "transform_efficiency": "winograd.transform_efficiency",
        "fft_tiles": "fft.tiles",
        "fft_efficiency": "fft.efficiency",
        "fft_transform_efficiency": "fft.transform_efficiency",
    },
    "library.elementwise": {
        "norm_threads": "rowwise.norm_threads",
        "softmax_threads": "rowwise.softmax_threads",
        "softmax_registers": "rowwise.softmax_registers",
        "layernorm_passes": "rowwise.layernorm_passes",
        "rows_from": "rowwise.again_from",
        "row_share": "rowwise.l2_share",
        "row_sharpness": "rowwise.eviction_sharpness",
        "conversion_ctas": "conversion.ctas",
        "conversion_instructions": "conversion.instructions",
        "conversion_round_trips": "conversion.round_trips",
    },
}

NEW_KEYS = {
    f"{section}.{old}": f"{section}.{new}" for section, names in _IN_SECTION.items() for old, new in names.items()
}
"""Dotted key as it was -> as it is."""

NOW_SECTIONS = frozenset(old for old, new in NEW_KEYS.items() if new.startswith(f"{old}."))
"""Keys that held a value, and hold a section now: `library.gemm.gemv`."""


def new_name(key: str) -> str | None:
    """The new name of a dotted key, or of one below an old key; None where nothing of it was renamed.

    A key that is a section now is old where a value is found there: whoever finds one asks `NEW_KEYS` itself.
    """
    steps = key.split(".")
    for length in range(len(steps), 0, -1):
        old = ".".join(steps[:length])
        if old in NEW_KEYS and old not in NOW_SECTIONS:
            return ".".join([NEW_KEYS[old], *steps[length:]])
    return None


def expected_name(key: str) -> str | None:
    """What an error expects in place of an old key: its new name. None where the key isn't an old one."""
    new = new_name(key)
    return None if new is None else told(new)


def told(new: str) -> str:
    """How an error names a new key."""
    return f"{new}, the key's name now (tools/rename_keys.py rewrites files)"


ADDED_KEYS = ("library.gemm.rules", "library.attention.rules", "library.conv.rules")
"""Keys that files with the old names did not have, outside the sections that are new themselves."""
