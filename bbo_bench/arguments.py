"""The words after `bbo-bench run`, checked before Hydra reads them: what is wrong, and what to write in its place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from bbo_bench.plan import ConfigError
from bbo_bench.plugins import KINDS, Choice, Kind, suggestion

COUNTS = ("seed", "threads", "budget.evaluation", "budget.validation")
SWEEP = {"-m", "--multirun"}
OPTION = re.compile(r"--?(\w+)(?:=(.*))?")


def check_arguments(
    arguments: Sequence[str], settings: Collection[str], known: Mapping[Kind, Mapping[str, Choice]]
) -> None:
    """Check the words of a command line.

    Args:
        arguments: The words.
        settings: Names of a run's settings.
        known: The plugins of each kind by name.

    Raises:
        ConfigError: At the first word that means nothing; it says what was expected, and what to write.
    """
    sweeps = bool(SWEEP & set(arguments)) or any(word.startswith("+experiment=") for word in arguments)
    if unknown := [word for word in get_args_parser().parse_known_args(arguments)[1] if word.startswith("-")]:
        raise ConfigError(_no_option(unknown[0], settings))
    own = {key: f"{choice.kind}.{key}" for choice in _chosen(arguments, known) for key in choice.settings}
    launched = any(word.startswith(("hydra/launcher=", "+experiment=")) for word in arguments)
    for word in _words(arguments, settings, known):
        if word.startswith("hydra.launcher.") and not launched:
            raise ConfigError(f"{word} is a setting of a launcher: choose one with it, as in -m hydra/launcher=joblib")
        _check_name(word, settings, own)
        override = _parsed(word)
        if not sweeps and override.is_sweep_override() and override.key_or_group != "budget.rounds":
            raise ConfigError(f"{word} is several values, of which a run takes one; add -m to make a run of each")
        for value in _values(override):
            _check_value(word, override.key_or_group, value)


def _chosen(arguments: Sequence[str], known: Mapping[Kind, Mapping[str, Choice]]) -> list[Choice]:
    """The plugins that a command line names."""
    pairs = [word.lstrip("+").partition("=") for word in arguments]
    names = [(kind, name) for kind in KINDS for key, _, text in pairs if key == kind for name in text.split(",")]
    return [known[kind][name] for kind, name in names if name in known[kind]]


def _words(arguments: Sequence[str], settings: Collection[str], known: Mapping[Kind, Collection[str]]) -> Iterator[str]:
    """The settings among the words; options of Hydra's, and what follows them, are left to it."""
    option = False
    for word in arguments:
        if word.startswith("-"):
            option = word not in SWEEP
        elif word.startswith("~"):
            raise ConfigError(f"{word}: a setting cannot be removed; SETTING=VALUE changes it")
        elif "=" in word:
            yield word
        elif not option:
            raise ConfigError(f"expected SETTING=VALUE, got {shlex.quote(word)}; {_meant(word, settings, known)}")


def _no_option(word: str, settings: Collection[str]) -> str:
    match = OPTION.fullmatch(word)
    if match and match[1] in settings:
        return f"settings are written without dashes: {match[1]}={match[2] or 'VALUE'}, got {word}"
    return f"there is no option {word}; -m makes a sweep, and `bbo-bench run --help` shows the rest"


def _meant(word: str, settings: Collection[str], known: Mapping[Kind, Collection[str]]) -> str:
    """What a word without a value may have been meant for."""
    for kind, names in known.items():
        if word in names:
            return f"did you mean {kind}={word}?"
    if word in settings:
        return f"did you mean {word}=VALUE?"
    return "a value with spaces needs quotes: 'SETTING=VALUE VALUE'"


def _check_name(word: str, settings: Collection[str], own: Mapping[str, str]) -> None:
    """Raise `ConfigError` where a setting of the run itself is unknown: Hydra would miss the right one before that."""
    match = re.match(r"(\+{0,2})([\w/]+)([.=])", word)
    if not match or match[2].startswith("hydra") or match[1] + match[2] == "+experiment":
        return
    plus, name, sign = match.groups()
    if name == "experiment":
        raise ConfigError(f"a preset is added to a run's settings, by +{word.lstrip('+')}, got {word}")
    if name not in settings:
        meant = f"did you mean {own[name]}?" if name in own else suggestion(name, settings)
        raise ConfigError(f"there is no setting {name}; {meant}")
    if plus and sign == "=":
        raise ConfigError(f"{name} is set without +: {word.lstrip('+')}, got {word}")


def _parsed(word: str) -> Override:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        key, _, value = word.partition("=")
        remedy = f"""a text with such characters needs quotes within quotes: "{key}='{value}'\""""
        if value[:1] in ("[", "{"):
            remedy = "its brackets must close within one word, which a shell needs quoted: 'budget.rounds=[64,128]'"
        raise ConfigError(f"{word} cannot be read; {remedy}") from error


def _values(override: Override) -> Iterator[Any]:
    """The values that a setting is given, those of a list of them one by one; texts as texts."""
    value = override.value()
    for each in getattr(value, "list", [value]):
        yield each.text if isinstance(each, QuotedString) else each


def _check_value(word: str, key: str, value: Any) -> None:
    """Raise `ConfigError` where the value of a run's own setting is of another type; `${...}` is not known yet."""
    if isinstance(value, str) and "${" in value:
        return
    if key in COUNTS and not re.fullmatch(r"-?\d+", str(value)):
        raise ConfigError(f"{key} must be a whole number, as in {key}=1, got {word}")
    if key in ("name", "results", "device", *KINDS, "budget") and value in (None, ""):
        listed = "; `bbo-bench list` has all" if key in (*KINDS, "budget") else ""
        raise ConfigError(f"{key} needs a value, got {word}{listed}")
    if key == "budget" and not isinstance(value, str):
        raise ConfigError(f"{word} names no budget; queries per round are set by 'budget.rounds={_list(value)}'")
    if key == "budget.rounds" and not (isinstance(value, list) and all(type(each) is int for each in value)):
        numbers = word.partition("=")[2].strip("[] ")
        example = f"[{numbers}]" if re.fullmatch(r"\d+(\s*,\s*\d+)*", numbers) else "[64,128]"
        raise ConfigError(f"budget.rounds must be a list of whole numbers, as in 'budget.rounds={example}', got {word}")
    if key in KINDS and isinstance(value, list | dict):
        raise ConfigError(f"{key} must be a name, or with -m several, as in -m {key}=A,B, got {word}")


def _list(value: Any) -> str:
    return str(value if isinstance(value, list) else [value]).replace(" ", "")
