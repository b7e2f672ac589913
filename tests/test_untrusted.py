"""Texts of strangers end no process."""

import pytest
import yaml

from bbo_bench.untrusted import read_yaml


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000, "-\t" * 100_000])
def test_nesting_without_end_is_an_error(text):
    with pytest.raises((RecursionError, yaml.YAMLError)):
        read_yaml(text)


def test_plain_values_are_read():
    assert read_yaml("a: {b: [1, 2.5, x]}\nc:\n- - d\n") == {"a": {"b": [1, 2.5, "x"]}, "c": [["d"]]}
