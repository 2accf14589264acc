"""Node virtual_robot: the high-fidelity model in real time, behind CAN frames and an IMU topic.

It passes for the robot: whoever drives it uses the bus and the IMU, and nothing else. `lift` and
`inject_fault` are what a person can do to a robot.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Imu
from std_srvs.srv import Trigger

from h2o_ros.configuration import setting
from h2o_ros.nodes.core.base_node import FADE, STREAM, BaseNode
from h2o_ros.nodes.core.node_process import run
from h2o_ros.nodes.core.sensor_messages import imu_message
from h2o_ros.robot.control.real_time import prefer_punctuality, run_in_real_time
from h2o_ros.robot.description import load_parameters, robot_folder
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.emulation.controllers import EmulatedMotors
from h2o_ros.robot.motors.settings import MotorSettings, check_settings
from h2o_ros.sim.virtual_robot.handled_robot import AttendedRobot
from h2o_ros.sim.virtual_robot.real_time_loop import RealTimeLoop
from h2o_ros.sim.virtual_robot.virtual_robot import ImuSample, LiveRobot, parse_fault
from h2o_ros.sim.wheel_legged.plants import VirtualPlant
from h2o_ros.srv import InjectFault

STEP = 0.001  # s
WATCH_PERIOD = 0.5  # s between looks at the loop and the robot


@dataclass(frozen=True)
class Parameters(MotorSettings):
    """Parameters of the node: the motors', on a bus that needs no hardware, and its own."""

    interface: str = setting(
        'udp_multicast', '', 'kind of CAN bus', choices=('socketcan', 'udp_multicast')
    )
    saved_watchdog: float = setting(
        0.09,
        's',
        'watchdog saved in the motor controllers; 0: off, as shipped',
        minimum=0.0,
        maximum=1.0,
    )
    model: str = setting('standard', '', 'which virtual robot', choices=('standard', 'hard'))
    seed: int = setting(0, '', 'random seed of noise and tilts', minimum=0)
    tilt: float = setting(
        0.03, 'rad', 'from upright, within which a person holds it', minimum=0.0, maximum=0.3
    )
    lift_after: float = setting(
        0.0,
        's',
        'without torque, until a person lifts a fallen robot; 0: when asked to',
        minimum=0.0,
        maximum=3600.0,
    )
    real_time_priority: int = setting(
        45,
        '',
        "under SCHED_FIFO, where that is allowed; above the driver's: hardware never waits",
        minimum=0,
        maximum=98,
    )
    imu_rate: float = setting(400.0, 'Hz', 'of the IMU messages', minimum=50.0, maximum=1000.0)


class VirtualRobot(BaseNode):
    """One robot on the CAN bus, with an IMU."""

    def __init__(self) -> None:
        super().__init__('virtual_robot')
        parameters = self.read_parameters(Parameters)
        check_settings(parameters)
        self._body = make_body(parameters)
        self._bus = open_bus(parameters)
        self._motors = EmulatedMotors(self._bus, parameters, watchdog=parameters.saved_watchdog)
        self._robot = LiveRobot(self._body, self._motors, 1.0 / parameters.imu_rate)
        self._imu = self.create_publisher(Imu, 'imu/data', STREAM)
        self.create_service(Trigger, 'lift', self._on_lift)
        self.create_service(InjectFault, 'inject_fault', self._on_fault)
        self._loop = RealTimeLoop(self._step, STEP)
        self._said, self._lost = self._body.attitude, 0.0
        self.create_timer(WATCH_PERIOD, self._watch)
        self.get_logger().info(f'{parameters.model} robot, {self._said.value}')
        prefer_punctuality()
        run_in_real_time(parameters.real_time_priority)
        self._loop.start()

    def _step(self, due: float) -> None:
        for sample in self._robot.step(due):
            self._imu.publish(imu_message(sample.pitch, sample.pitch_rate, self._stamp(sample)))

    def _stamp(self, sample: ImuSample) -> Time:
        """Return when a sample was measured, by the node's clock."""
        age = round((time.monotonic() - sample.time) * 1e9)
        nanoseconds = self.get_clock().now().nanoseconds - age
        return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

    def _on_lift(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._body.request_lift()
        return response

    def _on_fault(
        self, request: InjectFault.Request, response: InjectFault.Response
    ) -> InjectFault.Response:
        try:
            name, numbers = parse_fault(request.fault)
            response.message = self._robot.inject(name, **numbers)
            response.success = True
            self.get_logger().info(f'{name} on request: {response.message}')
        except ValueError as err:
            response.message = str(err)
        return response

    def _watch(self) -> None:
        """Say what became of the robot, and end where its loop has."""
        if self._loop.failure is not None:
            raise self._loop.failure
        attitude, lost = self._body.attitude, self._loop.lost
        if attitude is not self._said:
            self.get_logger().info(f'{attitude.value}, {self._body.falls} falls')
            self._said = attitude
        if lost > self._lost:
            self.get_logger().warning(
                f'the machine is too slow: {1e3 * (lost - self._lost):.0f} ms lost, '
                f'{lost:.2f} s since the start'
            )
            self._lost = lost

    def stop(self) -> None:
        """End; the robot goes on while its torque fades."""
        self.end_when(lambda: not any(self._motors.armed), FADE)

    def destroy_node(self) -> None:
        """Stop the robot and leave the bus, then end the node."""
        self._loop.stop()
        self._bus.shutdown()
        super().destroy_node()


def make_body(parameters: Parameters) -> AttendedRobot:
    """Make the chosen robot, held upright by a person."""
    path = robot_folder('wheel_legged') / 'virtual_robot.xml'
    noise, tilts = (np.random.default_rng([parameters.seed, k]) for k in range(2))
    plant = VirtualPlant(path, load_parameters(parameters.model), 1, STEP, noise)
    return AttendedRobot(plant, tilts, parameters.tilt, parameters.lift_after)


def main() -> None:
    """Run the node."""
    run(VirtualRobot, Parameters)


if __name__ == '__main__':
    main()
