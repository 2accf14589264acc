"""Where the built package is, and the environment that its nodes need."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import node_environment

PACKAGE = 'h2o_ros'


def built_prefix(environment: Mapping[str, str]) -> Path:
    """Return the prefix of the built package: of a sourced setup.bash, or of this checkout."""
    sourced = environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    checkout = Path(__file__).resolve().parents[3] / 'install' / PACKAGE
    for prefix in [*map(Path, filter(None, sourced)), checkout]:
        if (prefix / 'lib' / PACKAGE).is_dir():
            return prefix
    raise ConfigurationError(
        'h2o_ros is not built; run `make build`, or `colcon build` and source install/setup.bash'
    )


def environment_of_nodes(
    prefix: Path, environment: Mapping[str, str], network: str = ''
) -> dict[str, str]:
    """Return the whole environment of a node: messages, their libraries, and the defaults.

    network: as node_environment has it.
    """
    result = dict(environment) | node_environment(environment, network)
    version = f'python{sys.version_info.major}.{sys.version_info.minor}'
    python = [
        folder
        for folder in (
            prefix / 'lib' / version / 'site-packages',
            prefix / 'local' / 'lib' / version / 'dist-packages',
        )
        if folder.is_dir()
    ]
    for name, folders in (
        ('AMENT_PREFIX_PATH', [prefix]),
        ('PYTHONPATH', python),
        ('LD_LIBRARY_PATH', [prefix / 'lib']),
    ):
        before = [part for part in environment.get(name, '').split(os.pathsep) if part]
        added = [str(folder) for folder in folders if str(folder) not in before]
        result[name] = os.pathsep.join([*added, *before])
    return result


def find_launch_file(name: str, prefix: Path | None) -> Path:
    """Return a launch file by path, or by name among those installed or of this checkout."""
    if Path(name).is_file():
        return Path(name)
    folders = [Path(__file__).resolve().parents[3] / 'launch']
    if prefix:
        folders.insert(0, prefix / 'share' / PACKAGE / 'launch')
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    shipped = sorted({path.name for folder in folders for path in folder.glob('*.launch.py')})
    raise ConfigurationError(
        f'launch file {name!r} was not found; choose one of {", ".join(shipped) or "(none)"}'
    )
