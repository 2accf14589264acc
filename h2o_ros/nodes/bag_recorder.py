"""Node bag_recorder: writes the topics a task is learned from into a bag, as they come."""

from __future__ import annotations

import importlib
import json
import struct
from dataclasses import dataclass
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from h2o_ros.configuration import setting
from h2o_ros.data.bags import BagWriter
from h2o_ros.errors import ConfigurationError
from h2o_ros.nodes.common import BaseNode, run
from h2o_ros.task import Task, load_task

# a sensor driver may publish best effort; this accepts both kinds of publisher
SENSOR = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.BEST_EFFORT)
ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    output: str = setting('bags/recording', '', 'folder of the new bag; must not exist')
    operator: str = setting('', '', 'who drove, kept in the bag')
    reliable: bool = setting(True, '', 'false also takes drivers that publish best effort')


class BagRecorder(BaseNode):
    """Records every topic of the task until it is ended or told to stop."""

    def __init__(self) -> None:
        super().__init__('bag_recorder')
        parameters = self.read_parameters(Parameters)
        task = load_task(parameters.task)
        topics = {self.resolve_topic_name(t): kind for t, kind in topics_of(task).items()}
        metadata = {
            'task': task.name,
            'contract': json.dumps(task.contract(), ensure_ascii=False),
            'contract_hash': task.contract_hash,
            'operator': parameters.operator,
        }
        self._writer = BagWriter(parameters.output, topics, metadata)
        self._written = 0
        self._output = parameters.output
        for topic, kind in topics.items():
            self.create_subscription(
                message_class(kind),
                topic,
                lambda raw, topic=topic: self._on_message(topic, raw),
                ALL if parameters.reliable else SENSOR,
                raw=True,
            )
        self.create_service(Trigger, 'stop_recording', self._on_stop)
        self.get_logger().info(f'recording {", ".join(topics)} to {parameters.output}')

    def _on_message(self, topic: str, raw: bytes) -> None:
        self._writer.write(topic, header_stamp(raw), raw)
        self._written += 1

    def _on_stop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.stop()
        response.success = True
        response.message = f'{self._written} messages in {self._output}'
        return response

    def destroy_node(self) -> None:
        """Close the bag, then the node."""
        self._writer.close()
        self.get_logger().info(f'{self._written} messages in {self._output}')
        super().destroy_node()


def topics_of(task: Task) -> dict[str, str]:
    """Return topic and type of everything the task's fields come from."""
    sources = [s for field in task.observation for s in field.sources]
    sources += [s for field in task.action for s in field.sources]
    return {source.topic: source.type for source in sources}


def header_stamp(raw: bytes) -> int:
    """Return the stamp (ns) of a serialised message that begins with a std_msgs/Header.

    The log time is when a thing was measured, not when it came through: a recording made on a busy
    machine plays back as it was.
    """
    order = '<' if raw[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', raw, 4)
    return seconds * 10**9 + nanoseconds


def message_class(kind: str) -> Any:
    """Return the class of a message type such as sensor_msgs/msg/Imu."""
    package, _, name = kind.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as err:
        raise ConfigurationError(
            f'message type {kind} is not installed; install the package {package}'
        ) from err


def main() -> None:
    """Run the node."""
    run(BagRecorder)


if __name__ == '__main__':
    main()
