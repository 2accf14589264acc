"""The sequence that brings a robot up and down, with other nodes that do what a test says."""

from __future__ import annotations

import threading
import time

import pytest

from h2o_ros.errors import RobotError
from h2o_ros.nodes.deployment import sequence as sequence_module
from h2o_ros.nodes.deployment.interface import Plan, Refused
from h2o_ros.nodes.deployment.sequence import Supervision
from h2o_ros.robot.pilot.shadow_phase import ShadowPhase
from h2o_ros.task import load_task


class Nodes:
    """What the sequence sees of the other nodes, and what it asked of them in order."""

    def __init__(self, refused=(), arms=True):
        self.refused, self.arms = refused, arms
        self.asked, self.said = [], []
        self.armed, self.tripped, self.stopped, self.held = False, '', False, False
        self.in_the_way = []  # obstacles, one a look
        self.ended = []
        self.on_said = lambda line: None

    def missing_nodes(self):
        return []

    def contract_faults(self):
        return []

    def change_state(self, transition, timeout):
        self.asked.append(transition)
        if transition in self.refused:
            raise Refused(f'{transition} is refused')
        if transition == 'activate':
            self.armed = self.arms
        if transition == 'deactivate':
            self.armed = False

    def call(self, service, timeout):
        self.asked.append(service)
        if service in self.refused:
            raise RobotError(f'{service} is refused')
        return service

    def release_policy(self, timeout):
        self.call('release_policy', timeout)

    def trip(self):
        return self.tripped

    def obstacles(self):
        return self.in_the_way.pop(0) if self.in_the_way else ''

    def is_armed(self):
        return self.armed

    def is_stopped_for_emergency(self):
        return self.stopped

    def is_driven_by_operator(self):
        return self.held

    def ended_nodes(self):
        return self.ended

    def say(self, line):
        self.said.append(line)
        self.on_said(line)


class Passed(ShadowPhase):
    """A shadow phase that any policy passes at once."""

    complete = True

    def reasons_to_refuse(self):
        return []


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sequence_module, 'HAND_BACK', 0.05)


def run(nodes, prepare=lambda sequence: None, seconds=0.05, persist=False, policy=False):
    """Run the sequence; return it."""
    plan = Plan(seconds=seconds, settle=0.0, policy=policy, record=True, persist=persist)
    sequence = Supervision(nodes, plan, Passed(load_task('standing_still')), lambda: None)
    prepare(sequence)
    sequence.start()
    sequence.join(20.0)
    assert not sequence.is_alive()
    return sequence


def test_the_way_up_and_down():
    nodes = Nodes()
    assert run(nodes).fault == ''
    assert nodes.asked == [
        'configure', 'drive_by_balance_controller', 'start_recording', 'activate',
        'drive_by_balance_controller', 'deactivate', 'stop_recording', 'cleanup',
    ]  # fmt: skip
    assert any('hold the robot: the motors go off' in line for line in nodes.said)


@pytest.mark.parametrize(
    ('refused', 'way_down'),
    [
        ('configure', []),
        ('activate', ['stop_recording', 'cleanup']),
        ('start_recording', ['cleanup']),
    ],
)
def test_what_was_brought_up_is_brought_down_and_nothing_else(refused, way_down):
    nodes = Nodes(refused=(refused,))
    assert run(nodes).fault == f'{refused} is refused'
    last = max(k for k, asked in enumerate(nodes.asked) if asked == refused)
    assert nodes.asked[last + 1 :] == way_down
    assert not nodes.armed


def test_a_driver_that_was_activated_and_is_not_seen_armed_is_deactivated(monkeypatch):
    monkeypatch.setattr(sequence_module, 'ANSWER', 0.05)
    nodes = Nodes(arms=False)
    assert 'does not arm' in run(nodes).fault
    assert nodes.asked[-3:] == ['deactivate', 'stop_recording', 'cleanup']


