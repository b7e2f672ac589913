"""The page for a browser, in a browser: nothing is loaded, nothing fails, and a click sorts."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from bbo_bench.report import write_report

Make = Callable[..., Path]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--enable-logging=stderr"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
ENDS = {"sqdf": 2.0, "ddpo": 10.0, "cma_es": 9.0}
DRIVER = """<script>
const failures = [];
addEventListener("error", event => failures.push(event.message), true);
addEventListener("securitypolicyviolation", event => failures.push(event.blockedURI));
addEventListener("load", () => {
  const toy = [...document.querySelectorAll("section")].find(each => each.querySelector("h2").textContent === "toy");
  const table = [...toy.querySelectorAll("details")].find(each =>
    each.querySelector("summary").textContent === "Recommended designs: score").querySelector("table");
  const order = () => [...table.tBodies[0].rows].map(row => row.cells[0].dataset.value);
  const click = name => [...table.querySelectorAll("button")].find(each => each.textContent === name).click();
  const orders = [];
  for (const name of ["mean", "mean", "optimizer", "normalized"]) { click(name); orders.push(order()); }
  const images = [...document.images].map(image => image.naturalWidth);
  const loaded = performance.getEntriesByType("resource").map(each => each.name.slice(0, 5));
  const wide = document.documentElement.scrollWidth > innerWidth;
  document.title = JSON.stringify({orders, images, loaded, failures, wide, width: innerWidth});
});
</script></head>"""


@pytest.fixture(scope="module")
def page(writer: Callable[[Path], Make], tmp_path_factory: pytest.TempPathFactory) -> str:
    results = tmp_path_factory.mktemp("results")
    make = writer(results)
    for name, end in ENDS.items():
        line = np.linspace(1, end, 4)
        some = {"normalized": 1 / end} if name != "cma_es" else {}
        make(name, 0, {key: line for key in ("reward_mean", "best", "validity", "pairwise")} | some)
    make("sqdf", 1, {"reward_mean": 2.0, "normalized": 0.5}, task="<b>other</b> & more")
    return write_report([results / "exp"]).with_name("report.html").read_text()


def browse(page: str, folder: Path, *flags: str) -> dict[str, object]:
    """What the driver has found out."""
    file = folder / "page.html"
    file.write_text(page.replace("</head>", DRIVER))
    command = [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000"]
    done = subprocess.run([*command, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=240)
    assert "CONSOLE" not in done.stderr
    title = re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None, done.stderr
    found: dict[str, object] = json.loads(unescape(title[1]))
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_click_sorts_and_nothing_fails_or_is_loaded(page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, "--window-size=1200,800")
    assert found["orders"] == [
        ["ddpo", "cma_es", "sqdf", "data"],  # the largest first; the data have 1
        ["data", "sqdf", "cma_es", "ddpo"],
        ["cma_es", "data", "ddpo", "sqdf"],
        ["sqdf", "ddpo", "cma_es", "data"],  # the last two have none
    ]
    assert found["failures"] == []
    assert set(map(str, found["loaded"])) <= {"data:"}  # type: ignore[call-overload]
    assert found["images"] and all(found["images"])  # type: ignore[arg-type]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_phone_scrolls_figures_and_tables_but_not_the_page(page: str, tmp_path: Path) -> None:
    found = browse(page, tmp_path, "--window-size=500,900")
    assert found["wide"] is False


def test_names_are_escaped_and_the_page_names_no_address(page: str) -> None:
    assert "&lt;b&gt;other&lt;/b&gt; &amp; more" in page and "<b>other" not in page
    assert "<code>data</code> are real designs" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert not re.search(r"https?://|url\(", page)


def test_there_is_a_section_for_each_task_and_all_are_in_the_contents(page: str) -> None:
    sections = re.findall('<section id="(.+?)">', page)
    assert re.findall('href="#(.+?)"', page) == sections
    assert len(sections) == 5  # two tasks, what is over them, commands, machine
