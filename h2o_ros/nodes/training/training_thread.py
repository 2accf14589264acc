"""The learner's own thread: updates as far as the pace allows, apart from any executor."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from concurrent.futures import Future

from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.errors import H2OError
from h2o_ros.pacing import PaceMaker
from h2o_ros.transitions import Transitions, concatenate

CHUNK = 100  # updates between two looks at the inbox
REMEMBERED = 256  # batches of simulated transitions kept for showing the dynamics gap


class NewestSteps:
    """The newest simulated steps, for showing the dynamics gap; for the training thread."""

    def __init__(self) -> None:
        self._batches: collections.deque[Transitions] = collections.deque(maxlen=REMEMBERED)

    def add(self, rows: Transitions) -> None:
        """Take one batch."""
        self._batches.append(rows)

    def last(self, most: int) -> Transitions | None:
        """Return up to `most` of them, None while there are none."""
        if not self._batches:
            return None
        rows = concatenate(list(self._batches))
        return rows.select(slice(max(0, len(rows) - most), None))


class TrainingThread(threading.Thread):
    """Runs a Trainer to its end; nothing else touches the trainer while it runs.

    total: updates to make in all. newest: takes the simulated steps that arrive. after_chunk:
    called after every chunk of updates, in this thread. when_done: called once at the end, in this
    thread, with True where training was complete. error: what ended it, if so.
    """

    def __init__(
        self,
        trainer: Trainer,
        pace: PaceMaker,
        total: int,
        newest: NewestSteps,
        after_chunk: Callable[[], None],
        when_done: Callable[[bool], None],
    ) -> None:
        super().__init__(name='training', daemon=True)
        self._trainer, self._pace, self._newest = trainer, pace, newest
        self._total = total
        self._after_chunk, self._when_done = after_chunk, when_done
        self._inbox: collections.deque[Transitions] = collections.deque()
        self._from_robot: collections.deque[Transitions] = collections.deque()
        self._stopping = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._requests: collections.deque[tuple[Callable[[], str], Future[str]]] = (
            collections.deque()
        )
        self.error: BaseException | None = None

    def receive(self, rows: Transitions, taken: int) -> None:
        """Take simulated transitions, from any thread; taken: what the simulator counts so far."""
        self._inbox.append(rows)
        self._pace.note_received(len(rows), taken)

    def receive_real(self, rows: Transitions) -> None:
        """Take transitions of a running robot, from any thread."""
        self._from_robot.append(rows)

    def pause(self) -> None:
        """Stop after the current chunk until `proceed`."""
        self._running.clear()

    def proceed(self) -> None:
        """Go on after a pause."""
        self._running.set()

    def run_between_updates(self, request: Callable[[], str]) -> Future[str]:
        """Have something done between two chunks, in the training thread.

        The future holds what the request returns, or the H2OError that it raises.
        """
        future: Future[str] = Future()
        self._requests.append((request, future))
        return future

    def stop(self) -> None:
        """End after the current chunk; `when_done` is still called."""
        self._stopping.set()
        self._running.set()

    def run(self) -> None:
        """Train until complete or stopped."""
        try:
            while not self._stopping.is_set() and not self._complete():
                self._turn()
            self._take_from_robot()  # what came during a last, long chunk: real steps are scarce
            self._when_done(self._complete())
        except BaseException as err:  # handed to the main thread, which ends the node
            self.error = err

    def _complete(self) -> bool:
        return self._trainer.updates >= self._total

    def _turn(self) -> None:
        while self._requests:
            request, future = self._requests.popleft()
            try:
                future.set_result(request())
            except H2OError as err:  # who asked is told; training goes on
                future.set_exception(err)
        if not self._running.wait(timeout=0.1):
            return
        count = self._pace.wait_for_updates(CHUNK, timeout=0.1)
        while self._inbox:
            rows = self._inbox.popleft()
            self._trainer.add_simulated(rows)
            self._newest.add(rows)
        self._take_from_robot()
        if count:
            self._trainer.update(count)
            self._trainer.check()
            self._pace.note_updated(self._trainer.updates)
            self._after_chunk()

    def _take_from_robot(self) -> None:
        while self._from_robot:
            self._trainer.add_real(self._from_robot.popleft())
