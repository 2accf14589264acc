"""Gate and robot's bridge over DDS: who drives after which evaluation, and after a trip."""

from __future__ import annotations

import collections
import itertools
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from ros_client import collect, listening

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.msg import Action, DriverStatus, Evaluation, Observation, TransitionBatch
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.core.base_node import EVERY, LATCHED, to_floats
from h2o_ros.nodes.core.conversions import policy_to_message, transitions_from_message
from h2o_ros.task import load_task
from h2o_ros.transitions import concatenate

TASK = load_task('standing_still')


def policy(gain: float, update: int, task=TASK) -> Policy:
    """Return a policy of torque = 3 tanh(gain theta / 3)."""
    head = np.zeros((len(task.observation), 2))
    head[0, 0] = gain / 3.0
    ones = np.ones(len(task.observation))
    return Policy([head], [np.zeros(2)], ones[:2], ones, 0 * ones, task.contract(), update=update)


class Gate:
    """The node in a domain, and everybody that it talks with."""

    def __init__(self, node, wait_until):
        self.node, self.wait_until = node, wait_until
        self.driving = collect(node, PolicyMessage, 'policy', LATCHED)
        self.evaluated = collect(node, PolicyMessage, 'evaluated_policy', LATCHED)
        self.candidates = node.create_publisher(PolicyMessage, 'candidate_policy', LATCHED)
        self.evaluations = node.create_publisher(Evaluation, 'evaluation', EVERY)
        self.observations = node.create_publisher(Observation, 'observation', EVERY)
        self.driver = node.create_publisher(DriverStatus, 'driver_status', LATCHED)
        for publisher in (self.candidates, self.evaluations, self.observations, self.driver):
            wait_until(lambda p=publisher: p.get_subscription_count() > 0, 20, publisher.topic)

    def begin(self):
        """Have the first policy drive, and be seen at one state."""
        self.evaluate(100, 178e3)
        self.await_driving(100)
        self.observations.publish(Observation(batch=1, data=to_floats(np.zeros(4))))
        self.observations.publish(Observation(batch=1, data=to_floats(np.zeros(3))))  # no robot's

    def offer(self, gain, update, earned, task=TASK):
        """Offer a candidate; evaluate it when it is asked for."""
        now = self.node.get_clock().now().to_msg()
        self.candidates.publish(policy_to_message(policy(gain, update, task), update, now))
        self.evaluate(update, earned)

    def evaluate(self, version, earned):
        asked = lambda: any(m.version == version for m in self.evaluated)  # noqa: E731
        self.wait_until(asked, 10, f'policy {version} to be evaluated')
        self.evaluations.publish(
            Evaluation(policy_version=version, returns=[earned], lengths=[6000])
        )

    def await_rest(self, pid):
        """Wait until the node has read what was sent: it reads its topics in turns."""
        states = collections.deque(maxlen=10)

        def rests():
            stats = [task.read_text() for task in Path(f'/proc/{pid}/task').glob('*/stat')]
            states.append({stat.rpartition(')')[2].split()[0] for stat in stats})
            return len(states) == 10 and all(each == {'S'} for each in states)

        self.wait_until(rests, 20, 'the gate to be at rest')

    def await_driving(self, version):
        drives = lambda: self.driving and self.driving[-1].version == version  # noqa: E731
        self.wait_until(drives, 10, f'policy {version} to drive')


@pytest.fixture
def gate_process(request, tmp_path, processes, node_environment):
    path = tmp_path / 'first.safetensors'
    policy(9.0, 100).save(path)
    words = ['-p', f'policy:={path}', '-p', 'gate_states:=1.0']
    words += getattr(request, 'param', ())
    process = processes.start_node('policy_gate', node_environment, *words)
    yield process
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)


def test_only_what_is_no_worse_and_not_too_different_drives_and_a_trip_brings_the_last_back(
    gate_process, ros_domain, wait_until
):
    with listening(ros_domain) as node:
        gate = Gate(node, wait_until)
        gate.begin()
        for step, theta in enumerate(np.linspace(-0.1, 0.1, 250)):
            gate.observations.publish(
                Observation(step=step, batch=1, data=to_floats(np.array([theta, 0, 0, 0])))
            )
        gate.await_rest(gate_process.pid)
        gate.offer(9.5, 200, 179e3)
        gate.await_driving(200)
        gate.offer(9.6, 300, 150e3)  # worse on the virtual robot
        gate.offer(-9.0, 400, 180e3)  # acts the other way round
        gate.offer(9.4, 500, 178.5e3)
        gate.await_driving(500)
        gate.driver.publish(DriverStatus(state=DriverStatus.TRIPPED, reason='it fell'))
        gate.await_driving(200)
        gate.driver.publish(DriverStatus(state=DriverStatus.ARMED))
        gate.offer(9.3, 600, 179e3)
        gate.await_driving(600)
        gate.driver.publish(DriverStatus(state=DriverStatus.EMERGENCY_STOPPED, reason='a person'))
        gate.await_driving(200)
        assert [message.version for message in gate.driving] == [100, 200, 500, 200, 600, 200]
    gate_process.send_signal(signal.SIGINT)
    text, _ = gate_process.communicate(timeout=20)
    assert 'policy 300 refused: its return on the virtual robot is 150000' in text
    assert 'policy 400 refused: its actions in the last 1 s of states change by' in text
    assert 'policy 500 rolled back to 200: it fell' in text
    assert gate_process.returncode == 0


