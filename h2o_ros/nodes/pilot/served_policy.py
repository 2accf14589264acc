"""The policy that a server holds: from a file, or the newest good one of its topic."""

from __future__ import annotations

import hashlib
from pathlib import Path

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.errors import PolicyError
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.core.conversions import policy_from_message
from h2o_ros.task import Task


class ServedPolicy:
    """A policy, its version and the digest of its file; none at first."""

    def __init__(self, task: Task, path: str = '') -> None:
        """path: a policy file; PolicyError where it is none or made for another task."""
        self._task = task
        self.policy: Policy | None = None
        self.version = 0
        self.digest = ''
        if path:
            policy = Policy.load(path)
            policy.check_contract(task)
            self.policy, self.version = policy, policy.update
            self.digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def take(self, message: PolicyMessage) -> str:
        """Replace the policy by that of a message; return why not, or an empty string."""
        try:
            self.policy = policy_from_message(message, self._task)
        except PolicyError as err:
            return str(err)
        self.version, self.digest = message.version, message.digest
        return ''
