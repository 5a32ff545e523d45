"""`NAME@family`: what other machines taught, and nothing that was fitted to the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from simexplore.archs.load import list_archs, load_arch, read_document, resolve
from simexplore.archs.names import HERE, arch_path, shipped_name
from simexplore.archs.views.machines import list_systems
from simexplore.archs.views.variants import WIDTHS, calibrations, fitted_machines
from simexplore.errors import SimexploreError

SETUP = "library: {gemm: {setup_round_trips: %s}}\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def trips(name: str | Path) -> float:
    return load_arch(name).library.gemm.setup_round_trips


def test_own_fits_are_left_out_and_those_of_others_stay(tmp_path: Path) -> None:
    written(
        tmp_path,
        "other.yaml",
        "abstract: true\n" + SETUP % 21 + "calibration: {of: nvidia/l40s}\nsources: {library: x, calibration: x}\n",
    )
    written(
        tmp_path,
        "own.yaml",
        "abstract: true\n"
        + SETUP % 33
        + "calibration: {of: [mine.yaml, nvidia/l40s]}\nsources: {library: x, calibration: x}\n",
    )
    mine = written(tmp_path, "mine.yaml", "extends: [nvidia/h200-sxm, other.yaml, own.yaml]\nname: mine\n")
    assert trips(mine) == 33
    assert trips(f"{mine}@family") == 21
    assert trips(f"{mine}@facts") == trips("nvidia/h200-sxm@facts")


def test_an_overlay_is_the_machine_that_it_was_fitted_to(tmp_path: Path) -> None:
    text = "extends: nvidia/h200-sxm\n" + SETUP % 33 + "calibration: {of: nvidia/h200-sxm}\nsources: {library: x}\n"
    assert trips(f"{written(tmp_path, 'mine.yaml', text)}@family") == trips("nvidia/h200-sxm@family")


def test_what_does_not_say_whose_rows_it_was_fitted_to_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, "old.yaml", "abstract: true\n" + SETUP % 33 + "calibration: {seed: 0}\nsources: {library: x}\n")
    mine = written(tmp_path, "mine.yaml", "extends: [nvidia/h200-sxm, old.yaml]\nname: mine\n")
    assert trips(mine) == 33
    assert trips(f"{mine}@family") != 33


def test_an_unknown_teacher_is_named(tmp_path: Path) -> None:
    text = "extends: nvidia/h200-sxm\ncalibration: {of: nvidia/h200-sxx}\n"
    with pytest.raises(SimexploreError, match=r"calibration\.of.*did you mean 'nvidia/h200-sxm'"):
        load_arch(f"{written(tmp_path, 'mine.yaml', text)}@family")


def test_an_unknown_variant_is_told_with_the_nearest() -> None:
    with pytest.raises(SimexploreError, match=r"h200-sxm@facts or nvidia/h200-sxm@family.*did you mean 'family'"):
        load_arch("nvidia/h200-sxm@familly")


@pytest.mark.parametrize("name", list_archs())
def test_no_value_of_a_family_was_fitted_to_its_member(name: str) -> None:
    """The files that the variant is merged of, by where its values were written."""
    layer = resolve(f"{name}@family")
    own = arch_path(name).resolve()
    for file in {place.rpartition(":")[0] for place in layer.places.values()}:
        document = read_document(file).layer()
        if any(True for _ in calibrations(document)) and layer_has_values(layer.places, file):
            assert own not in {arch_path(known).resolve() for known in fitted_machines(document, Path(file))}, file


def layer_has_values(places: dict[tuple[str | int, ...], str], file: str) -> bool:
    return any(place.startswith(f"{file}:") and path and path[0] == "library" for path, place in places.items())


def test_shipped_fits_say_whose_rows_they_are_of() -> None:
    for path in HERE.rglob("*.yaml"):
        document = read_document(path).layer()
        for calibration in calibrations(document):
            assert calibration.get("of") or set(calibration) <= WIDTHS, path
            if set(calibration) <= WIDTHS:
                continue
            assert set(fitted_machines(document, path)) <= {*list_archs(), *list_systems()}, path


def test_machines_teach_each_other() -> None:
    assert load_arch("nvidia/h200-sxm@family").calibration.of == ("nvidia/h100-sxm",)  # type: ignore[union-attr]
    assert load_arch("nvidia/h100-sxm@family").calibration.of == ("nvidia/h200-sxm",)  # type: ignore[union-attr]
    assert load_arch("nvidia/b200@family").calibration.of == ("nvidia/gb200",)  # type: ignore[union-attr]


def test_a_part_has_its_machines_name() -> None:
    assert shipped_name(HERE / "nvidia/hopper/parts/h200-sxm.yaml") == "nvidia/h200-sxm"
    assert shipped_name(HERE / "nvidia/hopper/parts/facts.yaml") is None
