"""Names and folders as people may choose them, and results as they may lie about."""

import shutil

import pytest

RUN = ("run", "task=toy", "optimizer=toy_search", "budget.rounds=[8,8]", "budget.evaluation=8", "budget.validation=0")
NAMES = ["a b", "é", "50%", "a_b^c", "$x$", "{a}", "#1", "a&b", "<b>", "<script>alert(1)", "a'b", "~", "-m", "日本"]
OUTSIDE = ["../x", "a/../../x", "/tmp/bbo_bench_outside", ".."]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_special_to_latex_html_or_a_shell(cli, tmp_path, name):
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    made = cli(*RUN, f"name={quoted}")
    assert made.status == 0, made.err
    folder = tmp_path / "results" / name
    assert folder.is_dir()
    assert cli("report", f"results/{name}", "--out", "out").status == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "<script>alert" not in page
    assert cli("status", f"results/{name}").out.startswith("1 runs: 1 complete")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_elsewhere(cli, tmp_path, name):
    made = cli(*RUN, f"name={name}")
    assert made.status == 1
    assert "name must be a folder below results" in made.err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("lying", ["nothing", "an empty folder", "a file", "somebody's yaml", "a folder for a file"])
def test_a_report_of_no_runs(cli, tmp_path, lying):
    folder = tmp_path / "results/default"
    if lying != "nothing":
        folder.mkdir(parents=True)
    if lying == "a file":
        folder.rmdir()
        folder.write_text("")
    if lying == "somebody's yaml":
        (folder / "config.yaml").write_text("password: secret\n")
    if lying == "a folder for a file":
        (folder / "config.yaml").mkdir()
    for command in ("report", "status", ("compare", "--against", "sqdf")):
        first, *rest = (command,) if isinstance(command, str) else command
        outcome = cli(first, "results/default", *rest)
        assert outcome.status == 1
        absent = lying in ("nothing", "a file") and first != "status"
        assert outcome.err.startswith("error: there is no folder results/default" if absent else "error: no ")


def test_a_report_of_runs_of_several_versions(cli, tmp_path):
    for seed in (0, 1):
        assert cli(*RUN, f"seed={seed}").status == 0
    file = tmp_path / "results/default/toy/toy_search/seed_1/provenance.json"
    file.write_text(file.read_text().replace('"torch": "', '"torch": "1.'))
    outcome = cli("report", "results/default")
    assert outcome.status == 0
    assert "torch" in (tmp_path / "results/default/report/report.md").read_text()
    shutil.rmtree(tmp_path / "results")
