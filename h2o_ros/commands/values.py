"""`h2o values`: what a learner believes of its policy beside what the policy earns.

    h2o values runs/train_sim/checkpoint.safetensors
    h2o values CHECKPOINT --task half_cheetah --dataset halfcheetah-medium-replay-v2

The exploring policy runs in the simulator and on the unchanged model, in whole episodes and from
recorded states. Q(s, a) of its steps stands beside their discounted returns, and for DARC beside
those with its correction, which are what its critics are to tell. The simulator is the one of its
training: a checkpoint keeps its gap, and another is refused; older ones do not tell. A grid's
unfinished runs have checkpoints in progress/ of its folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch

from h2o_ros.algorithms.methods import darc
from h2o_ros.algorithms.replay_buffer import make_rows
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core.in_process_training import explore
from h2o_ros.experiments.sweep.run import REALITY
from h2o_ros.experiments.sweep.run_config import DEMONSTRATION, Datasets
from h2o_ros.sim.gaps import HELP, NONE, find_gap, gap_of
from h2o_ros.sim.simulator import SIMULATOR, make_simulator
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

ROBOTS = 20
STEPS = 1000  # of each robot, or twice as many as a return needs
RECORDED_ROWS = 200
NEGLECTED = 0.05  # share of the discounted weight that a return may lack at its end


@dataclass(frozen=True)
class Comparison:
    """Means over steps of one place, in units of the learning reward.

    value: Q(s, a). earned: discounted return. corrected: that with DARC's correction, NaN where
    there is none. steps: how many.
    """

    place: str
    value: float
    earned: float
    corrected: float
    steps: int

    def __str__(self) -> str:
        corrected = '' if math.isnan(self.corrected) else f', corrected {self.corrected:.1f}'
        return (
            f'{self.place}: Q(s, a) {self.value:.1f}, discounted return {self.earned:.1f}'
            f'{corrected} ({self.steps:,} steps)'
        )


def compare(trainer: Trainer, model: str, gap: str, start: np.ndarray | None = None) -> Comparison:
    """Run the first seed's policy, exploring, on a model; nothing of the trainer changes.

    start: observations (N, O) from which one step each is judged; None judges all steps of whole
    episodes.
    """
    needed, place = needed_steps(trainer.config.discount), model
    batch, length = ROBOTS, max(STEPS, 2 * needed)
    if gap != 'none':
        place += f' with {gap}'
    if start is not None:
        batch, length = len(start), needed
        place += ', from recorded states'
    robots = make_simulator(trainer.task, model, batch, gap=gap)
    if start is not None:
        robots.begin_at(start)
    policy = trainer.policy(averaged=False)  # whose values the critics tell
    rows = explore(policy, robots, length, np.random.default_rng(0))
    learning = make_rows(rows, trainer.config, trainer.task).numpy()
    reward, goes_on = (
        learning[:, column].reshape(length, batch)
        for column in (trainer.layout.reward, trainer.layout.continuation)
    )
    corrected = np.full_like(reward, np.nan)
    if trainer.config.method == 'darc' and model == SIMULATOR:
        corrected = reward + _correction(trainer, rows).reshape(length, batch)
    broken = rows.truncated.reshape(length, batch)
    chosen = counted(broken, trainer.config.discount)
    if start is not None:
        chosen[1:] = False
    return Comparison(
        place,
        float(trainer.value(rows).reshape(length, batch)[chosen].mean()),
        float(discounted(reward, goes_on, broken)[chosen].mean()),
        float(discounted(corrected, goes_on, broken)[chosen].mean()),
        int(chosen.sum()),
    )


def _correction(trainer: Trainer, rows: Transitions) -> np.ndarray:
    """Return what DARC adds to the rewards (N,) of simulated rows."""
    log_ratio = torch.from_numpy(trainer.dynamics_gap(rows)[1]).log()
    return darc.correction(trainer.config, log_ratio).numpy()


def discounted(reward: np.ndarray, goes_on: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """Return the returns (T, N) of rewards (T, N), as far as the steps go.

    goes_on: the discount, 0 where an episode ended by failure. broken: where one ended otherwise.
    """
    earned, following = np.zeros_like(reward), np.zeros(reward.shape[1], reward.dtype)
    for step in range(len(reward) - 1, -1, -1):
        following = reward[step] + goes_on[step] * np.where(broken[step], 0.0, following)
        earned[step] = following
    return earned


def counted(broken: np.ndarray, discount: float) -> np.ndarray:
    """Say of which steps (T, N) the return is whole but for a share of NEGLECTED.

    They are followed by enough steps before their episode was cut or the steps end.
    """
    needed = needed_steps(discount)
    whole, left = np.zeros(broken.shape, bool), np.zeros(broken.shape[1], int)
    for step in range(len(broken) - 1, -1, -1):
        left = np.where(broken[step], 0, left) + 1
        whole[step] = left >= needed
    return whole


def needed_steps(discount: float) -> int:
    """Return how many steps hold all but NEGLECTED of a return's weight."""
    if discount == 0.0:
        return 1
    return math.ceil(math.log(NEGLECTED) / math.log(discount))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        'h2o values',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', help='of a learner or of an unfinished run')
    parser.add_argument('--task', default='standing_still', help='name or path of its YAML file')
    parser.add_argument(
        '--dataset',
        default=DEMONSTRATION,
        help='recorded states, those that it learns from if it does',
    )
    parser.add_argument('--gap', help=f"{HELP}; default: the checkpoint's")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison."""
    options = parse(arguments)
    task = load_task(options.task)
    recorded = Datasets().load(options.dataset, task)
    asked = {} if options.gap is None else dataclasses.asdict(find_gap(options.gap))
    trainer = Trainer.load(options.checkpoint, None, task, recorded, simulation=asked)
    simulated = options.gap or (gap_of(trainer.simulation) if trainer.simulation else NONE)
    print(f'after {trainer.updates:,} updates; means over steps of the exploring policy')
    if not (trainer.simulation or options.gap) and trainer.config.needs_simulated:
        print('the checkpoint does not tell its gap; taken as none, --gap names another')
    discount = trainer.config.discount
    needed = needed_steps(discount)
    if needed > task.horizon:
        raise ConfigurationError(
            f'{options.checkpoint}: with discount {discount:g} a return needs {needed} steps, and '
            f'an episode of task {task.name} has {task.horizon}; give the task a longer horizon'
        )
    some = np.random.default_rng(0).choice(len(recorded), RECORDED_ROWS)
    starts: list[np.ndarray | None] = [None]
    if all(make_simulator(task, model).shows_its_state for model in (SIMULATOR, REALITY)):
        starts.append(recorded.observation[some])
    for start in starts:
        for model, gap in ((SIMULATOR, simulated), (REALITY, NONE)):
            print(compare(trainer, model, gap, start), flush=True)
    return 0
