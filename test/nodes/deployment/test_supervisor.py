"""The supervisor over DDS, with a test in the place of driver and pilot: what it writes down."""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
from lifecycle_msgs.srv import ChangeState, GetState
from ros_client import listening
from std_srvs.srv import Trigger
from test_policy_gate import policy

from h2o_ros.msg import Action, DriverStatus, Observation, PilotStatus
from h2o_ros.nodes.core.base_node import LATCHED, RELEASE, STREAM, to_floats
from h2o_ros.nodes.supervisor import TRANSITIONS
from h2o_ros.srv import ReleasePolicy
from h2o_ros.task import load_task

TASK = load_task('standing_still')
MODES = {
    'drive_by_balance_controller': PilotStatus.MODE_BALANCE,
    'shadow': PilotStatus.MODE_SHADOW,
    'drive_by_policy': PilotStatus.MODE_POLICY,
}


class Robot:
    """Driver and pilot as the supervisor hears them; steps: driven so far, by source."""

    def __init__(self, node) -> None:
        self.node, self.state, self.mode = node, DriverStatus.DISARMED, PilotStatus.MODE_BALANCE
        self.source, self.number = Action.SOURCE_BALANCE_CONTROLLER, 0
        self.steps = dict.fromkeys(range(3), 0)
        self.mute = False  # the driver's last words are lost
        self.blind = False  # no observation is heard while the policy drives
        self.reason, self.policy_hash = '', 'a'
        self.refusals: list[str] = []  # reasons to refuse to activate, each told a while later
        self.refused = ''
        self.asked_for: list[str] = []  # hashes of the policies to release
        self.lifecycle = 'unconfigured'
        self.transitions: list[str] = []
        self._lifecycle = [
            node.create_service(ChangeState, 'hardware_driver/change_state', self._change),
            node.create_service(GetState, 'hardware_driver/get_state', self._get_state),
        ]
        for name, mode in MODES.items():
            node.create_service(Trigger, name, lambda _, a, m=mode: self._choose(m, a))
        node.create_service(ReleasePolicy, RELEASE, self._release)
        make = node.create_publisher
        self._driver = make(DriverStatus, 'driver_status', LATCHED)
        self._pilot = make(PilotStatus, 'pilot_status', LATCHED)
        self._observation = make(Observation, 'observation', STREAM)
        self._applied = make(Action, 'applied_action', STREAM)
        self._shadow = make(Action, 'shadow_action', STREAM)
        self._tell()
        node.create_timer(TASK.period, self._step)
        node.create_timer(0.2, self._tell)

    def change(self, mode, source, reason) -> None:
        """Have somebody else drive from the next step on."""
        self.mode, self.source, self.reason = mode, source, reason
        self._tell()

    def deactivate(self) -> None:
        """Have a person end the torque."""
        self.lifecycle, self.state = 'inactive', DriverStatus.DISARMED
        self._tell()

    def leave(self) -> None:
        """Have the driver end, once it has answered."""
        time.sleep(0.05)
        for service in self._lifecycle:
            self.node.destroy_service(service)

    def _get_state(self, _request, answer):
        answer.current_state.label = self.lifecycle
        return answer

    def _change(self, request, answer):
        name, (_, start, not_needed) = next(
            item for item in TRANSITIONS.items() if item[1][0] == request.transition.id
        )
        self.transitions.append(name)
        assert start == self.lifecycle, f'{name} of a driver that is {self.lifecycle}'
        armed = name == 'activate'
        if armed and self.refusals:
            self.refused = self.refusals.pop(0)
            answer.success = False
            return answer
        self.lifecycle = not_needed[0]
        self.state = DriverStatus.ARMED if armed else DriverStatus.DISARMED
        self._tell()
        answer.success = True
        return answer

    def _release(self, request, answer):
        self.asked_for.append(request.policy_hash)
        answer.success, answer.step = True, self.number
        return answer

    def _choose(self, mode, answer):
        by_policy = mode == PilotStatus.MODE_POLICY
        source = Action.SOURCE_POLICY if by_policy else Action.SOURCE_BALANCE_CONTROLLER
        self.change(mode, source, 'asked for')
        answer.success = True
        return answer

    def _tell(self) -> None:
        contract = TASK.contract_hash
        if not (self.mute and self.state == DriverStatus.DISARMED):
            self._driver.publish(
                DriverStatus(state=self.state, contract_hash=contract, reason=self.refused)
            )
        self._pilot.publish(
            PilotStatus(
                mode=self.mode,
                reason=self.reason,
                contract_hash=contract,
                policy_hash=self.policy_hash,
            )
        )

    def _step(self) -> None:
        self.number += 1
        torque = to_floats(np.array([np.sin(0.1 * self.number)]))
        row = to_floats(np.array([0.0, 0.0, 0.5, 0.0]))
        if not (self.blind and self.source == Action.SOURCE_POLICY):
            self._observation.publish(Observation(step=self.number, batch=1, data=row))
            self._observation.publish(Observation())  # no robot's: nobody may end by it
        if self.mode == PilotStatus.MODE_SHADOW:
            self._shadow.publish(Action(step=self.number, data=torque))
        self.steps[self.source] += 1
        self._applied.publish(Action(step=self.number, source=self.source, data=torque))


