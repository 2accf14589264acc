"""Run a trained policy on the robot: checked, first in shadow, recorded, and learning if asked."""

import dataclasses
from pathlib import Path

from h2o_ros.algorithms.config import algorithm_names
from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.arguments import NETWORK, TASK, load_robot_task
from h2o_ros.launching.description import Argument, Graph, NodeProcess
from h2o_ros.launching.learning_graph import learning_nodes
from h2o_ros.launching.robot_graph import AWAIT_STOP, ROBOT_ARGUMENTS, VIRTUAL, robot_nodes
from h2o_ros.launching.ros import make_launch_description
from h2o_ros.robot.pilot.shadow_phase import ShadowLimits
from h2o_ros.run_lock import refuse_second_run

SHADOW = {
    field.name: Argument(field.name, field.default, f'Shadow phase: {field.metadata["text"]}')
    for field in dataclasses.fields(ShadowLimits)
}


def refuse_looser_shadow(arguments):
    """Let only a virtual robot be handed to what the shadow phase would refuse."""
    if arguments['robot'] == VIRTUAL:
        return
    for name, argument in SHADOW.items():
        # A minimum may rise and a maximum fall.
        sign = -1.0 if name in ('shadow_difference', 'shadow_at_limit') else 1.0
        if sign * arguments[name] < sign * argument.default:
            raise ConfigurationError(
                f'argument {name}: {arguments[name]} is looser than {argument.default}: only '
                'the virtual robot may be given that; leave it out'
            )


def check_policy(path, task):
    """PolicyError where a policy file is torn or made for another task."""
    try:
        from h2o_ros.algorithms.files.policy import Policy
    except ImportError:
        # `ros2 launch` runs on the Python of ROS, the nodes on that of .venv: they refuse it too.
        return
    Policy.load(path).check_contract(task)


def nodes(arguments):
    """Return the robot, who drives it, the recorder, the supervisor, and who goes on learning."""
    task, policy, output = arguments['task'], arguments['policy'], arguments['output']
    if not Path(policy).exists():
        raise ConfigurationError(
            f'{policy}: there is no such policy file; train one (make train), or name another by '
            'policy:=FILE'
        )
    check_policy(policy, load_robot_task(task))
    refuse_looser_shadow(arguments)
    learn = arguments['learn']
    processes = [
        *robot_nodes(arguments),
        NodeProcess(
            'policy_server',
            # With learn, the gate publishes what drives, this file first.
            parameters={
                'task': task,
                'mode': 'balance',
                'policy': policy,
                'follow': learn,
                'needs_release': True,
                'trim': arguments['trim'],
            },
            required=True,
        ),
        NodeProcess(
            'supervisor',
            parameters={
                'task': task,
                'policy': policy,
                'seconds': arguments['seconds'],
                **{name: arguments[name] for name in SHADOW},
                'record': arguments['record'],
                'persist': learn,
                'await_learner': learn,
                'output': output,
            },
            required=True,
        ),
    ]
    if arguments['record']:
        recorder = {
            'task': task,
            'output': output,
            'takes': True,
            'autostart': False,
            'await_stop': AWAIT_STOP,
        }
        processes.append(NodeProcess('bag_recorder', parameters=recorder, apart=True))
    if arguments['operator'] == 'joystick':
        driving = {'task': task, 'operator': 'joystick'}
        processes.append(NodeProcess('teleop', parameters=driving, required=True))
    return processes + (learning_nodes(arguments) if learn else [])


GRAPH = Graph(
    arguments=(
        TASK,
        *ROBOT_ARGUMENTS,
        Argument('policy', 'runs/train_sim/policy.safetensors', 'Policy file to deploy'),
        Argument('seconds', 30.0, 'Time for the policy to drive; 0 until Ctrl-C'),
        *SHADOW.values(),
        Argument('record', True, 'Record the run as a bag in the output folder'),
        Argument(
            'operator',
            'none',
            'Who may take over: nobody from this launch (a keyboard always may, from another '
            'terminal: h2o run teleop), or a joystick',
            ('none', 'joystick'),
        ),
        Argument('output', 'runs/deploy', 'Folder of takes and figures'),
        Argument('learn', False, 'Go on learning from the robot and the simulator'),
        Argument(
            'checkpoint',
            'runs/train_sim/checkpoint.safetensors',
            'With learn: where to go on from',
        ),
        Argument('bag', '', 'With learn: the bags of that training; empty: the demonstration'),
        Argument(
            'algorithm',
            'h2o',
            f'With learn: {", ".join(algorithm_names())}, or path of a YAML file',
        ),
        NETWORK,
    ),
    nodes=nodes,
    check=refuse_second_run,
)


def generate_launch_description():
    """Return the graph as `ros2 launch` runs it."""
    return make_launch_description(GRAPH)
