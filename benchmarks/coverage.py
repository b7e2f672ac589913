"""How often 95% intervals hold the truth: the numbers behind the choice of the report's.

    python benchmarks/coverage.py

The truth is the mean of the middle half of a population, which interquartile means estimate. `failing` seeds end, one
in five, three standard deviations below the others; `failing_10` ten. Below five seeds a report has no interval. The
second table is of means over tasks, the third of the paired comparisons' false findings at 5%, where both methods
have one law, or equal means though only one of them fails.
"""

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import bootstrap, t, trim_mean, ttest_1samp
from scipy.stats.mstats import trimmed_mean_ci

from bbo_bench.report.aggregate import ENOUGH, estimate, interquartile_mean, standard_error, student
from bbo_bench.report.hierarchy import over

Floats = NDArray[np.float64]
Law = Callable[[Generator, tuple[int, ...]], Floats]
Interval = Callable[[Floats], tuple[Floats, Floats]]
SAMPLES = 20_000
POPULATION = 2_000_000


def failing(depth: float) -> Law:
    """One value in five lies `depth` standard deviations below the others' mean, with .3 of their spread."""

    def draw(rng: Generator, shape: tuple[int, ...]) -> Floats:
        good, bad = rng.normal(size=shape), rng.normal(-depth, 0.3, size=shape)
        return np.where(rng.random(shape) < 0.2, bad, good)

    return draw


def all_or_nothing(share: float) -> Law:
    """Zero in a `share` of values and one in the others, with noise of .02: who finds it or not."""

    def draw(rng: Generator, shape: tuple[int, ...]) -> Floats:
        return (rng.random(shape) >= share) + rng.normal(0, 0.02, shape)

    return draw


LAWS: dict[str, Law] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "t3": lambda rng, shape: rng.standard_t(3, size=shape),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape),
    "failing": failing(3),
    "failing_10": failing(10),
}

ALL_OR_NOTHING = {f"{share:g} fail": all_or_nothing(share) for share in (0.3, 0.4, 0.5)}
"""Laws for which no interval from five seeds can hold what it says: most samples hide that there are two outcomes."""


@cache
def truth(law: Law) -> float:
    """Mean of the middle half of a population."""
    return float(interquartile_mean(law(np.random.default_rng(7), (POPULATION,))[:, None])[0])


