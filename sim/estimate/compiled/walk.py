"""Sums of regression trees, compiled: every row walks down every tree."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.residual import Trees
from simexplore.sim.estimate.compiled.build import address, compiled

_TEXT = """
define void @trees(i64 %n, i64 %width, ptr noalias %x, i64 %count, ptr noalias %root, ptr noalias %feature,
                   ptr noalias %value, ptr noalias %left, ptr noalias %start, ptr noalias %total) {
entry:
  %first = load double, ptr %start
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %row, label %end
row:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row.end ]
  %begin = mul i64 %i, %width
  %here = getelementptr float, ptr %x, i64 %begin
  %none = icmp eq i64 %count, 0
  br i1 %none, label %row.end, label %tree
tree:
  %t = phi i64 [ 0, %row ], [ %t.next, %leaf ]
  %sum = phi double [ %first, %row ], [ %sum.next, %leaf ]
  %root.at = getelementptr i32, ptr %root, i64 %t
  %root.of = load i32, ptr %root.at
  br label %node
node:
  %k = phi i32 [ %root.of, %tree ], [ %child, %inner ]
  %k.wide = sext i32 %k to i64
  %feature.at = getelementptr i32, ptr %feature, i64 %k.wide
  %asked = load i32, ptr %feature.at
  %value.at = getelementptr float, ptr %value, i64 %k.wide
  %v = load float, ptr %value.at
  %is.leaf = icmp slt i32 %asked, 0
  br i1 %is.leaf, label %leaf, label %inner
inner:
  %asked.wide = sext i32 %asked to i64
  %x.at = getelementptr float, ptr %here, i64 %asked.wide
  %its = load float, ptr %x.at
  %above = fcmp ogt float %its, %v
  %right = zext i1 %above to i32
  %left.at = getelementptr i32, ptr %left, i64 %k.wide
  %its.left = load i32, ptr %left.at
  %child = add i32 %its.left, %right
  br label %node
leaf:
  %adds = fpext float %v to double
  %sum.next = fadd double %sum, %adds
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %count
  br i1 %more, label %tree, label %row.end
row.end:
  %told = phi double [ %first, %row ], [ %sum.next, %leaf ]
  %total.at = getelementptr double, ptr %total, i64 %i
  store double %told, ptr %total.at
  %i.next = add i64 %i, 1
  %rows = icmp slt i64 %i.next, %n
  br i1 %rows, label %row, label %end
end:
  ret void
}
"""
REMEMBERED = 256
"""Ensembles whose arrays are kept as the function reads them."""


class _Laid(NamedTuple):
    """An ensemble's arrays in the types that the function reads, and where they begin."""

    arrays: tuple[NDArray[np.generic], ...]
    """Root, feature, value, left, start; kept, for their addresses are."""
    trees: int
    addresses: tuple[int, ...]


@lru_cache(maxsize=REMEMBERED)
def _laid(trees: Trees) -> _Laid:
    whole = [np.ascontiguousarray(part, dtype=np.int32) for part in (trees.root, trees.feature, trees.left)]
    value, start = np.ascontiguousarray(trees.value, dtype=np.float32), np.ascontiguousarray(trees.start)
    arrays = (whole[0], whole[1], value, whole[2], start)
    return _Laid(arrays, len(trees.root), tuple(address(array) for array in arrays))


def summed(trees: Trees, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """`correction.sum_of_trees`, compiled."""
    laid, total = _laid(trees), np.empty(len(x))
    root, feature, value, left, start = laid.addresses
    function = compiled(_TEXT, "trees")
    function(
        len(x), x.shape[1], address(np.ascontiguousarray(x)), laid.trees, root, feature, value, left, start,
        address(total),
    )  # fmt: skip
    return total
