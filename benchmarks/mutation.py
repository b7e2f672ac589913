"""Would the tests notice? A random sample of mutants of every module, by cosmic-ray, each put to its module's tests.

    pip install cosmic-ray
    python benchmarks/mutation.py --sample 10
    python benchmarks/mutation.py optimizers/svdd bbo_bench/alignment/dual.py
    python benchmarks/mutation.py --again

Works on a copy in `build/mutation`, goes on where it was stopped, and writes `results/mutation/mutants.csv` as it goes:
module, line, operator, outcome, and the difference. Mutants of annotations are left out: they are not evaluated.
`--again` puts survivors to the tests as they are now; what no longer stands in the code is `gone`.
"""

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutation"
FILE = ROOT / "results" / "mutation" / "mutants.csv"
COSMIC_RAY = str(Path(sys.executable).with_name("cosmic-ray"))
TIMEOUT = 900.0
"""Seconds; a mutant that takes longer has been noticed."""
USERS = {
    "finetune": "ddpo draft dpok kl_budget settings",
    "on_policy": "ddpo grpo settings",
    "policy_gradient": "ddpo dpok grpo ppo_kl reinforce settings",
    "backprop": "draft seiko alignprop kl_budget",
    "matching": "rwr raft sft",
    "preference": "diffusion_dpo d3po prdp value_dpo",
    "steering": "svdd das guidance best_of_n kl_budget_steering",
    "value": "dpok score_as_action",
    "credit": "reinforce qv_pg",
    "groups": "grpo b2_diffurl",
    "dual": "kl_budget",
    "schedules": "transition samplers",
    "replay": "sqdf",
    "estimates": "sqdf closed_form",
    "generative": "scores sqdf seiko settings",
    "inpainting": "idql cascade",
    "policy": "sqdf draft qv_pg",
    "critic": "idql qv_pg",
    "sqdf": "closed_form kl_budget",
    "ddpo": "closed_form prompts",
    "dmpo": "diffusion_dpo",
    **dict.fromkeys(("best_of_n", "das", "guidance", "svdd"), "kl_budget_steering"),
    "cma_es": "settings",
    "genetic": "settings sequences",
    "turbo": "settings sequences",
    "qlogei": "settings sequences",
    "turbo_m": "settings sequences",
    "thompson": "settings",
    "gp": "turbo qlogei",
    **dict.fromkeys(("guided", "adalead", "pex", "local_search", "random_search"), "guided"),
    "transition": "samplers given",
    "codecs": "given prompts",
}
"""By a module's name, tests that are put to it beside its own."""
FOLDERS = ("optimizers", "diffusion", "alignment", "surrogate")


