"""Policies that act in datasets: SAC on the robot itself, as D4RL trains its own.

One robot and one update a control step. Every SEGMENT steps the robot begins anew from a seed of
that moment, both kinds of returns are measured, and steps, policy, returns and checkpoint go to
the disk, in this order: what lies there beyond the checkpoint is made again. So a run that was
interrupted goes on as if it had not been.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.files import tensor_file
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.data.datasets.d4rl import load_d4rl, write_d4rl
from h2o_ros.errors import BagError
from h2o_ros.experiments.core.in_process_training import evaluate_controller, take_step
from h2o_ros.report.output import FolderLock, prepare_output_folder
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions, concatenate

MODEL = 'standard'
SEGMENT = 10_000  # control steps
WARMUP = 10_000  # control steps of uniform random actions before the first update
EPISODES = 10  # in each measurement of the return
CHECKPOINT = 'checkpoint.safetensors'
PROGRESS = 'progress.csv'
WAY_OUT = 'remove its folder to train anew'


@dataclass(frozen=True)
class Progress:
    """What was reached after `steps` control steps; returns are means over EPISODES episodes.

    deterministic: without exploration. sampled: with actions drawn from the policy, as they will
    be in a dataset. seconds: of this segment, with its measurements.
    """

    steps: int
    deterministic: float
    sampled: float
    seconds: float


class BehaviourRun:
    """A training run in a folder, from its beginning or from where it was left.

    The folder is its own until closed or the process ends.
    """

    def __init__(
        self, task: Task, folder: str | Path, seed: int = 0, warmup: int = WARMUP,
        segment: int = SEGMENT, **overrides: Any,
    ) -> None:  # fmt: skip
        """overrides: of the algorithm's settings. ConfigurationError: another trains there."""
        self.task, self.folder, self.seed = task, prepare_output_folder(folder), seed
        self.warmup, self.segment = warmup, segment
        for name in ('segments', 'policies'):
            (self.folder / name).mkdir(exist_ok=True)
        self._lock = FolderLock(self.folder)
        config = load_config('sac', task, **overrides)
        checkpoint = self.folder / CHECKPOINT
        if checkpoint.is_file():
            self.trainer = Trainer.load(checkpoint, config, task, None)
        else:
            self.trainer = Trainer(config, task, None, [seed])
        self.history()  # one that is torn is told of now, not after the next segment

    def close(self) -> None:
        """Let the folder go."""
        self._lock.close()

    @property
    def steps(self) -> int:
        """Control steps so far."""
        return self.trainer.simulated_steps

    def train(self, total: int) -> Iterator[Progress]:
        """Go on to `total` control steps, segment by segment."""
        while self.steps < total:
            began = time.monotonic()
            rows = self._roll_out(self._generator(0))
            write_d4rl(self._segment_file(self.steps), rows)
            deterministic, sampled = self._measure(self._generator(1))
            self.trainer.policy().save(self.policy_file(self.steps))
            reached = Progress(self.steps, deterministic, sampled, time.monotonic() - began)
            self._note(reached)
            self.trainer.save(self.folder / CHECKPOINT)
            yield reached

    def policy_file(self, steps: int) -> Path:
        """Return the file of the policy after so many steps."""
        return self.folder / 'policies' / f'{steps:08d}.safetensors'

    def buffer(self, steps: int) -> Transitions:
        """Return everything that was seen up to so many steps."""
        ends = range(self.segment, steps + 1, self.segment)
        return concatenate([load_d4rl(self._segment_file(end), self.task) for end in ends])

    def history(self) -> list[Progress]:
        """Return what was measured so far, up to the last checkpoint; BagError if it is torn."""
        return self._noted(self.steps)

    def _noted(self, steps: int) -> list[Progress]:
        """Return the lines of the progress file up to so many steps."""
        path = self.folder / PROGRESS
        lines = _read_progress(path) if path.is_file() else {}
        ends = range(self.segment, steps + 1, self.segment)
        missing = [end for end in ends if end not in lines]
        if missing:
            raise BagError(f'{path}: no line for step {missing[0]}; {WAY_OUT}')
        return [lines[end] for end in ends]

    def _generator(self, purpose: int) -> np.random.Generator:
        """Return a generator for one purpose of the segment that begins now."""
        return np.random.default_rng([self.seed, self.steps, purpose])

    def _segment_file(self, steps: int) -> Path:
        return self.folder / 'segments' / f'{steps:08d}.hdf5'

    def _roll_out(self, generator: np.random.Generator) -> Transitions:
        """Take one segment's steps, an update after each; its last row ends an episode."""
        robot = make_simulator(self.task, MODEL, 1, seed=int(generator.integers(2**31)))
        lower, upper = self.task.action_lower, self.task.action_upper
        rows = []
        for _ in range(self.segment):
            if self.steps < self.warmup:
                action = generator.uniform(lower, upper, (1, len(lower)))
            else:
                action = self.trainer.act(robot.observation[None])[0]
            row = take_step(robot, action)
            rows.append(row)
            self.trainer.add_simulated(row)
            if self.steps > self.warmup:
                self.trainer.update(1)
        self.trainer.check()
        return concatenate(rows)

    def _measure(self, generator: np.random.Generator) -> tuple[float, float]:
        """Return the mean returns without and with exploration."""
        policy = self.trainer.policy()

        def sampled(observation: np.ndarray) -> np.ndarray:
            return policy.act(observation, generator.standard_normal((EPISODES, actions)))

        actions, seed = len(self.task.action), int(generator.integers(2**31))
        controllers: tuple[Callable[[np.ndarray], np.ndarray], ...] = (policy.act, sampled)
        returns = [
            evaluate_controller(act, self.task, MODEL, EPISODES, seed).returns.mean()
            for act in controllers
        ]
        return float(returns[0]), float(returns[1])

    def _note(self, reached: Progress) -> None:
        """Append a line to the progress file; what an interrupted segment left there goes."""
        text = io.StringIO(newline='')
        writer = csv.DictWriter(text, [f.name for f in fields(Progress)])
        writer.writeheader()
        for line in (*self._noted(reached.steps - self.segment), reached):
            writer.writerow(asdict(line))
        content = text.getvalue().encode()
        tensor_file.write_atomically(self.folder / PROGRESS, content, BagError)


def _read_progress(path: Path) -> dict[int, Progress]:
    """Return the lines of a progress file by their steps."""
    with path.open(newline='', encoding='utf-8') as file:
        reader, found = csv.DictReader(file), {}
        try:
            for row in reader:
                steps = int(row.pop('steps'))
                found[steps] = Progress(steps, **{k: float(v) for k, v in row.items()})
        except (KeyError, TypeError, ValueError, csv.Error) as err:
            raise BagError(f'{path}: line {reader.line_num} is torn; {WAY_OUT}') from err
    return found
