"""Names and shapes → operators: labels of ranges, types in kernels' names, calls of PyTorch; and the tally's cells."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imported import GEMM_KERNEL

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles import import_profile
from simexplore.kernels.profiles.labels import dtype_in, operator_in, says_operator
from simexplore.kernels.profiles.tally import MOST_NAMES, OTHERS, Tally, plain
from simexplore.kernels.profiles.torch_calls import Call, UnmatchedError, operator_of, recorded_call
from simexplore.workloads.ops import Gemm

SDPA = "aten::scaled_dot_product_attention"


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        (GEMM_KERNEL, "bf16"),
        ("ampere_fp16_s16816gemm_fp16_64x64_sliced1x2_ldg8_f2f_stages_64x5_nn", "fp16"),
        ("sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize128x128x128", "fp8"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize64x64x32", "tf32"),
        ("volta_sgemm_128x64_nn", "fp32"),
        ("mystery", None),
    ],
)
def test_types_in_names_of_kernels(kernel: str, dtype: str | None) -> None:
    assert dtype_in(kernel) == dtype


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call("aten::sort", [[4]], "fp32"), "no operator family"),
        (Call("aten::mm", [], "fp32"), "record_shapes"),
        (Call("aten::mm", [[4, 5], [6, 7]], "fp32"), "are not those of aten::mm"),
        (Call("aten::mm", [[4, 5]], "fp32"), "are not those of aten::mm"),
        (Call("aten::mm", [[4, 0], [0, 7]], "fp32"), "k is not a positive integer"),
        (Call("aten::mm", [[4, 5], [5, 7]], ""), "dtype is not"),
        (Call("aten::add", [[4, 5], [5]], "fp32"), "broadcasting"),
        (Call("aten::conv2d", [[1, 3, 8, 8], [4, 3, 3, 3]], "fp32"), "does not tell input 3"),
        (Call("aten::scaled_dot_product_attention", [[1, 2, 8, 16]] * 2, "bf16", [""] * 5 + ["False"]), "not causal"),
    ],
)
def test_calls_that_no_operator_holds(call: Call, reason: str) -> None:
    with pytest.raises(UnmatchedError, match=reason):
        operator_of(call)


def test_one_query_is_decoding_whatever_its_mask() -> None:
    call = Call("aten::scaled_dot_product_attention", [[2, 8, 1, 64], [2, 4, 99, 64], [2, 4, 99, 64]], "bf16")
    assert operator_of(call).describe() == (
        "attention_decode(batch=2,heads=8,kv_heads=4,head_dim=64,seq_kv=99,dtype=bf16)"
    )


def test_a_wrong_operator_text_is_a_reason() -> None:
    with pytest.raises(UnmatchedError, match="expected"):
        operator_in("gemm(m=4,n=4)", GEMM_KERNEL)


class TestLabels:
    @pytest.mark.parametrize(
        "label",
        [
            "aten::addmm, op_id = 9, sizes = [[2048], [4, 1024], [1024, 2048]], input_op_ids = [(1,0)]",
            "aten::mm, seq = 3, op_id = 9, sizes = [[4, 1024], [1024, 2048]], input_op_ids = [(1,0), (2,0)]",
            "aten::mm, seq = 3, sizes = [[4, 1024], [1024, 2048]]",
            "aten::mm, sizes = [[4, 1024], [1024, 2048]]",
            "<default domain>:aten::mm, seq = -1, sizes = [[4,1024],[1024,2048]]:none:none",
            "forward gemm(m=4,n=2048,k=1024,dtype=bf16)",
        ],
    )
    def test_what_pytorch_writes_of_today_and_before(self, label: str) -> None:
        assert says_operator(label)
        assert operator_in(label, GEMM_KERNEL) == Gemm(m=4, n=2048, k=1024, dtype="bf16")

    @pytest.mark.parametrize(
        "label",
        [
            "aten::mm, seq = 3, op_id = 9",
            "aten::sort, sizes = [[4, 1024]]",
            "xaten::mm, sizes = [[4, 1024], [1024, 2048]]",
            "gemm(m=4",
            "gemm",
        ],
    )
    def test_what_tells_no_operator(self, label: str) -> None:
        assert not says_operator(label)

    def test_a_label_that_was_cut_off_is_a_reason(self) -> None:
        with pytest.raises(UnmatchedError, match="no lists"):
            operator_in("aten::mm, sizes = [[4, 1024], [1024", GEMM_KERNEL)

    def test_two_operators_in_one_text_are_none(self) -> None:
        with pytest.raises(UnmatchedError, match="several operators"):
            operator_in("gemm(m=1,n=1,k=1) gemm(m=2,n=1,k=1)", GEMM_KERNEL)

    @pytest.mark.parametrize(
        "text", ["gemm(" + "=" * 8000, "gemm(" * 2000, "aten::mm, sizes = [" + "[" * 8000, "[" * 9000]
    )
    def test_long_texts_take_no_time(self, text: str) -> None:
        begun = perf_counter()
        says_operator(text)
        assert perf_counter() - begun < 1.0


class TestCalls:
    @settings(deadline=None, max_examples=300)
    @given(
        name=st.sampled_from(["aten::mm", "aten::bmm", "aten::addmm", "aten::copy_", "aten::_softmax", "aten::conv2d",
                              "aten::native_layer_norm", "aten::embedding", "aten::add", SDPA]),
        given=st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
                                    lambda inner: st.lists(inner, max_size=4), max_leaves=20), min_size=4, max_size=4),
    )  # fmt: skip
    def test_anything_recorded_is_an_operator_or_a_reason(self, name: str, given: list[Any]) -> None:
        with suppress(UnmatchedError):
            operator_of(recorded_call(name, *given)).validate()

    @pytest.mark.parametrize(
        ("call", "reason"),
        [
            (Call("aten::bmm", [[2, 4, 5], [3, 5, 7]], "fp32"), "are not those of aten::bmm"),
            (Call("aten::add", [[4], [4]], "fp32", types=("float", "double")), "several types"),
            (Call("aten::add", [[4, 4], [4, 4]], "fp32", strides=[[4, 1], [1, 4]]), "several layouts"),
            (Call("aten::relu", [[4, 4]], "fp32", strides=[[8, 1]]), "several layouts"),
            (Call("aten::_softmax", [[4, 5]], "fp32", ["", "0", "False"]), "another dimension"),
            (Call("aten::native_layer_norm", [[4, 5, 6]], "fp32", ["", "[4]"]), "are not those"),
            (Call("aten::copy_", [[4], [4]], "fp32", by_kernel=True), "has no strides"),
        ],
    )
    def test_more_that_no_operator_holds(self, call: Call, reason: str) -> None:
        with pytest.raises(UnmatchedError, match=reason):
            operator_of(call)

    @pytest.mark.parametrize(
        ("call", "text"),
        [
            (Call("aten::_softmax", [[2, 4, 5]], "fp32", ["", "2"]), "softmax(rows=8,cols=5,dtype=fp32)"),
            (
                Call("aten::native_layer_norm", [[3, 5, 6]], "fp32", ["", "[5, 6]"]),
                "layernorm(rows=3,cols=30,dtype=fp32)",
            ),
            (Call("aten::native_layer_norm", [[3, 5, 6]], "fp32"), "layernorm(rows=15,cols=6,dtype=fp32)"),
            (Call("aten::add", [[4, 1], [4, 1]], "fp32", strides=[[1, 1], [1, 9]]), "add(elements=4,dtype=fp32)"),
            (Call("aten::add", [[2, 3]] * 2, "fp32", strides=[[1, 2], [1, 2]]), "add(elements=6,dtype=fp32)"),
        ],
    )
    def test_dimensions_and_layouts(self, call: Call, text: str) -> None:
        assert operator_of(call).describe() == text


class TestTally:
    @pytest.mark.parametrize("time_us", [0.0, -1.0, float("nan"), float("inf")])
    def test_no_time_is_no_row(self, time_us: float) -> None:
        tally = Tally("test")
        tally.match(Gemm(m=1, n=1, k=1), time_us, "k", "GPU")
        found = tally.imported()
        assert found.frame.empty
        assert (found.unmatched[0].calls, found.unmatched_us) == (1, 0.0)

    def test_names_beyond_the_most_are_one(self) -> None:
        tally = Tally("test")
        for number in range(MOST_NAMES + 50):
            tally.miss(f"k{number}", "why", 1.0)
        found = {one.name: one.calls for one in tally.imported().unmatched}
        assert found[OTHERS] == 50
        assert len(found) == MOST_NAMES + 1

    def test_more_operators_than_memory_has_room_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("simexplore.kernels.profiles.tally.MOST_OPERATORS", 3)
        tally = Tally("test")
        for m in (1, 2, 3, 3, 2, 1):
            tally.match(Gemm(m=m, n=1, k=1), 1.0, "k", "GPU")
        with pytest.raises(SimexploreError, match="at most 3 distinct operators"):
            tally.match(Gemm(m=4, n=1, k=1), 1.0, "k", "GPU")

    @pytest.mark.parametrize(
        ("text", "cell"),
        [("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("\x1b[31mred\n", "?[31mred?"), ("@x", "'@x"), ("µ", "µ")],
    )
    def test_cells_that_nothing_obeys(self, text: str, cell: str) -> None:
        assert plain(text) == cell

    def test_means_and_medians(self) -> None:
        tally = Tally("test")
        for time_us in (1.0, 2.0, 6.0):
            tally.match(Gemm(m=1, n=1, k=1), time_us, "k", "GPU")
        tally.miss("other", "why", 3.0)
        found = tally.imported()
        assert found.frame[["time_us", "mean_us", "calls"]].values.tolist() == [[2.0, 3.0, 3.0]]
        assert found.matched_share == pytest.approx(0.75)


def test_unknown_kinds_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(SimexploreError, match="did you mean 'nsys'"):
        import_profile("nsis", tmp_path)
    with pytest.raises(SimexploreError, match="found nothing"):
        import_profile("nsys", tmp_path / "absent")