def test_a_policy_that_did_not_drive_is_not_rolled_back(gate_process, ros_domain, wait_until):
    with listening(ros_domain) as node:
        gate = Gate(node, wait_until)
        gate.begin()
        gate.offer(9.5, 200, 179e3)
        gate.await_driving(200)
        by = Action.SOURCE_BALANCE_CONTROLLER
        for state in (DriverStatus.TRIPPED, DriverStatus.EMERGENCY_STOPPED):
            gate.driver.publish(DriverStatus(state=state, source=by, reason='let go'))
        gate.offer(9.4, 300, 179e3)
        gate.await_driving(300)
        assert [message.version for message in gate.driving] == [100, 200, 300]
    gate_process.send_signal(signal.SIGINT)
    text, _ = gate_process.communicate(timeout=20)
    assert 'rolled back' not in text


def test_a_candidate_for_another_task_or_damaged_does_not_drive(
    gate_process, ros_domain, wait_until
):
    with listening(ros_domain) as node:
        gate = Gate(node, wait_until)
        gate.begin()
        gate.offer(9.0, 200, 190e3, load_task('moving_straight'))
        torn = policy_to_message(policy(9.1, 300), 300, node.get_clock().now().to_msg())
        torn.file = torn.file[:-5]
        gate.candidates.publish(torn)
        gate.evaluate(300, 190e3)
        gate.offer(9.2, 400, 190e3)
        gate.await_driving(400)
        assert [message.version for message in gate.driving] == [100, 400]


def test_a_candidate_that_was_refused_is_not_evaluated_again(gate_process, ros_domain, wait_until):
    with listening(ros_domain) as node:
        gate = Gate(node, wait_until)
        gate.begin()
        lines = []
        threading.Thread(target=lambda: lines.extend(gate_process.stdout), daemon=True).start()
        gate.offer(9.6, 300, 150e3)
        wait_until(lambda: any('policy 300 refused' in line for line in lines), 10, 'refusal')
        # The evaluator knows it, and would not evaluate it a second time in a row.
        gate.candidates.publish(policy_to_message(policy(9.6, 300), 300, Time()))
        gate.offer(9.2, 400, 190e3)
        gate.await_driving(400)
        assert [message.version for message in gate.evaluated] == [100, 300, 400]


@pytest.mark.parametrize('gate_process', [('-p', 'evaluation_timeout:=1.0')], indirect=True)
def test_a_candidate_that_nobody_evaluates_gives_way_to_the_next(
    gate_process, ros_domain, wait_until
):
    with listening(ros_domain) as node:
        gate = Gate(node, wait_until)
        gate.begin()
        gate.candidates.publish(policy_to_message(policy(9.1, 200), 200, Time()))
        wait_until(lambda: gate.evaluated[-1].version == 200, 10, 'policy 200 to be evaluated')
        gate.offer(9.2, 300, 190e3)
        gate.await_driving(300)
    gate_process.send_signal(signal.SIGINT)
    text, _ = gate_process.communicate(timeout=20)
    assert 'policy 200 dropped: no evaluation within 1 s; does the evaluator run?' in text


def test_without_a_policy_the_gate_says_so(processes, node_environment):
    process = processes.start_node('policy_gate', node_environment)
    text, _ = process.communicate(timeout=20)
    assert text == 'error: policy_gate: parameter policy: expected a file, got none\n'
    assert process.returncode == 2


def test_the_robots_bridge_sends_whole_steps(processes, node_environment, ros_domain, wait_until):
    process = processes.start_node(
        'robot_bridge', node_environment, '-p', 'publish_period:=0.05', '-p', 'virtual:=true'
    )
    with listening(ros_domain) as node:
        batches = collect(node, TransitionBatch, 'robot_transitions')
        observations = node.create_publisher(Observation, 'observation', EVERY)
        actions = node.create_publisher(Action, 'applied_action', EVERY)
        for publisher in (observations, actions):
            wait_until(lambda p=publisher: p.get_subscription_count() > 0, 20, publisher.topic)
        counter = itertools.count()

        def some_steps_came() -> bool:
            # Best effort: what is said before the bridge knows of us is lost.
            step = next(counter)
            row = np.array([0.01 * step, 0, 0, 0])
            observations.publish(Observation(step=step, batch=1, data=to_floats(row)))
            observations.publish(Observation())  # no robot's
            if step % 5 != 4:
                data = to_floats(np.array([0.1 * step]))
                actions.publish(Action(step=step, policy_version=7, data=data))
            return sum(len(b.reward) for b in batches) >= 8

        wait_until(some_steps_came, 10, 'eight transitions')
        rows = concatenate([transitions_from_message(batch, TASK) for batch in batches])
        assert batches[0].origin == TransitionBatch.ORIGIN_VIRTUAL_ROBOT
        assert batches[-1].policy_version == 7
        np.testing.assert_allclose(
            rows.next_observation[:, 0] - rows.observation[:, 0], 0.01, atol=1e-6
        )
        steps = np.round(rows.observation[:, 0] / 0.01).astype(int)
        assert not (steps % 5 == 4).any()  # whose action never came
        np.testing.assert_allclose(rows.action[:, 0], 0.1 * steps, atol=1e-5)
        assert batches[-1].last_step == len(rows)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
