"""Records stay small enough to read, and folders too."""

from __future__ import annotations

from pathlib import Path

import pytest

from simexplore.archs.load import HERE, arch_path, list_archs
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.quantities import Spec

MOST_FIELDS = 16
MOST_FILES = 12


def records(model: type[Spec]) -> set[type[Spec]]:
    found = {model}
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Spec):
                found |= records(part)
    return found


@pytest.mark.parametrize("record", sorted(records(Gpu), key=lambda record: record.__name__))
def test_a_record_has_few_fields_of_its_own(record: type[Spec]) -> None:
    own = set(record.model_fields) & set(record.__annotations__)
    assert 0 < len(own) <= MOST_FIELDS


def test_all_records_are_looked_at() -> None:
    assert len(records(Gpu)) > 30


@pytest.mark.parametrize("folder", sorted({path.parent for path in HERE.rglob("*.yaml")}), ids=lambda path: path.name)
def test_a_folder_has_few_files(folder: Path) -> None:
    assert len([path for path in folder.iterdir() if path.is_file()]) <= MOST_FILES


def test_parts_are_families_and_no_machines() -> None:
    assert arch_path("nvidia/ampere").name == "family.yaml"
    assert arch_path("nvidia/ampere/ga100").parent.name == "parts"
    assert arch_path("nvidia/ada/geforce").is_file()
    assert not [name for name in list_archs() if "parts" in name or name.endswith(("family", "facts", "calibrated"))]
    assert {"nvidia/a100-sxm-80gb", "amd/mi300x", "cpu/lavapipe", "ngpc/rtx-3090-ngpc-8"} <= set(list_archs())
