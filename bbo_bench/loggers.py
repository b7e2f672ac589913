"""Runs seen while they run: their metrics after every round, in the programs that people look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bbo_bench.plugins import UsageError

Row = Mapping[str, float]


class Logger(ABC):
    """Is told of one run.

    Args:
        folder: `<results>/<name>/<task>/<optimizer>/seed_<n>`.
        config: What the run's folder records.

    Raises:
        ImportError: If its program is not installed.
    """

    module: str
    """What must be installed."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder, self.config = folder, config

    @abstractmethod
    def round(self, row: Row) -> None:
        """Take a round's row of metrics; NaN where one is not available."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left to be written."""


class TensorBoard(Logger):
    """Event files in the run's folder, below `tensorboard`; `tensorboard --logdir results` shows them."""

    module = "tensorboard"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        super().__init__(folder, config)
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def round(self, row: Row) -> None:
        """See `Logger.round`."""
        for key, value in known(row).items():
            self._writer.add_scalar(key.replace(".", "/"), value, int(row["queries"]))
        self._writer.flush()

    def close(self) -> None:
        """See `Logger.close`."""
        self._writer.close()


class MLflow(Logger):
    """A run in MLflow's local store, `mlflow.db` beside the experiments."""

    module = "mlflow"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        super().__init__(folder, config)
        from mlflow import MlflowClient

        self._client = MlflowClient(f"sqlite:///{(folder.parents[3] / 'mlflow.db').absolute()}")
        name = folder.parents[2].name
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(name)
        title = "/".join(folder.parts[-3:])
        self._run = self._client.create_run(experiment, run_name=title).info.run_id
        for key in ("task", "optimizer"):
            self._client.log_param(self._run, key, config[key]["name"])
        self._client.log_param(self._run, "seed", config["seed"])

    def round(self, row: Row) -> None:
        """See `Logger.round`."""
        for key, value in known(row).items():
            self._client.log_metric(self._run, key, value, step=int(row["queries"]))

    def close(self) -> None:
        """See `Logger.close`."""
        self._client.set_terminated(self._run)


class WandB(Logger):
    """A run of Weights & Biases, offline: `wandb sync` uploads it, if that is wanted."""

    module = "wandb"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        super().__init__(folder, config)
        import wandb

        self._run = wandb.init(
            mode="offline", dir=str(folder), project=folder.parents[2].name, name="/".join(folder.parts[-3:]),
            config=dict(config), reinit="create_new", settings=wandb.Settings(silent=True),
        )  # fmt: skip

    def round(self, row: Row) -> None:
        """See `Logger.round`."""
        self._run.log(known(row), step=int(row["queries"]))

    def close(self) -> None:
        """See `Logger.close`."""
        self._run.finish()


LOGGERS: dict[str, type[Logger]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def known(row: Row) -> dict[str, float]:
    """The numbers of a row of metrics that are available."""
    return {key: float(value) for key, value in row.items() if key != "round" and value == value}


def check(names: Sequence[str]) -> None:
    """Raise `UsageError` unless all loggers are known and installed."""
    from importlib.util import find_spec

    for name in names:
        if name not in LOGGERS:
            raise UsageError(f"there is no logger {name!r}; known: {', '.join(LOGGERS)}")
        if find_spec(LOGGERS[name].module) is None:
            raise UsageError(f"the logger {name} needs a package: pip install {LOGGERS[name].module}")


@contextmanager
def told(names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> Iterator[list[Logger]]:
    """Loggers of one run, closed at its end."""
    with ExitStack() as stack:
        made = []
        for name in names:
            made.append(LOGGERS[name](folder, config))
            stack.callback(made[-1].close)
        yield made
