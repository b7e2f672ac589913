"""A whole report: the numbers in its tables, the files of its figures, and what it says of itself."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from bbo_bench import names
from bbo_bench.plugins import find
from bbo_bench.recorded import recorded_task
from bbo_bench.report import aggregate, summary_text, tables, write_report
from bbo_bench.report.families import families
from bbo_bench.report.figures import curves, trade_off
from bbo_bench.report.frame import frame
from bbo_bench.report.gallery import gallery
from bbo_bench.report.layout import theme
from bbo_bench.report.page import processors
from bbo_bench.report.runs import find_runs
from bbo_bench.report.style import style

Make = Callable[..., Path]
BUDGET = find("optimizer", "sqdf").settings["kl_budget"]


def metrics(end: float) -> dict[str, object]:
    line = np.linspace(1, end, 4)
    return {key: line for key in ("reward_mean", "best", "validity", "pairwise", "normalized")} | {"elbo_z": -line}


@pytest.fixture(scope="module")
def report(writer: Callable[[Path], Make], tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    make = writer(results)
    for seed, end in enumerate((1.0, 2.0, 3.0, 4.0, 50.0)):
        make("sqdf", seed, metrics(end), settings={"kl_budget": BUDGET})
        make("sqdf_kl_low", seed, metrics(end + 1), settings={"kl_budget": 0.01})
        make("prior_sampling", seed, metrics(1.0))
        make("cma_es", seed, metrics(10.0), task="other")
        make("prior_sampling", seed, metrics(1.0), task="other")
    make("ddpo", 0, {}, complete=False)
    return write_report([results / "exp"])


def cells(path: Path) -> Iterator[tuple[tuple[str, str, str], list[float]]]:
    with path.open() as file:
        for row in csv.DictReader(file):
            key = row["task"], row["optimizer"], row["metric"]
            yield key, [float(row[name] or "nan") for name in ("iqm", "low", "high", "seeds")]


def test_results_by_hand(report: Path) -> None:
    assert report.parts[-3:] == ("exp", "report", "report.md")
    found = dict(cells(report.parent / "results.csv"))
    iqm, low, high, seeds = found["toy", "sqdf", "reward_mean"]
    assert (iqm, seeds) == (3.0, 5)  # of 2, 3 and 4
    half = 0.95 * (2 / (4 * 0.975 * 0.025)) ** 0.5 * (4 / (2.5 * 1.5)) ** 0.5  # 2 degrees of freedom
    assert (low, high) == pytest.approx((3 - half, 3 + half))
    assert found["toy", "sqdf_kl_low", "elbo_z"][0] == -4
    assert found["toy", "prior_sampling", "best"] == [1, 1, 1, 5]
    assert found["toy", "data", "pairwise"][0] == 0.5
    assert ("toy", "sqdf", "proxy_gap") not in found  # nobody had a value


def test_latex_and_text(report: Path) -> None:
    latex, text = (report.parent / "results.tex").read_text(), summary_text(report)
    assert r"\begin{longtable}{lrr}" in latex and r" & mean & normalized \\" in latex
    assert r"prior\_sampling & $1.0$ {\scriptsize $[1.0, 1.0]$}" in latex
    assert latex.count("\\begin{longtable}") == latex.count("\\end{longtable}") == 15
    lines = text.splitlines()
    start = lines.index("toy: Recommended designs: naturalness, by KL weight or budget")
    assert lines[start + 1].split() == ["validity", "ELBO", "z"]
    assert lines[start + 3].split()[:3] == ["sqdf_kl_low", "(kl_budget=0.01)", "4.00"]
    start = lines.index("all tasks: normalized mean score")
    assert lines[start + 2].split() == ["prior_sampling", "2", "1.00", "1.00", "1.00", "10", "-", "-"]
    assert lines[start + 3] == "not run on all tasks, and left out here: cma_es, sqdf, sqdf_kl_low"
    assert "fewer than 5 seeds" not in text
    assert "left out" in text and "seed_0: incomplete: 4 rounds are committed" in text


@pytest.mark.usefixtures("unpainted")
def test_a_task_has_metrics_of_its_own(make: Make, results: Path) -> None:
    own = {
        "bond_length": 2.0,
        "bond_length_reference": 1.5,
        "never": np.nan,
        "never_reference": np.nan,
        "diagnostics.loss": 1.0,
    }
    for seed in range(2):
        make("sqdf", seed, metrics(2.0) | own)
        make("sqdf", seed, metrics(2.0), task="other")
    report = write_report([results / "exp"])
    found = dict(cells(report.parent / "results.csv"))
    assert found["toy", "sqdf", "bond_length"][::3] == [2, 2]
    assert found["toy", "data", "bond_length"][0] == 1.5
    lines = summary_text(report).splitlines()
    start = lines.index(f"toy: {names.OWN}")
    assert lines[start + 1].split() == ["bond", "length"]
    assert f"other: {names.OWN}" not in lines


def test_costs(report: Path) -> None:
    with (report.parent / "cost.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if (row["task"], row["optimizer"]) == ("toy", "sqdf"))
    assert [float(row[key]) for key in ("ask", "tell", "total", "harness_percent")] == [4, 20, 40, 5]
    assert float(row["peak_mb"]) == 504


def test_the_page_names_commands_machine_and_missing_runs(report: Path) -> None:
    page = report.read_text()
    made = [line for line in page.splitlines() if line.startswith("bbo-bench run -m name=exp ")]
    assert [" ".join(line.split()[4:7]) for line in made] == [
        "task=other optimizer=cma_es seed=0,1,2,3,4",
        "task=other,toy optimizer=prior_sampling seed=0,1,2,3,4",
        "task=toy optimizer=sqdf seed=0,1,2,3,4",
        "task=toy optimizer=sqdf_kl_low seed=0,1,2,3,4",
    ]
    assert all("'budget.rounds=[64,128,256,512]'" in line for line in made)
    assert "Runs: 25 complete, 1 left out" in page
    assert "- commit: abc\n" in page and "- torch: 2.6" in page
    figures = {path.stem for path in report.parent.glob("*.png")}
    expected = {
        f"{task}_{kind}" for task in ("toy", "other") for kind in ("overview", "curves", "trade_off", "gallery")
    }
    assert figures == {path.stem for path in report.parent.glob("*.pdf")} == expected | {"over_tasks"}
    assert all(f"![{name}]({name}.png)" in page for name in figures)


def test_reports_are_reproducible_and_change_no_settings_of_matplotlib(report: Path) -> None:
    before = {path.name: path.read_bytes() for path in report.parent.iterdir()}
    settings = dict(mpl.rcParams)
    write_report([report.parents[1]])
    assert {path.name: path.read_bytes() for path in report.parent.iterdir()} == before
    assert dict(mpl.rcParams) == settings


@pytest.mark.usefixtures("unpainted")
def test_a_task_that_cannot_be_made_costs_the_gallery_only(make: Make, results: Path, tmp_path: Path) -> None:
    folder = make("sqdf", 0, metrics(2.0))
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("name: toy", "name: gone"))
    page = write_report([results], tmp_path / "out").read_text()
    assert "`gone_gallery` is missing: there is no task named 'gone'" in page
    assert (tmp_path / "out" / "gone_curves.png").exists()


@pytest.mark.usefixtures("unpainted")
def test_few_seeds_are_said_and_no_interval_is_a_dash(make: Make, results: Path) -> None:
    for task, seeds in (("toy", 2), ("other", 1)):
        for seed in range(seeds):
            make("sqdf", seed, metrics(seed + 1.0), task=task)
    path = write_report([results])
    assert [
        len(text.split("Some rows have fewer than 5 seeds")) for text in (path.read_text(), summary_text(path))
    ] == [2, 2]
    assert ["sqdf", "2", "1.25", "-", "-", "3", "-", "-"] in [line.split() for line in summary_text(path).splitlines()]


@pytest.mark.usefixtures("unpainted")
def test_nobody_who_ran_on_all_tasks_costs_the_scores_over_them_only(make: Make, results: Path) -> None:
    make("sqdf", 0, metrics(2.0))
    make("ddpo", 0, metrics(2.0), task="other")
    path = write_report([results])
    assert "score\nnot run on all tasks, and left out here: sqdf, ddpo\n" in summary_text(path)
    assert not (path.parent / "over_tasks.png").exists()


def drawn(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_what_the_figures_show(make: Make, results: Path) -> None:
    for name, budget in (("sqdf", BUDGET), ("sqdf_kl_low", 0.01), ("sqdf_kl_high", 64.0)):
        for seed in range(2):
            make(name, seed, metrics(3 - budget), settings={"kl_budget": budget})
    make("prior_sampling", 0, metrics(1.0))
    runs = find_runs([results]).complete
    whole, kin = frame(runs), families(runs)
    estimates = aggregate.per_task(whole, [metric for metric in names.METRICS if metric in whole])
    with theme():
        lines = curves(estimates, whole, kin)
        points = trade_off(tables.results(estimates, whole, [name for group in kin.values() for name in group]), kin)
    shown = ("reward_mean", "best", "validity", "elbo_z", "pairwise")  # no proxy gap: nobody had one
    assert [axes.get_ylabel() for axes in lines.axes] == [names.AXES[key] for key in shown]
    assert drawn(lines) == ["prior_sampling (the prior)", "sqdf", "data; no gap"]
    curve = next(line for line in lines.axes[0].lines if line.get_color() == style("sqdf").color)
    assert curve.get_xdata().tolist() == [64, 192, 448, 960]
    np.testing.assert_allclose(curve.get_ydata(), metrics(3 - BUDGET)["reward_mean"])
    front = next(line for line in points.axes[0].lines if len(line.get_xdata()) == 3)
    np.testing.assert_allclose(front.get_xdata(), [2.99, 3 - BUDGET, -61.0])  # ascending budgets
    assert drawn(points) == ["prior_sampling (the prior)", "sqdf", "data"]


def test_the_gallery_marks_invalid_designs(make: Make, results: Path) -> None:
    folder = make("sqdf", 0, metrics(2.0))
    x = torch.tensor([[0.25, 1], [0.5, 1], [0.75, -1], [2, 1], [3, 1], [1, 1]]).numpy()
    np.savez(folder / "designs.npz", queried_0=x, recommended_3=x)
    (folder / "provenance.json").write_text((folder / "provenance.json").read_text().replace("designs.npz", "absent"))
    (run,) = find_runs([results]).complete
    figure = gallery(recorded_task(run.config["task"]), [run], {"sqdf": ""})
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes[-6:]]
    assert titles == ["3", "2", "1", "0.75 invalid", "0.5", "0.25"]
    rows = [axes.texts[0].get_text() for axes in figure.axes if axes.texts]
    assert rows == ["data", "prior", "sqdf"]


@pytest.mark.usefixtures("unpainted")
def test_black_boxes_of_one_name_have_sections_and_files_of_their_own(make: Make, results: Path) -> None:
    for seed, function in enumerate(("hartmann", "ackley")):
        make("sqdf", seed, metrics(2.0 + seed), experiment=function, of_task={"function": function})
    report = write_report([results])
    found = dict(cells(report.parent / "results.csv"))
    values = [found[f"toy (function={function})", "sqdf", "best"][0] for function in ("hartmann", "ackley")]
    assert values == [2, 3]
    assert {"toy_function_hartmann_curves.png", "toy_function_ackley_curves.png"} <= set(map(str, listed(report)))


def listed(report: Path) -> list[str]:
    return [path.name for path in report.parent.iterdir()]


@pytest.mark.usefixtures("unpainted")
def test_kl_weights_are_rows_that_say_them_also_where_the_default_was_not_run(make: Make, results: Path) -> None:
    for weight in (0.03, 0.2, 0.7):
        make("sqdf", 0, metrics(2.0), experiment=f"kl_{weight}", settings={"kl_weight": weight})
    report = write_report([results])
    text, latex = "\n" + summary_text(report), (report.parent / "results.tex").read_text()
    for weight in (0.03, 0.2, 0.7):
        label = f"sqdf (kl_weight={weight})"
        assert text.count(f"  {label} ") == text.count("\ntoy: ")
        assert latex.count(label.replace("_", r"\_")) == latex.count(r"\begin{longtable}")


@pytest.mark.usefixtures("unpainted")
def test_what_rows_pool_is_said(make: Make, results: Path) -> None:
    make("sqdf", 0, metrics(2.0))
    make("sqdf", 1, metrics(2.0), machine={"threads": 2, "reproducible": True})
    make("ddpo", 0, metrics(2.0), machine={"device": "cuda"})
    page = write_report([results]).read_text()
    assert "Runs of one task differ in `device` (cpu, cuda) and `threads` (1, 2) and `reproducible` (True, not" in page


def test_pooled_processors_are_told(make: Make, results: Path) -> None:
    folders = [make("sqdf", seed, metrics(1.0)) for seed in range(4)]
    assert processors(find_runs([results]).complete) == ""  # all unknown, as far as anyone can tell alike
    for folder, model, instructions in zip(folders, ("A", "A", "B"), ("AVX2", "AVX512", "AVX2"), strict=False):
        facts = json.loads((folder / "provenance.json").read_text())
        facts |= {"processor": model, "arithmetic": {"torch": instructions}}
        (folder / "provenance.json").write_text(json.dumps(facts))
    listed = "A, AVX2: 1; A, AVX512: 1; B, AVX2: 1; unknown, unknown instructions: 1"
    assert f"are pooled** ({listed})" in processors(find_runs([results]).complete)
    same = [run for run in find_runs([results]).complete if run.seed == 0]
    assert processors(same * 2) == ""


@pytest.mark.usefixtures("unpainted")
def test_no_values_of_real_designs_cost_their_marks_only(make: Make, results: Path) -> None:
    make("sqdf", 0, metrics(2.0), reference=False)
    report = write_report([results])
    assert ("toy", "sqdf", "best") in dict(cells(report.parent / "results.csv"))
    assert "missing" not in report.read_text().replace("toy_hits` is missing", "")


def test_settings_may_be_anything(make: Make, results: Path) -> None:
    """No weight, words for one, and what LaTeX, Markdown and matplotlib read otherwise."""
    odd = {"kl_weight": None, "target": r"$\foo^{~}$", "note": "```\n# a heading"}
    for seed in range(2):
        make("sqdf", seed, metrics(2.0), settings=odd)
        make("ddpo", seed, metrics(1.0), settings={"kl_weight": "low"})
    report = write_report([results])
    page, tex = report.read_text(), (report.parent / "results.tex").read_text()
    assert "````\nbbo-bench run" in page
    assert r"\$\textbackslash{}\textbackslash{}foo\textasciicircum{}\{\textasciitilde{}\}\$" in tex


@pytest.mark.slow
def test_what_a_plugin_sets_for_its_pictures_changes_no_figure(make: Make, results: Path, tmp_path: Path) -> None:
    make("sqdf", 0, metrics(2.0))
    usual = write_report([results], tmp_path / "usual").with_name("toy_curves.png").read_bytes()
    with mpl.rc_context({"axes.facecolor": "black", "font.family": "serif", "lines.linewidth": 6}):
        unusual = write_report([results], tmp_path / "unusual").with_name("toy_curves.png").read_bytes()
    assert unusual == usual
