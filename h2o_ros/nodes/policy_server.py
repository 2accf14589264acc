"""Node policy_server: the only place where a policy runs, for simulator and robot alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.msg import Action, Observation
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.core.base_node import FADE, LATCHED, LATEST, STREAM_NEWEST, BaseNode, to_floats
from h2o_ros.nodes.core.node_process import run
from h2o_ros.nodes.pilot.served_policy import ServedPolicy
from h2o_ros.robot.pilot.settings import PilotSettings
from h2o_ros.task import load_task

if TYPE_CHECKING:
    from h2o_ros.nodes.pilot.topics import PilotTopics


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    deterministic: bool = setting(True, '', 'act by the mean; false explores, for training')
    seed: int = setting(0, '', 'random seed of exploration and excitation', minimum=0)
    policy: str = setting('', '', 'policy file to start with; empty waits for the topic')
    follow: bool = setting(
        True, '', 'take newer policies from the topic policy; false keeps the file'
    )
    mode: str = setting(
        'unattended',
        '',
        'unattended: the policy answers, as a simulator needs it; else who drives a robot at '
        'first, where a person may take over at any moment',
        choices=('unattended', 'balance', 'shadow'),
    )
    stamped_cmd_vel: bool = setting(True, '', 'cmd_vel is a TwistStamped; false takes a Twist')


class PolicyServer(BaseNode):
    """Answers each observation with the action of the newest policy, or of who drives."""

    def __init__(self) -> None:
        super().__init__('policy_server')
        self._settings = self.read_parameters(Parameters)
        self._task = load_task(self._settings.task)
        self._generator = np.random.default_rng(self._settings.seed)
        self._served = ServedPolicy(self._task, self._settings.policy)
        if self._settings.follow:
            self.create_subscription(PolicyMessage, 'policy', self._on_policy, LATCHED)
        settings = self.read_parameters(PilotSettings)
        self._topics: PilotTopics | None = None
        unattended = self._settings.mode == 'unattended'
        # A simulator waits for its action; a robot does not.
        qos = LATEST if unattended else STREAM_NEWEST
        self._publisher = self.create_publisher(Action, 'action', qos)
        answer = self._answer if unattended else self._attended(settings)
        self.create_subscription(Observation, 'observation', answer, qos)

    def _attended(self, settings: PilotSettings) -> Callable[[Observation], None]:
        """Return the callback of an observation where a pilot says who drives."""
        # Simulators need neither a balance controller nor what it is computed with.
        from h2o_ros.nodes.pilot.topics import PilotTopics
        from h2o_ros.robot.pilot.pilot import Mode, Pilot

        mode = Mode[self._settings.mode.upper()]
        pilot = Pilot(self._task, settings, mode, self._settings.seed)
        self._topics = topics = PilotTopics(
            self, pilot, self._served, self._publisher, self._settings.stamped_cmd_vel
        )

        def answer(message: Observation) -> None:
            rows = self._rows(message)
            if rows is not None:
                topics.answer(message, rows)

        return answer

    def stop(self) -> None:
        """End; a robot is answered for as long as its torque fades."""
        topics = self._topics
        if topics is not None:
            topics.tell_of_end()
        self.end_when(lambda: topics is None or not topics.torque_flows, FADE)

    def _on_policy(self, message: PolicyMessage) -> None:
        refusal = self._served.take(message)
        if refusal:
            self.get_logger().error(f'policy {message.version} refused: {refusal}')

    def _answer(self, message: Observation) -> None:
        policy = self._served.policy
        if policy is None:
            self.get_logger().info('waiting for a policy', throttle_duration_sec=5.0)
            return
        rows = self._rows(message)
        if rows is None:
            return
        noise = None
        if not self._settings.deterministic:
            shape = (message.batch, len(self._task.action))
            noise = self._generator.standard_normal(shape, np.float32)
        action = Action(
            header=message.header,
            step=message.step,
            policy_version=self._served.version,
            source=Action.SOURCE_POLICY,
            data=to_floats(policy.act(rows, noise)),
        )
        self._publisher.publish(action)

    def _rows(self, message: Observation) -> np.ndarray | None:
        """Return the observation (N, O), None where it is another task's."""
        rows = np.frombuffer(message.data, np.float32)
        if rows.size != message.batch * len(self._task.observation):
            self.get_logger().error(
                f'observation: expected {message.batch} x {len(self._task.observation)} numbers, '
                f'got {rows.size}; is the sender on another task?',
                throttle_duration_sec=5.0,
            )
            return None
        return rows.reshape(message.batch, len(self._task.observation))


def main() -> None:
    """Run the node."""
    run(PolicyServer, Parameters, PilotSettings)


if __name__ == '__main__':
    main()
