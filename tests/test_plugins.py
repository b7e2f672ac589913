import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bbo_bench import plugins
from bbo_bench.plan import check
from bbo_bench.plugins import KINDS, PluginError, _load, choices, find

TESTS = Path(__file__).parent
OPTIMIZER = "_target_: bbo_bench.optimizers.{0}.{0}\nsummary: test\n"


def write(root: Path, name: str, text: str = "", stem: str = "") -> Path:
    folder = root / "optimizers" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").touch()
    file = folder / f"{stem or name}.yaml"
    file.write_text(text or OPTIMIZER.format(name))
    return file


def lines(folder: Path) -> int:
    return sum(len(file.read_text().splitlines()) for file in folder.iterdir() if file.suffix in (".py", ".yaml"))


def test_local_plugins_are_found_beside_the_shipped_ones(toys):
    assert {"toy", "airfoil"} <= choices("task").keys()
    assert {"toy_search", "prior_sampling"} <= choices("optimizer").keys()


def test_a_plugin_takes_at_most_40_lines():
    folders = [
        TESTS / "plugins/tasks/toy",
        TESTS / "plugins/optimizers/toy_search",
        TESTS / "distribution/acme_bench/maze",
    ]
    assert max(map(lines, folders)) <= 40


def test_a_plugin_of_an_installed_distribution_is_found_without_importing_it(monkeypatch):
    entry = EntryPoint("maze", "acme_bench.maze", "bbo_bench.optimizers")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == entry.group else [])
    monkeypatch.syspath_prepend(TESTS / "distribution")
    choice = choices("optimizer")["maze"]
    assert choice.file == TESTS / "distribution/acme_bench/maze/maze.yaml"
    assert "maze" not in choices("task")
    assert not any(module.startswith("acme_bench") for module in sys.modules)


def test_an_entry_point_that_leads_nowhere_is_named(monkeypatch):
    entry = EntryPoint("gone", "no_such_package.gone", "bbo_bench.optimizers")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    with pytest.raises(PluginError, match=r"no_such_package\.gone.*reinstall"):
        choices("optimizer")


