"""Area and power of a cluster: from its parts, and as the paper's figures imply.

From its parts, an NFP is bits, banks, multiply-accumulators and engine logic; logic shrinks with the square of the
node, which is ideal. At full activity the array multiplies in every clock and each engine reads `lanes` words a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from simexplore.archs.schema.ngpc import Ngpc

BITS_PER_BYTE = 8.0
REFERENCE_BITS = 16.0
"""Bits of the multiplier that `silicon.mac_area` and `silicon.mac` are of; area grows as their square."""
ACTIVATION_BYTES = 2.0
ACTIVATION_BUFFERS = 2.0


@dataclass(frozen=True)
class NfpArea:
    """Area of one NFP by part [m2]."""

    bits_m2: float
    banks_m2: float
    macs_m2: float
    engines_m2: float

    @property
    def total_m2(self) -> float:
        """The area of the whole NFP [m2]."""
        return self.bits_m2 + self.banks_m2 + self.macs_m2 + self.engines_m2


@dataclass(frozen=True)
class NfpPower:
    """Power of one NFP at full activity by part [W]."""

    macs_w: float
    sram_w: float
    leakage_w: float

    @property
    def total_w(self) -> float:
        """The power of the whole NFP [W]."""
        return self.macs_w + self.sram_w + self.leakage_w


def nfp_area(ngpc: Ngpc) -> NfpArea:
    """Bottom-up area of one NFP.

    SRAM: grid tables, and two buffers of a slice's activations. A port more makes each bit larger by `port_growth`;
    weights narrower than 16 bits make a multiplier smaller in proportion to the square of their width.
    """
    silicon, engines, mlp = ngpc.silicon, ngpc.encoding, ngpc.mlp
    bit_m2 = silicon.bit_area_m2 * (1.0 + silicon.port_growth * (engines.ports - 1))
    activations = ACTIVATION_BUFFERS * mlp.slice * mlp.rows * ACTIVATION_BYTES
    shrink = (silicon.node_m / silicon.mac_node_m) ** 2
    return NfpArea(
        bits_m2=BITS_PER_BYTE * (engines.count * engines.sram_bytes * bit_m2 + activations * silicon.bit_area_m2),
        banks_m2=engines.count * engines.banks * silicon.bank_area_m2,
        macs_m2=mlp.rows * mlp.columns * silicon.mac_area_m2 * shrink * (mlp.weight_bits / REFERENCE_BITS) ** 2,
        engines_m2=engines.count * silicon.engine_area_m2 * shrink,
    )


def nfp_power(ngpc: Ngpc) -> NfpPower:
    """Bottom-up power of one NFP at full activity."""
    silicon, engines, mlp = ngpc.silicon, ngpc.encoding, ngpc.mlp
    mac_ops_per_s = 2.0 * mlp.rows * mlp.columns * ngpc.clock_hz
    read_bytes_per_s = engines.count * engines.lanes * engines.word_bytes * ngpc.clock_hz
    return NfpPower(
        macs_w=mac_ops_per_s * silicon.mac_j_per_op * mlp.weight_bits / REFERENCE_BITS,
        sram_w=read_bytes_per_s * silicon.sram_j_per_byte,
        leakage_w=silicon.leakage_w,
    )


def area_shares(ngpc: Ngpc) -> tuple[float, float]:
    """Area of the cluster over the GPU's die: from its parts, and as published."""
    per_die = ngpc.nfps / ngpc.silicon.host_area_m2
    return per_die * nfp_area(ngpc).total_m2, per_die * ngpc.silicon.published_area_m2


def power_shares(ngpc: Ngpc, host_w: float) -> tuple[float, float]:
    """Power of the cluster over the GPU's limit [W]: from its parts, and as published."""
    return ngpc.nfps * nfp_power(ngpc).total_w / host_w, ngpc.nfps * ngpc.silicon.published_power_w / host_w
