"""The site: every block of code on a page is executed, in its order; every page is reached."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^( *)```(sh|python)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def script(page: Path) -> str:
    """A page's blocks as one shell script, which stops at the first failure."""
    lines = ["set -eo pipefail"]
    for indent, language, body in BLOCK.findall(page.read_text()):
        text = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        lines.append(text if language == "sh" else f"python - <<'END'\n{text}\nEND")
    return "\n".join(lines)


@pytest.mark.parametrize("page", [page for page in PAGES if "```" in page.read_text()], ids=lambda page: page.stem)
def test_what_a_page_shows_works(page, tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    environment.pop("BBO_BENCH_PLUGINS", None)
    done = subprocess.run(["bash", "-c", script(page)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-1000:]


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r": (\S+\.md)$", text, re.MULTILINE))
    written = {page.relative_to(DOCS).as_posix() for page in PAGES}
    assert written == named - {"tasks/index.md", "optimizers/index.md"}
    assert yaml.safe_load(text)["strict"], "a link that leads nowhere is an error"
