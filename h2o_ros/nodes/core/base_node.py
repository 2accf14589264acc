"""Base of all nodes: parameters from a dataclass, QoS, services, messages."""

from __future__ import annotations

import array
import dataclasses
import importlib
import re
import sys
import time
from collections.abc import Callable, Sized
from typing import Any, Protocol, TypeVar

import numpy as np
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from h2o_ros.configuration import check_limits, range_text
from h2o_ros.errors import ConfigurationError, H2OError
from h2o_ros.msg import DriverStatus

T = TypeVar('T')

LATEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
EVERY = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
# What is said at each control step of a robot. A reliable publisher waits, up to 0.1 s, for a
# listener that is slow or was killed; whoever controls a robot must wait for nobody.
STREAM = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
STREAM_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
STREAM_EVERY = QoSProfile(
    history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.BEST_EFFORT
)
POLL_PERIOD = 0.02  # s between two checks whether a node may end
FADE = 2.0  # s that the torque of a robot takes at most to fade at Ctrl-C; see ramp_time
RELEASE = '_release_policy'  # a service that ROS calls hidden: the supervisor's, no person's
# States in which the driver has cut the motors out, until a person arms them again.
CUT_OUT = (DriverStatus.TRIPPED, DriverStatus.EMERGENCY_STOPPED)


class StoppableNode(Protocol):
    """A node that ends by itself, with an exit code."""

    finished: bool
    exit_code: int

    def stop(self) -> None:
        """Begin to end: called once at SIGINT or SIGTERM; must not block."""


class BaseNode(Node):
    """A node with parameters from a frozen dataclass and a way to end."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.finished = False
        self.exit_code = 0
        self.has_unjoinable_thread = False  # one that cannot be ended, as while it compiles

    def stop(self) -> None:
        """End at the next turn of the main loop."""
        self.finished = True

    def end_when(self, done: Callable[[], bool], patience: float) -> None:
        """End once `done` says so, or after `patience` s."""
        end = time.monotonic() + patience

        def look() -> None:
            self.finished = self.finished or done() or time.monotonic() > end

        # Not the node's clock, which stands still where a simulated time does.
        self.create_timer(POLL_PERIOD, look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def read_parameters(self, cls: type[T]) -> T:
        """Declare one ROS parameter a field of `cls` and return their values, checked."""
        values = {}
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            where = f'{self.get_name()}: parameter {field.name}'
            try:
                value = self.declare_parameter(field.name, field.default, _descriptor(field)).value
            except InvalidParameterTypeException as err:
                expected = type(field.default).__name__
                raise ConfigurationError(f'{where}: expected {expected}; {err}') from err
            except InvalidParameterValueException as err:
                # rclpy keeps the value that was refused in its own words only.
                given = re.search(r'\((.*?)\)', str(err))
                got = f', got {given[1]}' if given else ''
                raise ConfigurationError(f'{where}: expected {range_text(field)}{got}') from err
            check_limits(field, value, where)
            values[field.name] = value
        return cls(**values)


def describe(field: dataclasses.Field) -> str:
    """Return what a parameter is, with its unit."""
    unit = f' ({field.metadata["unit"]})' if field.metadata.get('unit') else ''
    return field.metadata['text'] + unit


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    meta = field.metadata
    descriptor = ParameterDescriptor(description=describe(field), read_only=True)
    if 'choices' in meta:
        descriptor.additional_constraints = 'one of ' + ', '.join(map(str, meta['choices']))
    if 'minimum' in meta and isinstance(field.default, float):
        high = meta.get('maximum', sys.float_info.max)
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(meta['minimum']), to_value=float(high))
        ]
    elif 'minimum' in meta and isinstance(field.default, int):
        low, high = int(meta['minimum']), int(meta.get('maximum', 2**62))
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor


def answering(
    function: Callable[[], str],
) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    """Make a service's callback of a function that returns what it did or raises H2OError."""

    def answer(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message, response.success = function(), True
        except H2OError as err:
            response.message, response.success = str(err), False
        return response

    return answer


def has_published(publisher: Publisher, message: Any) -> bool:
    """Publish; say False where it cannot go out.

    A reliable publisher that keeps everything keeps at most 5,000 messages (Fast DDS) for a
    listener that hangs or was killed, until DDS drops that listener after 20 s.
    """
    try:
        publisher.publish(message)
    except RCLError:
        return False
    return True


def message_class(topic: str, kind: str) -> Any:
    """Return the class of a topic's message type, as sensor_msgs/msg/Imu; ConfigurationError."""
    package, _, name = kind.partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError, ValueError) as err:
        raise ConfigurationError(
            f'topic {topic}: message type {kind} is not known here; install its package or '
            'correct the task file'
        ) from err


def to_floats(values: np.ndarray) -> array.array:
    """Return an array for a float32[] field, row-major; far faster than a list."""
    return array.array('f', np.ascontiguousarray(values, np.float32).tobytes())


def to_bytes(values: bytes | np.ndarray) -> array.array:
    """Return an array for a uint8[] field."""
    content = values if isinstance(values, bytes) else values.astype(np.uint8).tobytes()
    return array.array('B', content)


def to_rows(data: array.array, columns: int) -> np.ndarray:
    """Return a float32[] field as (N, columns); ValueError where it does not divide."""
    return np.frombuffer(data, np.float32).reshape(-1, columns)


def to_row(data: array.array, fields: Sized) -> np.ndarray | None:
    """Return a float32[] field as the one row of these fields, (N,); None where it is none."""
    row = np.frombuffer(data, np.float32)
    return row if row.size == len(fields) else None
