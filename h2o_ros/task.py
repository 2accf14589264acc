"""A task as data: what is observed, what is commanded, what is rewarded, from one YAML file.

The bag reader, the simulators, the policy file and the hardware driver all read this.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from h2o_ros import rewards
from h2o_ros.configuration import YAML_SUFFIXES, build, read_yaml, setting
from h2o_ros.errors import ConfigurationError

UNITS = ('rad', 'rad/s', 'm', 'm/s', 'm/s^2', 'N·m', 'A', 'V', '1')


@dataclass(frozen=True)
class Source:
    """One number within a ROS message, times `scale`; a field is the sum of its sources.

    field: a path within the message, as `angular_velocity.y`; on a Quaternion (x, y, z, w),
    `roll`, `pitch` and `yaw` are understood. joint: picks the element of an array of a JointState
    by the joint's name. index: picks the element of any other array.
    """

    topic: str
    type: str
    field: str
    joint: str | None = None
    index: int | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class ObservationField:
    """One component of the observation, in `unit`, frames by REP-103."""

    name: str
    unit: str = setting('1', '', 'SI unit', choices=UNITS)
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class ActionField:
    """One component of the action, in `unit`, always within [lower, upper]."""

    name: str
    lower: float
    upper: float
    unit: str = setting('N·m', '', 'SI unit', choices=UNITS)
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        """Refuse limits that are not an interval."""
        if not self.lower < self.upper:
            raise ValueError(f'lower limit {self.lower} must be below upper limit {self.upper}')


@dataclass(frozen=True)
class Termination:
    """The end of an episode by failure: a function of rewards.TERMINATIONS and its limits.

    limit is read by `fallen`; bounds, (low, high) by field in its unit, by `outside`.
    """

    name: str = setting('fallen', '', 'which', choices=tuple(rewards.TERMINATIONS))
    limit: float = setting(math.pi / 6, 'rad', 'largest tilt', minimum=0.0)
    bounds: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse bounds that are not intervals, or that nobody would read."""
        for name, pair in self.bounds.items():
            if len(pair) != 2 or not pair[0] < pair[1]:
                raise ValueError(f'bounds: {name}: expected [low, high], got {list(pair)}')
        if bool(self.bounds) != (self.name == 'outside'):
            raise ValueError('bounds: expected with the termination outside, and with no other')


