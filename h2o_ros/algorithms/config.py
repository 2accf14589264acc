"""Algorithms by name: config/algorithms/NAME.yaml holds what differs from the defaults.

A task may bring settings that suit it, its `learning`, for every algorithm alike.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.configuration import YAML_SUFFIXES, build, read_yaml
from h2o_ros.errors import ConfigurationError
from h2o_ros.task import Task, share_folder, task_names

SIMILAR = 0.85  # from which on a task's name is taken for another's, misspelt


def algorithm_names() -> list[str]:
    """List the algorithms that the package ships."""
    return sorted(path.stem for path in share_folder('config/algorithms').glob('*.yaml'))


def load_config(
    name_or_path: str | Path, task: Task | None = None, **overrides: Any
) -> AlgorithmConfig:
    """Read an algorithm by the name of a shipped file or by path, as it is for a task.

    What comes later wins: defaults, the file, the task's `learning`, what the file says under
    `by_task` and the task's name, overrides.
    """
    path = Path(name_or_path)
    if path.suffix not in YAML_SUFFIXES:
        path = share_folder('config/algorithms') / f'{name_or_path}.yaml'
        if not path.is_file():
            raise ConfigurationError(
                f'algorithm {str(name_or_path)!r} is unknown; choose one of '
                f'{", ".join(algorithm_names())} or give a .yaml file'
            )
    of_file = read_yaml(path)
    by_task = of_file.pop('by_task', {})
    _check_by_task(by_task, of_file, task, f'{path}: by_task')
    of_both = by_task.get(task.name, {}) if task else {}
    learning = task.learning if task else {}
    if task:
        build(AlgorithmConfig, learning, f'task {task.name}: learning')
    config = config_from({**of_file, **learning, **of_both, **overrides}, str(path))
    _check_used(config, [*of_file, *of_both, *overrides], str(path))
    return config


def config_from(mapping: Mapping[str, Any], where: str) -> AlgorithmConfig:
    """Make a configuration from plain values; `where` is what an error message names."""
    return build(AlgorithmConfig, dict(mapping), where)


def _check_by_task(
    by_task: Any, of_file: Mapping[str, Any], task: Task | None, where: str
) -> None:
    """Refuse what is wrong for any task, before somebody trains on that one."""
    known = [*task_names(), *([task.name] if task else [])]
    for name, settings in _mapping(by_task, where).items():
        meant = difflib.get_close_matches(str(name), known, 1, SIMILAR)
        # What only adds to a name is a task of one's own, as standing_still_b.
        if meant and not str(name).startswith(tuple(known)):
            raise ConfigurationError(f'{where}: unknown task {name!r}; is {meant[0]} meant?')
        of_one = f'{where}: {name}'
        config = config_from({**of_file, **_mapping(settings, where)}, of_one)
        _check_used(config, settings, of_one)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f'{where}: expected a mapping by task name, got {value!r}')
    return value


def _check_used(config: AlgorithmConfig, written: Iterable[str], where: str) -> None:
    """Refuse a setting that was asked for and that the method does not read."""
    fields = {f.name: f for f in dataclasses.fields(AlgorithmConfig)}
    for name in written:
        methods = fields[name].metadata.get('methods')
        if methods and config.method not in methods:
            raise ConfigurationError(
                f'{where}: {name}: method {config.method} does not read it; leave it out, or '
                f'choose method {" or ".join(methods)} (its `methods` in '
                'h2o_ros/algorithms/settings.py)'
            )