def test_it_arms_when_the_first_answer_has_come():
    nodes = Nodes()
    nodes.in_the_way = ['not configured', 'no fresh command so far']
    ready = []

    def hear(line):
        if line.startswith('armed'):
            ready.append(not nodes.in_the_way)

    nodes.on_said = hear
    assert run(nodes).fault == ''
    assert ready == [True]


@pytest.mark.parametrize(
    ('refusals', 'looks', 'tries'),
    [
        (2, [], 3),  # ready at each look, and armed in the end
        (3, [], 3),
        (1, ['it lies'] * 1000, 1),  # what a look already showed is no matter of a moment
    ],
)
def test_a_refusal_of_a_moment_is_no_end(refusals, looks, tries, monkeypatch):
    monkeypatch.setattr(sequence_module, 'READY', 0.1)
    nodes = Nodes(refused=['activate'])
    nodes.in_the_way = looks
    change = nodes.change_state

    def change_state(transition, timeout):
        if nodes.asked.count('activate') == refusals:
            nodes.refused = []
        change(transition, timeout)

    nodes.change_state = change_state
    expected = '' if refusals < tries else 'activate is refused'
    assert run(nodes).fault == expected
    assert nodes.asked.count('activate') == tries
    assert sum('asked again' in line for line in nodes.said) == tries - 1


def test_a_driver_that_does_not_answer_is_not_asked_again():
    nodes = Nodes()
    change = nodes.change_state

    def change_state(transition, timeout):
        change(transition, timeout)
        if transition == 'activate':
            raise RobotError('no answer')

    nodes.change_state = change_state
    assert run(nodes).fault == 'no answer'
    assert nodes.asked.count('activate') == 1


def test_after_an_emergency_stop_a_person_is_told_to_reset_it():
    nodes = Nodes()

    def prepare(sequence):
        def hear(line):
            if 'armed: the balance' in line:
                nodes.tripped, nodes.stopped, nodes.armed = 'a person', True, False
            if 'go on' in line:
                sequence.stop()

        nodes.on_said = hear

    sequence = run(nodes, prepare, persist=True)
    assert (sequence.fault, sequence.trips) == ('', ['the driver tripped: a person'])
    assert nodes.said[-1] == (
        'the driver tripped: a person; call reset_emergency_stop, put the robot up and call the '
        'service arm to go on'
    )


def test_a_trip_that_ends_the_run_is_among_the_trips():
    nodes = Nodes()

    def hear(line):
        if 'armed: the balance' in line:
            nodes.tripped = 'a wheel turns'

    nodes.on_said = hear
    sequence = run(nodes, persist=False)
    assert sequence.fault == 'the driver tripped: a wheel turns'
    assert sequence.trips == [sequence.fault]


@pytest.mark.parametrize('persist', [False, True])
def test_a_driver_that_somebody_deactivates_is_no_trip(persist):
    nodes, waits = Nodes(), []

    def hear(line):
        if 'armed: the balance' in line:
            nodes.armed = False
        if 'go on' in line:
            waits.append(line)
            nodes.armed = True

    nodes.on_said = hear
    sequence = run(nodes, persist=persist)
    fault = 'somebody deactivated the driver'
    assert (sequence.fault, sequence.trips) == ('' if persist else fault, [])
    assert waits == [f'{fault}; put the robot up and activate the driver to go on'] * persist
    assert not sequence.stopped


def test_torque_that_fades_at_ctrl_c_is_nobody_who_deactivates():
    nodes = Nodes()

    def prepare(sequence):
        def hear(line):
            if 'armed: the balance' in line:
                nodes.armed = False
                threading.Timer(0.1, sequence.stop).start()

        nodes.on_said = hear

    sequence = run(nodes, prepare)
    assert (sequence.fault, sequence.stopped) == ('', True)


def test_the_policy_waits_for_a_person_who_drives():
    nodes = Nodes()
    nodes.held = True

    def hear(line):
        if 'the policy waits' in line:
            assert 'drive_by_policy' not in nodes.asked
            nodes.held = False

    nodes.on_said = hear
    assert run(nodes, policy=True).fault == ''
    assert nodes.asked[3:7] == ['activate', 'shadow', 'release_policy', 'drive_by_policy']
    assert any('a person drives' in line for line in nodes.said)


