"""At most one training run and one robot per ROS domain and namespace: a second is refused."""

from __future__ import annotations

import math
import time

from rclpy.node import Node

from h2o_ros.errors import ConfigurationError
from h2o_ros.locks import FileLock
from h2o_ros.msg import RolloutBudget
from h2o_ros.nodes.core.base_node import LATCHED
from h2o_ros.run_lock import TOPIC, refusal, take_run_lock

GUARDED = 10.0  # s after the beginning in which a run still gives way to another one


class SoleRun:
    """Keeps the topics of a run for one learner.

    On one machine a lock does that, at once and for the process's life. Learners of other machines
    are heard, as soon as DDS has found them.
    """

    def __init__(self, node: Node, session: int) -> None:
        """Take the lock; ConfigurationError where another run has it.

        session: the learner's own, by which it knows its budgets from another's.
        """
        self._session = session
        self._domain = node.context.get_domain_id()
        self._topic = node.resolve_topic_name(TOPIC)
        # Nothing is heard before the node spins, however long it loads until then.
        self._guard_until = math.inf
        self._lock = take_sole_lock(node, TOPIC)
        node.create_subscription(RolloutBudget, TOPIC, self._on_budget, LATCHED)

    def begin(self) -> None:
        """Say that the run has begun: soon, later comers give way to this one."""
        self._guard_until = time.monotonic() + GUARDED

    def _on_budget(self, message: RolloutBudget) -> None:
        if message.session != self._session and time.monotonic() < self._guard_until:
            raise ConfigurationError(refusal('another run', self._domain, self._topic))


def take_sole_lock(node: Node, topic: str) -> FileLock | None:
    """Take the lock of a node's topic; ConfigurationError where another run has it.

    None, and a warning, where no lock can be: a folder for temporary files that is out of order
    need not stop anybody.
    """
    try:
        return take_run_lock(node.context.get_domain_id(), node.resolve_topic_name(topic))
    except OSError as err:
        node.get_logger().warning(
            f'the lock of this run cannot be taken ({err}); a second run is refused only once '
            'it is heard'
        )
        return None
