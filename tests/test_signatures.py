"""An outline takes what the real thing takes, for every class that a YAML file names."""

import subprocess
import sys

import pytest

from bbo_bench.plugins import KINDS, choices
from bbo_bench.signatures import imported, outline, parameters


def targets(node):
    if isinstance(node, dict):
        yield from [node["_target_"]] if "_target_" in node else []
        for each in node.values():
            yield from targets(each)


INSTALLED = [choice for kind in KINDS for choice in choices(kind).values() if not choice.missing]
TARGETS = sorted({name for choice in INSTALLED for name in targets(choice.settings)})


def taken(target):
    return {(each.name, each.default is each.empty) for each in parameters(target)}


@pytest.mark.parametrize("target", TARGETS)
def test_an_outline_takes_what_is_taken(target):
    assert taken(outline(target)) == taken(imported(target))


def test_outlines_import_nothing():
    program = f"""
import sys
from bbo_bench.signatures import outline
assert all(outline(each) is not None for each in {TARGETS})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("target", ["no_such_module.Class", "bbo_bench.core.NoSuchClass", "torch.nn.Linear.weight"])
def test_what_the_source_does_not_tell_is_none(target):
    assert outline(target) is None
