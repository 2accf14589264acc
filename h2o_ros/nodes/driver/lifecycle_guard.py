"""Requests for a lifecycle transition that the node's state does not allow are refused.

rclpy 7 (Jazzy) raises RCLError from the service's own callback, which ends the node; rclpy 9
(Kilted) answers success=False. With the guard both answer alike, and one line says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from rclpy._rclpy_pybind11 import RCLError
from rclpy.lifecycle import LifecycleNode


def refuse_impossible_transitions(node: LifecycleNode) -> None:
    """Guard the service change_state of a node that has just been made."""
    service = _service(node, 'change_state')
    change_state = service.callback

    def guarded(
        request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        response.success = False
        refusal = _refusal(node, request)
        if refusal:
            node.get_logger().warning(refusal)
            return response
        try:
            return change_state(request, response)
        except RCLError as err:
            reason = ' '.join(str(err).split())
            node.get_logger().error(f'transition not completed: {reason}')
            return response

    service.callback = guarded


def _refusal(node: LifecycleNode, request: ChangeState.Request) -> str:
    """Return in one line why a requested transition is impossible now, empty if it is not."""
    answer = _answer(node, 'get_available_transitions', GetAvailableTransitions)
    possible = [description.transition for description in answer.available_transitions]
    wanted = request.transition
    if any(
        # As rclpy has it, a label counts before an id.
        one.label == wanted.label if wanted.label else one.id == wanted.id
        for one in possible
    ):
        return ''
    state = _answer(node, 'get_state', GetState).current_state.label
    names = ', '.join(f'{one.label} ({one.id})' for one in possible) or 'none'
    return (
        f'transition {wanted.label or wanted.id} refused: the node is {state}; possible: {names}'
    )


def _answer(node: LifecycleNode, name: str, kind: Any) -> Any:
    """Return what a service of the node itself answers."""
    callback: Callable[[Any, Any], Any] = _service(node, name).callback
    return callback(kind.Request(), kind.Response())


def _service(node: LifecycleNode, name: str) -> Any:
    full = node.resolve_service_name(f'~/{name}')
    return next(service for service in node.services if service.srv_name == full)
