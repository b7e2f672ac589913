"""Pages of the site that stand elsewhere: tasks and methods by their READMEs and YAMLs, findings, how to contribute.

Links are written for the repository, in which they work too; here they become those of the site.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import mkdocs_gen_files
import yaml

ROOT = Path(__file__).parents[1]
KINDS = ("tasks", "optimizers")
PAGES = {
    **{f"{kind}/README.md": f"{kind}/index.md" for kind in KINDS},
    "results/README.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
"""Where pages of the repository are on the site."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
SHOWN = (".png", ".html")
"""What is copied to the site where a page leads to it."""


def plugins(kind: str) -> Iterator[Path]:
    """The folders of one kind that have a card."""
    yield from sorted(path.parent for path in (ROOT / kind).glob("*/README.md"))


def choices(folder: Path) -> str:
    """Every choice of a plugin's folder with its settings."""
    parts = ["## Choices"]
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text()
        node = yaml.safe_load(text)
        if isinstance(node, dict) and {"_target_", "defaults"} & node.keys():
            parts.append(f"### `{path.stem}`\n\n{node.get('summary', '')}\n\n```yaml\n{text.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def on_site(path: Path) -> str | None:
    """Where a file or folder of the repository is on the site; None where it is not."""
    if path.is_dir() and (path / "README.md").exists():
        path = path / "README.md"
    name = path.relative_to(ROOT).as_posix()
    if name in PAGES:
        return PAGES[name]
    if name.startswith("docs/") and path.exists():
        return name.removeprefix("docs/")
    if path.name == "README.md" and path.parent.parent.name in KINDS:
        return f"{path.parent.parent.name}/{path.parent.name}.md"
    if path.suffix in SHOWN and path.exists():
        with mkdocs_gen_files.open(f"files/{name}", "wb") as file:
            file.write(path.read_bytes())
        return f"files/{name}"
    return None


def write(source: Path, extra: str = "") -> None:
    """Write a page of the repository to the site, its links as they are there, as plain words where they lead out."""
    page = on_site(source)
    assert page is not None

    def replaced(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        name, mark, anchor = target.partition("#")
        if target.startswith(("http", "#", "mailto")):
            return match[0]
        there = on_site((source.parent / name).resolve())
        return (
            words if there is None else f"{picture}[{words}]({os.path.relpath(there, Path(page).parent)}{mark}{anchor})"
        )

    with mkdocs_gen_files.open(page, "w") as file:
        file.write(LINK.sub(replaced, source.read_text()) + extra)


for path in sorted((ROOT / "docs").rglob("*.md")):
    write(path)
for name in PAGES:
    write(ROOT / name)
for kind in KINDS:
    for folder in plugins(kind):
        write(folder / "README.md", "\n\n" + choices(folder))