@dataclass(frozen=True)
class Task:
    """Everything that robot, simulator, data and policy must agree on.

    rate: control rate in Hz. horizon: control steps after which an episode is truncated.
    training_reset, evaluation_reset: half-widths of the uniform initial state by field name, in
    the field's unit; fields not named start at zero.
    learning: settings of the algorithm that suit this task, by name; they replace those of the
    algorithm's file, but not what that says under `by_task`.
    """

    name: str
    robot: str
    reward: str = setting('', '', 'reward function', choices=tuple(rewards.REWARDS))
    observation: tuple[ObservationField, ...] = ()
    action: tuple[ActionField, ...] = ()
    rate: float = setting(200.0, 'Hz', 'control rate', minimum=1.0, maximum=10000.0)
    horizon: int = setting(6000, 'steps', 'longest episode', minimum=1)
    termination: Termination = Termination()
    training_reset: dict[str, float] = field(default_factory=dict)
    evaluation_reset: dict[str, float] = field(default_factory=dict)
    learning: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a task that could not be run."""
        for kind, entries in (('observation', self.observation), ('action', self.action)):
            names = [entry.name for entry in entries]
            if not names:
                raise ValueError(f'{kind}: expected at least one field, got none')
            if len(set(names)) != len(names):
                raise ValueError(f'{kind}: field names must be unique, got {", ".join(names)}')
        for reset in (self.training_reset, self.evaluation_reset):
            for name, width in reset.items():
                if name not in self.observation_names or width < 0:
                    raise ValueError(
                        f'reset: {name}: {width}: expected an observation field '
                        f'({", ".join(self.observation_names)}) and a half-width of 0 or more'
                    )

    @property
    def observation_names(self) -> list[str]:
        """The observation's field names in order."""
        return [entry.name for entry in self.observation]

    @property
    def action_names(self) -> list[str]:
        """The action's field names in order."""
        return [entry.name for entry in self.action]

    @property
    def without_sources(self) -> list[str]:
        """Names of the fields that no robot's topics tell; with any, there is no such robot."""
        fields = [(entry.name, entry.sources) for entry in self.observation]
        fields += [(entry.name, entry.sources) for entry in self.action]
        return [name for name, sources in fields if not sources]

    @property
    def period(self) -> float:
        """Seconds between two control steps."""
        return 1.0 / self.rate

    @property
    def action_lower(self) -> np.ndarray:
        """Lower limits, (A,) float32."""
        return np.array([entry.lower for entry in self.action], np.float32)

    @property
    def action_upper(self) -> np.ndarray:
        """Upper limits, (A,) float32."""
        return np.array([entry.upper for entry in self.action], np.float32)

    @property
    def largest_reward(self) -> float | None:
        """The reward of one perfect step; None where the reward has no largest value."""
        return rewards.REWARDS[self.reward].largest

    @property
    def needs_progress(self) -> bool:
        """Whether the reward is unknown to who has observation and action alone.

        Simulator and data set then bring it with each transition.
        """
        return rewards.REWARDS[self.reward].needs_progress

    def compute_reward(
        self, observation: np.ndarray, action: np.ndarray, progress: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the reward of each row, (N,) float32, of observation (N, O) and action (N, A).

        progress: (N,) m/s, the mean velocity along x over the step, where `needs_progress`.
        """
        fields = _by_name(self.observation_names, observation)
        if self.needs_progress:
            if progress is None:
                raise ConfigurationError(
                    f'task {self.name}: observation and action do not tell its reward; take data '
                    'that bring it, as data sets and the simulator do'
                )
            fields[rewards.PROGRESS] = progress
        function = rewards.REWARDS[self.reward].function
        return np.asarray(function(fields, _by_name(self.action_names, action)), np.float32)

    def compute_terminated(self, next_observation: np.ndarray) -> np.ndarray:
        """Say of each row of (N, O) whether the episode ends there by failure, (N,) bool."""
        chosen = self.termination
        fields = _by_name(self.observation_names, next_observation)
        return rewards.TERMINATIONS[chosen.name](fields, chosen.limit, chosen.bounds)

    def contract(self) -> dict[str, Any]:
        """Return what a policy and a robot must agree on, as plain JSON values."""
        return {
            'task': self.name,
            'robot': self.robot,
            'rate': self.rate,
            'observation': [[entry.name, entry.unit] for entry in self.observation],
            'action': [[e.name, e.unit, e.lower, e.upper] for e in self.action],
        }

    @property
    def contract_hash(self) -> str:
        """The SHA-256 of the contract's canonical JSON, 64 hexadecimal digits."""
        return contract_hash(self.contract())


def contract_hash(contract: dict[str, Any]) -> str:
    """Return the SHA-256 of a contract's canonical JSON."""
    text = json.dumps(contract, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def load_task(name_or_path: str | Path) -> Task:
    """Read a task by path, or by the name of a file in config/tasks."""
    path = Path(name_or_path)
    if path.suffix not in YAML_SUFFIXES:
        path = find_task(str(name_or_path))
    mapping = read_yaml(path)
    task = build(Task, mapping, str(path))
    _check_units(task, path)
    _check_reward_fields(task, path)
    return task


def task_names() -> list[str]:
    """List the tasks that the package ships."""
    return sorted(path.stem for path in share_folder('config/tasks').glob('*.yaml'))


def find_task(name: str) -> Path:
    """Return the path of a shipped task's file."""
    path = share_folder('config/tasks') / f'{name}.yaml'
    if not path.is_file():
        raise ConfigurationError(
            f'task {name!r} is unknown; choose one of {", ".join(task_names())} '
            'or give a .yaml file'
        )
    return path


def share_folder(relative: str) -> Path:
    """Return a data folder of the package: in an ament prefix, or in the source tree."""
    source = Path(__file__).resolve().parent.parent / relative
    if source.is_dir():
        return source
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        candidate = Path(prefix) / 'share' / 'h2o_ros' / relative
        if prefix and candidate.is_dir():
            return candidate
    raise ConfigurationError(
        f'{relative} of h2o_ros was not found; source install/setup.bash or run from a checkout'
    )


def _by_name(names: list[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise ValueError(f'expected rows of {", ".join(names)}, got shape {rows.shape}')
    return dict(zip(names, rows.T, strict=True))


def _check_units(task: Task, path: Path) -> None:
    units = {entry.name: entry.unit for entry in task.observation}
    units |= {entry.name: entry.unit for entry in task.action}
    for name, unit in units.items():
        expected = rewards.FIELD_UNITS.get(name, unit)
        if unit != expected:
            raise ConfigurationError(
                f'{path}: field {name!r}: unit: expected {expected}, as reward and simulator take '
                f"it, got {unit!r}; convert by the sources' scale"
            )


def _check_reward_fields(task: Task, path: Path) -> None:
    zeros = np.zeros((1, len(task.observation)), np.float32)
    try:
        task.compute_reward(zeros, np.zeros((1, len(task.action)), np.float32), np.zeros(1))
        task.compute_terminated(zeros)
    except KeyError as err:
        raise ConfigurationError(
            f'{path}: reward {task.reward!r} or termination {task.termination.name!r} needs the '
            f'field {err.args[0]!r}; add it or choose another'
        ) from err
