"""Folder of the deployment experiment: its options, and what is finished in it."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from h2o_ros.algorithms.config import load_config
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core import manifest
from h2o_ros.experiments.sweep import run_config
from h2o_ros.experiments.sweep.dependencies import fields_of
from h2o_ros.report.run import CHECKPOINT, POLICY
from h2o_ros.report.summary import JSON_NAME
from h2o_ros.task import Task

DRIVE = 'drive.json'
SETTINGS = ('model', 'steps', 'excitation', 'seed')


def claim(
    output: Path, tasks: Sequence[Task], algorithms: Sequence[str], options: argparse.Namespace
) -> None:
    """Note what all results rest on; ConfigurationError where those there rest on other things."""
    recipes = {}
    for task in tasks:
        for algorithm in algorithms:
            config = load_config(algorithm, task)
            updates = options.updates or config.updates_total
            recipes[f'{algorithm} on {task.name}'] = {
                **run_config.recipe(config),
                'updates': updates,
            }
    parts = {'task': {task.name: fields_of(task) for task in tasks}, 'algorithm': recipes}
    settings = {name: getattr(options, name) for name in SETTINGS}
    manifest.claim(output, settings, parts, empty=not any(map(Path.is_dir, output.iterdir())))


def is_trained(training: Path, asked: Mapping[str, Any]) -> bool:
    """Say whether a training left its last policy, by its summary.

    asked: what it must have been given, by the summary's names; ConfigurationError otherwise.
    """
    summary = _summary(training)
    for name, value in asked.items():
        if summary and summary.get(name) != value:
            raise ConfigurationError(
                f'{training}: of {name} {summary.get(name)} where {value} is asked for now; give '
                'the same, or another --output'
            )
    return summary.get('finished') is True and (training / POLICY).is_file()


def checkpoint_of(training: Path) -> Path | None:
    """Return from where an unfinished training goes on; None where it begins anew."""
    path = training / CHECKPOINT
    return path if path.is_file() else None


def has_driven(deployment: Path, policy: Path, tries: int) -> bool:
    """Say whether this policy was deployed to the end, drove, and left its figures.

    Motors that went off before it drove, as on a busy machine, say nothing of the policy; `tries`
    such deployments in all are enough.
    """
    path = deployment / DRIVE
    if not path.is_file():
        return False
    drive = read_drive(path)
    if drive.get('stopped') or not _is_of(drive, policy):
        return False
    if not never_drove(deployment):
        return True
    earlier = deployment.parent.glob(f'earlier-*/{deployment.name}')
    failed = [each for each in earlier if never_drove(each)]
    of_it = [each for each in failed if _is_of(read_drive(each / DRIVE), policy)]
    return 1 + len(of_it) >= tries


def never_drove(deployment: Path) -> bool:
    """Say whether the motors went off in a deployment before its policy drove."""
    path = deployment / DRIVE
    drive = read_drive(path) if path.is_file() else {}
    return bool(drive.get('fault')) and drive.get('steps') == 0


def _is_of(drive: Mapping[str, Any], policy: Path) -> bool:
    whose = drive.get('policy_hash')  # empty where no policy was served
    return not whose or whose == hashlib.sha256(policy.read_bytes()).hexdigest()


def read_drive(path: Path) -> dict[str, Any]:
    """Return a deployment's figures; ConfigurationError where the file is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError) as err:
        raise ConfigurationError(f'{path}: damaged ({err}); remove its folder') from err


def _summary(training: Path) -> dict[str, Any]:
    """Return what a training says of itself; nothing where it was killed before that."""
    try:
        return dict(json.loads((training / JSON_NAME).read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError):
        return {}
