"""The example that trains a field and evaluates it in an NFP's number formats; torch is optional."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "studies" / "field_quality.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("field_quality", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_a_png(example: Any, tmp_path: Path) -> None:
    points = [[x / 8, y / 4] for y in range(4) for x in range(8)]
    image = example.picture(example.np.array(points)).reshape(4, 8, 3)
    example.write_png(tmp_path / "picture.png", image)
    written = (tmp_path / "picture.png").read_bytes()
    assert written.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(written[16:20], "big") == 8
    assert int.from_bytes(written[20:24], "big") == 4


def test_narrow_formats_show_their_price(example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch trains the field; pip install 'simexplore[torch]'")
    monkeypatch.setattr(example, "STEPS", 40)
    monkeypatch.setattr(example, "SIDE", 48)
    found = example.main(tmp_path / "quality.png")
    assert found["fp32"][0] > 15.0
    against_exact = [found[name][1] for name in example.FORMATS]
    assert against_exact == sorted(against_exact, reverse=True)
    assert against_exact[1] > 60.0
    assert (tmp_path / "quality.png").stat().st_size > 1000
