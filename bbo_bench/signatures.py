"""What classes and functions take. It can be read off their source, as an import of a plugin takes many seconds."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import resolve_name
from inspect import Parameter
from itertools import accumulate
from pathlib import Path
from typing import Any

import bbo_bench.optimizers
import bbo_bench.tasks  # noqa: F401 - the paths of the two lead to local plugins too

WITHOUT_ARGUMENTS = {"object", "ABC", "Protocol", "Generic"}


class _Untold:
    """Stands for a base class of which the source does not tell."""

    def __init__(self, **anything: Any) -> None: ...


def imported(target: str) -> Any:
    """What the dotted name `target` names."""
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def outline(target: str) -> Any | None:
    """A class or a function that takes what `target` takes, made of its source; nothing of it is imported or executed.

    None where the source does not tell, as with a decorator, or a base class that is written as an expression.
    """
    module, _, name = target.rpartition(".")
    try:
        file = _source(module)
        found = _outline(file, module, name) if file else None
    except (OSError, ValueError, SyntaxError, TypeError, ImportError, RecursionError):
        return None
    return None if inspect.isclass(found) and _Untold in _constructors(found) else found


def parameters(target: Any) -> list[Parameter]:
    """What a function or a class takes; what its constructor passes on by `**` is what the next base class takes."""
    if not inspect.isclass(target):
        return list(inspect.signature(target).parameters.values())
    found: dict[str, Parameter] = {}
    for base in _constructors(target):
        found |= {p.name: p for p in _own(base) if p.name not in found and p.kind is not p.VAR_KEYWORD}
    return list(found.values())


def _constructors(target: type) -> list[type]:
    """The classes whose constructors a class's arguments come to, its own first."""
    found = []
    for base in target.__mro__:
        if "__init__" in vars(base):
            found.append(base)
            if not any(p.kind is p.VAR_KEYWORD for p in _own(base)):
                break
    return found


def _own(base: type) -> list[Parameter]:
    return list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it or its parents."""
    path, origin = None, None
    for name in accumulate(module.split("."), "{}.{}".format):
        loaded = sys.modules.get(name)
        spec = loaded.__spec__ if loaded else next(filter(None, (f.find_spec(name, path) for f in sys.meta_path)), None)
        if spec is None:
            return None
        path, origin = getattr(loaded, "__path__", spec.submodule_search_locations), spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None


@cache
def _outline(file: Path, module: str, name: str) -> Any | None:
    """See `outline`; `file` is the module's."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            bases = [_base(base, file, module) for base in node.bases]
            return _class(node, [base for base in bases if base is not None])
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return None if node.decorator_list else _stub(node.args)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    package = module if file.stem == "__init__" else module.rpartition(".")[0]
                    return outline(f"{resolve_name('.' * node.level + (node.module or ''), package)}.{alias.name}")
    return None


def _base(node: ast.expr, file: Path, module: str) -> type | None:
    """The outline of a base class, None where it takes no arguments."""
    node = node.value if isinstance(node, ast.Subscript) else node
    if not isinstance(node, ast.Name):
        return _Untold
    if node.id in WITHOUT_ARGUMENTS:
        return None
    found = _outline(file, module, node.id)
    return found if inspect.isclass(found) else _Untold


def _class(node: ast.ClassDef, bases: list[type]) -> type | None:
    """A class with the constructor of that source, and those bases."""
    content: dict[str, Any] = {}
    if node.decorator_list:
        if bases or not all("dataclass" in ast.unparse(each) for each in node.decorator_list):
            return None
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)]
        names = [ast.arg(ast.unparse(each.target)) for each in fields if "ClassVar" not in ast.unparse(each.annotation)]
        defaults = [each.value for each in fields if "ClassVar" not in ast.unparse(each.annotation)]
        content["__init__"] = _stub(ast.arguments([], [ast.arg("self")], None, names, defaults, None, []))
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            content["__init__"] = _stub(each.args)
    return type(node.name, tuple(bases), content)


def _stub(arguments: ast.arguments) -> Callable[..., None]:
    """A function of these arguments that does nothing; what has a default has None, annotations are text."""
    arguments, annotations = copy.deepcopy(arguments), {}
    for each in ast.walk(arguments):
        if isinstance(each, ast.arg) and each.annotation:
            annotations[each.arg], each.annotation = ast.unparse(each.annotation), None
    arguments.defaults = [ast.Constant(None) for _ in arguments.defaults]
    arguments.kw_defaults = [default and ast.Constant(None) for default in arguments.kw_defaults]
    source = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, ast.Constant(None))))
    stub: Callable[..., None] = eval(compile(source, "<outline>", "eval"))
    stub.__annotations__ = annotations
    return stub