@cache
def expectation(law: Law, seeds: int = 5) -> float:
    """Mean of the interquartile means of samples."""
    return float(interquartile_mean(law(np.random.default_rng(7), (seeds, POPULATION // seeds))).mean())


def coverage(interval: Interval, law: Law, seeds: int, samples: int = SAMPLES) -> float:
    """Share of `samples` whose interval holds the truth."""
    low, high = interval(law(np.random.default_rng(0), (seeds, samples)))
    return float(((low <= truth(law)) & (truth(law) <= high)).mean())


def bootstrapped(method: str) -> Interval:
    """SciPy's bootstrap of the interquartile mean, 999 resamples."""

    def interval(values: Floats) -> tuple[Floats, Floats]:
        settings = {"n_resamples": 999, "batch": 100, "rng": np.random.default_rng(1)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # BCa: samples without spread
            found = bootstrap((values,), lambda x, axis: trim_mean(x, 0.25, axis), method=method, **settings)
        return found.confidence_interval

    return interval


def nominal(values: Floats) -> tuple[Floats, Floats]:
    """Tukey and McLaughlin's interval as SciPy has it: the standard error divides by half of the seeds."""
    low, high = trimmed_mean_ci(values, limits=(0.25, 0.25), axis=0)
    return np.asarray(low), np.asarray(high)


def report(values: Floats) -> tuple[Floats, Floats]:
    """What a report shows."""
    _, low, high = estimate(values)
    return low, high


def seeds_only(values: Floats) -> tuple[Floats, Floats]:
    """A report's interval of these tasks' mean, from `tasks x seeds x samples`."""
    _, low, high = estimate(*values)
    return low, high


def tasks_too(values: Floats) -> tuple[Floats, Floats]:
    """A report's interval of all tasks' mean, from `tasks x seeds x samples`."""
    means = np.array([interquartile_mean(each) for each in values])
    return tuple(np.array([student(column)[1:3] for column in means.T]).T)


def resampled(values: Floats) -> tuple[Floats, Floats]:
    """The same by a bootstrap over tasks and seeds."""
    found = [over(list(each[:, None]), _iqm) for each in np.moveaxis(values, -1, 0)]
    return tuple(np.array([[float(low[0]), float(high[0])] for _, low, high in found]).T)


def _iqm(values: Floats) -> Floats:
    return np.asarray(trim_mean(values, 0.25, axis=-1))


INTERVALS: dict[str, tuple[Interval, int]] = {
    "percentile": (bootstrapped("percentile"), 4000),
    "BCa": (bootstrapped("BCa"), 4000),
    "trimmed t, SciPy's": (nominal, 4000),
    "trimmed t, the report's": (report, SAMPLES),
}
OVER_TASKS: dict[str, tuple[Interval, int]] = {
    "these tasks": (seeds_only, 4000),
    "tasks like these": (tasks_too, 1000),
    "bootstrap over tasks and seeds": (resampled, 200),
}


def over_tasks(interval: Interval, law: Law, tasks: int, samples: int) -> float:
    """Coverage for the mean over `tasks`, or over all tasks, whose own means are normal with the seeds' spread.

    For these tasks a truth is the mean of a population's middle half. For all tasks it is what the interquartile mean
    of five seeds is expected to be, around which the tasks' values scatter; of a skewed law that is not quite the same,
    as one seed of five is cut on each side, not 1.25.
    """
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(tasks, 1, samples))
    low, high = interval(effects + law(rng, (tasks, 5, samples)))
    mean = truth(law) + effects.mean((0, 1)) if interval is seeds_only else expectation(law)
    return float(((low <= mean) & (mean <= high)).mean())


def students(x: Floats) -> Floats:
    """P of the paired t-test, which `compare` has, for differences of `seeds x samples`."""
    return np.asarray(ttest_1samp(x, 0).pvalue)


def yuens(x: Floats) -> Floats:
    """P of the paired test of interquartile means."""
    error, freedom = standard_error(x)
    return np.asarray(2 * t.sf(np.abs(interquartile_mean(x)) / error, freedom))


def flipped(x: Floats) -> Floats:
    """P of the exact test that flips the signs of differences."""
    signs = 1 - 2 * (np.arange(2 ** len(x))[:, None] >> np.arange(len(x)) & 1)
    sums = np.abs(signs @ x)
    return np.asarray((sums >= sums[0] * (1 - 1e-12)).mean(0))


TESTS = {"paired t": students, "Yuen's": yuens, "sign flips": flipped}


def findings(test: Callable[[Floats], Floats], law: Law, shift: float, level: float, seeds: int = 5) -> float:
    """Share of samples where two methods of one law, one of them better by `shift`, are told apart at `level`."""
    rng = np.random.default_rng(0)
    x = law(rng, (seeds, SAMPLES)) - law(rng, (seeds, SAMPLES)) + shift
    return float((test(x) < level).mean())


def unfair(depth: float, seeds: int = 5) -> float:
    """Share of samples where a method that fails in one seed of five is called better than one of the same mean."""
    rng = np.random.default_rng(0)
    x = failing(depth)(rng, (seeds, SAMPLES)) - rng.normal(-0.2 * depth, 1, size=(seeds, SAMPLES))
    return float(((students(x) < 0.05) & (x.mean(0) > 0)).mean())


def table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """Print a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    words = [" | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in line) for line in lines]
    print(f"\n{title}\n\n" + "\n".join(f"| {line} |" for line in words), flush=True)


def main() -> None:
    """Print the tables."""
    rows: list[list[object]] = []
    for seeds in (3, 5, 10):
        for name, law in LAWS.items():
            few = seeds < ENOUGH
            shares = [
                "none" if few and interval is report else coverage(interval, law, seeds, samples)
                for interval, samples in INTERVALS.values()
            ]
            rows.append([seeds, name, *shares])
    table("Intervals of interquartile means", ["seeds", "law", *INTERVALS], rows)
    rows = [[name, *(coverage(report, law, seeds) for seeds in (5, 10, 20))] for name, law in ALL_OR_NOTHING.items()]
    table("The report's, where a run succeeds or fails", ["law", "5 seeds", "10 seeds", "20 seeds"], rows)
    rows = []
    for tasks in (5, 8, 16):
        for name, law in LAWS.items():
            rows.append(
                [tasks, name, *(over_tasks(each, law, tasks, samples) for each, samples in OVER_TASKS.values())]
            )
    table("Means over tasks, five seeds each", ["tasks", "law", *OVER_TASKS], rows)
    rows = []
    for name, law in LAWS.items():
        shares = [findings(test, law, *how) for how in ((0, 0.05), (4, 0.05), (4, 0.002)) for test in TESTS.values()]
        rows.append([name, *shares])
    headings = [f"{test}, {what}" for what in ("null at .05", "shift 4 at .05", "shift 4 at .002") for test in TESTS]
    table("Told apart at five seeds", ["law", *headings], rows)
    rows = [[depth, unfair(depth), unfair(depth, 10)] for depth in (1, 3, 10)]
    table("Equal means, but one method fails: called better at .05", ["depth", "5 seeds", "10 seeds"], rows)


if __name__ == "__main__":
    main()
