"""The paper's experiment on the wheel-legged robot (section 6.3, appendix B.2), on a virtual one.

    python -m h2o_ros.experiments.wheel_legged.deployment --output runs/real_world

For each task: record by teleop, train each algorithm on that recording, deploy each policy through
the whole stack in real time, and draw what the paper draws (figures 2c, 2d, 4 and 5). What is
finished already is not done again, a training that was interrupted goes on. Needs a machine with
little else to do: a control step that is late ends a recording or a deployment, as on a robot.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from h2o_ros.algorithms.config import load_config
from h2o_ros.argument_types import at_least, between
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.bag_transitions.streams import POLICY
from h2o_ros.data.bags.takes import takes_in
from h2o_ros.errors import BagError, RobotError, exit_code_of
from h2o_ros.experiments.wheel_legged import deployment_folder
from h2o_ros.experiments.wheel_legged.deployment_figures import (
    Deployment,
    draw_deployments,
    draw_recording,
)
from h2o_ros.experiments.wheel_legged.deployment_folder import (
    DRIVE,
    checkpoint_of,
    has_driven,
    is_trained,
    never_drove,
    read_drive,
)
from h2o_ros.report.output import FolderLock, prepare_output_folder, set_aside
from h2o_ros.report.run import POLICY as POLICY_FILE
from h2o_ros.task import Task, load_task
from h2o_ros.transitions import Transitions, concatenate

SECONDS = {'standing_still': 30.0, 'moving_straight': 20.0}  # appendix B.2
# The paper's, then what tells apart where H2O's part in a result comes from.
ALGORITHMS = (
    'h2o', 'h2o_paper_beta', 'cql', 'darc', 'darc_plus', 'sac', 'real_only', 'mixed',
)  # fmt: skip
INTERRUPTED = 130  # exit code
LONGEST_TAKE = 100.0  # s
MOST_TAKES = 40  # in all, the short ones of a busy machine included
TRIES = 3  # of a deployment in which the motors went off before the policy drove
# Baselines shall fail where they fail, as the paper shows it; the verdict of the usual limits is
# kept in drive.json.
OPEN_SHADOW = ('shadow_correlation:=0.0', 'shadow_difference:=1.0', 'shadow_at_limit:=1.0')


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        'h2o_ros.experiments.wheel_legged.deployment', description=__doc__
    )
    parser.add_argument('--tasks', default=','.join(SECONDS))
    parser.add_argument('--algorithms', default=','.join(ALGORITHMS))
    parser.add_argument('--model', default='standard', choices=('standard', 'hard'))
    parser.add_argument(
        '--steps', type=at_least(1), default=100000, help='to record for each task'
    )
    parser.add_argument(
        '--excitation', type=between(0.0, 2.0), default=1.0, help='of the recording, 0 to 2'
    )
    parser.add_argument(
        '--updates', type=at_least(0), default=0, help='0: the number of the algorithm'
    )
    parser.add_argument('--seed', type=at_least(0), default=0)
    parser.add_argument('--output', default='runs/real_world')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment; return the exit code."""
    options = parse(arguments)
    try:
        return exit_code_of(lambda: run(options))
    except KeyboardInterrupt:
        print('interrupted; the same command goes on', file=sys.stderr)
        return INTERRUPTED


def run(options: argparse.Namespace) -> None:
    """Do what is missing, then draw."""
    tasks = {name: load_task(name) for name in options.tasks.split(',')}
    algorithms = options.algorithms.split(',')
    output = prepare_output_folder(options.output)
    with closing(FolderLock(output)):
        deployment_folder.claim(output, list(tasks.values()), algorithms, options)
        for task in tasks.values():
            run_task(task, algorithms, output, options)


def run_task(
    task: Task, algorithms: Sequence[str], output: Path, options: argparse.Namespace
) -> None:
    """Record, train, deploy and draw one task, as far as that is missing."""
    folder = output / task.name
    takes = record(task, folder / 'recording', options)
    draw_recording(task, load_bags(takes, task).transitions, output / f'{task.name}_rewards.png')
    deployments = []
    for algorithm in algorithms:
        policy = train(task, takes, algorithm, folder / algorithm, options)
        deployments.append(deploy(task, policy, algorithm, folder / algorithm, options))
    draw_deployments(task, deployments, SECONDS.get(task.name, 30.0), output / f'{task.name}.png')
    print(f'written: {output / task.name}.png, {output / task.name}_rewards.png', flush=True)


