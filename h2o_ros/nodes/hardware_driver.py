"""Node hardware_driver: the robot's motors and sensors, as a managed (lifecycle) node.

configure finds and checks the motors, activate arms, deactivate ramps down and disarms.
docs/safety.md says what stops it.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from h2o_ros.configuration import setting
from h2o_ros.errors import RobotError
from h2o_ros.msg import DriverStatus
from h2o_ros.nodes.core.base_node import LATCHED, BaseNode, answering
from h2o_ros.nodes.core.diagnostics import Diagnostics
from h2o_ros.nodes.core.node_process import run
from h2o_ros.nodes.core.single_instance import take_sole_lock
from h2o_ros.nodes.driver.lifecycle_guard import refuse_impossible_transitions
from h2o_ros.nodes.driver.status import diagnostic_values, driver_status, level
from h2o_ros.nodes.driver.topics import DriverTopics
from h2o_ros.robot.control.real_time import prefer_punctuality, run_in_real_time
from h2o_ros.robot.control.session import Connection, Running
from h2o_ros.robot.motors.settings import MotorSettings, check_settings
from h2o_ros.robot.safety.settings import SafetySettings, check_safety
from h2o_ros.robot.safety.state_machine import Safety, State
from h2o_ros.robot.safety.torque_limiter import TorqueLimiter
from h2o_ros.run_lock import ROBOT_TOPIC
from h2o_ros.task import load_task

LISTEN = 1.0  # s, to the motors before they are judged
SENSOR_PATIENCE = 5.0  # s until a sensor must have been found
SENSOR_WATCH = 0.3  # s for which it is watched then
STATUS_PERIOD = 0.1  # s
DIAGNOSTICS_EVERY = 10  # status messages

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node, besides those of MotorSettings and SafetySettings."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    real_time_priority: int = setting(
        40, '', 'under SCHED_FIFO, where that is allowed; 0: without', minimum=0, maximum=98
    )


class HardwareDriver(BaseNode, LifecycleNode):
    """Brings observations from the robot and torques to it; the safety decides."""

    # Here, because a node whose parameters are refused is destroyed too.
    _connection: Connection | None = None
    _running: Running | None = None

    def __init__(self) -> None:
        super().__init__('hardware_driver')
        refuse_impossible_transitions(self)
        self._lock = take_sole_lock(self, ROBOT_TOPIC)
        self._settings = self.read_parameters(Parameters)
        self._motor_settings = self.read_parameters(MotorSettings)
        self._limits = self.read_parameters(SafetySettings)
        self._task = load_task(self._settings.task)
        check_settings(self._motor_settings)
        check_safety(self._limits, self._motor_settings, self._task)
        field = self._task.action[0]
        both = 2.0 * self._motor_settings.torque_limit
        if both < max(field.upper, -field.lower):
            self.get_logger().warning(
                f'the motors may give {both:g} N·m, task {self._task.name} asks for up to '
                f'{max(field.upper, -field.lower):g} N·m: what is beyond is clipped; see '
                'current_limit, torque_constant and gear_ratio'
            )
        limiter = TorqueLimiter(self._limits, field.lower, field.upper, both, self._task.period)
        self._safety = Safety(self._limits, self._task, limiter)
        self._changed = self.create_guard_condition(self._tell)
        self._topics = DriverTopics(self, self._task, self._changed.trigger)
        self._status = self.create_publisher(DriverStatus, 'driver_status', LATCHED)
        self._diagnostics = Diagnostics(self, 'wheel motors')
        self._real_time = self._active = self._ending = False
        self._trips_told = self._beats = 0
        for name, answer in {
            'arm': self._arm,
            'emergency_stop_now': self._stop_for_emergency,
            'reset_emergency_stop': self._reset_emergency_stop,
            'clear_errors': self._clear_errors,
        }.items():
            self.create_service(Trigger, name, answering(answer))
        self.create_timer(STATUS_PERIOD, self._beat)

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the bus, find and check motors and sensors, and begin to observe."""
        try:
            self._connection = Connection(self._motor_settings)
            faults = self._connection.check(LISTEN) + self._topics.find_sensors(
                self._limits.sensor_timeout, SENSOR_PATIENCE, SENSOR_WATCH
            )
            if faults:
                raise RobotError('; '.join(faults))
        except RobotError as err:
            self._close()
            return self._refuse(f'not configured: {err}')
        prefer_punctuality()
        self._real_time = run_in_real_time(self._settings.real_time_priority)
        waiter, motors = self._topics.waiter, self._connection.motors
        self._running = Running(
            self._safety, motors, self._topics, self._task.period, waiter.wait, waiter.wake
        )
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Arm."""
        obstacles = self._running.arm() if self._running else 'not configured'
        if obstacles:
            return self._refuse(f'not armed: {obstacles}')
        self._active = True
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the torque fade and disarm."""
        self._active = False
        if self._running is not None:
            self._running.ramp_down()
        end = time.monotonic() + 2.0 * self._limits.ramp_time
        while self._safety.moving and time.monotonic() < end:
            time.sleep(0.5 * self._task.period)
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the bus."""
        self._close()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Disarm and leave the bus."""
        self._close()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Disarm and leave the bus; the node can be configured again."""
        self._close()
        return SUCCESS

    def stop(self) -> None:
        """Let the torque fade, then end."""
        self._ending = True
        if self._running is not None:
            self._running.ramp_down()

    def destroy_node(self) -> None:
        """Disarm, leave the bus, and end."""
        if self._connection is not None:
            self._close()
        super().destroy_node()

    # Services; each returns what it did, or raises RobotError with why it did not

    def _arm(self) -> str:
        if self._running is None or not self._active:
            raise RobotError('not armed: the node is not active; activate it')
        obstacles = self._running.arm()
        if obstacles:
            raise RobotError(f'not armed: {obstacles}')
        return 'armed'

    def _stop_for_emergency(self) -> str:
        reason = 'emergency stop by the service emergency_stop_now'
        if self._running is None:
            self._safety.stop_for_emergency(reason)
        else:
            stop = self._running.control.stop_for_emergency
            self._running.loop.call(lambda now: stop(now, reason))
        return 'stopped'

    def _reset_emergency_stop(self) -> str:
        if self._safety.state != State.EMERGENCY_STOPPED:
            raise RobotError('there is no emergency stop to reset')
        if self._running is None or self._connection is None:
            self._safety.reset_emergency_stop(configured=False)
        else:
            self._running.loop.call(self._running.control.reset_emergency_stop)
            self._connection.await_cleared()
        return 'the emergency stop is reset; arm to go on'

    def _clear_errors(self) -> str:
        if self._running is not None and self._connection is not None:
            self._running.loop.call(self._running.control.clear_errors)
            self._connection.await_cleared()
            return 'errors cleared'
        connection = Connection(self._motor_settings)
        try:
            connection.motors.clear_errors()
            connection.await_cleared()
        finally:
            connection.close()
        return 'errors cleared'

    # What these need

    def _close(self) -> None:
        if self._running is not None:
            self._running.end()
        if self._connection is not None:
            self._connection.close()
        self._running = self._connection = None
        self._active = False
        self._safety.cleaned_up()

    def _refuse(self, reason: str) -> TransitionCallbackReturn:
        self._safety.reason = reason
        self.get_logger().error(reason)
        self._tell()
        return FAILURE

    # What it says of itself

    def _beat(self) -> None:
        self._safety.publishers = self._topics.publishers()
        self._safety.crowded_sensors = self._topics.crowded_sensors()
        if self._running is None and self._topics.take_stop():
            # Else the control thread takes it.
            self._safety.stop_for_emergency('emergency stop on the topic emergency_stop')
            self._tell()
        self._beats += 1
        if self._ending and not self._safety.moving:
            self.finished = True
        self._report(thoroughly=self._beats % DIAGNOSTICS_EVERY == 0)

    def _tell(self) -> None:
        """Tell of a change at once."""
        if self._safety.trips > self._trips_told:
            self._trips_told = self._safety.trips
            self.get_logger().error(f'motors off: {self._safety.reason}')
        self._report(thoroughly=True)
        error = self._running.control.error if self._running is not None else None
        if error is not None and not self.finished:
            self.get_logger().fatal(''.join(traceback.format_exception(error)))
            self.exit_code, self.finished = 1, True

    def _report(self, thoroughly: bool) -> None:
        status = driver_status(self._safety, self._running, time.monotonic())
        status.header.stamp = self.get_clock().now().to_msg()
        status.contract_hash = self._task.contract_hash
        status.real_time = self._real_time
        self._status.publish(status)
        if thoroughly:
            values = diagnostic_values(status)
            self._diagnostics.publish(level(status), status.reason or 'well', values)


def main() -> None:
    """Run the node."""
    run(HardwareDriver, Parameters, MotorSettings, SafetySettings)


if __name__ == '__main__':
    main()
