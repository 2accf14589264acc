"""The evaluator over DDS: which policies it evaluates; a test is its virtual robot."""

from __future__ import annotations

import signal

import numpy as np
from ros_client import collect, listening

from h2o_ros.msg import Evaluation, RolloutBudget, TransitionBatch
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.core.base_node import EVERY, LATCHED, to_bytes, to_floats


def policy(version: int, content: bytes) -> PolicyMessage:
    """Return a policy as the gate sends one; nobody here reads its file."""
    return PolicyMessage(
        version=version, final=True, file=to_bytes(content), digest=content.decode()
    )


class VirtualRobot:
    """A robot that falls in the first step, whatever drives it."""

    def __init__(self, node) -> None:
        self.reward = 1.0
        self.policies = collect(node, PolicyMessage, 'virtual_robot/policy', LATCHED)
        self._transitions = node.create_publisher(
            TransitionBatch, 'virtual_robot/transitions', EVERY
        )
        node.create_subscription(
            RolloutBudget, 'virtual_robot/rollout_budget', self._fall, LATCHED
        )

    def is_heard(self) -> bool:
        return self._transitions.get_subscription_count() > 0

    def _fall(self, budget: RolloutBudget) -> None:
        if not budget.steps:
            return
        self._transitions.publish(
            TransitionBatch(
                session=budget.session,
                last_step=1,
                policy_version=self.policies[-1].version if self.policies else 0,
                batch=1,
                observation=to_floats(np.zeros(4)),
                action=to_floats(np.zeros(1)),
                reward=to_floats(np.array([self.reward])),
                next_observation=to_floats(np.array([1.0, 0.0, 0.0, 0.0])),
                terminated=to_bytes(np.ones(1)),
                truncated=to_bytes(np.zeros(1)),
            )
        )


def test_a_policy_is_known_by_its_file_not_by_its_version(
    processes, node_environment, ros_domain, wait_until
):
    words = ('-p', 'episodes:=1', '-p', 'output:=/dev/null/run')  # where nothing can be kept
    process = processes.start_node('evaluator', node_environment, *words)
    with listening(ros_domain) as node:
        robot = VirtualRobot(node)
        evaluations = collect(node, Evaluation, 'evaluation')
        policies = node.create_publisher(PolicyMessage, 'policy', LATCHED)
        wait_until(lambda: policies.get_subscription_count() and robot.is_heard(), 20)
        for count, content in enumerate((b'one', b'other', b'third'), start=1):
            policies.publish(policy(200, content))
            wait_until(lambda n=count: len(evaluations) == n, 10, f'evaluation of {content!r}')
            policies.publish(policy(201, content))  # the same again: nothing to evaluate
        assert [m.digest for m in robot.policies] == ['one', 'other', 'third']
        assert {m.policy_version for m in evaluations} == {200}
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and text.count('evaluation.npz: cannot be written') == 3


def test_a_policy_whose_steps_are_refused_is_given_up_and_the_next_is_evaluated(
    processes, node_environment, ros_domain, wait_until
):
    process = processes.start_node('evaluator', node_environment, '-p', 'episodes:=1')
    with listening(ros_domain) as node:
        robot = VirtualRobot(node)
        robot.reward = np.nan
        evaluations = collect(node, Evaluation, 'evaluation')
        budgets = collect(node, RolloutBudget, 'virtual_robot/rollout_budget', LATCHED)
        policies = node.create_publisher(PolicyMessage, 'policy', LATCHED)
        wait_until(lambda: policies.get_subscription_count() and robot.is_heard(), 20)
        policies.publish(policy(200, b'one'))
        wait_until(lambda: budgets and not budgets[-1].steps, 10, 'its end')
        assert evaluations == []
        robot.reward = 1.0
        policies.publish(policy(400, b'other'))
        wait_until(lambda: evaluations, 10, 'the next evaluation')
        assert [m.policy_version for m in evaluations] == [400]
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert text.count('version 200 is not evaluated: they hold numbers that are not finite') == 1