def record(task: Task, folder: Path, options: argparse.Namespace) -> list[Path]:
    """Record takes until they hold enough control steps; return them."""
    for attempt in range(MOST_TAKES):
        takes = takes_in(folder)
        steps = {take: count_steps(take, task) for take in takes}
        usable = [take for take in takes if steps[take]]
        missing = options.steps - sum(steps.values())
        if missing <= 0:
            return usable
        seconds = min(LONGEST_TAKE, missing * task.period + 1.0)
        launch(
            'record_teleop.launch.py',
            f'task:={task.name}',
            f'model:={options.model}',
            f'seed:={options.seed + 1000 + attempt + len(takes)}',
            f'seconds:={seconds:.1f}',
            f'excitation:={options.excitation}',
            f'output:={folder}',
        )
    raise RobotError(f'{folder}: {MOST_TAKES} takes gave too few steps; is the machine busy?')


def count_steps(take: Path, task: Task) -> int:
    """Return the transitions in a take, 0 where it holds none."""
    try:
        return len(load_bags(take, task).transitions)
    except BagError:
        return 0


def train(
    task: Task, takes: list[Path], algorithm: str, folder: Path, options: argparse.Namespace
) -> Path:
    """Train one policy in a process of its own, to its end; return its file."""
    training = folder / 'training'
    asked = {
        'task': task.name,
        'algorithm': algorithm,
        'seed': options.seed,
        'updates_total': options.updates or load_config(algorithm, task).updates_total,
    }
    if not is_trained(training, asked):
        checkpoint = checkpoint_of(training)
        run_command(
            'train', '--task', task.name, '--bag', ','.join(map(str, takes)),
            '--algorithm', algorithm, '--seed', str(options.seed),
            '--updates', str(options.updates), '--robot', options.model,
            '--output', str(training),
            *(('--resume', str(checkpoint)) if checkpoint else ()),
        )  # fmt: skip
        demand(training / POLICY_FILE)
        if not is_trained(training, asked):
            raise RobotError(f'{training}: was not finished; the same command goes on')
    return training / POLICY_FILE


def deploy(
    task: Task, policy: Path, algorithm: str, folder: Path, options: argparse.Namespace
) -> Deployment:
    """Deploy one policy until it has driven once, fall or not; return what it did."""
    output = folder / 'deployment'
    while not has_driven(output, policy, TRIES):
        set_aside(folder, [output.name])
        launch(
            'deploy_robot.launch.py',
            f'task:={task.name}',
            f'model:={options.model}',
            f'seed:={options.seed}',
            f'policy:={policy}',
            f'seconds:={SECONDS.get(task.name, 30.0)}',
            f'output:={output}',
            *OPEN_SHADOW,
        )
        demand(output / DRIVE)
        if not never_drove(output):
            break
        print(f'{policy}: did not drive: {read_drive(output / DRIVE)["fault"]}', flush=True)
    return Deployment(algorithm, driven_by_policy(output, task), read_drive(output / DRIVE))


def driven_by_policy(output: Path, task: Task) -> Transitions | None:
    """Return the steps of a deployment's takes in which the policy drove."""
    parts = []
    for take in takes_in(output):
        try:
            dataset = load_bags(take, task)
        except BagError:
            continue  # ended before the robot moved
        parts.append(dataset.transitions.select(dataset.sources == POLICY))
    rows = concatenate(parts) if parts else None
    return rows if rows is not None and len(rows) else None


def demand(path: Path) -> None:
    """RobotError where a command did not leave its file."""
    if not path.exists():
        raise RobotError(f'{path}: was not written; what is printed above says why')


def launch(file: str, *words: str) -> None:
    """Run a launch file to its end; what became of the robot is in the files that it leaves."""
    run_command('launch', file, *words)


def run_command(*words: str) -> None:
    """Run `h2o` with its output where ours goes; a trip's exit code is no error here."""
    beside = Path(sys.executable).with_name('h2o')
    command = [str(beside if beside.exists() else 'h2o'), *words]
    print('h2o', *words, flush=True)
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # the same Ctrl-C came to it: it saves what it has
        raise
    if code == 2:
        raise RobotError(f'h2o {words[0]} was given something wrong; see above')


if __name__ == '__main__':
    sys.exit(main())
