"""Node sim_bridge: a batch of simulated robots, stepped as far as the pace-maker grants."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.msg import Action, Observation, RolloutBudget, TransitionBatch
from h2o_ros.nodes.core.base_node import (
    EVERY,
    LATCHED,
    LATEST,
    BaseNode,
    has_published,
    to_floats,
    to_rows,
)
from h2o_ros.nodes.core.conversions import budget_from_message, transitions_to_message
from h2o_ros.nodes.core.node_process import run
from h2o_ros.pacing import Allowance
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task

RESEND_AFTER = 0.5  # s without an answer: the policy server may have been started again


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    model: str = setting('simulator', '', 'which model of the robot, or path of a YAML file')
    gap: str = setting(
        'none', '', 'dynamics gap put into the model on top, or path of a YAML file'
    )
    environments: int = setting(32, '', 'robots in the batch', minimum=1, maximum=4096)
    seed: int = setting(0, '', 'random seed', minimum=0)
    reset: str = setting(
        'training', '', 'which initial states of the task', choices=('training', 'evaluation')
    )


class SimBridge(BaseNode):
    """Publishes observations, awaits the action to each, and publishes the transitions."""

    def __init__(self) -> None:
        super().__init__('sim_bridge')
        self._settings = parameters = self.read_parameters(Parameters)
        self._task = load_task(parameters.task)
        self._simulator = make_simulator(
            self._task,
            model=parameters.model,
            batch=parameters.environments,
            seed=parameters.seed,
            gap=parameters.gap,
            reset=parameters.reset,
        )
        self._allowance = Allowance()
        self._step = 0
        self._awaiting = False
        self._sent_at = 0.0
        self._held: TransitionBatch | None = None  # what could not be published yet
        self._observation = self.create_publisher(Observation, 'observation', LATEST)
        self._transitions = self.create_publisher(TransitionBatch, 'transitions', EVERY)
        self.create_subscription(RolloutBudget, 'rollout_budget', self._on_budget, LATCHED)
        self.create_subscription(Action, 'action', self._on_action, LATEST)
        self.create_timer(RESEND_AFTER / 2, self._resend)

    def _on_budget(self, message: RolloutBudget) -> None:
        if self._allowance.update(budget_from_message(message)):
            self._simulator.reset(message.seed or self._settings.seed)
            self._awaiting, self._held = False, None
        self._offer()

    def _offer(self) -> None:
        heard = self._transitions.get_subscription_count() > 0
        if self._awaiting or self._held or not heard or not self._allowance.may_step():
            return
        self._step += 1
        self._awaiting = True
        self._send()

    def _send(self) -> None:
        message = Observation(
            step=self._step,
            batch=self._simulator.batch,
            data=to_floats(self._simulator.observation),
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._sent_at = time.monotonic()
        self._observation.publish(message)

    def _resend(self) -> None:
        """Send again what was not answered or taken; begin where the learner was not there yet."""
        if self._held:
            self._deliver(self._held)
        if self._awaiting and time.monotonic() - self._sent_at > RESEND_AFTER:
            self._send()
        self._offer()

    def _on_action(self, message: Action) -> None:
        if not self._awaiting or message.step != self._step:
            return
        if len(message.data) != self._simulator.batch * len(self._task.action):
            self.get_logger().error(
                f'action: expected {self._simulator.batch} x {len(self._task.action)} numbers, '
                f'got {len(message.data)}; is the policy server on another task?',
                throttle_duration_sec=5.0,
            )
            return
        action = to_rows(message.data, len(self._task.action))
        if not np.isfinite(action).all():
            self.get_logger().error('action: refused, not finite', throttle_duration_sec=5.0)
            return
        rows = self._simulator.step(action)
        self._allowance.note_taken(len(rows))
        self._awaiting = False
        self._publish(rows, message)
        self._offer()

    def _publish(self, rows, action: Action) -> None:
        message = transitions_to_message(rows)
        message.header.stamp = self.get_clock().now().to_msg()
        message.origin = (
            TransitionBatch.ORIGIN_SIMULATOR
            if self._settings.model == 'simulator'
            else TransitionBatch.ORIGIN_VIRTUAL_ROBOT
        )
        message.session = self._allowance.session
        message.last_step = self._allowance.taken
        message.policy_version = action.policy_version
        message.batch = self._simulator.batch
        self._deliver(message)

    def _deliver(self, message: TransitionBatch) -> None:
        """Publish transitions; hold them, and take no step, while they cannot go out."""
        self._held = None if has_published(self._transitions, message) else message
        if self._held:
            self.get_logger().warning(
                'a listener of transitions hangs or was killed; the robots wait until it goes on '
                'or DDS drops it',
                throttle_duration_sec=5.0,
            )


def main() -> None:
    """Run the node."""
    run(SimBridge, Parameters)


if __name__ == '__main__':
    main()
