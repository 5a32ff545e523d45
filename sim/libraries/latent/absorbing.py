"""SGLang's FlashAttention 3 on Hopper: prefill and decode attend to the latents, all heads as queries of one key head.

Counted from Dao-AILab/flash-attention, hopper/tile_size.h and flash_fwd_launch_template.h: a CTA has 64 rows, which are
heads of a token and tokens together, and takes 64 latents a step.
"""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries.latent import whole_waves
from simexplore.sim.libraries.latent.interface import Layout
from simexplore.workloads.ops import MlaDecode, MlaPrefill


def absorbs_prefill(op: MlaPrefill) -> bool:  # noqa: ARG001 - always
    """Prefill attends to the latents."""
    return True


def decode_layout(op: MlaDecode, gpu: Gpu) -> Layout:
    """Sequences are split until all CTAs fill one wave."""
    return whole_waves.decode_layout(op, gpu)
