"""The processes of a robot that is driven: common to recording and to deployment."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from h2o_ros.configuration import build, read_yaml
from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.arguments import load_robot_task
from h2o_ros.launching.description import Argument, NodeProcess
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.robot.safety.settings import SafetySettings

VIRTUAL = 'virtual'
AWAIT_STOP = 5.0  # s that a recorder leaves the supervisor at Ctrl-C to end the take
ROBOTS = (VIRTUAL, 'wheel_legged')
MOTORS = {field.name for field in fields(MotorSettings)}
SAFETY = {field.name for field in fields(SafetySettings)}

ROBOT_ARGUMENTS = (
    Argument('robot', VIRTUAL, 'The virtual robot, or the one on this machine', ROBOTS),
    Argument('model', 'standard', 'Which virtual robot', ('standard', 'hard')),
    Argument('seed', 0, 'Random seed of the virtual robot and of whoever drives by script'),
    Argument(
        'interface',
        '',
        'Kind of CAN bus: socketcan or udp_multicast; empty: as the driver file says, else as the '
        'robot has it',
        ('', 'socketcan', 'udp_multicast'),
    ),
    Argument(
        'channel',
        '',
        'CAN interface or multicast group; empty: as the driver file says, else can0 or the '
        "domain's own",
    ),
    Argument(
        'driver',
        '',
        'YAML file of parameters of hardware_driver: node ids, directions, firmware, limits; '
        'empty: the defaults',
    ),
    Argument(
        'trim', 0.0, 'Tilt in rad at which the robot balances, as pilot_status.trim tells it'
    ),
)


def driver_parameters(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the driver; ConfigurationError names an unknown or wrong one."""
    where = arguments['driver']
    given = read_yaml(where) if where else {}
    for name in given:
        if name not in MOTORS | SAFETY:
            known = ', '.join(sorted(MOTORS | SAFETY))
            raise ConfigurationError(f'{where}: unknown parameter {name!r}; known: {known}')
    usual = {
        'interface': 'udp_multicast' if arguments['robot'] == VIRTUAL else 'socketcan',
        'channel': '',
    }
    bus = {name: arguments[name] or given.get(name, usual[name]) for name in usual}
    motors = build(MotorSettings, {k: v for k, v in given.items() if k in MOTORS} | bus, where)
    safety = build(SafetySettings, {k: v for k, v in given.items() if k in SAFETY}, where)
    values = asdict(motors) | asdict(safety)
    return {name: values[name] for name in [*given, *bus]}


def robot_nodes(arguments: dict[str, Any]) -> list[NodeProcess]:
    """Return the driver, and the virtual robot where there is no other.

    Neither is started again: what was lost must be found by a person before the robot moves.
    """
    task, driver = arguments['task'], driver_parameters(arguments)
    load_robot_task(task)
    nodes = [NodeProcess('hardware_driver', parameters={'task': task, **driver}, required=True)]
    if arguments['robot'] == VIRTUAL:
        motors = {name: value for name, value in driver.items() if name in MOTORS}
        robot = {'model': arguments['model'], 'seed': arguments['seed'], **motors}
        nodes.insert(0, NodeProcess('virtual_robot', parameters=robot, required=True))
    return nodes
