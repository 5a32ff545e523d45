"""Texts of tensor instructions for inline PTX, and how their operands lie in registers. Source: PTX ISA 8.x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simexplore.errors import SimexploreError


@dataclass(frozen=True)
class Operand:
    """How a type is stored and named."""

    ptx: str
    stored: str
    """C type of an element in memory."""
    bytes: int
    accumulator: str = "float"

    @property
    def per_register(self) -> int:
        """Elements of a 32-bit register."""
        return 4 // self.bytes

    @property
    def sum_ptx(self) -> str:
        return "s32" if self.accumulator == "int" else "f32"

    @property
    def constraint(self) -> str:
        """Inline assembly's letter for an accumulator that is read and written."""
        return "+r" if self.accumulator == "int" else "+f"


OPERANDS: Mapping[str, Operand] = MappingProxyType(
    {
        "fp16": Operand("f16", "unsigned short", 2),
        "bf16": Operand("bf16", "unsigned short", 2),
        "tf32": Operand("tf32", "float", 4),
        "fp8": Operand("e4m3", "unsigned char", 1),
        "int8": Operand("s8", "signed char", 1, "int"),
    }
)
"""By our name of the type; sums are 32 bits wide."""

MMA_DEPTHS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"fp16": (8, 16), "bf16": (8, 16), "tf32": (4, 8), "int8": (16, 32), "fp8": (32,)}
)
"""k of the shapes m16n8k that mma.sync has."""


def operand_of(dtype: str) -> Operand:
    """A type that tensor instructions multiply. Raises SimexploreError for others."""
    if dtype not in OPERANDS:
        raise SimexploreError(f"cuda: tensor instructions take {', '.join(OPERANDS)}, not {dtype}")
    return OPERANDS[dtype]


def mma_macros(dtype: str, k: int) -> dict[str, str | int]:
    """Macros of tensor.cu for mma.sync m16n8k`k`."""
    given = operand_of(dtype)
    if k not in MMA_DEPTHS[dtype]:
        raise SimexploreError(f"cuda: mma.sync has {dtype} with k of {MMA_DEPTHS[dtype]}, not {k}")
    a_registers = 16 * k * given.bytes // 128
    b_registers = a_registers // 2
    kinds = f"{given.sum_ptx}.{given.ptx}.{given.ptx}.{given.sum_ptx}"
    a, b = _registers(4, a_registers), _registers(4 + a_registers, b_registers)
    text = f"mma.sync.aligned.m16n8k{k}.row.col.{kinds} {_registers(0, 4)}, {a}, {b}, {_registers(0, 4)};"
    outputs = ", ".join(f'"{given.constraint}"(d[{i}])' for i in range(4))
    inputs = ", ".join([f'"r"(a[{i}])' for i in range(a_registers)] + [f'"r"(b[{i}])' for i in range(b_registers)])
    return {
        "K": k,
        "ELEMENTS": given.per_register,
        "A_REGISTERS": a_registers,
        "B_REGISTERS": b_registers,
        "STORED": given.stored,
        "ACCUMULATOR": given.accumulator,
        "MMA(d, a, b)": f'asm volatile("{text}" : {outputs} : {inputs})',
    }


def wgmma_macros(dtype: str, n: int, a_in_shared: bool) -> dict[str, str | int]:
    """Macros of wgmma.cu for wgmma m64n`n` on 32 bytes of k."""
    given = operand_of(dtype)
    if n % 8 or not 8 <= n <= 256:
        raise SimexploreError(f"cuda: wgmma has n in steps of 8 from 8 to 256, not {n}")
    k, sums = 32 // given.bytes, n // 2
    a_registers = 1 if a_in_shared else 4
    kinds = f"{given.sum_ptx}.{given.ptx}.{given.ptx}"
    # Operands may be scaled by -1, and 16-bit ones transposed: neither is. Integers have only the flag to add to D.
    flags = {"int": "p"}.get(given.accumulator, "p, 1, 1")
    if given.bytes == 2:
        flags += ", 0" if not a_in_shared else ", 0, 0"
    a = f"%{sums}" if a_in_shared else _registers(sums, 4)
    operands = f"{_registers(0, sums)}, {a}, %{sums + a_registers}, {flags}"
    instruction = f"wgmma.mma_async.sync.aligned.m64n{n}k{k}.{kinds} {operands};"
    text = f"{{ .reg .pred p; setp.ne.b32 p, 1, 0; {instruction} }}"
    outputs = ", ".join(f'"{given.constraint}"(d[{i}])' for i in range(sums))
    inputs = '"l"(a)' if a_in_shared else ", ".join(f'"r"(a[{i}])' for i in range(4))
    return {
        "N": n,
        "K": k,
        "ELEMENTS": given.per_register,
        "STORED": given.stored,
        "ACCUMULATOR": given.accumulator,
        "A_IN_SHARED": int(a_in_shared),
        "WGMMA(d, a, b)": f'asm volatile("{text}" : {outputs} : {inputs}, "l"(b))',
    }


def _registers(first: int, count: int) -> str:
    return "{" + ", ".join(f"%{first + i}" for i in range(count)) + "}"
