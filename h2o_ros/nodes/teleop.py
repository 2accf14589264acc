"""Node teleop: a person drives the robot by keyboard or joystick, or a script does.

cmd_vel goes out only while the dead-man is held. Everything else a key or button orders is a
service of another node; the emergency stop is a topic as well, and never waits for an answer.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.client import Client
from rclpy.task import Future
from sensor_msgs.msg import Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from h2o_ros.configuration import setting
from h2o_ros.msg import DriverStatus, Observation, PilotStatus
from h2o_ros.nodes.core.base_node import LATCHED, LATEST, STREAM_NEWEST, BaseNode, to_row
from h2o_ros.nodes.core.node_process import run
from h2o_ros.robot.operator.joystick import Joystick, JoystickSettings
from h2o_ros.robot.operator.keyboard import HELP, Keyboard, KeyboardSettings
from h2o_ros.robot.operator.teleop import (
    STICK_PERIOD,
    Order,
    ScriptedStick,
    Steering,
    TeleopSettings,
)
from h2o_ros.robot.operator.terminal import Terminal
from h2o_ros.task import Task, load_task


@dataclass(frozen=True)
class Parameters(TeleopSettings):
    """Parameters of the node."""

    operator: str = setting(
        'keyboard', '', 'who drives', choices=('keyboard', 'joystick', 'scripted')
    )
    task: str = setting('standing_still', '', 'what the scripted operator drives for')
    seed: int = setting(0, '', 'random seed of the scripted operator', minimum=0)
    stamped_cmd_vel: bool = setting(True, '', 'cmd_vel is a TwistStamped; false gives a Twist')


class Teleop(BaseNode):
    """Publishes cmd_vel while somebody holds the dead-man, and passes orders on."""

    def __init__(self) -> None:
        super().__init__('teleop')
        self._settings = self.read_parameters(Parameters)
        keys = self.read_parameters(KeyboardSettings)
        buttons = self.read_parameters(JoystickSettings)
        self._velocity: Any = self.create_publisher(
            TwistStamped if self._settings.stamped_cmd_vel else Twist, 'cmd_vel', LATEST
        )
        self._stop = self.create_publisher(Bool, 'emergency_stop', LATCHED)
        self._orders: dict[Order, Client] = {
            order: self.create_client(Trigger, order.value)
            for order in Order
            if order is not Order.EMERGENCY_STOP
        }
        self._shown: dict[str, str] = {}
        self._terminal: Terminal | None = None
        self._steering = self._make_steering(keys, buttons)
        self.create_subscription(PilotStatus, 'pilot_status', self._on_pilot, LATCHED)
        self.create_subscription(DriverStatus, 'driver_status', self._on_driver, LATCHED)
        self.create_timer(STICK_PERIOD, self._steer)
        if isinstance(self._steering, Keyboard):
            self._terminal = Terminal(functools.partial(self._on_key, self._steering), self.stop)
            print(HELP, flush=True)

    def destroy_node(self) -> None:
        """Give the terminal back, then end the node."""
        if self._terminal is not None:
            self._terminal.close()
        super().destroy_node()

    def _make_steering(self, keys: KeyboardSettings, buttons: JoystickSettings) -> Steering:
        settings = self._settings
        if settings.operator == 'scripted':
            task = load_task(settings.task)
            script = ScriptedStick(task, settings.speed, settings.seed)
            hear = functools.partial(self._on_observation, script, task)
            self.create_subscription(Observation, 'observation', hear, STREAM_NEWEST)
            return script
        if settings.operator == 'joystick':
            joystick = Joystick(settings.speed, buttons)
            self.get_logger().info(joystick.help())
            self.create_subscription(Joy, 'joy', functools.partial(self._on_joy, joystick), LATEST)
            return joystick
        return Keyboard(settings.speed, keys)

    def _steer(self) -> None:
        velocity = self._steering.velocity(time.monotonic())
        if velocity is None:
            return
        if self._settings.stamped_cmd_vel:
            message = TwistStamped()
            message.header.stamp = self.get_clock().now().to_msg()
            message.header.frame_id = 'base_link'
            message.twist.linear.x = velocity
        else:
            message = Twist()
            message.linear.x = velocity
        self._velocity.publish(message)

    def _on_key(self, keyboard: Keyboard, key: str) -> None:
        """In the terminal's thread: nothing that the node does may hold an emergency stop up."""
        order = keyboard.press(key, time.monotonic())
        if order is not None:
            self._give(order)

    def _on_joy(self, joystick: Joystick, message: Joy) -> None:
        try:
            orders = joystick.take(message.axes, message.buttons, time.monotonic())
        except ValueError as err:
            self.get_logger().error(f'joy: {err}', throttle_duration_sec=5.0)
            return
        for order in orders:
            self._give(order)

    def _on_observation(self, script: ScriptedStick, task: Task, message: Observation) -> None:
        row = to_row(message.data, task.observation)
        if row is not None:  # else it is no robot's, and the policy server says so
            script.see(row, time.monotonic())

    def _give(self, order: Order) -> None:
        if order is Order.EMERGENCY_STOP:
            self._stop.publish(Bool(data=True))
            self.get_logger().error('EMERGENCY STOP', throttle_duration_sec=1.0)
            return
        client = self._orders[order]
        if not client.service_is_ready():
            self.get_logger().error(f'{order.value}: nobody offers this service')
            return
        answer = client.call_async(Trigger.Request())
        answer.add_done_callback(functools.partial(self._on_answer, order))

    def _on_answer(self, order: Order, future: Future) -> None:
        response = future.result()
        if response is None:
            return
        if order is Order.RESET_EMERGENCY_STOP and response.success:
            # The latched stop has done its work: a driver that starts later must not hear it.
            self._stop.publish(Bool(data=False))
        say = self.get_logger().info if response.success else self.get_logger().error
        say(f'{order.value}: {response.message or ("done" if response.success else "refused")}')

    def _on_pilot(self, message: PilotStatus) -> None:
        names = {0: 'the policy drives', 1: 'the balance controller drives', 2: 'a person drives'}
        self._show('pilot', f'{names.get(message.source, "?")}: {message.reason}')

    def _on_driver(self, message: DriverStatus) -> None:
        names = ('unconfigured', 'disarmed', 'armed', 'ramping down', 'TRIPPED', 'STOPPED')
        state = names[message.state] if message.state < len(names) else '?'
        self._show('motors', f'{state}: {message.reason}' if message.reason else state)

    def _show(self, what: str, text: str) -> None:
        """Say a thing where it is new."""
        if self._shown.get(what) != text:
            self._shown[what] = text
            self.get_logger().info(f'{what}: {text}')


def main() -> None:
    """Run the node."""
    run(Teleop, Parameters, KeyboardSettings, JoystickSettings)


if __name__ == '__main__':
    main()
