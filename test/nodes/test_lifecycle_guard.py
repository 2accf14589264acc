"""A transition that a lifecycle node's state does not allow is refused, and the node lives."""

from __future__ import annotations

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy._rclpy_pybind11 import RCLError
from rclpy.lifecycle import LifecycleNode

from h2o_ros.nodes.driver.lifecycle_guard import refuse_impossible_transitions

POSSIBLE = {'unconfigured': (1, 5), 'inactive': (2, 3, 6), 'active': (4, 7)}


class LikeJazzy(LifecycleNode):
    """A node whose service change_state raises as rclpy 7.1.6's does."""

    def __init__(self, context):
        super().__init__('managed', context=context)
        self.warnings, self.errors = [], []
        service = next(s for s in self.services if s.srv_name == '/managed/change_state')
        change_state = service.callback

        def raising(request, response):
            state = self._state_machine.current_state[1]
            if not request.transition.label and request.transition.id not in POSSIBLE[state]:
                raise RCLError(
                    'Failed to trigger lifecycle state machine transition: Transition is not '
                    'registered., at ./src/rcl_lifecycle.c:355'
                )
            return change_state(request, response)

        service.callback = raising
        refuse_impossible_transitions(self)

    def get_logger(self):
        return self

    def warning(self, line):
        self.warnings.append(line)

    def error(self, line):
        self.errors.append(line)

    def ask(self, number=0, label=''):
        """Return what the service answers."""
        service = next(s for s in self.services if s.srv_name == '/managed/change_state')
        request = ChangeState.Request(transition=Transition(id=number, label=label))
        return service.callback(request, ChangeState.Response()).success


@pytest.fixture
def node(ros_domain):
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=ros_domain)
    node = LikeJazzy(context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_what_the_state_allows_is_done(node):
    assert [node.ask(number) for number in (1, 3, 4, 3, 7)] == [True] * 5
    assert node.warnings == []


@pytest.mark.parametrize('before', [(), (1,), (1, 3)])
def test_what_it_does_not_allow_is_refused_in_one_line(node, before):
    assert all(node.ask(number) for number in before)
    state = ('unconfigured', 'inactive', 'active')[len(before)]
    impossible = [number for number in range(256) if number not in POSSIBLE[state]]
    assert not any(node.ask(number) for number in impossible)
    assert len(node.warnings) == len(impossible)
    possible = ', '.join(
        f'{name} ({number})'
        for name, number in (
            ('configure', 1), ('cleanup', 2), ('activate', 3), ('deactivate', 4),
            ('shutdown', 5), ('shutdown', 6), ('shutdown', 7),
        )
        if number in POSSIBLE[state]
    )  # fmt: skip
    refused = f'transition 0 refused: the node is {state}; possible: '
    assert node.warnings[0].startswith(refused)
    assert sorted(node.warnings[0].removeprefix(refused).split(', ')) == sorted(
        possible.split(', ')
    )


def test_a_label_counts_before_an_id(node):
    assert not node.ask(1, 'dance')
    assert node.warnings[0].startswith('transition dance refused: the node is unconfigured')
    assert node.ask(0, 'configure')


def test_an_error_within_a_transition_ends_nobody(node):
    assert node.ask(1)
    service = next(s for s in node.services if s.srv_name == '/managed/change_state')

    def fail(request, response):
        raise RCLError('no transition\nfrom here')

    service.callback = fail
    refuse_impossible_transitions(node)
    assert not node.ask(2)
    assert node.errors == ['transition not completed: no transition from here']
