"""NCCL's kernels, which tell in a trace of PyTorch what they exchange and among how many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simexplore.kernels.profiles.torch_calls import UnmatchedError
from simexplore.workloads import ops
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.parameters import ParameterError, integer

NAME = "Collective name"
COLLECTIVES: Mapping[str, tuple[type[ops.Collective], str]] = {
    "allreduce": (ops.AllReduce, "In msg nelems"),
    "_allgather_base": (ops.AllGather, "Out msg nelems"),
    "allgather": (ops.AllGather, "Out msg nelems"),
    "_reduce_scatter_base": (ops.ReduceScatter, "In msg nelems"),
    "reduce_scatter": (ops.ReduceScatter, "In msg nelems"),
    "all_to_all": (ops.AllToAll, "In msg nelems"),
    "all_to_allv": (ops.AllToAll, "In msg nelems"),
}
"""Names of collectives in the arguments of NCCL kernels → family, and the argument that has the whole tensor's size."""
_DTYPES = {"Float": "fp32", "BFloat16": "bf16", "Half": "fp16", "Double": "fp64", "Char": "int8"}


def collective_of(given: Mapping[str, Any]) -> Operator:
    """The collective that the arguments of a kernel tell of.

    Raises:
        UnmatchedError: they tell of none that is modelled, or of one among a single GPU.
    """
    name, dtype = str(given.get(NAME)), str(given.get("dtype"))
    family, size = COLLECTIVES.get(name, (None, ""))
    if family is None or dtype not in _DTYPES:
        raise UnmatchedError(f"collective {name} of {dtype} is not modelled")
    elements, gpus = integer(given.get(size)), integer(given.get("Group size"))
    if gpus == 1:
        raise UnmatchedError(f"collective {name} of a group of one exchanges nothing")
    if elements is None or gpus is None:
        raise UnmatchedError(f"collective {name}: the profile does not tell its size or its group's")
    operator = family(elements=elements, num_gpus=gpus, dtype=_DTYPES[dtype])
    try:
        operator.validate()
    except ParameterError as error:
        raise UnmatchedError(f"collective {name}: {error.parameter} is not {error.expected}") from error
    return operator