@pytest.fixture
def start(tmp_path, processes, node_environment):
    """Give a function that starts the supervisor, which drives until it is interrupted."""
    path = tmp_path / 'policy.safetensors'
    policy(1.0, 100).save(path)

    def start_supervisor(policy=str(path)):
        words = {'settle': 0.0, 'record': 'false', 'shadow_seconds': 1.0, 'output': tmp_path}
        words |= {'policy': policy} if policy else {}
        words = [word for name, value in words.items() for word in ('-p', f'{name}:={value}')]
        return processes.start_node('supervisor', node_environment, *words)

    return start_supervisor


def end(process):
    """End a supervisor as Ctrl-C does; return its exit code and what it said."""
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=20)
    assert 'Traceback' not in text, text
    return process.returncode, text


def test_the_reason_of_a_refusal_may_come_after_it(start, ros_domain):
    process = start()
    with listening(ros_domain) as node:
        robot = Robot(node)
        robot.refusals = ['imu/data: late', 'imu/data: late again', 'imu/data: gone']
        text, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and not robot.refusals
    for reason in ('late; it is asked again', 'late again; it is asked again', 'gone\n'):
        assert f'hardware_driver refuses to activate: imu/data: {reason}' in text, text


def test_what_others_drive_is_not_the_policys(start, ros_domain, wait_until, tmp_path):
    process = start()
    losses = (
        (Action.SOURCE_OPERATOR, 'a person took over'),
        (Action.SOURCE_BALANCE_CONTROLLER, 'the policy gave no finite torque'),
    )
    with listening(ros_domain) as node:
        robot = Robot(node)
        for source, reason in losses:
            wait_until(lambda: robot.source == Action.SOURCE_POLICY, 20, 'the hand-over')
            steps = robot.steps[Action.SOURCE_POLICY]
            wait_until(lambda n=steps: robot.steps[Action.SOURCE_POLICY] > n + 100, 10)
            robot.change(PilotStatus.MODE_BALANCE, source, reason)
            steps = robot.steps[source]
            wait_until(lambda s=source, n=steps: robot.steps[s] > n + 300, 10)
            if source == Action.SOURCE_OPERATOR:  # who hands the robot back
                robot.change(PilotStatus.MODE_POLICY, Action.SOURCE_POLICY, 'asked for')
        code, text = end(process)
    drive = json.loads((tmp_path / 'drive.json').read_text())
    assert (code, drive['fault'], drive['unjudged_steps']) == (0, '', 0)
    assert 50 < drive['steps'] <= robot.steps[Action.SOURCE_POLICY]
    assert drive['mean_abs_x'] == pytest.approx(0.5)
    assert [line.split(': ', 1)[1] for line in drive['policy_lost']] == [r for _, r in losses]
    assert 'the policy lost the robot after ' in text


def test_a_driver_that_answered_has_not_ended(start, ros_domain, wait_until, tmp_path):
    process = start(policy='')
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.state == DriverStatus.ARMED, 20, 'the motors')
        robot.mute = True
        code, text = end(process)
    drive = json.loads((tmp_path / 'drive.json').read_text())
    assert (code, drive['fault'], drive['stopped']) == (0, '', True), text


@pytest.mark.parametrize('phase', ['shadow', 'policy'])
def test_a_driver_that_somebody_deactivates_ends_the_run_at_once(
    start, ros_domain, wait_until, tmp_path, phase
):
    process = start()
    mode = {'shadow': PilotStatus.MODE_SHADOW, 'policy': PilotStatus.MODE_POLICY}[phase]
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.mode == mode, 20, 'the phase')
        began = time.monotonic()
        robot.deactivate()
        text, _ = process.communicate(timeout=20)
    assert time.monotonic() - began < 10.0, 'as long as the shadow phase may take'
    assert process.returncode == 1
    drive = json.loads((tmp_path / 'drive.json').read_text())
    assert drive['fault'] == 'somebody deactivated the driver', text
    assert robot.transitions == ['configure', 'activate', 'cleanup']


