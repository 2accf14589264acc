"""The processes of a robot that is driven: common to recording and to deployment."""

from __future__ import annotations

from typing import Any

from h2o_ros.configuration import read_yaml
from h2o_ros.launching.description import Argument, NodeProcess
from h2o_ros.task import load_task, task_names

VIRTUAL = 'virtual'
ROBOTS = (VIRTUAL, 'wheel_legged')

TASK = Argument(
    'task', 'standing_still', f'Task: {", ".join(task_names())}, or path of a YAML file'
)
ROBOT_ARGUMENTS = (
    Argument('robot', VIRTUAL, 'The virtual robot, or the one on this machine', ROBOTS),
    Argument('model', 'standard', 'Which virtual robot', ('standard', 'hard')),
    Argument('seed', 0, 'Random seed of the virtual robot and of whoever drives by script'),
    Argument(
        'interface',
        '',
        'Kind of CAN bus: socketcan or udp_multicast; empty: as the robot has it',
        ('', 'socketcan', 'udp_multicast'),
    ),
    Argument('channel', '', "CAN interface or multicast group; empty: can0, or the domain's own"),
    Argument(
        'motors',
        '',
        'YAML file of parameters of the motors: node ids, directions, firmware, gear, limits; '
        'empty: the defaults of hardware_driver',
    ),
)


def bus_parameters(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what driver and virtual robot must agree on: the bus and the motors."""
    usual = 'udp_multicast' if arguments['robot'] == VIRTUAL else 'socketcan'
    motors = read_yaml(arguments['motors']) if arguments['motors'] else {}
    return {
        **motors,
        'interface': arguments['interface'] or usual,
        'channel': arguments['channel'],
    }


def robot_nodes(arguments: dict[str, Any]) -> list[NodeProcess]:
    """Return the driver, and the virtual robot where there is no other.

    Neither is started again: what was lost must be found by a person before the robot moves.
    """
    task, bus = arguments['task'], bus_parameters(arguments)
    load_task(task)
    nodes = [NodeProcess('hardware_driver', parameters={'task': task, **bus}, required=True)]
    if arguments['robot'] == VIRTUAL:
        robot = {'model': arguments['model'], 'seed': arguments['seed'], **bus}
        nodes.insert(0, NodeProcess('virtual_robot', parameters=robot, required=True))
    return nodes