def test_a_person_who_takes_hold_at_the_hand_over_is_waited_for():
    nodes = Nodes(refused=['drive_by_policy'])
    asked, call = [], nodes.call

    def hold_at_first(service, timeout):
        if service == 'drive_by_policy':
            asked.append(nodes.held)
            nodes.held = len(asked) == 1  # the tap that the server heard first
            nodes.refused = ['drive_by_policy'] if len(asked) < 3 else []
        return call(service, timeout)

    def release(line):
        if 'the policy waits' in line:
            nodes.held = False

    nodes.call, nodes.on_said = hold_at_first, release
    assert run(nodes, policy=True).fault == ''
    assert len(asked) == 3 and any('handed over' in line for line in nodes.said)


@pytest.mark.parametrize('reason', ['shadow', 'drive_by_policy'])
def test_a_robot_that_is_up_is_handed_back_before_its_motors_go_off(reason, monkeypatch):
    monkeypatch.setattr(sequence_module, 'AGAIN', 0.05)
    nodes = Nodes(refused=(reason,))
    assert reason in run(nodes, policy=True).fault
    assert nodes.asked[-4:] == [
        'drive_by_balance_controller', 'deactivate', 'stop_recording', 'cleanup',
    ]  # fmt: skip
    assert any('hold the robot' in line for line in nodes.said)


def test_a_hand_over_is_tried_again_after_a_long_hold_too(monkeypatch):
    monkeypatch.setattr(sequence_module, 'AGAIN', 0.2)
    nodes = Nodes()
    nodes.held, asked, call = True, [], nodes.call

    def release(line):
        if 'the policy waits' in line:
            time.sleep(0.3)  # longer than a refusal is borne
            nodes.held = False

    def refuse_at_first(service, timeout):
        if service == 'drive_by_policy':
            asked.append(service)
            nodes.refused = ['drive_by_policy'] if len(asked) < 3 else []
        return call(service, timeout)

    nodes.on_said, nodes.call = release, refuse_at_first
    assert run(nodes, policy=True).fault == ''
    assert len(asked) == 3


@pytest.mark.parametrize('stopped', [False, True])
def test_a_take_that_is_not_ended_is_told(stopped):
    nodes = Nodes(refused=('stop_recording',))

    def prepare(sequence):
        if stopped:
            nodes.on_said = lambda line: sequence.stop()

    sequence = run(nodes, prepare)
    assert sequence.recording_lost == 'stop_recording is refused'
    assert (sequence.fault, sequence.stopped) == ('', stopped)


def test_a_node_that_has_ended_is_a_fault_and_no_person_who_stops(monkeypatch):
    monkeypatch.setattr(sequence_module, 'FAREWELL', 0.05)
    nodes = Nodes()
    nodes.ended = ['hardware_driver']

    def prepare(sequence):
        nodes.on_said = lambda line: sequence.stop()

    sequence = run(nodes, prepare)
    assert sequence.fault == 'hardware_driver has ended'
    assert not sequence.stopped


def test_a_policy_refused_in_shadow_is_not_released(monkeypatch):
    reasons = ['it pushes the wrong way']
    monkeypatch.setattr(Passed, 'reasons_to_refuse', lambda self: reasons)
    nodes = Nodes()
    assert run(nodes, policy=True).fault.endswith('it pushes the wrong way')
    assert 'release_policy' not in nodes.asked and 'drive_by_policy' not in nodes.asked
    assert any('hold the robot' in line for line in nodes.said)


def test_a_fault_of_its_own_brings_the_robot_down_and_is_no_success(capsys):
    nodes = Nodes()
    sequence = run(nodes, lambda sequence: setattr(sequence, '_hold', None))
    assert sequence.fault.startswith('the supervisor itself failed: TypeError')
    assert nodes.asked[-3:] == ['deactivate', 'stop_recording', 'cleanup']
    assert 'Traceback' in capsys.readouterr().err
