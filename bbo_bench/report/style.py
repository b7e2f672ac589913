"""Groups of methods, and one colour, marker and line per optimizer, in every figure and whichever others are in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from zlib import crc32

from bbo_bench.names import AXES, HELD_OUT, PRIOR
from bbo_bench.plugins import choices


class Group(NamedTuple):
    """Methods of one kind, in the order of their looks."""

    first: int
    """Colour of the first method, and of the group."""
    shift: int
    """From colours to markers, so that no two groups share a look."""
    methods: tuple[str, ...]


class Style(NamedTuple):
    """How an optimizer is drawn."""

    color: str
    marker: str
    line: Any = "-"
    hollow: bool = False

    @property
    def face(self) -> str:
        """Colour inside of a marker."""
        return "white" if self.hollow else self.color


COLORS = (  # Okabe and Ito's palette without its yellow, which a white page swallows; then Paul Tol's muted one
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00"),
    *("#332288", "#999933", "#882255", "#44AA99", "#8C510A"),
)
MARKERS = ("o", "^", "v", "s", "P", "X", "<", ">", "p", "d", "h", "D")
DASHES: tuple[Any, ...] = ("-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1)))
"""Lines of optimizers that no group names."""

OTHERS = "others"
GROUPS = {
    "prior": Group(0, 0, (PRIOR,)),
    "baselines": Group(
        *(2, -1),
        (
            *(
                "cma_es",
                "genetic",
                "turbo",
                "qlogei",
                "thompson",
                "turbo_m",
                "sep_cma_es",
                "adalead",
                "pex",
                "graph_ga",
            ),
            *("local_search", "random_search"),
        ),
    ),
    "SQDF": Group(
        0,
        0,
        (
            *("sqdf", "sqdf_no_consistency", "sqdf_ddim2", "sqdf_no_buffer", "sqdf_gamma_1", "sqdf_gamma_0.95"),
            "sqdf_bootstrap",
        ),
    ),
    "policy gradient": Group(
        1,
        2,
        ("ddpo", "ddpo_sf", "dpok", "ppo_kl", "grpo", "b2_diffurl", "sdpo", "score_as_action", "grpo_dance", "vsd"),
    ),
    "direct backpropagation": Group(
        6,
        3,
        (
            *("draft", "draft_lv", "draft_full", "refl", "alignprop", "seiko"),
            *("seiko_ucb", "seiko_bootstrap", "seiko_thompson", "seiko_greedy", "seiko_nonadaptive"),
        ),
    ),
    "preference and regression": Group(
        3,
        4,
        (
            "diffusion_dpo",
            "dmpo",
            "d3po",
            "prdp",
            "awm",
            "rwr",
            "raft",
            "diffusion_sharpening",
            "diffusion_sharpening_dpo",
            "cbas",
            "dibo",
        ),
    ),
    "designs given their score": Group(8, 1, ("ddom", "diffusion_bbo")),
    "alignment of planners": Group(4, 6, ("reinforce", "qv_pg", "value_dpo", "sft", "cascade", "sequential")),
    "inference-time": Group(
        7,
        5,
        (
            *("best_of_n", "guidance", "svdd", "das", "best_of_n_4", "best_of_n_64", "guidance_normalized"),
            *("svdd_argmax", "idql"),
        ),
    ),
    OTHERS: Group(11, 0, ()),
}
"""Groups of methods by their titles."""
GROUP_OF = {method: title for title, group in GROUPS.items() for method in group.methods}
ARMS = ("_oracle", "_raw")
"""Ends of the names of a method's other arms, which have its colour and marker, hollow, on a dashed line."""
SWEPT = re.compile(r"_kl_\d[\d.e-]*")
"""The part of a name that only says another KL weight."""
PRIOR_STYLE = Style("#7F7F7F", "D", (0, (1, 1)))
BEHIND = Style("#DADADA", "o")
"""What is not of the group that a row of panels is about."""


def style(optimizer: str) -> Style:
    """An optimizer's style; that of an unknown one derives from its name alone, so that it never changes."""
    if optimizer == PRIOR:
        return PRIOR_STYLE
    arm = arm_of(optimizer)
    method = SWEPT.sub("", optimizer).removesuffix(arm)
    color, marker, line = _known(method) if method in GROUP_OF else _derived(method)
    return Style(COLORS[color % len(COLORS)], MARKERS[marker % len(MARKERS)], "--" if arm else line, bool(arm))


def group_style(optimizer: str) -> Style:
    """An optimizer's style where its group is what counts."""
    own = style(optimizer)
    if optimizer == PRIOR:
        return own
    return Style(COLORS[GROUPS[group_of(optimizer)].first], "o", hollow=own.hollow)


def arm_of(optimizer: str) -> str:
    """The end of a name that says another arm, or nothing."""
    return next((arm for arm in ARMS if SWEPT.sub("", optimizer).endswith(arm)), "")


def known_base(optimizer: str) -> str | None:
    """The longest known method that a name is, or starts with: of `ddpo_sf_oracle`, it is `ddpo_sf`."""
    bases = (method for method in GROUP_OF if f"{optimizer} ".startswith((f"{method}_", f"{method} ")))
    return max(bases, key=len, default=None)


def group_of(optimizer: str) -> str:
    """Title of the group that an optimizer belongs to."""
    base = known_base(optimizer)
    return GROUP_OF[base] if base else OTHERS


def grouped(optimizers: Iterable[str]) -> dict[str, list[str]]:
    """Optimizers by the title of their group, without empty groups."""
    members: dict[str, list[str]] = {title: [] for title in GROUPS}
    for name in optimizers:
        members[group_of(name)].append(name)
    return {title: names for title, names in members.items() if names}


def rank(optimizer: str) -> tuple[int, str]:
    """The place of an optimizer in tables and legends: by group and method, a method's variants after it."""
    base = known_base(optimizer)
    return (list(GROUP_OF).index(base) if base else len(GROUP_OF)), optimizer


def axis_label(metric: str) -> str:
    """What an axis calls a metric: a task's own as the task's YAML has it."""
    if metric.endswith(HELD_OUT):
        return f"{axis_label(metric.removesuffix(HELD_OUT))}, held-out prompts"
    own = {name: words for choice in choices("task").values() for name, words in choice.labels.items()}
    return AXES.get(metric) or own.get(metric) or metric.replace("_", " ")


def _known(method: str) -> tuple[int, int, Any]:
    group = GROUPS[GROUP_OF[method]]
    place = group.first + group.methods.index(method)
    return place, place + group.shift, "-"


def _derived(method: str) -> tuple[int, int, Any]:
    code = crc32(method.encode())
    return code, code // len(COLORS), DASHES[code // len(COLORS) // len(MARKERS) % len(DASHES)]
