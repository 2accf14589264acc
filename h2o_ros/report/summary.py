"""The end of a run in words: final figures, every file written, and what to run next."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h2o_ros.configuration import YAML_SUFFIXES
from h2o_ros.report.evaluation import EpisodeFigures
from h2o_ros.report.output import write_whole
from h2o_ros.report.text import format_duration, format_size, format_unit
from h2o_ros.task import Task

TEXT_NAME, JSON_NAME = 'summary.txt', 'summary.json'
LAUNCHED = ('task', 'bag', 'algorithm', 'seed', 'robot', 'gap', 'environments', 'device')


@dataclass(frozen=True)
class RunSummary:
    """What a run came to.

    folder         where everything was written
    duration       s, wall clock of this run
    evaluation     the last one on the virtual robot, None where none finished
    mean_u         nats; dynamics_ratio: mean p_real / p_sim; NaN where unknown
    files          (path, what it is for), in the order in which they are named
    next_command   what to run next, as one types it
    """

    folder: Path
    task: Task
    algorithm: str
    seed: int
    updates: int
    updates_total: int
    simulated_steps: int
    duration: float
    evaluation: EpisodeFigures | None
    mean_u: float
    dynamics_ratio: float
    files: Sequence[tuple[Path, str]]
    next_command: str

    @property
    def finished(self) -> bool:
        """Whether every update was made."""
        return self.updates >= self.updates_total


def next_command(
    finished: bool,
    checkpoint: Path | None,
    policy: Path | None,
    arguments: Mapping[str, str | int] | None = None,
    launched: bool = True,
    on_robot: bool = True,
) -> str:
    """Return the command that goes on from here: deploy, export, resume, or start again.

    arguments: those that a resumed run must be given again. launched: by train_sim.launch.py, not
    by `h2o train`. on_robot: whether the task has a robot to deploy on; else the policy is
    exported. Where ROS's own command line is installed, its launch is named.
    """
    words: Mapping[str, Any] = arguments or {}
    if finished and policy is not None:
        if not on_robot:
            target = policy.with_suffix('.onnx')
            return f'h2o export-onnx {shlex.quote(str(policy))} {shlex.quote(str(target))}'
        task = {'task': words['task']} if 'task' in words else {}
        return _launch_command('deploy_robot.launch.py', {**task, 'policy': policy})
    words = {'resume': checkpoint, **words} if not finished and checkpoint is not None else {}
    if launched:
        return _launch_command('train_sim.launch.py', words)
    return _command('h2o train', '--{} {}', words)


def _launch_command(file_name: str, words: Mapping[str, Any]) -> str:
    launch = 'ros2 launch h2o_ros' if shutil.which('ros2') else 'h2o launch'
    return _command(f'{launch} {file_name}', '{}:={}', words)


def _command(command: str, form: str, words: Mapping[str, Any]) -> str:
    given = [form.format(name, shlex.quote(str(value))) for name, value in words.items()]
    return ' '.join([command, *given])


def words_to_resume(settings: Any, defaults: Any, launched: bool = True) -> dict[str, str | int]:
    """Return the arguments that a resumed run must be given again, beside the checkpoint.

    settings: of the run, those that it has of LAUNCHED, updates, episodes and output. Named are
    those that differ from the defaults, and the output folder in any case: each way to train has
    its own. Files are named so that the command is right in any folder. launched: as above.
    """
    words = {name: name for name in LAUNCHED} | {'updates': 'steps' if launched else 'updates'}
    if not launched:
        words['episodes'] = 'episodes'
    given = {
        word: _from_anywhere(name, getattr(settings, name))
        for name, word in words.items()
        if getattr(settings, name, None) != getattr(defaults, name, None)
    }
    return given | {'output': str(Path(settings.output).expanduser().absolute())}


def _from_anywhere(name: str, value: str | int) -> str | int:
    """Make the names of files in an argument's value absolute; what else it may name stays."""
    if isinstance(value, int):
        return value
    if name == 'bag':
        bags = [Path(bag.strip()) for bag in value.split(',')]
        return ','.join(str(bag.absolute() if bag.exists() else bag) for bag in bags)
    return str(Path(value).absolute()) if value.endswith(YAML_SUFFIXES) else value


