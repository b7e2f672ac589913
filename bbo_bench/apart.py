"""`isolation=process`: an optimizer in a process of its own, where nothing of the task is but what it is told."""

from __future__ import annotations

import pickle
import signal
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from hydra.utils import instantiate
from torch import Generator, Tensor

from bbo_bench.core import Optimizer, Problem, State, Transitions
from bbo_bench.device import limited_threads
from bbo_bench.fingerprint import fingerprint
from bbo_bench.loop import Build, OptimizerError, check_whole
from bbo_bench.seeding import single_precision
from bbo_bench.wire import pack, unpack


@contextmanager
def apart(settings: Mapping[str, Any], threads: int) -> Iterator[Build]:
    """What builds an optimizer in another process, which ends with the context.

    Args:
        settings: Of the optimizer, with its `_target_`.
        threads: Of that process.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, dict(settings), threads))
    process.start()
    theirs.close()
    try:
        kind = type(str(settings["_target_"]).rpartition(".")[2], (_Apart,), {})  # errors name the optimizer
        yield lambda problem, rng: kind(problem, rng, ours)
    finally:
        ours.close()
        process.kill()
        process.join()


class _Apart(Optimizer):
    """Hands every call on. What comes back is read as tensors, numbers and words; nothing in it is executed."""

    needs_scores = False  # the one at the other end says it

    def __init__(self, problem: Problem, rng: Generator, connection: Connection) -> None:
        super().__init__(problem, rng)
        self._connection, self._name = connection, type(self).__name__
        self._call("__init__", str(rng.device))

    def ask(self, n: int) -> Tensor:
        x: Tensor = self._moved(self._call("ask", n))
        return x

    def tell(self, x: Tensor, y: Tensor) -> None:
        self._call("tell", x, y)

    def observe(self, transitions: Transitions) -> None:
        self._call("observe", *transitions)

    @contextmanager
    def drawing(self, contexts: Tensor) -> Iterator[None]:
        with super().drawing(contexts):
            self._call("draw", contexts)
            try:
                yield
            finally:
                self._call("draw")

    def recommend(self, n: int) -> Tensor:
        x: Tensor = self._moved(self._call("recommend", n))
        return x

    def predict(self, x: Tensor) -> Tensor | None:
        y: Tensor | None = self._moved(self._call("predict", x))
        return y

    def diagnostics(self) -> dict[str, float]:
        found: dict[str, float] = self._call("diagnostics")
        return found

    def state_dict(self) -> State:
        state: State = self._call("state_dict")
        return state

    def load_state_dict(self, state: State) -> None:
        self._call("load_state_dict", state)

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            self._connection.send_bytes(pack((method, self.rng.initial_seed(), arguments)))
            if method == "__init__":
                # as plain bytes: torch would share its memory, by a socket at which this process reads pickles
                self._connection.send_bytes(pickle.dumps(self.problem))
            answer = self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise OptimizerError(f"{self._name}.{method}: its process ended, by an exit or a crash") from error
        try:
            done, value = unpack(answer)
        except Exception as error:
            raise OptimizerError(
                f"{self._name}.{method} gave what does not pass from process to process: tensors, numbers and words do"
            ) from error
        if not done:
            raised, trace = value
            failure = OptimizerError(f"{self._name}.{method} raised {raised}")
            failure.add_note(trace)
            raise failure
        return value

    def _moved(self, x: Any) -> Any:
        return x.to(self.rng.device) if isinstance(x, Tensor) else x


def _serve(connection: Connection, settings: Mapping[str, Any], threads: int) -> None:
    """Answer calls until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other end's, which then closes
    with limited_threads(threads), single_precision():
        served = _Served(settings)
        while True:
            try:
                data = connection.recv_bytes()
            except EOFError:
                return
            try:
                method, seed, arguments = unpack(data)
                if method == "__init__":
                    arguments = (pickle.loads(connection.recv_bytes()), *arguments)
                answer = pack((True, served.call(method, seed, arguments)))
            except Exception as error:
                trace = "".join(traceback.format_exception(error))
                answer = pack((False, (f"{type(error).__name__}: {error}", trace)))
            connection.send_bytes(answer)


class _Served:
    """The optimizer, with the generator that the other end seeds."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._build: Build = instantiate(settings, _convert_="all", _partial_=True)
        self._drawing = ExitStack()

    def call(self, method: str, seed: int, arguments: tuple[Any, ...]) -> Any:
        if method == "__init__":
            problem, device = arguments
            self._rng = Generator(device).manual_seed(seed)
            self._problem, self._whole = problem, fingerprint(problem)
            self._optimizer = self._build(problem, self._rng)
            return None
        if seed != self._rng.initial_seed():
            self._rng.manual_seed(seed)
        if method != "load_state_dict":  # which is loaded from the host
            arguments = tuple(each.to(self._rng.device) if isinstance(each, Tensor) else each for each in arguments)
        if method == "observe":
            arguments = (Transitions(*arguments),)
        if method == "draw":  # until it is called without anything
            self._drawing.close()
            for contexts in arguments:
                self._drawing.enter_context(self._optimizer.drawing(contexts))
            return None
        value = getattr(self._optimizer, method)(*arguments)
        if method == "diagnostics":  # in every round
            check_whole(type(self._optimizer).__name__, self._problem, self._whole)
            return {key: x.item() if isinstance(x, np.generic) else x for key, x in value.items()}
        return value
