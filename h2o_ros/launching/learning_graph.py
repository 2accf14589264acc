"""The processes that go on learning while a policy drives the robot.

They give way to everything else on the processor, and the robot goes on where one of them
ends. Simulator and learner are in the namespace `training`, apart from the robot's topics of the
same names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from h2o_ros.algorithms.config import load_config
from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import NodeProcess
from h2o_ros.launching.simulated_robots import evaluated_robots, exploring_robots
from h2o_ros.task import load_task

TRAINING = 'training'
LEAST_IMPORTANT = 19


def learning_nodes(arguments: dict[str, Any]) -> list[NodeProcess]:
    """Return learner, simulator, gate, evaluator and its virtual robot, and the robot's bridge."""
    task, seed, output = arguments['task'], arguments['seed'], f'{arguments["output"]}/learning'
    check(arguments)
    return [
        NodeProcess(
            'robot_bridge',
            parameters={'task': task, 'virtual': arguments['robot'] == 'virtual'},
            respawn=True,
            apart=True,
        ),
        NodeProcess(
            'policy_gate', parameters={'task': task, 'policy': arguments['policy']}, apart=True
        ),
        NodeProcess(
            'learner',
            parameters={
                'task': task,
                'bag': arguments['bag'],
                'algorithm': arguments['algorithm'],
                'seed': seed,
                'resume': arguments['checkpoint'],
                'online': True,
                'output': output,
            },
            namespace=TRAINING,
            remappings=(
                ('policy', '/candidate_policy'),
                ('robot_transitions', '/robot_transitions'),
                ('evaluation', '/evaluation'),
            ),
            nice=LEAST_IMPORTANT,
            apart=True,
        ),
        *exploring_robots(task, seed, namespace=TRAINING, nice=LEAST_IMPORTANT, apart=True),
        NodeProcess(
            'evaluator',
            parameters={'task': task, 'output': output},
            remappings=(('policy', 'evaluated_policy'),),
            nice=LEAST_IMPORTANT,
            respawn=True,
            apart=True,
        ),
        *evaluated_robots(task, arguments['model'], seed, nice=LEAST_IMPORTANT, apart=True),
    ]


def check(arguments: dict[str, Any]) -> None:
    """ConfigurationError where nothing can be learned from these arguments."""
    if not load_config(arguments['algorithm'], load_task(arguments['task'])).needs_real:
        raise ConfigurationError(
            f'argument algorithm: {arguments["algorithm"]} learns from no real transitions; with '
            'learn:=true choose one that does, as h2o'
        )
    if not Path(arguments['checkpoint']).exists():
        raise ConfigurationError(
            f'{arguments["checkpoint"]}: there is no such checkpoint to go on learning from; '
            'name one by checkpoint:=FILE'
        )
