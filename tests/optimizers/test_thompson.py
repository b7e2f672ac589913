"""Thompson sampling over the whole box."""

from bbo_bench.optimizers import thompson

QUICK = {"fit_steps": 20, "steps": 10, "points": 128}


def test_designs_are_maximizers_of_functions_that_differ(problem, play, build):
    optimizer = build("thompson", problem, **QUICK)
    play(optimizer, rounds=1)
    v = optimizer.propose(40)
    assert v.shape == (40, 10) and len(v.unique(dim=0)) == 40
    low, high = optimizer.bounds(optimizer.v, optimizer.margin)
    assert (v >= low - 1e-9).all() and (v <= high + 1e-9).all()
    start = optimizer.mean(optimizer.v).max()
    assert optimizer.mean(v).mean() > optimizer.mean(optimizer.v).mean() and optimizer.mean(v).max() > start


def test_more_steps_lead_further_up(problem, play, build, monkeypatch):
    """From the same points, on the same functions."""
    heights, functions = [], []
    real = thompson.get_matheron_path_model
    monkeypatch.setattr(
        thompson, "get_matheron_path_model", lambda *a, **k: functions.append(real(*a, **k)) or functions[-1]
    )
    for steps in (1, 30):
        optimizer = build("thompson", problem, **QUICK | {"steps": steps})
        play(optimizer, rounds=1)
        optimizer.rng.manual_seed(3)
        v = optimizer.propose(64)
        heights.append(functions[-1](v[:, None]).detach().mean())
    assert heights[1] > heights[0] + 0.1, "in standard deviations of the scores"


def test_beats_random_search(problem, play, build, random_best):
    assert play(build("thompson", problem, **QUICK)).best > random_best / 2


def test_finds_a_corner_of_the_box(cramped, play, build):
    run = play(build("thompson", cramped, **QUICK))
    assert (run.x == cramped.domain.upper).any(), "designs beyond the border are moved onto it"
    assert run.best > -1.2
