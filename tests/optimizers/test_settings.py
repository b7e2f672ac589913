"""A setting out of range is refused where it is given, with what was expected and what was got."""

import pytest

WRONG = [
    ("cma_es", {"sigma": -1.0}, "sigma > 0"),
    ("cma_es", {"parents": 0.0}, "0 < parents <= 1"),
    ("genetic", {"parents": 1}, "parents >= 2"),
    ("genetic", {"mutation_rate": 2.0}, "0 <= mutation_rate <= 1"),
    ("turbo", {"chunk": 0}, "chunk >= 1"),
    ("turbo", {"length": 2.0}, "length <= length_max"),
    ("qlogei", {"batch": 0}, "counts of at least 1"),
    ("qlogei", {"around_best": 0.0}, "around_best > 0"),
]


@pytest.mark.parametrize(("name", "setting", "expected"), WRONG)
def test_a_setting_out_of_range_is_refused(problem, build, name, setting, expected):
    [(key, value)] = setting.items()
    with pytest.raises(ValueError, match=f"expected .*{expected}.*got .*{key}.*{value}"):
        build(name, problem, **setting)
