"""Train a policy from recordings and the simulator, and evaluate it on the virtual robot."""

from h2o_ros.algorithms.config import algorithm_names
from h2o_ros.launching.arguments import NETWORK, TASK, check_training
from h2o_ros.launching.description import Argument, Graph, NodeProcess
from h2o_ros.launching.ros import make_launch_description
from h2o_ros.launching.simulated_robots import evaluated_robots, exploring_robots
from h2o_ros.robot.description import check_model, model_help
from h2o_ros.run_lock import refuse_second_run
from h2o_ros.sim.gaps import HELP, find_gap
from h2o_ros.task import load_task


def nodes(arguments):
    """Return the learner, its simulator, and the virtual robot that stands for reality."""
    task, seed = arguments['task'], arguments['seed']
    check_model(load_task(task).robot, arguments['robot'])
    find_gap(arguments['gap'])
    check_training(arguments)
    return [
        NodeProcess(
            'learner',
            parameters={
                'task': task,
                'bag': arguments['bag'],
                'algorithm': arguments['algorithm'],
                'seed': seed,
                'device': arguments['device'],
                'updates': arguments['steps'],
                'output': arguments['output'],
                'resume': arguments['resume'],
                'gap': arguments['gap'],
                'environments': arguments['environments'],
            },
            required=True,
        ),
        *exploring_robots(
            task,
            seed,
            {'gap': arguments['gap'], 'environments': arguments['environments']},
        ),
        NodeProcess(
            'evaluator',
            parameters={
                'task': task,
                'evaluate_every': arguments['evaluate_every'],
                'output': arguments['output'],
            },
            respawn=True,
        ),
        *evaluated_robots(task, arguments['robot'], seed),
    ]


GRAPH = Graph(
    arguments=(
        TASK,
        Argument(
            'bag',
            '',
            'Recordings or datasets to learn from, separated by commas; empty: the demonstration',
        ),
        Argument('gap', 'none', HELP),
        Argument(
            'robot',
            'standard',
            f'Model that stands for reality: {model_help()}',
        ),
        Argument(
            'algorithm',
            'h2o',
            f'Algorithm: {", ".join(algorithm_names())}, or path of a YAML file',
        ),
        Argument('seed', 0, 'Random seed', least=0),
        Argument('device', 'cpu', 'Where to train', ('cpu', 'cuda')),
        Argument('environments', 32, 'Simulated robots', least=1),
        Argument('steps', 0, "Gradient updates to make; 0: the algorithm's own number", least=0),
        Argument('output', 'runs/train_sim', 'Folder for everything the run writes'),
        Argument('resume', '', 'Checkpoint to go on from; empty: begin anew'),
        Argument('evaluate_every', 20000, 'Gradient updates between two evaluations', least=1),
        NETWORK,
    ),
    nodes=nodes,
    check=refuse_second_run,
)


def generate_launch_description():
    """Return the graph as `ros2 launch` runs it."""
    return make_launch_description(GRAPH)
