"""The order in which a robot is brought up, driven and brought down, as one readable sequence.

It runs in a thread of its own; the node's executor brings it what the other nodes say.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable

from h2o_ros.errors import RobotError
from h2o_ros.nodes.deployment.interface import (
    Deactivated,
    Plan,
    Refused,
    Robot,
    Stopped,
    Tripped,
)
from h2o_ros.robot.pilot.shadow_phase import ShadowPhase

CONFIGURE = 15.0  # s in which the driver finds and checks its motors
READY = 2.0  # s in which nothing stands against arming any more, the first answers included
ATTEMPTS = 3  # to arm a robot that looked ready each time: one late message is no end
ANSWER = 5.0  # s in which a service answers
# Together these fit into what a launch waits for a node: the torque fades, the take ends, cleanup.
WAY_DOWN = 2.0  # s in which the driver does a step down
TAKE_END = 4.0  # s in which the recorder brings the take to the disk
AGAIN = 1.0  # s for which a refused hand-over is tried again
HAND_BACK = 3.0  # s of balancing in which a person takes hold of the robot
FAREWELL = 1.0  # s in which a node that was told to end, or runs on, is heard
POLL_PERIOD = 0.02  # s between two checks
CTRL_C_ARRIVAL = 0.5  # s by which it may reach the driver before this node


class Supervision(threading.Thread):
    """Brings the robot up, drives, and brings it down whatever happens.

    shadow: collects while the policy is only listened to. driving: set once the plan's own phase
    begins. fault: why it ended early, empty where it did not. stopped: a person ended it.
    recording_lost: why the take could not be ended well. trips: all while the plan was driven.
    when_done: called at the end.
    """

    def __init__(
        self, robot: Robot, plan: Plan, shadow: ShadowPhase, when_done: Callable[[], None]
    ) -> None:
        super().__init__(name='supervision', daemon=True)
        self._robot, self._plan, self._shadow = robot, plan, shadow
        self._when_done = when_done
        self._stopping = threading.Event()
        self.shadowing = threading.Event()
        self.driving = threading.Event()
        self._activated = self._recording = False
        self._armed = False  # and was seen to be
        self.fault = ''
        self.stopped = False
        self.recording_lost = ''
        self.trips: list[str] = []

    def stop(self) -> None:
        """Bring the robot down; from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Do the plan."""
        try:
            self._check_first()
            self._robot.change_state('configure', CONFIGURE)
            try:
                self._bring_up()
                self._drive()
            finally:
                self._bring_down()
        except RobotError as err:
            self.fault = str(err)
        except Stopped:
            self.fault = self._who_has_ended()
            self.stopped = not self.fault
        except Exception as err:
            # A fault of ours: the robot is down by now, and the run must not pass for a good one.
            traceback.print_exc()
            self.fault = f'the supervisor itself failed: {type(err).__name__}: {err}'
        finally:
            self._when_done()

    def _check_first(self) -> None:
        robot = self._robot
        self._wait(lambda: not robot.missing_nodes(), self._plan.patience, self._who_is_missing)
        faults = robot.contract_faults()
        if faults:
            raise RobotError(f'not armed: {"; ".join(faults)}')

    def _bring_up(self) -> None:
        """Arm; who balances the robot is there first."""
        robot = self._robot
        robot.call('drive_by_balance_controller', ANSWER)
        if self._plan.record:
            # Whoever cannot record must know it before the robot depends on the motors.
            robot.say(robot.call('start_recording', ANSWER))
            self._recording = True
        self._activate()
        self._activated = True
        self._wait(robot.is_armed, ANSWER, lambda: f'the driver does not arm: {robot.trip()}')
        self._armed = True
        robot.say('armed: the balance controller drives')

    def _activate(self) -> None:
        robot = self._robot
        for left in reversed(range(ATTEMPTS)):
            ready = self._await_ready()
            try:
                robot.change_state('activate', CONFIGURE)
                return
            except Refused as err:
                if not (ready and left):
                    raise
                robot.say(f'{err}; it is asked again')

    def _await_ready(self) -> bool:
        """Give the first answers time to arrive; what is in the way then, the driver says."""
        end = time.monotonic() + READY
        while in_the_way := self._robot.obstacles():
            if self._stopping.is_set():
                raise Stopped
            if time.monotonic() > end:
                break
            time.sleep(POLL_PERIOD)
        return not in_the_way

    def _drive(self) -> None:
        while True:
            try:
                self._drive_once()
                return
            except (Tripped, Deactivated) as err:
                if isinstance(err, Tripped):
                    self.trips.append(str(err))
                if not self._plan.persist:
                    raise
                self._await_person(err)
            except RobotError as err:
                self._robot.say(str(err))
                with contextlib.suppress(RobotError, Stopped):
                    self._hand_back()
                raise

    def _drive_once(self) -> None:
        plan = self._plan
        self._hold(plan.settle)
        if plan.policy:
            self._listen_in_shadow()
            self._hand_over()
        self.driving.set()
        self._hold(plan.seconds or float('inf'))
        self.driving.clear()
        self._hand_back()

    def _hand_over(self) -> None:
        """Hand the robot to the policy; where a person takes hold at that moment, after that."""
        robot = self._robot
        robot.release_policy(ANSWER)
        given_up = float('inf')
        while True:
            if robot.is_driven_by_operator():
                given_up = float('inf')
                self._await_release()
            try:
                robot.call('drive_by_policy', ANSWER)
                break
            except RobotError:
                given_up = min(given_up, time.monotonic() + AGAIN)
                if time.monotonic() >= given_up:
                    raise
                self._check()
                time.sleep(POLL_PERIOD)
        robot.say('handed over: the policy drives')

    def _hand_back(self) -> None:
        """Balance for as long as a person needs to take hold of the robot."""
        robot = self._robot
        robot.call('drive_by_balance_controller', ANSWER)
        robot.say(f'hold the robot: the motors go off in {HAND_BACK:g} s')
        self._hold(HAND_BACK)

    def _await_person(self, end: Tripped | Deactivated) -> None:
        """Nothing arms by itself: a person puts the robot up and arms or activates the driver."""
        robot = self._robot
        self.driving.clear()
        self.shadowing.clear()
        robot.call('drive_by_balance_controller', ANSWER)
        first = 'call reset_emergency_stop, ' if robot.is_stopped_for_emergency() else ''
        how = 'call the service arm' if isinstance(end, Tripped) else 'activate the driver'
        robot.say(f'{end}; {first}put the robot up and {how} to go on')
        while not robot.is_armed():
            if self._stopping.is_set():
                raise Stopped
            time.sleep(POLL_PERIOD)

    def _await_release(self) -> None:
        """Nobody is robbed of the robot: the hand-over waits for the dead-man."""
        robot = self._robot
        if robot.is_driven_by_operator():
            robot.say('a person drives: the policy waits until the dead-man is released')
        while robot.is_driven_by_operator():
            self._check()
            time.sleep(POLL_PERIOD)

    def _listen_in_shadow(self) -> None:
        robot, shadow = self._robot, self._shadow
        shadow.clear()
        robot.call('shadow', ANSWER)
        robot.say(f'shadow phase: {shadow.limits.shadow_seconds:g} s')
        self.shadowing.set()
        end = time.monotonic() + 3.0 * shadow.limits.shadow_seconds + ANSWER
        while not shadow.complete and time.monotonic() < end:
            self._check()
            time.sleep(POLL_PERIOD)
        self.shadowing.clear()
        robot.say(f'shadow phase: {shadow.figures()}')
        reasons = shadow.reasons_to_refuse()
        if reasons:
            raise RobotError(f'the policy stays in shadow: {"; ".join(reasons)}')

    def _bring_down(self) -> None:
        """Ramp down and disarm, then end the take; each is tried whatever became of the others."""
        self.driving.clear()
        robot = self._robot
        for needed, action in (
            (
                self._activated or robot.is_armed(),
                lambda: robot.change_state('deactivate', WAY_DOWN),
            ),
            (self._recording, self._end_take),
            (True, lambda: robot.change_state('cleanup', WAY_DOWN)),
        ):
            try:
                if needed:
                    action()
            except RobotError as err:
                self._robot.say(f'on the way down: {err}')

    def _end_take(self) -> None:
        try:
            self._robot.call('stop_recording', TAKE_END)
        except RobotError as err:
            self.recording_lost = str(err)  # at Ctrl-C, too: the recorder waits for this
            raise

    def _who_has_ended(self) -> str:
        """Say whose end it was that stopped the run, empty where a person did.

        A launch whose node has ended stops the others as a person's Ctrl-C does.
        """
        if not self._activated:
            return ''
        end = time.monotonic() + FAREWELL
        while (ended := self._robot.ended_nodes()) and time.monotonic() < end:
            time.sleep(POLL_PERIOD)
        return f'{" and ".join(ended)} has ended' if ended else ''

    def _hold(self, seconds: float) -> None:
        """Let the robot run for a while; RobotError at a trip."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check()
            time.sleep(POLL_PERIOD)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Stopped
        trip = self._robot.trip()
        if trip:
            raise Tripped(f'the driver tripped: {trip}')
        # At Ctrl-C the driver's torque fades, too, and this node may hear of that first.
        if self._armed and not self._robot.is_armed():
            if self._stopping.wait(CTRL_C_ARRIVAL):
                raise Stopped
            if not self._robot.trip():
                raise Deactivated('somebody deactivated the driver')

    def _wait(
        self, condition: Callable[[], bool], timeout: float, complaint: Callable[[], str]
    ) -> None:
        end = time.monotonic() + timeout
        while not condition():
            self._check()
            if time.monotonic() > end:
                raise RobotError(complaint())
            time.sleep(POLL_PERIOD)

    def _who_is_missing(self) -> str:
        missing = ', '.join(self._robot.missing_nodes())
        patience = f'{self._plan.patience:g} s'
        return f'not heard within {patience}: {missing}; do they run in this ROS domain?'