def main() -> None:
    """Make, try and list mutants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="files or folders (default: methods, diffusion, surrogates)")
    parser.add_argument("--sample", type=int, default=10, metavar="N", help="mutants of a module (default: 10)")
    parser.add_argument("--again", action="store_true", help="put listed survivors to the present tests")
    arguments = parser.parse_args()
    if arguments.again:
        again()
        return
    for module in chosen(arguments.modules):
        session = COPY.parent / "mutants" / f"{str(module).replace('/', '.')}.sqlite"
        if not session.exists():
            copy()
            session.parent.mkdir(parents=True, exist_ok=True)
            begin(module, session, arguments.sample)
        run(COSMIC_RAY, "exec", str(session.with_suffix(".toml")), str(session))
        rows = outcomes(module, session)
        written([*(row for row in listed() if row["module"] != str(module)), *rows])
        killed = sum(row["outcome"] == "killed" for row in rows)
        print(f"{module}: {killed} of {len(rows)} killed", flush=True)


def again() -> None:
    """Put survivors to the tests once more, one after the other."""
    copy()
    for row in [row for row in listed() if row["outcome"] == "survived"]:
        module = Path(row["module"])
        file = COPY / installed(module)
        text = file.read_text()
        mutant = mutated(text, row["difference"], int(row["line"]))
        row["outcome"] = "gone" if mutant is None else tried(module, file, mutant)
        file.write_text(text)
        print(f"{module}:{row['line']}: {row['outcome']}", flush=True)
        same = ("module", "line", "operator", "difference")
        rows = [row if all(row[key] == each[key] for key in same) else each for each in listed()]
        written(rows)


def tried(module: Path, file: Path, mutant: str) -> str:
    """What becomes of a mutant that is put to its module's tests."""
    file.write_text(mutant)
    environment = os.environ | {"PYTHONPATH": str(COPY), "OMP_NUM_THREADS": "1"}
    try:
        run = subprocess.run(command(module), shell=True, cwd=COPY, env=environment, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "killed"
    return "killed" if run.returncode else "survived"


def mutated(text: str, difference: str, line: int) -> str | None:
    """A text with a difference, where what is taken away stands next to a line; None if it stands nowhere."""
    lines, change = text.splitlines(), difference.splitlines()
    old, new = ([each[1:] for each in change if each[:1] == sign] for sign in "-+")
    places = [i for i in range(len(lines)) if lines[i : i + len(old)] == old]
    if not places:
        return None
    i = min(places, key=lambda place: abs(place + 1 - line))
    return "\n".join([*lines[:i], *new, *lines[i + len(old) :], ""])


def chosen(names: list[str]) -> Iterator[Path]:
    """The modules, relative to the root."""
    for name in names or ["bbo_bench/diffusion", "bbo_bench/alignment", "bbo_bench/surrogate", "optimizers"]:
        path = ROOT / name
        found = [path] if path.is_file() else sorted(path.rglob("*.py"))
        yield from (
            file.relative_to(ROOT) for file in found if "class " in (text := file.read_text()) or "def " in text
        )


def copy() -> None:
    """The committed tree, laid out as it is installed."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "x"], cwd=COPY, check=True, input=archive)
    for kind in ("tasks", "optimizers"):
        (COPY / kind).rename(COPY / "bbo_bench" / kind)


def tests(module: Path) -> list[str]:
    """Files of tests that are put to a module's mutants, its own first."""
    name = module.parent.name if module.name == "__init__.py" else module.stem
    own = [f"tests/{each}/test_{name}.py" for each in FOLDERS]
    users = [f"tests/{each}/test_{user}.py" for user in USERS.get(name, "").split() for each in FOLDERS]
    room = module.parent.name
    folder = f"tests/{room}" if room in ("diffusion", "alignment", "surrogate") else None
    found = [file for file in dict.fromkeys([*own, *users]) if (ROOT / file).exists()]
    return found or ([folder] if folder else ["tests/conformance"])


def installed(module: Path) -> Path:
    """Where a module lies in the copy."""
    return Path("bbo_bench", module) if module.parts[0] in ("optimizers", "tasks") else module


def command(module: Path) -> str:
    """What runs its tests."""
    return f"{sys.executable} -m pytest -x -q -p no:cacheprovider -m 'not slow' {' '.join(tests(module))}"


def begin(module: Path, session: Path, sample: int) -> None:
    """A session with so many mutants of a module."""
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    session.with_suffix(".toml").write_text(
        f'[cosmic-ray]\nmodule-path = "{installed(module)}"\ntimeout = {TIMEOUT}\nexcluded-modules = []\n'
        f'test-command = "{command(module)}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    run(COSMIC_RAY, "init", str(session.with_suffix(".toml")), str(session))
    with use_db(session) as db:
        items = sorted(db.work_items, key=lambda item: item.job_id)
        items.sort(key=lambda item: (item.mutations[0].start_pos, item.mutations[0].operator_name))
        real = [item for item in items if not annotation(item.mutations[0].operator_name)]
        kept = {item.job_id for item in random.Random(str(module)).sample(real, min(sample, len(real)))}
        for item in items:
            if item.job_id not in kept:
                db.set_result(item.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def annotation(operator: str) -> bool:
    """Whether a mutant is of an annotation, or of a name that only one says."""
    return "BitOr" in operator


def outcomes(module: Path, session: Path) -> list[dict[str, str]]:
    """A row per mutant that was tried."""
    from cosmic_ray.work_db import use_db

    rows = []
    with use_db(session) as db:
        for item, result in db.completed_work_items:
            if result.test_outcome is None:
                continue
            lines = [
                each for each in (result.diff or "").splitlines() if each[:1] in "+-" and each[:3] not in ("+++", "---")
            ]
            [mutation] = item.mutations
            rows.append(
                {
                    "module": str(module),
                    "line": str(mutation.start_pos[0]),
                    "operator": mutation.operator_name.removeprefix("core/"),
                    "outcome": result.test_outcome.value,
                    "difference": "\n".join(lines),
                }
            )
    return sorted(rows, key=lambda row: (int(row["line"]), row["operator"]))


def listed() -> list[dict[str, str]]:
    """All rows of `mutants.csv`."""
    if not FILE.exists():
        return []
    with FILE.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def written(rows: list[dict[str, str]]) -> None:
    """Write all rows of `mutants.csv`."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, ["module", "line", "operator", "outcome", "difference"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["module"], int(row["line"]))))


def run(*command: str) -> None:
    """A command in the copy."""
    environment = {"PYTHONPATH": str(COPY), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=COPY, check=True, env=os.environ | environment)


if __name__ == "__main__":
    main()
