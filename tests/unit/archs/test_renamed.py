"""Keys with another name now: errors name it, and tools/rename_keys.py rewrites files so that nothing else changes."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from simexplore.archs.fields import field_of
from simexplore.archs.load import HERE, is_as_calibrated, load_arch
from simexplore.archs.renamed import NEW_KEYS, NOW_SECTIONS
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError

TOOL = Path(__file__).resolve().parents[3] / "tools" / "rename_keys.py"

OLD = """\
# my board
extends: nvidia/h200-sxm@facts   # what it is
name: Mine
sm: {count: 130, shared_latency: 30 clk, tensor_latency: 40 clk}

library:
  gemm:
    # how deep
    split_k: [1, 2]  # two at most
    setup_round_trips: 8.5
    gemv: false

    tiles:
      - 64x64
      - 128x128
    split_min_products: 7
  attention:
    narrow_head_round_trips: 26.5
    grouped_round_trips: 20
    head_round_trips: 25
sources:
  library.gemm.gemv: 'as library.gemm.split_k, no more'
  sm.shared_latency: "a guess"
"""

NEW = """\
# my board
extends: nvidia/h200-sxm@facts   # what it is
name: Mine
sm: {count: 130, latency: {shared: 30 clk, tensor: 40 clk}}

library:
  gemm:
    # how deep
    split:
      counts: [1, 2]  # two at most
      min_products: 7
    setup_round_trips: 8.5
    gemv:
      used: false
    tensor:

      tiles:
        - 64x64
        - 128x128
  attention:
    one_head:
      narrow:
        round_trips: 26.5
      round_trips: 25
    grouped:
      round_trips: 20
sources:
  library.gemm.gemv.used: 'as library.gemm.split.counts, no more'
  sm.latency.shared: "a guess"
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rename_keys", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("new", NEW_KEYS.values())
def test_every_new_key_is_one_of_the_schema(new: str) -> None:
    assert field_of_any(new)


def field_of_any(path: str) -> bool:
    """Whether the schema has a key there, one value or a list or mapping of them."""
    try:
        field_of(path, load_arch("nvidia/h200-sxm"))
    except SimexploreError as error:
        return "which holds" in str(error)
    return True


@pytest.mark.parametrize("old", sorted(NEW_KEYS))
def test_an_old_key_is_answered_with_the_new_one(old: str, tmp_path: Path) -> None:
    *sections, leaf = old.split(".")
    path = tmp_path / "old.yaml"
    lines = ["extends: nvidia/h200-sxm", *(f"{'  ' * depth}{key}:" for depth, key in enumerate(sections))]
    path.write_text("\n".join([*lines, f"{'  ' * len(sections)}{leaf}: 1"]) + "\n", encoding="utf-8")
    with pytest.raises(SimexploreError) as caught:
        load_arch(path)
    assert str(caught.value).startswith(f"{path}:{len(lines) + 1}: {old}: expected {NEW_KEYS[old]}, ")
    with pytest.raises(SimexploreError, match=f"--set {old}: expected {NEW_KEYS[old]}, "):
        load_arch("nvidia/h200-sxm", {old: "1"})
    with pytest.raises(SimexploreError, match=f"expected {NEW_KEYS[old]}, "):
        field_of(old, load_arch("nvidia/h200-sxm"))


def test_sources_are_keys_too(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("extends: nvidia/h200-sxm\nsources:\n  sm.fma_latency: somebody told\n", encoding="utf-8")
    with pytest.raises(SimexploreError) as caught:
        load_arch(path)
    assert str(caught.value).startswith(f"{path}:3: sources.")
    assert "expected sm.latency.fma, " in str(caught.value)


def test_a_section_of_an_old_name_is_no_mistake() -> None:
    for section in NOW_SECTIONS:
        assert load_arch("nvidia/h200-sxm", {"sources": f"{{{section}: somebody told}}"}).sources[section]


def test_a_file_is_rewritten_with_its_comments(tool: ModuleType) -> None:
    assert tool.rewritten(OLD) == NEW
    assert tool.rewritten(NEW) == NEW


def test_axes_of_a_sweep_are_rewritten(tool: ModuleType) -> None:
    spec = "arch: nvidia/h200-sxm\nparameters:\n  library.gemm.gemv: [true, false]\n  sm.l1_latency: [30 clk, 40 clk]\n"
    assert tool.rewritten(spec) == spec.replace("gemv:", "gemv.used:").replace("sm.l1_latency", "sm.latency.l1")


def test_what_is_only_in_part_new_is_completed(tool: ModuleType) -> None:
    mixed = "sm:\n  latency:\n    shared: 1 clk\n  l1_latency: 2 clk\n  count: 3\n"
    assert yaml.safe_load(tool.rewritten(mixed)) == {"sm": {"latency": {"shared": "1 clk", "l1": "2 clk"}, "count": 3}}


def test_a_mapping_in_braces_with_a_comment_is_left_alone(tool: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "braces.yaml"
    text = "sm: {count: 3, # mine\n  l1_latency: 2 clk}\n"
    path.write_text(text, encoding="utf-8")
    assert tool.main([str(path)]) == 2
    assert path.read_text(encoding="utf-8") == text


def as_it_was(gpu: Gpu, tool: ModuleType) -> str:
    """A calibrated overlay of a machine as it would have been written under the old keys."""
    return (
        "extends: nvidia/h200-sxm\nlibrary:\n  gemm:\n    dirty_share: 0.6\n"
        f'calibration:\n  machine: "{tool.former_digest(gpu)}"\n  residual: "trtllm_others.residual.npz"\n'
        "sources:\n  library.gemm.dirty_share: calibrated, two rows\n"
    )


def test_a_learned_correction_stays_valid(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu = load_arch("nvidia/h200-sxm", {"library.gemm.memory.dirty_share": "0.6"})
    assert tool.former_digest(gpu) != gpu.digest()
    path = tmp_path / "overlay.yaml"
    shutil.copy(HERE / "nvidia" / "hopper" / "fitted" / "h200-sxm" / "trtllm_others.residual.npz", tmp_path)
    path.write_text(as_it_was(gpu, tool), encoding="utf-8")
    assert tool.main([str(path)]) == 0
    assert "new digest" in capsys.readouterr().out
    after = load_arch(path)
    assert after.library.gemm.memory.dirty_share == 0.6
    assert is_as_calibrated(after)
    assert after.calibration is not None
    assert after.calibration.residual is not None
    assert after.calibration.residual.corrections


def test_a_correction_that_was_off_stays_off(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = load_arch("nvidia/h200-sxm", {"library.gemm.memory.dirty_share": "0.61"})  # fitted with another value
    path = tmp_path / "overlay.yaml"
    shutil.copy(HERE / "nvidia" / "hopper" / "fitted" / "h200-sxm" / "trtllm_others.residual.npz", tmp_path)
    path.write_text(as_it_was(gpu, tool), encoding="utf-8")
    assert tool.main([str(path)]) == 0
    assert "calibrate anew" in capsys.readouterr().out
    assert not is_as_calibrated(load_arch(path))


def test_the_digest_of_before_is_that_of_the_old_keys(tool: ModuleType) -> None:
    """Under the old names the same values have another digest, and one of its own."""
    gpu = load_arch("nvidia/h200-sxm")
    other = load_arch("nvidia/h200-sxm", {"sm.latency.shared": "31 clk"})
    assert len({tool.former_digest(gpu), tool.former_digest(other), gpu.digest(), other.digest()}) == 4
    assert tool.former_digest(gpu) == tool.former_digest(load_arch("nvidia/h200-sxm"))
