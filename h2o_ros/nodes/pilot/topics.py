"""How a pilot is spoken to: cmd_vel, driver_status, the services, pilot_status, shadow_action."""

from __future__ import annotations

import functools
import math
import time

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.publisher import Publisher
from std_srvs.srv import Trigger

from h2o_ros.msg import Action, DriverStatus, Observation, PilotStatus
from h2o_ros.nodes.core.base_node import LATCHED, LATEST, RELEASE, STREAM, BaseNode, to_floats
from h2o_ros.nodes.core.diagnostics import OK, WARN, Diagnostics
from h2o_ros.nodes.pilot.served_policy import ServedPolicy
from h2o_ros.robot.control.real_time import prefer_punctuality, run_in_real_time
from h2o_ros.robot.pilot.pilot import Mode, Pilot, Source
from h2o_ros.srv import ReleasePolicy

STATUS_PERIOD = 0.2  # s
SLOW = 0.002  # s; an answer that took longer is worth a warning
SERVICES = {
    'drive_by_policy': Mode.POLICY,
    'drive_by_balance_controller': Mode.BALANCE,
    'shadow': Mode.SHADOW,
}
DRIVERS = {
    Source.POLICY: 'the policy',
    Source.BALANCE_CONTROLLER: 'the balance controller',
    Source.OPERATOR: 'a person',
}


class PilotTopics:
    """Connects a pilot to the graph; `answer` answers an observation."""

    def __init__(
        self,
        node: BaseNode,
        pilot: Pilot,
        served: ServedPolicy,
        publisher: Publisher,
        stamped: bool,
    ) -> None:
        """publisher: of the actions. stamped: cmd_vel is a TwistStamped; false takes a Twist."""
        self._node, self._pilot, self._served = node, pilot, served
        self._publisher = publisher
        self.torque_flows = False  # as the driver says
        self._ending = False
        self._step = 0  # answered last
        self._shown: tuple = ()
        self._slowest, self._answered, self._seen_at = 0.0, 0, -math.inf
        self._shadow = node.create_publisher(Action, 'shadow_action', STREAM)
        self._status = node.create_publisher(PilotStatus, 'pilot_status', LATCHED)
        self._diagnostics = Diagnostics(node)
        if stamped:
            node.create_subscription(TwistStamped, 'cmd_vel', self._on_stamped, LATEST)
        else:
            node.create_subscription(Twist, 'cmd_vel', self._on_command, LATEST)
        node.create_subscription(DriverStatus, 'driver_status', self._on_driver, LATCHED)
        for name, mode in SERVICES.items():
            node.create_service(Trigger, name, functools.partial(self._on_choice, mode))
        node.create_service(ReleasePolicy, RELEASE, self._on_release)
        node.create_timer(STATUS_PERIOD, self._publish_status)
        node.create_timer(1.0, self._publish_diagnostics)
        prefer_punctuality()
        run_in_real_time(pilot.settings.real_time_priority)

    def answer(self, message: Observation, rows: np.ndarray) -> None:
        """Publish the action that answers a message whose data are rows (N, O)."""
        begun = self._seen_at = time.monotonic()
        if message.batch != 1 or not np.isfinite(rows).all():
            self._node.get_logger().error(
                'observation: expected finite numbers of one robot; not answered',
                throttle_duration_sec=5.0,
            )
            return
        policy = self._served.policy
        answer = self._pilot.answer(rows, begun, None if policy is None else policy.act)
        self._publisher.publish(self._action(message, answer.torque, answer.source))
        if answer.shadow is not None:
            self._shadow.publish(self._action(message, answer.shadow, Source.POLICY))
        self._slowest = max(self._slowest, time.monotonic() - begun)
        self._answered += 1
        self._step = message.step
        self._show_change()

    def tell_of_end(self) -> None:
        """Say that the node was told to end: one that was killed does not."""
        self._ending = True
        self._publish_status()

    def _show_change(self) -> None:
        """Publish the status where who drives, or with what, has changed."""
        pilot = self._pilot
        now = (pilot.mode, pilot.source, pilot.reason, self._held(), self._served.digest)
        if now != self._shown:
            if now[1:3] != self._shown[1:3]:
                self._node.get_logger().info(f'{DRIVERS[pilot.source]} drives: {pilot.reason}')
            self._shown = now
            self._publish_status()

    def _action(self, message: Observation, torque: np.ndarray, source: Source) -> Action:
        return Action(
            header=message.header,
            step=message.step,
            policy_version=self._served.version if source is Source.POLICY else 0,
            source=int(source),
            data=to_floats(torque),
        )

    def _held(self) -> bool:
        return self._pilot.holds(time.monotonic())

    def _on_stamped(self, message: TwistStamped) -> None:
        self._on_command(message.twist)

    def _on_command(self, message: Twist) -> None:
        # The age counts from here: clocks of two machines need not agree.
        self._pilot.command(message.linear.x, time.monotonic())

    def _on_driver(self, message: DriverStatus) -> None:
        self._pilot.set_armed(message.state == DriverStatus.ARMED)
        self.torque_flows = message.state in (DriverStatus.ARMED, DriverStatus.RAMPING_DOWN)

    def _on_choice(
        self, mode: Mode, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        has_policy, now = self._served.policy is not None, time.monotonic()
        refusal = self._pilot.choose(mode, now, has_policy)
        response.success = not refusal
        response.message = refusal or f'{DRIVERS[self._pilot.next_source(now)]} drives'
        self._show_change()
        return response

    def _on_release(
        self, request: ReleasePolicy.Request, response: ReleasePolicy.Response
    ) -> ReleasePolicy.Response:
        same = request.policy_hash == self._served.digest
        other = 'another policy than the one that was judged is served by now'
        response.message = self._pilot.release() if same else other
        response.success, response.step = not response.message, self._step
        return response

    def _publish_status(self) -> None:
        pilot, served = self._pilot, self._served
        message = PilotStatus(
            mode=int(pilot.mode),
            source=int(pilot.source),
            operator_holds=self._held(),
            ending=self._ending,
            reason=pilot.reason,
            policy_version=served.version,
            policy_hash=served.digest,
            contract_hash=self._pilot.task.contract_hash,
            velocity_command=pilot.velocity,
            trim=pilot.trim,
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._status.publish(message)

    def _publish_diagnostics(self) -> None:
        silent = time.monotonic() - self._seen_at > 1.0
        sticks = self._node.count_publishers(self._node.resolve_topic_name('cmd_vel'))
        text = f'{DRIVERS[self._pilot.source]} drives'
        if silent:
            text = 'no observations'
        elif sticks > 1:
            text = f'{sticks} nodes publish cmd_vel; let one person drive'
        good = not silent and sticks <= 1 and self._slowest <= SLOW
        values = {
            'reason': self._pilot.reason,
            'answers in the last second': self._answered,
            'slowest answer (ms)': 1e3 * self._slowest,
            'policy version': self._served.version,
            'trim (rad)': self._pilot.trim,
        }
        self._diagnostics.publish(OK if good else WARN, text, values)
        self._slowest, self._answered = 0.0, 0
