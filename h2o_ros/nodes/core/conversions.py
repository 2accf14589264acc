"""The package's records as its messages, and back."""

from __future__ import annotations

import hashlib

import numpy as np
from builtin_interfaces.msg import Time

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.episodes import Episodes
from h2o_ros.errors import PolicyError
from h2o_ros.msg import Evaluation, RolloutBudget, TransitionBatch
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.core.base_node import to_bytes, to_floats, to_rows
from h2o_ros.pacing import Budget
from h2o_ros.report.evaluation import EpisodeFigures
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions


def budget_to_message(budget: Budget, stamp: Time) -> RolloutBudget:
    """Return the message that grants `budget`."""
    message = RolloutBudget(
        session=budget.session, steps=budget.steps, received=budget.received, seed=budget.seed
    )
    message.header.stamp = stamp
    return message


def budget_from_message(message: RolloutBudget) -> Budget:
    """Return what a message grants."""
    return Budget(message.session, message.steps, message.received, message.seed)


def transitions_to_message(rows: Transitions) -> TransitionBatch:
    """Return the arrays of a TransitionBatch; header, origin and counters stay to be filled."""
    return TransitionBatch(
        observation=to_floats(rows.observation),
        action=to_floats(rows.action),
        reward=to_floats(rows.reward),
        next_observation=to_floats(rows.next_observation),
        terminated=to_bytes(rows.terminated),
        truncated=to_bytes(rows.truncated),
    )


def transitions_from_message(message: TransitionBatch, task: Task) -> Transitions:
    """Return the rows of a message; ValueError where they do not fit the task, or not finite."""
    rows = max(len(message.reward), 1)
    expected = (len(task.observation), len(task.action))
    came = (len(message.observation) / rows, len(message.action) / rows)
    if came != expected:
        raise ValueError(
            f'task {task.name} has {expected[0]} observation and {expected[1]} action fields a '
            f'row, got {came[0]:g} and {came[1]:g}: the sender runs another task; give it the '
            'same task or another ROS_DOMAIN_ID'
        )
    batch = Transitions(
        observation=to_rows(message.observation, len(task.observation)),
        action=to_rows(message.action, len(task.action)),
        reward=np.frombuffer(message.reward, np.float32),
        next_observation=to_rows(message.next_observation, len(task.observation)),
        terminated=np.frombuffer(message.terminated, np.uint8),
        truncated=np.frombuffer(message.truncated, np.uint8),
    )
    if not batch.is_finite():
        raise ValueError('they hold numbers that are not finite')
    return batch


def episodes_to_message(episodes: Episodes, version: int, stamp: Time) -> Evaluation:
    """Return the message that reports an evaluation; domain stays to be filled."""
    message = Evaluation(
        policy_version=version,
        returns=to_floats(episodes.returns),
        lengths=episodes.lengths.tolist(),
        survived=episodes.survived.tolist(),
        mean_abs_x=to_floats(_measured(episodes.mean_abs_x)),
        mean_abs_action=to_floats(episodes.mean_abs_action),
        mean_x_dot=to_floats(_measured(episodes.mean_x_dot)),
    )
    message.header.stamp = stamp
    return message


def figures_from_message(message: Evaluation) -> EpisodeFigures:
    """Return an evaluation as the report takes it."""
    return EpisodeFigures(
        message.policy_version,
        message.returns,
        message.lengths,
        message.survived,
        message.mean_abs_x,
        message.mean_abs_action,
        message.mean_x_dot,
    )


def _measured(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def policy_to_message(policy: Policy, version: int, stamp: Time) -> PolicyMessage:
    """Return the message that carries a policy file."""
    content = policy.to_bytes()
    message = PolicyMessage(
        version=version,
        contract_hash=policy.contract_hash,
        file=to_bytes(content),
        digest=hashlib.sha256(content).hexdigest(),
    )
    message.header.stamp = stamp
    return message


def policy_from_message(message: PolicyMessage, task: Task) -> Policy:
    """Return the policy of a message; PolicyError where it is torn or not for `task`."""
    content = message.file.tobytes()
    if hashlib.sha256(content).hexdigest() != message.digest:
        raise PolicyError('policy message is damaged: its digest does not fit; send it again')
    policy = Policy.from_bytes(content)
    policy.check_contract(task)
    return policy
