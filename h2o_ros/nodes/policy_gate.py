"""Node policy_gate: lets a newly learned policy drive the robot, or says why not.

It keeps the policies that drove. A candidate is first evaluated on the virtual robot, then held
against the running policy; at a trip the one before comes back.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.configuration import setting
from h2o_ros.errors import ConfigurationError, PolicyError
from h2o_ros.msg import Action, DriverStatus, Evaluation, Observation
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.core.base_node import CUT_OUT, EVERY, LATCHED, STREAM_EVERY, BaseNode, to_row
from h2o_ros.nodes.core.conversions import policy_from_message, policy_to_message
from h2o_ros.nodes.core.node_process import run
from h2o_ros.robot.pilot.policy_gate import GateLimits, PolicyGate
from h2o_ros.task import load_task


@dataclass(frozen=True)
class Parameters(GateLimits):
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    policy: str = setting('', '', 'policy file that drives first')
    evaluation_timeout: float = setting(
        600.0,
        's',
        'without an evaluation after which the next candidate takes its turn',
        minimum=1.0,
        maximum=86400.0,
    )


@dataclass(frozen=True)
class Driving:
    """A policy that passed: what it is and what it earned on the virtual robot."""

    message: PolicyMessage
    policy: Policy
    earned: float


class PolicyGateNode(BaseNode):
    """Has one candidate at a time evaluated, judges it, and publishes the policy that drives."""

    def __init__(self) -> None:
        super().__init__('policy_gate')
        self._settings = parameters = self.read_parameters(Parameters)
        if not parameters.policy:
            raise ConfigurationError('policy_gate: parameter policy: expected a file, got none')
        self._task = load_task(parameters.task)
        self._gate = PolicyGate(self._task, parameters)
        self._candidate: PolicyMessage | None = None
        self._pending: PolicyMessage | None = None
        self._submitted = -math.inf  # monotonic s
        self._judged = ''  # digest of the newest policy judged
        self._drove: list[Driving] = []  # the last one drives
        self._cut_out = False
        self._policy = self.create_publisher(PolicyMessage, 'policy', LATCHED)
        self._evaluated = self.create_publisher(PolicyMessage, 'evaluated_policy', LATCHED)
        self.create_subscription(PolicyMessage, 'candidate_policy', self._on_candidate, LATCHED)
        self.create_subscription(Evaluation, 'evaluation', self._on_evaluation, EVERY)
        self.create_subscription(Observation, 'observation', self._on_observation, STREAM_EVERY)
        self.create_subscription(DriverStatus, 'driver_status', self._on_driver, LATCHED)
        self.create_timer(1.0, self._submit_newest)
        first = Policy.load(parameters.policy)
        first.check_contract(self._task)
        self._submit(policy_to_message(first, first.update, self.get_clock().now().to_msg()))

    def _submit(self, message: PolicyMessage) -> None:
        """Have a policy evaluated, whatever the evaluator is at."""
        message.final = True
        self._pending, self._submitted = message, time.monotonic()
        self._evaluated.publish(message)

    def _submit_newest(self) -> None:
        newest = self._candidate
        if newest is None or not self._drove or self._awaits_evaluation():
            return
        self._candidate = None
        known = [self._judged, *(driving.message.digest for driving in self._drove)]
        if newest.digest not in known:
            self._submit(newest)

    def _awaits_evaluation(self) -> bool:
        """Say whether an evaluation is under way; one that takes too long is given up."""
        pending, timeout = self._pending, self._settings.evaluation_timeout
        if pending is not None and time.monotonic() - self._submitted > timeout:
            self.get_logger().warning(
                f'policy {pending.version} dropped: no evaluation within {timeout:g} s; does the '
                'evaluator run?'
            )
            self._pending = None
        return self._pending is not None

    def _on_candidate(self, message: PolicyMessage) -> None:
        self._candidate = message
        self._submit_newest()

    def _on_observation(self, message: Observation) -> None:
        row = to_row(message.data, self._task.observation)
        if row is not None:  # else it is no robot's, and the policy server says so
            self._gate.add_state(row)

    def _on_evaluation(self, message: Evaluation) -> None:
        pending = self._pending
        if pending is None or message.policy_version != pending.version:
            return
        self._pending, self._judged = None, pending.digest
        self._judge(pending, float(np.mean(message.returns)))
        self._submit_newest()

    def _judge(self, message: PolicyMessage, earned: float) -> None:
        try:
            policy = policy_from_message(message, self._task)
        except PolicyError as err:
            self.get_logger().warning(f'policy {message.version} refused: {err}')
            return
        reasons = []
        if self._drove:
            running = self._drove[-1]
            reasons = self._gate.reasons_to_refuse(
                policy.act, running.policy.act, earned, running.earned
            )
        if reasons:
            self.get_logger().warning(f'policy {message.version} refused: {"; ".join(reasons)}')
            return
        self._drove.append(Driving(message, policy, earned))
        self._policy.publish(message)
        self.get_logger().info(
            f'policy {message.version} drives: return {earned:.0f} on the virtual robot'
        )

    def _on_driver(self, message: DriverStatus) -> None:
        """Bring the policy before back where this one drove at the beginning of a trip."""
        cut_out = message.state in CUT_OUT
        guilty = message.source == Action.SOURCE_POLICY and len(self._drove) > 1
        if cut_out and not self._cut_out and guilty:
            failed = self._drove.pop()
            self._policy.publish(self._drove[-1].message)
            self.get_logger().warning(
                f'policy {failed.message.version} rolled back to '
                f'{self._drove[-1].message.version}: {message.reason}'
            )
        self._cut_out = cut_out


def main() -> None:
    """Run the node."""
    run(PolicyGateNode, Parameters)


if __name__ == '__main__':
    main()
