"""Node supervisor: brings a robot up in the right order, hands it over, and brings it down."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.client import Client
from std_srvs.srv import Trigger

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.configuration import setting
from h2o_ros.errors import ConfigurationError, RobotError
from h2o_ros.msg import Action, DriverStatus, LearnerStatus, Observation, PilotStatus
from h2o_ros.nodes.core.base_node import (
    CUT_OUT,
    EVERY,
    LATCHED,
    RELEASE,
    STREAM_EVERY,
    BaseNode,
    to_row,
)
from h2o_ros.nodes.core.node_process import run
from h2o_ros.nodes.deployment.drive_monitor import DriveWatch
from h2o_ros.nodes.deployment.interface import BRING_UP, Plan, Refused
from h2o_ros.nodes.deployment.sequence import Supervision
from h2o_ros.report.drive import describe_drive, write_drive
from h2o_ros.report.output import prepare_output_folder, set_aside
from h2o_ros.robot.pilot.shadow_phase import ShadowLimits, ShadowPhase
from h2o_ros.srv import ReleasePolicy
from h2o_ros.task import load_task

TRIGGERS = (
    'drive_by_balance_controller',
    'drive_by_policy',
    'shadow',
    'start_recording',
    'stop_recording',
)
# name: (id, the state from which it is possible, the states in which it is not needed)
TRANSITIONS = {
    'configure': (Transition.TRANSITION_CONFIGURE, 'unconfigured', ('inactive',)),
    'activate': (Transition.TRANSITION_ACTIVATE, 'inactive', ('active',)),
    'deactivate': (Transition.TRANSITION_DEACTIVATE, 'active', ('inactive', 'unconfigured')),
    'cleanup': (Transition.TRANSITION_CLEANUP, 'inactive', ('unconfigured',)),
}

DRIVE = 'drive.json'
POLL_PERIOD = 0.1  # s between two checks that the node that was called still runs
REASON = 1.0  # s in which the status that tells a refusal's reason comes
LEARNER_START = 180.0  # s to load, to compile and to make the first updates at nice 19


@dataclass(frozen=True)
class Parameters(ShadowLimits):
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    policy: str = setting('', '', 'policy file to hand the robot to; empty: a person drives')
    seconds: float = setting(0.0, 's', 'to drive; 0 until Ctrl-C', minimum=0.0)
    settle: float = setting(3.0, 's', 'of balancing before the shadow phase', minimum=0.0)
    record: bool = setting(True, '', 'record the run as one take')
    persist: bool = setting(
        False, '', 'after a trip wait until a person has armed the robot again, and go on'
    )
    await_learner: bool = setting(
        False, '', 'bring nothing up before the learner learns: its start takes the whole machine'
    )
    output: str = setting('runs/drive', '', 'folder for the figures of the run')


class Supervisor(BaseNode):
    """Gives the sequence of deployment/sequence.py what it needs of the other nodes."""

    def __init__(self) -> None:
        super().__init__('supervisor')
        self._settings = parameters = self.read_parameters(Parameters)
        self._task = load_task(parameters.task)
        if parameters.policy:
            Policy.load(parameters.policy).check_contract(self._task)
        self._output = prepare_output_folder(parameters.output)
        aside = set_aside(self._output, [DRIVE])
        if aside is not None:
            self.say(f'{DRIVE} of an earlier run is now in {aside}')
        self._driver: DriverStatus | None = None
        self._pilot: PilotStatus | None = None
        self._learns = not parameters.await_learner
        self._watch = DriveWatch(self._task)
        self._handed_over = False
        self._deactivated = False  # the driver has answered that it is
        self._ending = False  # a person ended the run
        self._heard = 0  # words of the pilot since the run was stopped
        self._driver_state: Client = self.create_client(
            ChangeState, 'hardware_driver/change_state'
        )
        self._lifecycle: Client = self.create_client(GetState, 'hardware_driver/get_state')
        self._release: Client = self.create_client(ReleasePolicy, RELEASE)
        self._triggers: dict[str, Client] = {
            name: self.create_client(Trigger, name) for name in TRIGGERS
        }
        self._shadow = ShadowPhase(self._task, parameters)
        plan = Plan(
            seconds=parameters.seconds,
            settle=parameters.settle,
            policy=bool(parameters.policy),
            record=parameters.record,
            patience=LEARNER_START if parameters.await_learner else BRING_UP,
            persist=parameters.persist,
        )
        self._supervision = Supervision(self, plan, self._shadow, self._when_done)
        self.create_subscription(DriverStatus, 'driver_status', self._on_driver, LATCHED)
        self.create_subscription(PilotStatus, 'pilot_status', self._on_pilot, LATCHED)
        if parameters.await_learner:
            topic = 'training/learner_status'
            self.create_subscription(LearnerStatus, topic, self._on_learner, EVERY)
        self.create_subscription(Observation, 'observation', self._on_observation, STREAM_EVERY)
        self.create_subscription(Action, 'applied_action', self._on_applied, STREAM_EVERY)
        self.create_subscription(Action, 'shadow_action', self._on_shadow, STREAM_EVERY)
        self._supervision.start()

    def missing_nodes(self) -> list[str]:
        """Name the nodes that have not been heard yet."""
        heard = {
            'hardware_driver': self._driver is not None and self._driver_state.service_is_ready(),
            'policy_server': self._pilot is not None,
            'learner': self._learns,
            'bag_recorder': not self._settings.record
            or self._triggers['start_recording'].service_is_ready(),
        }
        return [name for name, here in heard.items() if not here]

    def contract_faults(self) -> list[str]:
        """Say where supervisor, policy server and driver disagree on the task."""
        faults = []
        for name, status in (('hardware_driver', self._driver), ('policy_server', self._pilot)):
            if status is not None and status.contract_hash != self._task.contract_hash:
                faults.append(
                    f'{name} runs another task than {self._task.name}; give both the same task'
                )
        return faults

    def change_state(self, transition: str, timeout: float) -> None:
        """Make a transition of the driver's lifecycle if it is needed.

        Refused, with the driver's reason, if it does not; RobotError if it does not answer.
        """
        self._handed_over = False
        try:
            if not self._driver_has_left():
                self._make_transition(transition, timeout)
        except RobotError:
            if not self._driver_has_left():
                raise
        self._deactivated = transition == 'deactivate' or self._deactivated

    def _driver_has_left(self) -> bool:
        """Return True if a driver without torque has ended by the same Ctrl-C as this node."""
        ended = not self._lifecycle.service_is_ready()
        return self._ending and self._deactivated and ended

    def _make_transition(self, transition: str, timeout: float) -> None:
        number, start, not_needed = TRANSITIONS[transition]
        what = f'hardware_driver {transition}'
        state = self._ask(self._lifecycle, GetState.Request(), timeout, what).current_state.label
        if state not in (start, *not_needed):
            raise Refused(
                f'hardware_driver cannot {transition}: it is {state}, not {start}; has somebody '
                'else changed its state?'
            )
        if state == start:
            request = ChangeState.Request()
            request.transition.id = number
            if not self._ask(self._driver_state, request, timeout, what).success:
                raise Refused(f'hardware_driver refuses to {transition}: {self._reason_given()}')

    def call(self, service: str, timeout: float) -> str:
        """Call a Trigger and return its message; RobotError where it fails."""
        # Before it is asked: what the pilot says of it may come first.
        self._handed_over = service == 'drive_by_policy'
        if service == 'shadow':
            self._watch.judge(self._pilot.policy_hash if self._pilot else '')
        answer = self._ask(self._triggers[service], Trigger.Request(), timeout, service)
        if not answer.success:
            raise RobotError(f'{service}: {answer.message}')
        return answer.message

    def release_policy(self, timeout: float) -> None:
        """Let the policy that was in shadow drive; RobotError where it may not."""
        request = ReleasePolicy.Request(policy_hash=self._watch.judged)
        answer = self._ask(self._release, request, timeout, RELEASE)
        if not answer.success:
            raise RobotError(f'the policy is not released: {answer.message}')
        self._watch.release(answer.step)

    def trip(self) -> str:
        """Return why the driver tripped, empty where it did not."""
        driver = self._driver
        if driver is None or driver.state not in CUT_OUT:
            return ''
        return driver.reason or 'no reason given'

    def obstacles(self) -> str:
        """Return what stands against arming now, empty where nothing does."""
        return 'no status' if self._driver is None else self._driver.obstacles

    def is_armed(self) -> bool:
        """Say whether the motors are armed."""
        return self._driver is not None and self._driver.state == DriverStatus.ARMED

    def is_stopped_for_emergency(self) -> bool:
        """Say whether an emergency stop must be reset before anything moves."""
        driver = self._driver
        return driver is not None and driver.state == DriverStatus.EMERGENCY_STOPPED

    def is_driven_by_operator(self) -> bool:
        """Say whether a person holds the dead-man."""
        return self._pilot is not None and self._pilot.operator_holds

    def ended_nodes(self) -> list[str]:
        """Name those who, told to end, would still be heard, and are not."""
        # A driver answers, or its last words are that it is not armed. A pilot says that it ends,
        # or where nobody told it to, more than the one thing that may have been on its way. Last
        # words may be lost where this node is slow: who ended in order has left the graph.
        ending = self._pilot is not None and self._pilot.ending
        heard = {
            'hardware_driver': self._deactivated
            or not self.is_armed()
            or not self._driver_state.service_is_ready(),
            'policy_server': ending
            or self._heard > 1
            or not self._triggers['drive_by_policy'].service_is_ready(),
        }
        return [name for name, here in heard.items() if not here]

    def say(self, line: str) -> None:
        """Tell a person."""
        self.get_logger().info(line)

    def stop(self) -> None:
        """Bring the robot down; the node ends when that is done."""
        self._handed_over = False  # the driver receives the same Ctrl-C
        self._ending = True
        self._heard = 0
        self._supervision.stop()

    def _ask(self, client: Client, request: Any, timeout: float, what: str) -> Any:
        """Call a service from the sequence's thread, while the executor's brings the answer."""
        if not client.wait_for_service(timeout):
            raise RobotError(f'{what}: nobody answers within {timeout:g} s; has its node ended?')
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        end = time.monotonic() + timeout
        while not answered.wait(POLL_PERIOD):
            if not client.service_is_ready():
                raise RobotError(f'{what}: its node has ended')
            if time.monotonic() > end:
                raise RobotError(f'{what}: no answer within {timeout:g} s')
        return future.result()

    def _reason_given(self) -> str:
        """Return why the driver has just refused; its status may come after its answer."""
        before, end = self._driver, time.monotonic() + REASON
        while self._driver is before or not (self._driver and self._driver.reason):
            if time.monotonic() > end:
                break
            time.sleep(POLL_PERIOD / 10)
        return (self._driver and self._driver.reason) or 'it gave no reason'

    def _on_driver(self, message: DriverStatus) -> None:
        self._driver = message

    def _on_learner(self, _message: LearnerStatus) -> None:
        self._learns = True

    def _on_pilot(self, message: PilotStatus) -> None:
        before, self._pilot = self._pilot, message
        self._heard += 1
        other = message.policy_hash != self._watch.judged
        if self._supervision.shadowing.is_set() and other:
            self.say('another policy is served: the shadow phase begins anew')
            self._watch.judge(message.policy_hash)
            self._shadow.clear()
        left = before is not None and before.mode != message.mode != PilotStatus.MODE_POLICY
        if self._handed_over and left:
            how = f'after {self._watch.seconds:.1f} s: {message.reason}'
            self._watch.lost.append(how)
            self.get_logger().warning(f'the policy lost the robot {how}')

    def _on_observation(self, message: Observation) -> None:
        row = to_row(message.data, self._task.observation)
        if row is not None:  # else it is no robot's, and the policy server says so
            self._watch.add_observation(message.step, row)

    def _on_applied(self, message: Action) -> None:
        action = np.frombuffer(message.data, np.float32)
        self._watch.note_action(message.step)
        by_hand = message.source == Action.SOURCE_OPERATOR
        if self._supervision.shadowing.is_set() and not by_hand:
            self._shadow.add_driven(message.step, action)
        # Where a policy is to drive, all that it drives is the drive, and nothing else.
        by_policy = message.source == Action.SOURCE_POLICY
        if by_policy if self._settings.policy else self._supervision.driving.is_set():
            self._watch.add_action(message.step, action)
        ours = by_policy and self._settings.policy
        if ours and not self._watch.count_if_unapproved(message.step):
            self.get_logger().error(
                'the policy drives without having passed its shadow phase: somebody released it',
                throttle_duration_sec=5.0,
            )

    def _on_shadow(self, message: Action) -> None:
        if self._supervision.shadowing.is_set():
            self._shadow.add_answer(message.step, np.frombuffer(message.data, np.float32))

    def _when_done(self) -> None:
        """In the sequence's thread, at the end; whatever fails here, the node ends."""
        fault = self._supervision.fault
        self.exit_code = 1
        self._watch.catch_up()
        try:
            self._write_figures()
            lost = self._supervision.recording_lost
            self.exit_code = 1 if fault or lost or self._watch.unjudged else 0
        except ConfigurationError as err:
            self.get_logger().error(str(err))
        finally:
            if fault:
                self.get_logger().error(fault)
            self.finished = True

    def _write_figures(self) -> None:
        figures, missing = self._watch.figures, self._watch.missing
        line = describe_drive(figures, missing)
        if line:
            self.say(line)
        also: dict[str, Any] = {
            'task': self._task.name,
            'policy': self._settings.policy,
            'policy_hash': self._pilot.policy_hash if self._pilot else '',
            'fault': self._supervision.fault,
            'stopped': self._supervision.stopped,
            'recording_lost': self._supervision.recording_lost,
            'trips': self._supervision.trips,
            'missing_steps': missing,
        }
        if self._settings.policy:
            also['shadow'] = str(self._shadow.figures())
            also['shadow_passed'] = not self._shadow.reasons_to_refuse()
            also['policy_lost'] = self._watch.lost
            also['unjudged_steps'] = self._watch.unjudged
        write_drive(Path(self._output) / DRIVE, figures, **also)


def main() -> None:
    """Run the node."""
    run(Supervisor, Parameters)


if __name__ == '__main__':
    main()
