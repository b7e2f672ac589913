import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from threadpoolctl import threadpool_info

from bbo_bench import provenance
from bbo_bench.plugins import UsageError
from bbo_bench.reproducible import ARITHMETIC, pin
from bbo_bench.testing import Probe

SCRIPT = Path(__file__).parents[1] / "benchmarks/reproducible.py"
CLEAN = {key: value for key, value in os.environ.items() if key not in ARITHMETIC} | {"OMP_NUM_THREADS": "1"}
RUN = {
    "task": "hartmann_6",
    "optimizer": "rwr",
    "budget.rounds": "[8,8]",
    "budget.evaluation": "8",
    "budget.validation": "0",
    "device": "cpu",
    "optimizer.iterations": "1",
    "optimizer.updates": "2",
    "optimizer.samples": "16",
    "optimizer.batch_size": "16",
    "reproducible": "strict",
}
x86 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="needs x86-64 with AVX2"
)


def python(*arguments, prefix=(), **environment):
    done = subprocess.run(
        [*prefix, sys.executable, *arguments], env=CLEAN | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def digests(mode, prefix=(), **environment):
    return json.loads(python(SCRIPT, "digest", "--mode", mode, prefix=prefix, **environment))


def test_pinning_comes_before_torch(monkeypatch):
    for name in ARITHMETIC:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"before torch is imported.*MKL_CBWR='COMPATIBLE'"):
        pin()
    pin("fast")
    assert not ARITHMETIC.keys() & os.environ.keys()
    with pytest.raises(UsageError, match="did you mean strict"):
        pin("strickt")
    for name, value in ARITHMETIC.items():
        monkeypatch.setenv(name, value)
    pin()


@x86
def test_libraries_follow_the_pin():
    code = (
        "import json, sys; from bbo_bench.reproducible import pin; assert 'numpy' not in sys.modules; pin();"
        "import numpy, torch, scipy.linalg; from bbo_bench.provenance import arithmetic;"
        "from numpy._core._multiarray_umath import __cpu_dispatch__ as known, __cpu_features__ as features;"
        "print(json.dumps([arithmetic(), [name for name in known if features[name]]]))"  # that NumPy has code for
    )
    facts, features = json.loads(python("-c", code, MKL_VERBOSE="0"))
    assert facts["torch"] == "AVX2" and facts["variables"] == ARITHMETIC
    assert all(each.endswith("Haswell") for each in facts["blas"] if each.startswith("openblas"))
    assert not [name for name in features if name.startswith(("AVX512", "X86_V4"))]
    code = (
        "from bbo_bench.reproducible import pin; pin(); import torch;"
        "a = torch.ones(9, 9); torch.backends.mkl.verbose(1).__enter__(); a @ a"
    )
    assert not torch.backends.mkl.is_available() or "CNR:COMPATIBLE" in python("-c", code)


@x86
@pytest.mark.slow
def test_a_strict_run_pins_itself_and_its_workers(tmp_path):
    cli = ["-c", "import sys; from bbo_bench.cli import main; sys.exit(main())", "run"]
    sweep = {"hydra/launcher": "joblib", "hydra.launcher.n_jobs": "2", "seed": "0,1"}
    for name, flags, more in (("alone", [], {}), ("sweep", ["-m"], sweep)):
        settings = RUN | more | {"name": name, "results": str(tmp_path)}
        python(*cli, *flags, *(f"{key}={value}" for key, value in settings.items()))
    folders = [tmp_path / name / "hartmann_6/rwr/seed_0" for name in ("alone", "sweep")]
    for folder in folders:
        assert yaml.safe_load((folder / "config.yaml").read_text())["reproducible"] == "strict"
        assert json.loads((folder / "provenance.json").read_text())["arithmetic"]["variables"] == ARITHMETIC
    for file in ("ledger.csv", "metrics.csv", "designs.npz"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


@x86
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="needs qemu-user")
def test_another_processor_agrees_under_strict_but_for_square_roots():
    emulated, here = digests("strict", [shutil.which("qemu-x86_64"), "-cpu", "Haswell"]), digests("strict")
    assert {name for name in here if here[name] != emulated[name]} <= {"torch sqrt", "training"}


@x86
@pytest.mark.slow
def test_instruction_sets_differ_by_themselves_and_strict_overrules_what_is_set():
    narrow = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OPENBLAS_CORETYPE": "Nehalem"}
    strict, forced, fast = digests("strict"), digests("strict", **narrow), digests("fast", **narrow)
    assert forced == strict
    assert {"torch conv1d", "torch sigmoid", "torch randn", "numpy matmul", "training"} <= {
        name for name in strict if fast[name] != strict[name]
    }


def test_provenance_tells_processor_and_arithmetic():
    facts = provenance.provenance(torch.device("cpu"), Probe())
    assert facts["processor"] and facts["device_name"] == facts["processor"]
    if (cpuinfo := Path("/proc/cpuinfo")).exists() and "model name" in cpuinfo.read_text():
        assert facts["processor"] in cpuinfo.read_text()
    assert facts["arithmetic"]["torch"] == torch.backends.cpu.get_cpu_capability()
    blas = [each for each in threadpool_info() if each["user_api"] == "blas"]
    assert all(any(each["version"] in told for told in facts["arithmetic"]["blas"]) for each in blas if each["version"])
    declared = {"neuralfoil", "aerosandbox", "ViennaRNA", "rdkit", "selfies", "pillow", "gymnasium", "torch", "python"}
    assert declared <= facts["versions"].keys()
    assert not {"mypy", "ruff", "pre-commit"} & facts["versions"].keys()


def test_a_task_adds_the_versions_of_its_programs():
    class WithProgram(Probe):
        def versions(self):
            return {"solver": "6.99"}

    assert provenance.provenance(torch.device("cpu"), WithProgram())["versions"]["solver"] == "6.99"
