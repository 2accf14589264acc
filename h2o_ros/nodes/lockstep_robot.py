"""Node lockstep_robot: the high-fidelity model, as a robot that waits for each answer.

It moves one control period for each action that answers its newest observation, so a recording
made on a loaded machine equals one made on an idle machine; `real_time` holds it to the clock.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Imu, JointState

from h2o_ros.configuration import setting
from h2o_ros.msg import Action, Observation
from h2o_ros.nodes.core.base_node import EVERY, LATEST, BaseNode, to_floats, to_rows
from h2o_ros.nodes.core.node_process import run
from h2o_ros.nodes.core.sensor_messages import imu_message, joints_message
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task

RESEND_AFTER = 0.5  # s without an answer
LIFT_SECONDS = 2.0  # s that it takes to put a fallen robot on its wheels again


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    model: str = setting('standard', '', 'which virtual robot', choices=('standard', 'hard'))
    seed: int = setting(0, '', 'random seed of noise and initial states', minimum=0)
    steps: int = setting(0, 'control steps', 'after which to end; 0 runs on', minimum=0)
    await_recorder: bool = setting(False, '', 'begin when somebody listens to every sensor')
    real_time: bool = setting(False, '', 'hold to the clock instead of going as fast as it can')


class LockstepRobot(BaseNode):
    """One simulated robot with an IMU and wheel encoders."""

    def __init__(self) -> None:
        super().__init__('lockstep_robot')
        self._settings = parameters = self.read_parameters(Parameters)
        self._task = load_task(parameters.task)
        endless = dataclasses.replace(self._task, horizon=2**62)  # a robot has no horizon
        self._robot = make_simulator(
            endless, model=parameters.model, batch=1, seed=parameters.seed, reset='evaluation'
        )
        self._step = 0
        self._falls = 0
        self._stamp = self.get_clock().now().nanoseconds
        self._due = time.monotonic()
        self._sent_at = -math.inf
        self._imu = self.create_publisher(Imu, 'imu/data', EVERY)
        self._joints = self.create_publisher(JointState, 'joint_states', EVERY)
        self._observation = self.create_publisher(Observation, 'observation', LATEST)
        self.create_subscription(Action, 'action', self._on_action, LATEST)
        self.create_timer(RESEND_AFTER / 2, self._resend)

    def _on_action(self, message: Action) -> None:
        if message.step != self._step or len(message.data) != len(self._task.action):
            return
        action = to_rows(message.data, len(self._task.action))
        if not np.isfinite(action).all():
            self.get_logger().error('action: refused, not finite', throttle_duration_sec=5.0)
            return
        rows = self._robot.step(action)
        self._step += 1
        self._stamp += round(self._task.period * 1e9)
        if rows.terminated[0]:
            self._falls += 1
            self._stamp += round(LIFT_SECONDS * 1e9)
        if self._settings.steps and self._step >= self._settings.steps:
            self.get_logger().info(f'{self._step} control steps done, {self._falls} falls')
            self.stop()
            return
        self._wait_for_clock()
        self._send()

    def _wait_for_clock(self) -> None:
        if self._settings.real_time:
            self._due = max(self._due + self._task.period, time.monotonic() - 0.1)
            time.sleep(max(0.0, self._due - time.monotonic()))

    def _resend(self) -> None:
        """Send the observation again where no answer came; not the sensors, which are recorded."""
        if self._settings.await_recorder and not self._is_recorded():
            return
        if time.monotonic() - self._sent_at > RESEND_AFTER:
            self._send(sensors=self._sent_at == -math.inf)

    def _is_recorded(self) -> bool:
        return all(p.get_subscription_count() > 0 for p in (self._imu, self._joints))

    def _send(self, sensors: bool = True) -> None:
        stamp = Time(sec=self._stamp // 10**9, nanosec=self._stamp % 10**9)
        if sensors:
            self._send_sensors(stamp)
        message = Observation(step=self._step, batch=1, data=to_floats(self._robot.observation))
        message.header.stamp = stamp
        self._sent_at = time.monotonic()
        self._observation.publish(message)

    def _send_sensors(self, stamp: Time) -> None:
        readings = {name: float(values[0]) for name, values in self._robot.sensors().items()}
        self._imu.publish(imu_message(readings['pitch'], readings['pitch_rate'], stamp))
        self._joints.publish(joints_message(readings, stamp))


def main() -> None:
    """Run the node."""
    run(LockstepRobot, Parameters)


if __name__ == '__main__':
    main()
