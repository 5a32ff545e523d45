"""The one converter: what it reads, what it refuses and in which words, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.archs import units


@pytest.mark.parametrize(
    ("text", "dimension", "si"),
    [
        ("4.8 TB/s", units.BYTES_PER_SECOND, 4.8e12),
        ("1.83 GHz", units.HERTZ, 1.83e9),
        ("765 MHz", units.HERTZ, 765e6),
        ("50 MiB", units.BYTES, 50 * 1024**2),
        ("50 MB", units.BYTES, 50e6),
        ("1 kB", units.BYTES, 1000),
        ("1 KiB", units.BYTES, 1024),
        ("178.3 GiB", units.BYTES, 178.3 * 1024**3),
        ("264 clk", units.CYCLES, 264),
        ("4096 op/clk", units.OPS_PER_CLK, 4096),
        ("128 B/clk", units.BYTES_PER_CLK, 128),
        ("1.26 us", units.SECONDS, 1.26e-6),
        ("1.26 µs", units.SECONDS, 1.26e-6),  # the micro sign
        ("1.26 μs", units.SECONDS, 1.26e-6),  # the Greek letter
        ("0.52 pJ/op", units.JOULES_PER_OP, 0.52e-12),
        ("11.7 pJ/B", units.JOULES_PER_BYTE, 11.7e-12),
        ("11.7 pJ/bit", units.JOULES_PER_BYTE, 93.6e-12),
        ("700 W", units.WATTS, 700),
        ("1.2 kW", units.WATTS, 1200),
        ("1.5 J", units.JOULES, 1.5),
        ("989.4 TFLOPS", units.OPS_PER_SECOND, 989.4e12),
        ("733 TOPS", units.OPS_PER_SECOND, 733e12),
        ("2.25 PFLOPS", units.OPS_PER_SECOND, 2.25e15),
        ("8 nm", units.METRES, 8e-9),
        ("814 mm2", units.SQUARE_METRES, 814e-6),
        ("814 mm²", units.SQUARE_METRES, 814e-6),
        ("1e3 W", units.WATTS, 1000),
        ("50MiB", units.BYTES, 50 * 1024**2),
        ("  50 MiB ", units.BYTES, 50 * 1024**2),
        ("0 B", units.BYTES, 0),
    ],
)
def test_reads_si_to_the_last_bit(text: str, dimension: units.Dimension, si: float) -> None:
    assert units.parse(text, dimension) == si


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (4800, "4800 (no unit)"),
        (4.8, "4.8 (no unit)"),
        ("4.8", "'4.8' (no unit)"),
        (True, "True"),
        (None, "nothing"),
        ({}, "a mapping"),
        ([], "a list"),
        ("", "''"),
        ("fast", "'fast'"),
        ("4.8 GHz", "'4.8 GHz' (a frequency)"),
        ("4.8 TB", "'4.8 TB' (a size)"),
        ("4.8 TBs", "'4.8 TBs' (unknown unit: did you mean 'TB/s'?)"),
        ("4.8 furlongs", "'4.8 furlongs' (unknown unit)"),
        ("4.8 tb/s", "'4.8 tb/s' (unknown unit: did you mean 'TB/s'?)"),
        ("-4.8 TB/s", "'-4.8 TB/s' (negative)"),
        ("nan TB/s", "'nan TB/s'"),
        ("inf TB/s", "'inf TB/s'"),
        ("1e999 TB/s", "'1e999 TB/s' (too large)"),
        ("4,8 TB/s", "'4,8 TB/s'"),
        ("1_000 GB/s", "'1_000 GB/s'"),
        ("0x10 GB/s", "'0x10 GB/s' (unknown unit: did you mean 'GB/s'?)"),
        ("4.8\x00TB/s", "'4.8\\x00TB/s'"),
    ],
)
def test_refuses_with_expected_found_and_an_example(written: object, found: str) -> None:
    with pytest.raises(units.UnitError) as caught:
        units.parse(written, units.BYTES_PER_SECOND)
    assert caught.value.expected == "a bandwidth such as '4.8 TB/s'"
    assert caught.value.found == found
    assert str(caught.value) == f"expected a bandwidth such as '4.8 TB/s', found {found}"


@pytest.mark.parametrize(
    ("si", "dimension", "text"),
    [
        (4.8e12, units.BYTES_PER_SECOND, "4.8 TB/s"),
        (1.83e9, units.HERTZ, "1.83 GHz"),
        (50 * 1024**2, units.BYTES, "50 MiB"),
        (126.5 * 1024**2, units.BYTES, "126.5 MiB"),
        (100e9, units.BYTES, "100 GB"),
        (32, units.BYTES, "32 B"),
        (0, units.BYTES, "0 B"),
        (1.26e-6, units.SECONDS, "1.26 us"),
        (1000, units.WATTS, "1000 W"),
        (0.7e-12, units.JOULES_PER_OP, "700 fJ/op"),
        (989.4e12, units.OPS_PER_SECOND, "989.4 TFLOPS"),
    ],
)
def test_formats_shortly(si: float, dimension: units.Dimension, text: str) -> None:
    assert units.format(si, dimension) == text


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.sampled_from(units.DIMENSIONS))
def test_format_and_parse_are_inverse(value: float, dimension: units.Dimension) -> None:
    assert units.parse(units.format(value, dimension), dimension) == value


@given(st.text(max_size=30), st.sampled_from(units.DIMENSIONS))
def test_any_text_is_a_value_or_a_unit_error_on_one_line(text: str, dimension: units.Dimension) -> None:
    try:
        outcome: float | str = units.parse(text, dimension)
    except units.UnitError as error:
        outcome = str(error)
    assert len(outcome.splitlines()) == 1 if isinstance(outcome, str) else 0 <= outcome < float("inf")


@pytest.mark.parametrize("dimension", units.DIMENSIONS, ids=lambda dimension: dimension.name)
def test_every_dimension_reads_its_own_example_and_all_units_it_shows(dimension: units.Dimension) -> None:
    assert units.parse(dimension.example, dimension) > 0
    assert set(dimension.shown) <= set(dimension.units)
