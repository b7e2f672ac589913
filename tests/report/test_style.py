"""Styles stay, and tell optimizers apart; names say which group of methods they belong to."""

from itertools import combinations

import pytest

from bbo_bench.report.style import GROUP_OF, GROUPS, axis_label, group_of, group_style, grouped, rank, style


def test_known_methods_look_different() -> None:
    looks = [style(method)[:2] for method in GROUP_OF]
    assert len(set(looks)) == len(looks)
    groups = [group.methods for group in GROUPS.values()]
    assert all(
        style(a).color != style(b).color and style(a).marker != style(b).marker
        for methods in groups
        for a, b in combinations(methods, 2)
    )
    assert len({group_style(methods[0]).color for methods in groups if methods}) == len(groups) - 1


def test_an_arm_looks_like_its_method_but_hollow_and_dashed() -> None:
    assert (style("ddpo").line, style("ddpo").face) == ("-", style("ddpo").color)
    assert style("ddpo_oracle") == style("ddpo")._replace(line="--", hollow=True)
    assert style("ddpo_oracle").face == "white"
    assert style("turbo_raw") == style("turbo")._replace(line="--", hollow=True)


def test_another_kl_weight_changes_no_look() -> None:
    assert style("ddpo_kl_0.1") == style("ddpo")
    assert style("ddpo_oracle_kl_1e-3") == style("ddpo_oracle")
    assert style("ppo_kl") != style("ppo")  # there it is the name


def test_a_plugins_style_is_its_own_and_fixed() -> None:
    assert style("my_method") == ("#CC79A7", "v", "-.", False)
    assert style("my_method") != style("my_other_method")
    assert group_style("my_method") == ("#8C510A", "o", "-", False)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("prior_sampling", "prior"),
        ("qlogei_raw", "baselines"),
        ("sqdf (weak)", "SQDF"),
        ("ddpo_sf_oracle_kl_0.1", "policy gradient"),
        ("draft_full_kl", "direct backpropagation"),
        ("dmpo_oracle", "preference and regression"),
        ("das", "inference-time"),
        ("dashing", "others"),
    ],
)
def test_the_longest_known_name_decides_the_group(name: str, group: str) -> None:
    assert group_of(name) == group


def test_groups_and_methods_are_in_order() -> None:
    names = ["zeta", "ddpo_sf", "turbo", "ddpo_oracle", "sqdf_new", "ddpo", "prior_sampling"]
    ranked = ["prior_sampling", "turbo", "sqdf_new", "ddpo", "ddpo_oracle", "ddpo_sf", "zeta"]
    assert sorted(names, key=rank) == ranked
    assert list(grouped(names)) == ["prior", "baselines", "SQDF", "policy gradient", "others"]


def test_metrics_of_held_out_prompts_say_so() -> None:
    assert axis_label("validity_held_out") == "validity, held-out prompts"
