"""Node evaluator: sends the newest policy to the virtual robot and reports how it fared.

The virtual robot is a sim_bridge and a policy_server of its own, under the namespace
`virtual_robot`; the evaluator is their pace-maker, as the learner is the simulator's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.episodes import EpisodeCollector, Episodes
from h2o_ros.msg import Evaluation, Policy, RolloutBudget, TransitionBatch
from h2o_ros.nodes.core.base_node import EVERY, LATCHED, BaseNode
from h2o_ros.nodes.core.conversions import (
    budget_to_message,
    episodes_to_message,
    transitions_from_message,
)
from h2o_ros.nodes.core.node_process import run
from h2o_ros.pacing import Budget
from h2o_ros.task import load_task

ROBOT = 'virtual_robot'


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    episodes: int = setting(10, '', 'episodes of one evaluation', minimum=1, maximum=1000)
    evaluate_every: int = setting(20000, 'updates', 'between two evaluations', minimum=1)
    seed: int = setting(1, '', 'random seed of the initial states', minimum=1)
    output: str = setting('', '', 'folder for the trajectories; empty writes none')


class Evaluator(BaseNode):
    """Runs one evaluation at a time, of the newest policy."""

    def __init__(self) -> None:
        super().__init__('evaluator')
        self._settings = self.read_parameters(Parameters)
        self._task = load_task(self._settings.task)
        self._newest: Policy | None = None
        self._running: Policy | None = None
        self._last: Policy | None = None
        self._taken = 0
        self._full_grant = self._settings.episodes * self._task.horizon
        self._budget = Budget(0, 0, 0, self._settings.seed)
        self._collector = EpisodeCollector(self._task, self._settings.episodes)
        self._policy = self.create_publisher(Policy, f'{ROBOT}/policy', LATCHED)
        self._budgets = self.create_publisher(RolloutBudget, f'{ROBOT}/rollout_budget', LATCHED)
        self._evaluation = self.create_publisher(Evaluation, 'evaluation', EVERY)
        self.create_subscription(Policy, 'policy', self._on_policy, LATCHED)
        self.create_subscription(
            TransitionBatch, f'{ROBOT}/transitions', self._on_transitions, EVERY
        )

    def _on_policy(self, message: Policy) -> None:
        self._newest = message
        if message.final and self._running is not None:
            self._running = None
        self._start()

    def _start(self) -> None:
        newest, last = self._newest, self._last
        if self._running is not None or newest is None:
            return
        if last is not None and newest.digest == last.digest:
            return
        due = last is None or newest.version >= last.version + self._settings.evaluate_every
        if not (due or newest.final):
            return
        self._running = newest
        self._policy.publish(newest)
        self._open_session(self._full_grant)

    def _open_session(self, steps: int) -> None:
        self._collector = EpisodeCollector(self._task, self._settings.episodes)
        self._taken = 0
        self._budget = Budget(
            session=secrets.randbits(63),
            steps=steps,
            received=0,
            seed=self._settings.seed,
        )
        self._budgets.publish(budget_to_message(self._budget, self.get_clock().now().to_msg()))

    def _on_transitions(self, message: TransitionBatch) -> None:
        if self._running is None or message.session != self._budget.session:
            return
        if message.policy_version != self._running.version:
            # the session overtook the policy on its way: begin again
            self._open_session(self._full_grant)
            return
        if message.last_step != self._taken + message.batch:
            # the virtual robot was started again in mid-episode: begin again
            self._open_session(self._full_grant)
            return
        self._taken = message.last_step
        try:
            self._collector.add(transitions_from_message(message, self._task))
        except ValueError as err:
            self.get_logger().error(
                f'{ROBOT}/transitions refused, version {message.policy_version} is not evaluated: '
                f'{err}'
            )
            self._end(self._running)
            return
        if self._collector.complete:
            self._finish(self._collector.result(), self._running)

    def _finish(self, episodes: Episodes, policy: Policy) -> None:
        version = policy.version
        if self._settings.output:
            self._save(Path(self._settings.output) / 'evaluation.npz', episodes, version)
        message = episodes_to_message(episodes, version, self.get_clock().now().to_msg())
        message.domain = ROBOT
        self._evaluation.publish(message)
        self._end(policy)

    def _end(self, policy: Policy) -> None:
        self._last, self._running = policy, None
        self._open_session(steps=0)  # robots that fell early need not use up their grant
        self._start()

    def _save(self, path: Path, episodes: Episodes, version: int) -> None:
        """Keep the trajectories; where the disk is full, the figures go out all the same."""
        try:
            save_episodes(path, episodes, version)
        except OSError as err:
            self.get_logger().error(f'{path}: cannot be written ({err.strerror}); make room')


def save_episodes(path: Path, episodes: Episodes, version: int) -> None:
    """Write the trajectories of one evaluation, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix('.partial')
    with partial.open('wb') as file:
        np.savez_compressed(file, version=version, **vars(episodes))
    partial.replace(path)


def main() -> None:
    """Run the node."""
    run(Evaluator, Parameters)


if __name__ == '__main__':
    main()
