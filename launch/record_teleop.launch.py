"""Drive the robot through its balance controller and record what it does, one bag a take."""

from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.arguments import NETWORK, TASK
from h2o_ros.launching.description import Argument, Graph, NodeProcess
from h2o_ros.launching.robot_graph import AWAIT_STOP, ROBOT_ARGUMENTS, VIRTUAL, robot_nodes
from h2o_ros.launching.ros import make_launch_description
from h2o_ros.run_lock import refuse_second_run

SCRIPT_SECONDS = 60.0


def nodes(arguments):
    """Return the robot, who balances it, who drives it, the recorder, and the supervisor."""
    task, seed, output = arguments['task'], arguments['seed'], arguments['output']
    scripted = arguments['operator'] == 'scripted'
    if scripted and arguments['robot'] != VIRTUAL:
        raise ConfigurationError(
            'argument operator: a script drives the virtual robot alone; give operator:=keyboard '
            'or operator:=joystick'
        )
    # The robot falls where its time is over, so a person's has no end that was not asked for.
    seconds = arguments['seconds'] or (SCRIPT_SECONDS if scripted else 0.0)
    # A robot that a person drives must not fall with who records it or hears the joystick.
    beside = {'required': True} if scripted else {'respawn': True, 'apart': True}
    processes = [
        *robot_nodes(arguments),
        NodeProcess(
            'policy_server',
            parameters={
                'task': task,
                'mode': 'balance',
                'follow': False,
                'trim': arguments['trim'],
                'seed': seed,
                'excitation': excitation_of(arguments),
            },
            required=True,
        ),
        NodeProcess(
            'bag_recorder',
            parameters={
                'task': task,
                'output': output,
                'takes': True,
                'autostart': False,
                'operator': arguments['operator'],
                'await_stop': AWAIT_STOP if scripted else 0.0,
            },
            **beside,
        ),
        NodeProcess(
            'supervisor',
            parameters={
                'task': task,
                'seconds': seconds,
                # A person starts and ends the takes; a script records from beginning to end.
                'record': scripted,
                'persist': not scripted,
                'output': output,
            },
            required=True,
        ),
    ]
    if arguments['operator'] != 'keyboard':
        driving = {'task': task, 'operator': arguments['operator'], 'seed': seed}
        processes.append(NodeProcess('teleop', parameters=driving, **beside))
    return processes


def excitation_of(arguments):
    """Return how much the robot is disturbed: a real one not at all, unless it is asked for."""
    if arguments['excitation'] >= 0.0:
        return arguments['excitation']
    return 0.5 if arguments['robot'] == VIRTUAL else 0.0


GRAPH = Graph(
    arguments=(
        TASK,
        *ROBOT_ARGUMENTS,
        Argument(
            'operator',
            'scripted',
            'Who drives: a script, a joystick (sensor_msgs/Joy on joy), or a person at the '
            'keyboard of another terminal: h2o run teleop, or ros2 run h2o_ros teleop',
            ('scripted', 'joystick', 'keyboard'),
        ),
        Argument(
            'seconds',
            0.0,
            f'Time to drive; 0: until Ctrl-C, and {SCRIPT_SECONDS:g} s where a script drives',
        ),
        Argument(
            'excitation',
            -1.0,
            'Torque noise, knocks and soft, changing gains: something to learn from; '
            '1: as much as the scripted operator of record_demo; below 0: 0.5 for the virtual '
            'robot, none for a real one',
        ),
        Argument('output', 'runs/teleop', 'Folder of the takes'),
        NETWORK,
    ),
    nodes=nodes,
    check=refuse_second_run,
)


def generate_launch_description():
    """Return the graph as `ros2 launch` runs it."""
    return make_launch_description(GRAPH)
