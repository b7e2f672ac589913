"""Pages of the site that are made from what stands elsewhere: a card per task and method, by their READMEs and YAMLs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import mkdocs_gen_files
import yaml

ROOT = Path(__file__).parents[1]
KINDS = ("tasks", "optimizers")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def plugins(kind: str) -> Iterator[Path]:
    """The folders of one kind that have a card."""
    yield from sorted(path.parent for path in (ROOT / kind).glob("*/README.md"))


def page(folder: Path) -> str:
    """A plugin's card: its README, then every choice with its settings."""
    text = (folder / "README.md").read_text()
    choices = [path for path in sorted(folder.glob("*.yaml")) if "_target_" in path.read_text() or "defaults" in path.read_text()]
    parts = [linked(text, folder), "## Choices"]
    for path in choices:
        node = yaml.safe_load(path.read_text())
        if not isinstance(node, dict) or not {"_target_", "defaults"} & node.keys():
            continue
        parts.append(f"### `{path.stem}`\n\n{node.get('summary', '')}\n\n```yaml\n{path.read_text().strip()}\n```")
    return "\n\n".join(parts) + "\n"


def linked(text: str, folder: Path) -> str:
    """A README with its links as they are on the site: to cards, to pictures, and as plain words to what is not here."""

    def replaced(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        if target.startswith(("http", "#", "mailto")):
            return match[0]
        path = (folder / target.partition("#")[0]).resolve()
        home = path.parent if path.name == "README.md" else path
        if home.parent in [ROOT / kind for kind in KINDS] and (home / "README.md").exists():
            return f"[{words}](../{home.parent.name}/{home.name}.md)"
        if picture and path.exists():
            name = f"pictures/{path.relative_to(ROOT).as_posix().replace('/', '_')}"
            with mkdocs_gen_files.open(name, "wb") as file:
                file.write(path.read_bytes())
            return f"![{words}](../{name})"
        return words

    return LINK.sub(replaced, text)


for kind in KINDS:
    rows = []
    for folder in plugins(kind):
        with mkdocs_gen_files.open(f"{kind}/{folder.name}.md", "w") as file:
            file.write(page(folder))
        main = folder / f"{folder.name}.yaml"
        summary = yaml.safe_load(main.read_text()).get("summary", "") if main.exists() else ""
        rows.append(f"| [`{folder.name}`]({folder.name}.md) | {summary} |")
    with mkdocs_gen_files.open(f"{kind}/index.md", "w") as file:
        file.write(f"# {kind.capitalize()}\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n")