def test_discovery_imports_neither_torch_nor_a_plugin(toys):
    program = """
import sys
from bbo_bench.plugins import choices
assert "toy" in choices("task") and "toy_search" in choices("optimizer")
assert not [m for m in sys.modules if m == "torch" or m.startswith(("bbo_bench.tasks", "bbo_bench.optimizers"))]
from bbo_bench.tasks.toy import Toy
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_variant_overrides_what_it_names_and_inherits_the_rest(toys):
    base, wide = find("optimizer", "toy_search"), find("optimizer", "toy_search_wide")
    assert wide.settings == base.settings | {"step": 2.0}
    assert wide.summary == base.summary
    assert not {"summary", "requires", "extra", "defaults"} & wide.settings.keys()


def test_a_variant_searches_what_it_names_or_what_it_does_not_set(toys, tmp_path):
    search = "search: {step: [uniform, 0, 1], proxy.beta: [uniform, 0, 1], proxy.heads: [choice, 3, 5]}\n"
    write(tmp_path, "base", OPTIMIZER.format("base") + "step: 1\nproxy: {heads: 5, beta: 1.0}\n" + search)
    write(tmp_path, "base", "defaults: [base, _self_]\nproxy: {beta: 2.0}", stem="changed")
    write(tmp_path, "base", "defaults: [base, _self_]\nsearch: {step: [uniform, 0, 2]}", stem="own")
    toys(tmp_path)
    assert list(find("optimizer", "changed").search) == ["step", "proxy.heads"]
    assert find("optimizer", "own").search == {"step": ["uniform", 0, 2]}


def test_a_variant_merges_nested_settings(toys, tmp_path):
    write(tmp_path, "base", OPTIMIZER.format("base") + "proxy: {heads: 5, beta: 1.0}")
    write(tmp_path, "base", "defaults: [base, _self_]\nproxy: {beta: 2.0}", stem="changed")
    toys(tmp_path)
    assert find("optimizer", "changed").settings["proxy"] == {"heads": 5, "beta": 2.0}


def test_a_setting_of_another_class_takes_the_place_of_its_bases(toys, tmp_path):
    toys(tmp_path)
    ranges = "search: {step: [uniform, 0, 1], proxy.beta: [uniform, 0, 1]}"
    write(tmp_path, "base", f"_target_: X\nstep: 1\nproxy: {{_target_: A, beta: 1.0, heads: 5}}\n{ranges}")
    write(tmp_path, "base", "defaults: [base, _self_]\nproxy: {_target_: B, width: 3}", stem="other")
    write(tmp_path, "base", "defaults: [base, _self_]\nproxy: {_target_: A, heads: 7}", stem="same")
    other, same = find("optimizer", "other"), find("optimizer", "same")
    assert other.settings["proxy"] == {"_target_": "B", "width": 3} and set(other.search) == {"step"}
    assert same.settings["proxy"] == {"_target_": "A", "beta": 1.0, "heads": 7} and "proxy.beta" in same.search


@pytest.mark.parametrize("defaults", ["[nowhere, _self_]", "[lost, _self_]"])
def test_a_variant_of_nothing_or_of_itself_is_refused(toys, tmp_path, defaults):
    file = write(tmp_path, "lost", f"defaults: {defaults}")
    toys(tmp_path)
    with pytest.raises(PluginError, match=f"{file}: defaults names"):
        choices("optimizer")


def test_yaml_without_a_class_is_no_choice(toys, tmp_path):
    write(tmp_path, "mine", "seed: 0", stem="prior")
    write(tmp_path, "mine")
    toys(tmp_path)
    assert "mine" in choices("optimizer") and "prior" not in choices("optimizer")


def test_two_plugins_of_one_name_are_both_named(toys, tmp_path):
    files = [write(tmp_path / root, f"folder_{root}", stem="twin") for root in "ab"]
    toys(tmp_path / "a", tmp_path / "b")
    with pytest.raises(PluginError, match=f"two optimizers are named twin: {files[0]} and {files[1]}"):
        choices("optimizer")


def test_two_folders_of_one_name_are_both_named(toys, tmp_path):
    write(tmp_path, "prior_sampling", stem="other")
    toys(tmp_path)
    with pytest.raises(PluginError, match=f"two optimizers are named prior_sampling: .* and {tmp_path}"):
        choices("optimizer")


def test_one_root_named_twice_is_one_root(toys):
    toys(TESTS / "plugins")
    assert "toy" in choices("task")


def test_a_root_without_plugins_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("BBO_BENCH_PLUGINS", str(tmp_path))
    with pytest.raises(PluginError, match=f"{tmp_path}, which has neither a folder tasks/ nor optimizers/"):
        choices("task")


def test_a_folder_that_is_no_package_is_named(toys, tmp_path):
    folder = write(tmp_path, "bare").parent
    (folder / "__init__.py").unlink()
    toys(tmp_path)
    with pytest.raises(PluginError, match=f"{folder} has bare.yaml, but no __init__.py"):
        choices("optimizer")
    (folder / "bare.yaml").write_text("notes: of no plugin")
    assert "bare" not in choices("optimizer")


def test_an_unreadable_file_is_named(toys, tmp_path):
    file = write(tmp_path, "torn", "_target_: [")
    toys(tmp_path)
    with pytest.raises(PluginError, match=f"{file} cannot be read"):
        choices("optimizer")


def test_unknown_names_get_the_closest_ones(toys):
    with pytest.raises(PluginError, match="no optimizer named 'toy_serch'; did you mean toy_search"):
        find("optimizer", "toy_serch")
    with pytest.raises(PluginError, match=r"no task named 'zzzzz'; known: .*airfoil.*toy"):
        find("task", "zzzzz")


@pytest.mark.parametrize("line", ["check optimizer=unheard", "check unheard", "run task=airfoil optimizer=unheard"])
def test_an_unknown_name_says_where_plugins_of_ones_own_are_looked_for(cli, monkeypatch, line):
    assert "BBO_BENCH_PLUGINS" not in cli(*line.split()).err
    monkeypatch.delenv("BBO_BENCH_PLUGINS")
    message = "named 'unheard' ($BBO_BENCH_PLUGINS, the folders with plugins of your own, is not set); "
    assert message in cli(*line.split()).err


def test_what_is_missing_is_said_with_its_remedy(toys, tmp_path):
    write(tmp_path, "folding", OPTIMIZER.format("folding") + "requires: [no_such_module, json]\nextra: rna")
    write(tmp_path, "plain", OPTIMIZER.format("plain") + "requires: [no_such_module]")
    toys(tmp_path)
    folding = find("optimizer", "folding")
    assert folding.missing == ["no_such_module"]
    assert folding.remedy == 'pip install "bbo-bench[rna]"'
    assert find("optimizer", "plain").remedy == "pip install no_such_module"
    assert find("optimizer", "toy_search").missing == []


@pytest.mark.parametrize("word", ["name", "extra", "quick", "defaults"])
def test_a_reserved_word_is_refused_by_name(cli, toys, tmp_path, word):
    plugin = f"with_{word}"
    text = OPTIMIZER.format(plugin).replace(f".{plugin}.{plugin}", f".{plugin}.Mine")
    text += "name: 1\n" if word == "name" else ""
    code = "from bbo_bench.core import Optimizer\n\n\nclass Mine(Optimizer):\n"
    code += f"    def __init__(self, problem, rng, *, {word}):"
    write(tmp_path / "roots", plugin, text).with_name("__init__.py").write_text(f"{code}\n        self.it = {word}\n")
    toys(tmp_path / "roots")
    for line in (f"check optimizer={plugin}", f"run task=toy optimizer={plugin}"):
        status, _, err = cli(*line.split())
        assert (status, len(err.splitlines())) == (1, 1)
        assert f"optimizer {plugin}: no setting may be called {word}, which the suite uses itself; rename" in err
    assert not (tmp_path / "results").exists()


def test_whole_numbers_are_whole():
    turbo = find("optimizer", "turbo")
    check(turbo, turbo.settings | {"chunk": 3.0, "length": 0.25})
    with pytest.raises(PluginError, match=r"optimizer turbo: chunk must be a whole number, got 2.5"):
        check(turbo, turbo.settings | {"chunk": 2.5})


@pytest.mark.parametrize(
    "text", ["a: 1e-3", "a: 1.e3", "a: 2026-11-28", "a: [1, 2.5, .5, null, on, ~]", "a: 1_000", "{}"]
)
def test_numbers_and_words_are_read_as_hydra_does(tmp_path, text):
    file = tmp_path / "some.yaml"
    file.write_text(text)
    assert repr(_load(file)) == repr(OmegaConf.to_container(OmegaConf.load(file)))


def test_shipped_settings_are_read_as_hydra_does():
    for kind in KINDS:
        for choice in choices(kind).values():
            assert repr(_load(choice.file)) == repr(OmegaConf.to_container(OmegaConf.load(choice.file)))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "some.yaml").write_text("a: 1\nb: 2\na: 3")
    with pytest.raises(PluginError, match=r"some.yaml cannot be read: .*a stands twice"):
        _load(tmp_path / "some.yaml")
