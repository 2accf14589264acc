"""One training run a ROS domain and namespace: a second one ends before it has begun."""

from __future__ import annotations

import math
import time

from rclpy.node import Node

from h2o_ros.errors import ConfigurationError
from h2o_ros.locks import FileLock
from h2o_ros.msg import RolloutBudget
from h2o_ros.nodes.common import LATCHED
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
        self._lock = self._take_lock(node)
        node.create_subscription(RolloutBudget, TOPIC, self._on_budget, LATCHED)

    def begin(self) -> None:
        """Say that the run has begun: soon, later comers give way to this one."""
        self._guard_until = time.monotonic() + GUARDED

    def _take_lock(self, node: Node) -> FileLock | None:
        try:
            return take_run_lock(self._domain, self._topic)
        except OSError as err:
            # A folder for temporary files that is out of order need not stop a training.
            node.get_logger().warning(
                f'the lock of this run cannot be taken ({err}); a second run is refused only once '
                'it is heard'
            )
            return None

    def _on_budget(self, message: RolloutBudget) -> None:
        if message.session != self._session and time.monotonic() < self._guard_until:
            raise ConfigurationError(refusal('another run', self._domain, self._topic))
