"""`h2o train`: one training run in one process, without ROS, the same twice at equal seed."""

from __future__ import annotations

import argparse
import time

import numpy as np

from h2o_ros.algorithms.config import AlgorithmConfig, algorithm_names, load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.data.load import load_recorded
from h2o_ros.episodes import Episodes
from h2o_ros.errors import exit_code_of
from h2o_ros.experiments.core.in_process_training import evaluate, train
from h2o_ros.experiments.core.interruption import interruptible
from h2o_ros.report.evaluation import EpisodeFigures
from h2o_ros.report.picture import GapSample
from h2o_ros.report.run import CHECKPOINT, POLICY, RunReport
from h2o_ros.report.summary import words_to_resume
from h2o_ros.robot.description import A_FILE, model_help
from h2o_ros.sim.gaps import HELP, find_gap, simulation
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import Task, load_task, task_names
from h2o_ros.transitions import Transitions

SAVING = 300.0  # s between two checkpoints
GAP_STEPS = 64  # control steps of the simulator at which the dynamics gap is shown


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser('h2o train', description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    for name, least in (('seed', 0), ('updates', 0), ('environments', 1), ('episodes', 1)):
        if getattr(options, name) < least:
            parser.error(
                f'argument --{name}: expected {least} or more, got {getattr(options, name)}'
            )
    return options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `h2o train`."""
    parser.add_argument(
        '--task',
        default='standing_still',
        help=f'{", ".join(task_names())}, or {A_FILE} (default: %(default)s)',
    )
    parser.add_argument(
        '--bag',
        default='',
        help='recordings or datasets, by commas (default: the demonstration of the task)',
    )
    parser.add_argument(
        '--algorithm',
        default='h2o',
        help=f'{", ".join(algorithm_names())}, or {A_FILE} (default: %(default)s)',
    )
    parser.add_argument(
        '--robot',
        default='standard',
        help=f'model that stands for reality: {model_help()} (default: %(default)s)',
    )
    parser.add_argument('--gap', default='none', help=f'{HELP} (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    parser.add_argument(
        '--updates',
        type=int,
        default=0,
        help="gradient updates to make; 0, the default: the algorithm's own number",
    )
    parser.add_argument(
        '--environments', type=int, default=32, help='simulated robots (default: %(default)s)'
    )
    parser.add_argument(
        '--episodes', type=int, default=10, help='of the final evaluation (default: %(default)s)'
    )
    parser.add_argument(
        '--device',
        default='cpu',
        choices=('cpu', 'cuda'),
        help='where to train (default: %(default)s)',
    )
    parser.add_argument(
        '--output',
        default='runs/train',
        help='folder for everything the run writes (default: %(default)s)',
    )
    parser.add_argument(
        '--resume', default='', help='checkpoint to go on from (default: begin anew)'
    )


def main(arguments: list[str] | None = None) -> int:
    """Run `h2o train`; return its exit code."""
    return exit_code_of(lambda: run(parse(arguments)))


def run(options: argparse.Namespace) -> int:
    """Train, evaluate on the virtual robot, and report."""
    task = load_task(options.task)
    make_simulator(task, options.robot)  # refused before anything is read or moved, if it is to be
    find_gap(options.gap)
    overrides = {'updates_total': options.updates} if options.updates else {}
    config = load_config(options.algorithm, task, **overrides)
    report = RunReport(
        options.output, task, options.algorithm, options.seed, config.updates_total,
        words_to_resume(options, parse([]), launched=False), launched=False,
    )  # fmt: skip
    real = _load_real(options, task, report) if config.needs_real else None
    trainer = _make_trainer(options, config, task, real)
    report.begin(trainer.updates, options.resume)
    _train(options, trainer, task, report)
    trainer.policy().save(report.folder / POLICY)  # the smaller one first: a disk may be full
    trainer.save(report.folder / CHECKPOINT)
    observed = real.observation if real is not None else np.zeros((0, 0))
    print(_finish(options, trainer, task, report, observed), end='')
    return 0


def _make_trainer(
    options: argparse.Namespace, config: AlgorithmConfig, task: Task, real: Transitions | None
) -> Trainer:
    simulated_in = simulation(options.gap, options.environments) if config.needs_simulated else {}
    if options.resume:
        return Trainer.load(
            options.resume, config, task, real, options.device, [options.seed], simulated_in
        )
    trainer = Trainer(config, task, real, [options.seed], options.device)
    trainer.simulation = simulated_in
    return trainer


def _train(options: argparse.Namespace, trainer: Trainer, task: Task, report: RunReport) -> None:
    """Train to the end or until a signal, with a checkpoint now and then."""
    saved = time.monotonic()

    def after_chunk() -> None:
        nonlocal saved
        if report.status_due():
            _tell_status(trainer, report)
        if time.monotonic() - saved >= SAVING:
            trainer.save(report.folder / CHECKPOINT)
            saved = time.monotonic()

    seed = trainer.simulator_seed(options.seed)
    with interruptible() as stopping:
        train(
            trainer, task, [seed], options.gap, options.environments, after_chunk,
            stopping=stopping,
        )  # fmt: skip


def _tell_status(trainer: Trainer, report: RunReport) -> None:
    metrics = {name: float(value[0]) for name, value in trainer.metrics().items()}
    report.status(trainer.updates, metrics)


def _finish(
    options: argparse.Namespace, trainer: Trainer, task: Task, report: RunReport,
    observed: np.ndarray,
) -> str:  # fmt: skip
    """Evaluate a finished policy on the virtual robot, and write picture and summary."""
    trajectories: list[np.ndarray] = []
    if trainer.updates >= trainer.config.updates_total:
        _tell_status(trainer, report)
        report.evaluating()
        episodes = evaluate(
            trainer.policy(), task, options.robot, options.episodes, seed=options.seed + 1
        )
        report.evaluation(figures(trainer.updates, episodes))
        trajectories = [
            row[:length]
            for row, length in zip(episodes.observation, episodes.lengths, strict=True)
        ]
    gap = _gap_sample(trainer, task, options) if trainer.updates else None
    return report.finish(trainer.updates, trainer.simulated_steps, gap, observed, trajectories)


def figures(update: int, episodes: Episodes) -> EpisodeFigures:
    """Return an evaluation as the report takes it."""
    x, x_dot = episodes.mean_abs_x, episodes.mean_x_dot
    return EpisodeFigures(
        update,
        episodes.returns,
        episodes.lengths,
        episodes.survived,
        x[np.isfinite(x)],
        episodes.mean_abs_action,
        x_dot[np.isfinite(x_dot)],
    )


def _load_real(options: argparse.Namespace, task: Task, report: RunReport) -> Transitions:
    began = time.monotonic()
    dataset = load_recorded(options.bag, task)
    report.message(f'{dataset.report}, loaded in {time.monotonic() - began:.1f} s')
    return dataset.transitions


def _gap_sample(trainer: Trainer, task, options: argparse.Namespace) -> GapSample | None:
    if not trainer.config.classifiers:
        return None
    simulator = make_simulator(
        task, 'simulator', batch=options.environments, seed=options.seed + 2, gap=options.gap
    )
    observations, gaps = [], []
    for _ in range(GAP_STEPS):
        action = trainer.act(simulator.observation[None], deterministic=False)[0]
        rows = simulator.step(action)
        observations.append(rows.observation)
        gaps.append(trainer.dynamics_gap(rows)[0])
    return GapSample(np.concatenate(observations), np.concatenate(gaps))


if __name__ == '__main__':
    raise SystemExit(main())
