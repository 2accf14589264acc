"""A node's report on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes one status of a node; call `publish` once a second and at each fault."""

    def __init__(self, node: Node, hardware: str = '') -> None:
        """hardware: what the status is about, where it is a device."""
        self._node, self._hardware = node, hardware
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def publish(self, level: bytes, text: str, values: Mapping[str, object]) -> None:
        """Publish a status. level: OK, WARN or ERROR. values: shown beside it by their names."""
        status = DiagnosticStatus(
            level=level,
            name=self._node.get_fully_qualified_name().lstrip('/'),
            message=text,
            hardware_id=self._hardware,
            values=[KeyValue(key=key, value=shown(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def shown(value: object) -> str:
    """Return a value as a person reads it; numbers with four digits."""
    return f'{value:.4g}' if isinstance(value, float) else str(value)
