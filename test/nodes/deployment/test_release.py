"""The policy server's release: only what was judged, in shadow and armed, may drive; over DDS."""

from __future__ import annotations

import numpy as np
import pytest
from ros_client import ask, call, collect, listening
from test_policy_gate import policy

from h2o_ros.msg import Action, DriverStatus, Observation, PilotStatus
from h2o_ros.nodes.call import services
from h2o_ros.nodes.core.base_node import LATCHED, RELEASE, STREAM, to_floats
from h2o_ros.srv import ReleasePolicy


@pytest.fixture
def served(tmp_path, processes, node_environment):
    """Start a policy server that needs a release."""
    path = tmp_path / 'policy.safetensors'
    policy(1.0, 100).save(path)
    words = {'mode': 'balance', 'policy': path, 'needs_release': 'true', 'follow': 'false'}
    words = [word for name, value in words.items() for word in ('-p', f'{name}:={value}')]
    return processes.start_node('policy_server', node_environment, *words)


def test_only_the_policy_that_was_judged_is_released(served, ros_domain, wait_until):
    with listening(ros_domain) as node:
        said = collect(node, PilotStatus, 'pilot_status', LATCHED)
        driver = node.create_publisher(DriverStatus, 'driver_status', LATCHED)
        client = node.create_client(ReleasePolicy, RELEASE)

        def release(policy_hash):
            request = ReleasePolicy.Request(policy_hash=policy_hash)
            return ask(node, client, request, wait_until)

        driver.publish(DriverStatus(state=DriverStatus.ARMED))
        wait_until(lambda: said and said[-1].policy_hash)
        judged = said[-1].policy_hash
        row = to_floats(np.zeros(4))
        see = node.create_publisher(Observation, 'observation', STREAM)
        answers = collect(node, Action, 'action', STREAM)

        def is_answered():
            see.publish(Observation(step=1, batch=1, data=row))
            return len(answers) > 0

        wait_until(is_answered)
        assert 'not in shadow' in release(judged).message
        assert 'the balance controller drives' in call(node, 'shadow', wait_until).message
        assert 'another policy' in release('0' * 64).message
        refused = call(node, 'drive_by_policy', wait_until)
        assert 'has not passed the shadow phase' in refused.message
        assert release(judged).success
        assert call(node, 'drive_by_policy', wait_until).message == 'the policy drives'
        wait_until(lambda: said[-1].mode == PilotStatus.MODE_POLICY, 5)
        # A person's `h2o call` does not see it.
        assert '/drive_by_policy' in services(node)
        assert not any('release' in name for name in services(node))
        driver.publish(DriverStatus(state=DriverStatus.DISARMED))
        wait_until(lambda: said[-1].mode == PilotStatus.MODE_BALANCE, 5)
        served.terminate()
        served.communicate(timeout=20)
