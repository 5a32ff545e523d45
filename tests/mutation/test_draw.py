"""What `tools/mutants.py` changes, what it leaves alone, and who is asked about a change."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mutmut", reason="mutmut is not installed: pip install 'simexplore[dev]'")

from mutation.cover import Coverage, Passing
from mutation.draw import Mutant, changed, mutants_of, sample

QUIET = '''"""A module of 1 line."""

from __future__ import annotations

Number = int | float


@cached(size=4)
def area(width: Literal[3], height: Number) -> Tuple[4]:
    """Of 2 sides."""
    if isinstance(width, int | float):
        raise ValueError(f"{width + 1} by {height + 2}")
    return SimexploreError("of", 5)


def __repr__(self):
    return "x" * 2
'''


def drawn(folder: Path, source: str) -> set[str]:
    (folder / "some.py").write_text(source, encoding="utf-8")
    return {make().after for make in mutants_of(folder, "some.py")}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = a + b", {"x = a - b"}),
        ("x = a ** 3.0", {"x = a * 3.0", "x = a ** 4.0"}),
        ("x = np.maximum(a, b)", {"x = np.minimum(a, b)"}),
        ("x = min(a, b)", {"x = max(a, b)"}),
        ("x = a <= b", {"x = a < b"}),
        ("x = a if b else c", {"x = a if (b) and False else c", "x = a if (b) or True else c"}),
        ("x += a", {"x -= a", "x = a"}),
        ("x = max(a, 1e9)", {"x = min(a, 1e9)"}),
        ("x = None", set()),
        ("x = f(a)", set()),
    ],
)
def test_one_line_has_these_mutants(tmp_path: Path, line: str, expected: set[str]) -> None:
    assert drawn(tmp_path, f"{line}\n") == expected


def test_what_only_people_read_is_left_alone(tmp_path: Path) -> None:
    assert drawn(tmp_path, QUIET) == set()


def test_code_after_a_quiet_function_is_not_taken_for_a_type(tmp_path: Path) -> None:
    source = "def __str__(self):\n    return 1\n\n\ndef mask(a, b):\n    return a | b\n"
    assert drawn(tmp_path, source) == {"return a & b"}


def test_the_sample_is_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "some.py").write_text("".join(f"x{n} = a + {n}\n" for n in range(50)), encoding="utf-8")
    one, again, other = (sample(tmp_path, ["room"], 10, seed) for seed in (0, 0, 1))
    assert one == again != other
    assert len(one) == 10
    assert len(sample(tmp_path, ["room"], 1000, 0)) == 100


def asked(mutant: Mutant, budget_s: float = 100.0) -> list[str]:
    tests = {name: Passing(seconds, frozenset()) for name, seconds in (("slow", 9.0), ("fast", 1.0), ("other", 2.0))}
    return Coverage(tests, {"some.py": {2: {"slow", "fast"}, 5: {"other"}}}).of(mutant, budget_s)


def test_the_tests_that_run_the_line_are_asked_the_fastest_first() -> None:
    before = "a = 1\nb = a + 1\n"
    mutant = changed("some.py", before, before.replace("a + 1", "a - 1"), 2, 2)
    assert (mutant.line, mutant.before, mutant.after) == (2, "b = a + 1", "b = a - 1")
    assert asked(mutant) == ["fast", "slow"]
    assert asked(mutant, budget_s=9.5) == ["fast"]
    assert asked(mutant, budget_s=0.5) == ["fast"], "one at least"


def test_of_a_line_that_runs_at_import_all_tests_of_the_module_are_asked() -> None:
    mutant = changed("some.py", "a = 1\n", "a = 2\n", 1, 1)
    assert asked(mutant) == ["fast", "other", "slow"]
    assert asked(changed("another.py", "a = 1\n", "a = 2\n", 1, 1)) == []
