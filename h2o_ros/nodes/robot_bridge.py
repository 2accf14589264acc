"""Node robot_bridge: publishes the real robot's transitions, for a learner that goes on.

The robot's counterpart of sim_bridge. It paces nobody: the robot runs at its own rate.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from h2o_ros.configuration import setting
from h2o_ros.msg import Action, Observation, TransitionBatch
from h2o_ros.nodes.core.base_node import EVERY, STREAM_EVERY, BaseNode, to_row
from h2o_ros.nodes.core.conversions import transitions_to_message
from h2o_ros.nodes.core.node_process import run
from h2o_ros.robot.transition_assembler import LiveSteps
from h2o_ros.task import load_task


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    publish_period: float = setting(0.5, 's', 'between two batches', minimum=0.02, maximum=10.0)
    virtual: bool = setting(False, '', 'the robot is the virtual one')


class RobotBridge(BaseNode):
    """Publishes a TransitionBatch of the newest control steps twice a second."""

    def __init__(self) -> None:
        super().__init__('robot_bridge')
        self._settings = self.read_parameters(Parameters)
        self._task = load_task(self._settings.task)
        self._steps = LiveSteps(self._task)
        self._session = secrets.randbits(63)
        self._taken = self._version = 0
        self._transitions = self.create_publisher(TransitionBatch, 'robot_transitions', EVERY)
        self.create_subscription(Observation, 'observation', self._on_observation, STREAM_EVERY)
        self.create_subscription(Action, 'applied_action', self._on_action, STREAM_EVERY)
        self.create_timer(self._settings.publish_period, self._publish)

    def _on_observation(self, message: Observation) -> None:
        row = to_row(message.data, self._task.observation)
        if row is not None:  # else it is no robot's, and the policy server says so
            self._steps.add_observation(message.step, row)

    def _on_action(self, message: Action) -> None:
        row = to_row(message.data, self._task.action)
        if row is not None:
            self._version = message.policy_version
            self._steps.add_action(message.step, row)

    def _publish(self) -> None:
        rows = self._steps.take()
        if rows is None:
            return
        self._taken += len(rows)
        message = transitions_to_message(rows)
        message.header.stamp = self.get_clock().now().to_msg()
        message.origin = (
            TransitionBatch.ORIGIN_VIRTUAL_ROBOT
            if self._settings.virtual
            else TransitionBatch.ORIGIN_ROBOT
        )
        message.session = self._session
        message.last_step = self._taken
        message.policy_version = self._version
        message.batch = 1
        self._transitions.publish(message)


def main() -> None:
    """Run the node."""
    run(RobotBridge, Parameters)


if __name__ == '__main__':
    main()
