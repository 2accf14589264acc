"""Node scripted_operator: drives by a balance controller, to record demonstration bags."""

from __future__ import annotations

from dataclasses import dataclass

from h2o_ros.configuration import setting
from h2o_ros.msg import Action, Observation
from h2o_ros.nodes.core.base_node import EVERY, LATEST, BaseNode, to_floats, to_row
from h2o_ros.nodes.core.node_process import run
from h2o_ros.robot.operator.scripted_operator import ScriptedOperator
from h2o_ros.task import load_task


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    seed: int = setting(0, '', 'random seed of the operator', minimum=0)
    listeners: int = setting(
        1, '', 'who must hear the actions before the first: the robot, a recorder', minimum=0
    )


class ScriptedOperatorNode(BaseNode):
    """Answers each observation as a person with a balance controller would."""

    def __init__(self) -> None:
        super().__init__('scripted_operator')
        self._settings = parameters = self.read_parameters(Parameters)
        self._task = load_task(parameters.task)
        self._operator = ScriptedOperator(self._task, seed=parameters.seed)
        self._answer = Action()
        self._answered = -1
        self._action = self.create_publisher(Action, 'action', EVERY)
        self.create_subscription(Observation, 'observation', self._on_observation, LATEST)

    def _on_observation(self, message: Observation) -> None:
        if self._action.get_subscription_count() < self._settings.listeners:
            return  # the robot asks again
        if message.step != self._answered:
            stamp = message.header.stamp
            row = to_row(message.data, self._task.observation)
            if row is None:
                self.get_logger().error(
                    f'observation: expected {len(self._task.observation)} numbers, got '
                    f'{len(message.data)}; is the robot on another task?',
                    throttle_duration_sec=5.0,
                )
                return
            command = self._operator.act(row[None], stamp.sec + stamp.nanosec * 1e-9)
            self._answered = message.step
            self._answer = Action(
                header=message.header,
                step=message.step,
                source=Action.SOURCE_OPERATOR,
                data=to_floats(command),
            )
        self._action.publish(self._answer)


def main() -> None:
    """Run the node."""
    run(ScriptedOperatorNode, Parameters)


if __name__ == '__main__':
    main()
