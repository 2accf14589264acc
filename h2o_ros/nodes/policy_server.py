"""Node policy_server: the only place where a policy runs, for simulator and robot alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.algorithms.policy import Policy
from h2o_ros.configuration import setting
from h2o_ros.errors import PolicyError
from h2o_ros.msg import Action, Observation
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.common import LATCHED, LATEST, BaseNode, run, to_floats
from h2o_ros.nodes.conversions import policy_from_message
from h2o_ros.task import load_task


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    deterministic: bool = setting(True, '', 'act by the mean; false explores, for training')
    seed: int = setting(0, '', 'random seed of the exploration', minimum=0)
    policy: str = setting('', '', 'policy file to start with; empty waits for the topic')


class PolicyServer(BaseNode):
    """Answers each observation with the action of the newest policy."""

    def __init__(self) -> None:
        super().__init__('policy_server')
        self._settings = self.read_parameters(Parameters)
        self._task = load_task(self._settings.task)
        self._generator = np.random.default_rng(self._settings.seed)
        self._policy: Policy | None = None
        self._version = 0
        if self._settings.policy:
            self._policy = Policy.load(self._settings.policy)
            self._policy.check_contract(self._task)
            self._version = self._policy.update
        self._publisher = self.create_publisher(Action, 'action', LATEST)
        self.create_subscription(PolicyMessage, 'policy', self._on_policy, LATCHED)
        self.create_subscription(Observation, 'observation', self._on_observation, LATEST)

    def _on_policy(self, message: PolicyMessage) -> None:
        try:
            self._policy = policy_from_message(message, self._task)
        except PolicyError as err:
            self.get_logger().error(f'policy {message.version} refused: {err}')
            return
        self._version = message.version

    def _on_observation(self, message: Observation) -> None:
        if self._policy is None:
            self.get_logger().info('waiting for a policy', throttle_duration_sec=5.0)
            return
        rows = np.frombuffer(message.data, np.float32)
        if rows.size != message.batch * len(self._task.observation):
            self.get_logger().error(
                f'observation: expected {message.batch} x {len(self._task.observation)} numbers, '
                f'got {rows.size}; is the sender on another task?',
                throttle_duration_sec=5.0,
            )
            return
        rows = rows.reshape(message.batch, -1)
        noise = None
        if not self._settings.deterministic:
            shape = (message.batch, len(self._task.action))
            noise = self._generator.standard_normal(shape, np.float32)
        action = Action(
            header=message.header,
            step=message.step,
            policy_version=self._version,
            source=Action.SOURCE_POLICY,
            data=to_floats(self._policy.act(rows, noise)),
        )
        self._publisher.publish(action)


def main() -> None:
    """Run the node."""
    run(PolicyServer)


if __name__ == '__main__':
    main()
