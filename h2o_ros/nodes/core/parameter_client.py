"""Asks another node for its parameters, without waiting for it."""

from __future__ import annotations

import json
from typing import Any

from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient


class ParameterReader:
    """Reads all parameters of one node as soon as it is there.

    text: JSON, name to value; empty until they came.
    """

    def __init__(self, node: Node, name: str) -> None:
        self.text = ''
        self._client = AsyncParameterClient(node, name)
        self._names: list[str] = []
        self._asked: Any = None

    def forget(self) -> None:
        """Ask again: the node may have been started anew."""
        self.text, self._asked = '', None

    def ask(self) -> None:
        """Ask until there is an answer; called now and then, as the node may start late."""
        if not self.text and self._asked is None and self._client.services_are_ready():
            self._asked = self._client.list_parameters(callback=self._on_names)

    def _on_names(self, future: Any) -> None:
        self._names = list(future.result().result.names)
        self._asked = self._client.get_parameters(self._names, callback=self._on_values)

    def _on_values(self, future: Any) -> None:
        values = map(parameter_value_to_python, future.result().values)
        content = dict(zip(self._names, values, strict=True))
        self.text = json.dumps(content, default=list, sort_keys=True)