def final_figures(summary: RunSummary) -> dict[str, Any]:
    """Return the run's figures by name as JSON values; what was not measured is None."""
    evaluation = summary.evaluation
    figures: dict[str, Any] = {
        'task': summary.task.name,
        'algorithm': summary.algorithm,
        'seed': summary.seed,
        'finished': summary.finished,
        'updates': summary.updates,
        'updates_total': summary.updates_total,
        'simulated_steps': summary.simulated_steps,
        'duration': summary.duration,
        'mean_u': summary.mean_u,
        'mean_dynamics_ratio': summary.dynamics_ratio,
        'evaluated_update': None,
        'episodes': 0,
        'survived': None,
        'mean_return': math.nan,
        'mean_abs_x': math.nan,
        'mean_abs_action': math.nan,
        'mean_x_dot': math.nan,
    }
    if evaluation is not None and evaluation.episodes:
        figures |= {
            'evaluated_update': evaluation.update,
            'episodes': evaluation.episodes,
            'survived': int(evaluation.survived.sum()),
            'mean_return': _mean(evaluation.returns),
            'mean_abs_x': _mean(evaluation.mean_abs_x),
            'mean_abs_action': _mean(evaluation.mean_abs_action),
            'mean_x_dot': _mean(evaluation.mean_x_dot),
        }
    # JSON has no NaN.
    unknown = {n for n, v in figures.items() if isinstance(v, float) and not math.isfinite(v)}
    return {name: None if name in unknown else value for name, value in figures.items()}


def format_summary(summary: RunSummary, text_size: int = 0) -> str:
    """Return the summary as lines of text; the last one says what to run next.

    text_size: bytes, shown for summary.txt itself.
    """
    own = {summary.folder / TEXT_NAME: text_size}
    files = [
        f'  {_size(path, own):>8}  {_relative(path, summary.folder):<28}  {purpose}'.rstrip()
        for path, purpose in summary.files
    ]
    lines = [*_figure_lines(summary), f'files in {summary.folder}', *files]
    return '\n'.join(lines) + f'\nnext: {summary.next_command}\n'


def write_summary(summary: RunSummary) -> str:
    """Write summary.txt and summary.json into the folder and return the text."""
    listed = [(path, purpose) for path, purpose in summary.files if path.exists()]
    content = final_figures(summary) | {
        'files': [
            {'path': str(path), 'bytes': path.stat().st_size, 'purpose': purpose}
            for path, purpose in listed
        ],
        'next_command': summary.next_command,
    }
    json_path, text_path = summary.folder / JSON_NAME, summary.folder / TEXT_NAME
    write_whole(json_path, json.dumps(content, indent=2, ensure_ascii=False) + '\n')
    listed += [(json_path, 'these figures for programs'), (text_path, 'this text')]
    complete = RunSummary(**{**vars(summary), 'files': listed})
    # A size takes the same eight columns whatever it is, so the first text has the right length.
    size = len(format_summary(complete).encode())
    text = format_summary(complete, size)
    text_path.write_text(text, encoding='utf-8')
    return text


def _figure_lines(summary: RunSummary) -> list[str]:
    figures = final_figures(summary)
    state = 'finished' if summary.finished else 'stopped'
    lines = [
        f'{summary.algorithm} on {summary.task.name}, seed {summary.seed}: {state} after '
        f'{summary.updates:,} of {summary.updates_total:,} updates and '
        f'{summary.simulated_steps:,} simulated steps in {format_duration(summary.duration)}'
    ]
    if figures['episodes']:
        largest = summary.task.largest_reward
        best = '' if largest is None else f' of {largest * summary.task.horizon:,.0f} possible'
        seconds = summary.task.horizon * summary.task.period
        lines.append(
            f'virtual robot, policy of update {figures["evaluated_update"]:,}: '
            f'{figures["survived"]} of {figures["episodes"]} episodes survived {seconds:g} s, '
            f'mean return {figures["mean_return"]:,.0f}{best}'
        )
    else:
        lines.append('virtual robot: no evaluation finished')
    action = summary.task.action
    unit = format_unit(action[0].unit)
    acted = action[0].name if len(action) == 1 else 'action'
    shown = (
        ('mean |x|', 'mean_abs_x', 'm'),
        (f'mean |{acted}|', 'mean_abs_action', unit),
        ('mean x_dot', 'mean_x_dot', 'm/s'),
        ('mean u', 'mean_u', 'nats'),
        ('mean p_real/p_sim', 'mean_dynamics_ratio', ''),
    )
    parts = [
        f'{label} {figures[name]:.3g} {mark}'.rstrip()
        for label, name, mark in shown
        if figures[name] is not None
    ]
    return [*lines, ', '.join(parts)] if parts else lines


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _size(path: Path, own: dict[Path, int]) -> str:
    if path in own:
        return format_size(own[path])
    return format_size(path.stat().st_size) if path.exists() else 'missing'
