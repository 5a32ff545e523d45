"""Whose learned correction a machine gets: its own, that of the machine it is a variant of, that of its kin."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simexplore.archs.load import HERE, load_arch, resolve
from simexplore.archs.provenance import own_keys
from simexplore.errors import SimexploreError
from simexplore.sim.compare.comparison import _calibration_warnings

H200 = "nvidia/h200-sxm"


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_machine_as_calibrated_lends_to_itself() -> None:
    gpu = load_arch(H200)
    assert gpu.lenders == (gpu,)
    assert gpu.lenders[0] is gpu
    assert gpu.lends
    assert not list(_calibration_warnings(gpu))


def test_a_value_set_or_written_makes_a_variant(tmp_path: Path) -> None:
    by_file = written(tmp_path, f"extends: {H200}\nname: Mine\nsm: {{count: 100}}\n")
    for variant in (load_arch(H200, {"sm.count": "100"}), load_arch(by_file), load_arch(by_file, {"sm.count": "90"})):
        (lender,) = variant.lenders
        assert lender.name == "NVIDIA H200 SXM 141 GB"
        assert (lender.sm.count, lender.lenders) == (132, (lender,))
        assert lender.lends
        assert variant.digest() != lender.digest()
        (said,) = _calibration_warnings(variant)
        assert "fades as times move apart" in said


def test_another_name_is_no_variant(tmp_path: Path) -> None:
    same = load_arch(written(tmp_path, f"extends: {H200}\nname: Mine\n"))
    assert same.lenders[0] is same


def test_an_edited_overlay_lends_nothing(tmp_path: Path) -> None:
    """What was learned is of values that no machine has any more."""
    fitted, parts = HERE / "nvidia" / "ampere" / "fitted" / "a100-sxm-80gb", HERE / "nvidia" / "ampere" / "parts"
    shutil.copy(fitted / "trtllm.residual.npz", tmp_path)
    text = (fitted / "trtllm.yaml").read_text(encoding="utf-8")
    text = text.replace('"../../parts/a100-sxm-80gb.yaml"', f'"{parts}/a100-sxm-80gb.yaml"')
    good = load_arch(written(tmp_path, text, "a100-sxm-80gb.yaml"))
    assert good.lenders[0].lends
    edited = text.replace("    setup_round_trips: 12.24\n", "    setup_round_trips: 12.3\n")
    assert edited != text
    path = written(tmp_path, edited, "a100-sxm-80gb.yaml")
    for gpu in (load_arch(path), load_arch(path, {"sm.count": "100"})):
        assert not any(lender.lends for lender in gpu.lenders)
        assert gpu.calibration is not None
        assert gpu.calibration.residual is not None
        assert len(gpu.calibration.residual.fingerprints) > 1000
        (said,) = _calibration_warnings(gpu)
        assert "physics alone" in said


def test_kin_is_a_name_or_a_file_beside(tmp_path: Path) -> None:
    assert [lender.name for lender in load_arch("nvidia/h100-sxm").lenders][1:] == ["NVIDIA H200 SXM 141 GB"]
    written(tmp_path, f"extends: {H200}\nname: Beside\n", "beside.yaml")
    mine = load_arch(written(tmp_path, "extends: nvidia/h100-sxm\nname: Mine\nkin: beside.yaml\n"))
    assert [lender.name for lender in mine.lenders] == ["Mine", "Beside"]
    assert "kin" not in own_keys(resolve("nvidia/h100-sxm"))


def test_kin_that_leads_back_is_looked_at_once(tmp_path: Path) -> None:
    one = written(tmp_path, "extends: nvidia/h200-sxm\nname: One\nkin: two.yaml\n", "one.yaml")
    written(tmp_path, "extends: nvidia/h100-pcie\nname: Two\nkin: one.yaml\n", "two.yaml")
    assert len(load_arch(one).lenders) == 1  # its kin has nothing of its own to lend
    assert [lender.name for lender in load_arch(tmp_path / "two.yaml").lenders] == ["Two", "One"]


def test_facts_have_no_kin_and_physics_alone_has_no_lender() -> None:
    facts = load_arch("nvidia/h100-sxm@facts")
    assert facts.kin is None
    assert facts.lenders == (facts,)
    for name in ("nvidia/h100-sxm", H200):
        alone = load_arch(name, {"sm.count": "100"}).physics_only()
        assert alone.lenders == (alone,)
        assert not alone.lends


def test_kin_that_is_no_machine_is_a_mistake_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, "extends: nvidia/h100-sxm\nname: Mine\nkin: nvidia/h201-sxm\n")
    with pytest.raises(SimexploreError, match=r"mine.yaml:3: kin: expected the name of a machine .*nvidia/h200-sxm"):
        load_arch(path)
