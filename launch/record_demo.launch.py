"""Record a scripted operator who drives the virtual robot in lockstep: the demonstration bag."""

from h2o_ros.launching.arguments import NETWORK, TASK, load_robot_task
from h2o_ros.launching.description import Argument, Graph, NodeProcess
from h2o_ros.launching.ros import make_launch_description
from h2o_ros.run_lock import refuse_second_run


def nodes(arguments):
    """Return the robot, the person who drives it, and the recorder."""
    task, seed = arguments['task'], arguments['seed']
    load_robot_task(task)
    return [
        NodeProcess(
            'lockstep_robot',
            parameters={
                'task': task,
                'model': arguments['robot'],
                'seed': seed,
                'steps': arguments['steps'],
                'real_time': arguments['real_time'],
                'await_recorder': True,
            },
            required=True,
        ),
        NodeProcess('scripted_operator', parameters={'task': task, 'seed': seed, 'listeners': 2}),
        NodeProcess(
            'bag_recorder',
            parameters={'task': task, 'output': arguments['output'], 'operator': 'scripted'},
        ),
    ]


GRAPH = Graph(
    arguments=(
        TASK,
        Argument('robot', 'standard', 'Virtual robot', ('standard', 'hard')),
        Argument('steps', 100000, 'Control steps to record'),
        Argument('seed', 0, 'Random seed of robot and operator'),
        Argument('output', 'runs/demonstration', 'Folder of the new bag'),
        Argument('real_time', False, 'Hold to the clock; false goes as fast as it can'),
        NETWORK,
    ),
    nodes=nodes,
    check=refuse_second_run,
)


def generate_launch_description():
    """Return the graph as `ros2 launch` runs it."""
    return make_launch_description(GRAPH)
