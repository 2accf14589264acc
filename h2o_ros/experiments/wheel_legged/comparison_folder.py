"""The folder of a comparison: a JSON file for each algorithm, and what all of them rest on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core import manifest
from h2o_ros.experiments.core.results import write_text
from h2o_ros.experiments.sweep import run_config
from h2o_ros.experiments.sweep.dependencies import fields_of
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

LQR = 'lqr'
RESULT = {'algorithm', 'task', 'robot', 'updates', 'real_rows', 'seconds', 'metrics', 'rows'}
ROW = {
    'seed', 'robot', 'episodes', 'survived', 'mean_return', 'mean_abs_x', 'mean_abs_action',
}  # fmt: skip


def by_name(words: str) -> dict[str, str]:
    """Return algorithms, by commas, by the names of their results.

    ConfigurationError where two would have one file.
    """
    found = {LQR: LQR, Path(manifest.NAME).stem: manifest.NAME}
    for word in words.split(','):
        name = Path(word).stem
        if found.setdefault(name, word) != word:
            raise ConfigurationError(
                f'--algorithms: {found[name]} and {word} would both be {name}.json; rename one'
            )
    return {Path(word).stem: word for word in words.split(',')}


def path_of(folder: Path, name: str) -> Path:
    """Return the file of an algorithm's result."""
    return folder / f'{name}.json'


def write(folder: Path, name: str, result: dict[str, Any]) -> None:
    """Write an algorithm's result, whole or not at all."""
    write_text(path_of(folder, name), json.dumps(result, indent=1) + '\n')


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every result by name; ConfigurationError where a file holds none."""
    files = [path for path in sorted(folder.glob('*.json')) if path.name != manifest.NAME]
    return {path.stem: _read(path) for path in files}


def claim(
    folder: Path,
    task: Task,
    real: Transitions,
    settings: Mapping[str, Any],
    configs: Mapping[str, AlgorithmConfig],
    seeds: Sequence[int],
) -> None:
    """Note what all results rest on; ConfigurationError where those there rest on other things.

    settings: the robot, and other options that all share. configs: by name, without LQR.
    """
    asked = {'task': task.name, 'robot': settings['robot']}
    trained = {'seeds': _list(seeds), 'recorded steps': len(real)}
    there = read(folder)
    for name, result in there.items():
        of_it = {'updates': configs[name].updates_total} if name in configs else {}
        more = {} if result['algorithm'] == LQR else {**trained, **of_it}
        _check(path_of(folder, name), result, {**asked, **more})
    shared = {
        'task': task.name,
        **settings,
        'first seed': seeds[0],
        'seeds': len(seeds),
        'recording': run_config.digest_of_rows(real),
    }
    algorithms = {
        name: {**run_config.recipe(config), 'updates': config.updates_total}
        for name, config in configs.items()
    }
    parts = {'task': {task.name: fields_of(task)}, 'algorithm': algorithms}
    manifest.claim(folder, shared, parts, empty=not there)


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as err:
        raise ConfigurationError(f'{path}: damaged ({err}); remove it to make it anew') from err
    whole = isinstance(result, dict) and set(result) >= RESULT
    if not whole or not all(isinstance(row, dict) and set(row) >= ROW for row in result['rows']):
        raise ConfigurationError(f'{path}: damaged (no result); remove it to make it anew')
    return result


def _check(path: Path, result: dict[str, Any], asked: Mapping[str, Any]) -> None:
    """Look at what a result itself says: folders that are older have no manifest."""
    seeds = sorted({row['seed'] for row in result['rows']})
    says = {**result, 'seeds': _list(seeds), 'recorded steps': result['real_rows']}
    for name, now in asked.items():
        if says[name] != now:
            raise ConfigurationError(
                f'{path}: of {name} {says[name]} where {now} is asked for now; give the same, or '
                'another --output'
            )


def _list(seeds: Sequence[int]) -> str:
    return ', '.join(map(str, seeds))