def test_a_driver_that_is_active_already_is_not_configured_again(start, ros_domain, wait_until):
    process = start(policy='')
    with listening(ros_domain) as node:
        robot = Robot(node)
        robot.lifecycle = 'active'
        text, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and robot.transitions == []
    assert 'hardware_driver cannot configure: it is active, not unconfigured' in text


def test_a_driver_that_ends_by_the_same_ctrl_c_is_not_waited_for(start, ros_domain, wait_until):
    process = start(policy='')
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.state == DriverStatus.ARMED, 20, 'the motors')
        process.send_signal(signal.SIGINT)
        wait_until(lambda: 'deactivate' in robot.transitions, 10, 'the way down')
        robot.leave()
        text, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and 'on the way down' not in text, text


def test_steps_that_could_not_be_paired_are_told(start, ros_domain, wait_until, tmp_path):
    process = start()
    with listening(ros_domain) as node:
        robot = Robot(node)
        robot.blind = True
        wait_until(lambda: robot.steps[Action.SOURCE_POLICY] > 100, 20)
        code, text = end(process)
    drive = json.loads((tmp_path / 'drive.json').read_text())
    assert (code, drive['steps']) == (0, 0)
    assert drive['missing_steps'] > 50
    assert f'no figures: {drive["missing_steps"]} steps were driven' in text


def test_a_policy_that_drives_unjudged_is_told_and_no_success(
    start, ros_domain, wait_until, tmp_path
):
    process = start()
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.mode == PilotStatus.MODE_SHADOW, 20, 'the shadow phase')
        robot.change(PilotStatus.MODE_POLICY, Action.SOURCE_POLICY, 'asked for')
        wait_until(lambda: robot.steps[Action.SOURCE_POLICY] > 100, 10)
        code, text = end(process)
    drive = json.loads((tmp_path / 'drive.json').read_text())
    assert (code, robot.asked_for) == (1, [])
    assert 50 < drive['steps'] <= drive['unjudged_steps'] + 1
    assert 'the policy drives without having passed its shadow phase' in text


def test_a_policy_that_comes_during_the_shadow_phase_is_judged_anew(start, ros_domain, wait_until):
    process = start()
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.mode == PilotStatus.MODE_SHADOW, 20, 'the shadow phase')
        robot.policy_hash = 'b'
        wait_until(lambda: robot.source == Action.SOURCE_POLICY, 20, 'the hand-over')
        assert robot.asked_for == ['b']
        code, text = end(process)
    assert code == 0 and 'another policy is served' in text


def test_without_a_policy_every_step_counts(start, ros_domain, wait_until, tmp_path):
    process = start(policy='')
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.state == DriverStatus.ARMED, 20, 'the motors')
        for source in (Action.SOURCE_OPERATOR, Action.SOURCE_BALANCE_CONTROLLER):
            robot.source, steps = source, robot.steps[source]
            wait_until(lambda s=source, n=steps: robot.steps[s] > n + 100, 10)
        assert end(process)[0] == 0
    drive = json.loads((tmp_path / 'drive.json').read_text())
    assert drive['steps'] > 150
    assert 'policy_lost' not in drive


def test_the_drive_of_an_earlier_run_is_set_aside(start, ros_domain, wait_until, tmp_path):
    (tmp_path / 'drive.json').write_text('{"earlier": true}')
    process = start(policy='')
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.state == DriverStatus.ARMED, 20, 'the motors')
        code, text = end(process)
    assert code == 0 and f'now in {tmp_path}/earlier-1' in text
    assert 'earlier' not in json.loads((tmp_path / 'drive.json').read_text())
    assert json.loads((tmp_path / 'earlier-1' / 'drive.json').read_text()) == {'earlier': True}


def test_figures_that_can_not_be_written_are_one_line_and_a_failure(
    start, ros_domain, wait_until, tmp_path
):
    (tmp_path / 'drive.partial').mkdir()
    process = start(policy='')
    with listening(ros_domain) as node:
        robot = Robot(node)
        wait_until(lambda: robot.state == DriverStatus.ARMED, 20, 'the motors')
        code, text = end(process)
        assert robot.state == DriverStatus.DISARMED
    assert code == 1
    (line,) = (line for line in text.splitlines() if 'cannot be written' in line)
    assert f'{tmp_path}/drive.json: cannot be written (Is a directory)' in line
