"""D4RL's datasets made again: random, medium, expert, medium-expert and medium-replay.

The robot is the task's own model, unchanged. Behaviour policies lie in config/policies; actions
are drawn from them, as D4RL draws its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.data.datasets.d4rl import ENVIRONMENTS, shipped_policy
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.d4rl.behaviour_policy import MODEL, BehaviourRun, Progress
from h2o_ros.sim.locomotion.robots import Locomotion
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import Task, load_task
from h2o_ros.transitions import Transitions, concatenate

LEVELS = ('random', 'medium', 'medium-replay', 'medium-expert', 'expert')
# What each level's steps are drawn from, and the number that sets its seed apart.
SOURCES = {'random': 0, 'medium': 1, 'expert': 2}
# Mean return of D4RL's medium datasets (version 2), at which training of that policy ends.
MEDIUM_RETURNS = {'half_cheetah': 4770.3, 'walker2d': 2852.1}
MADE_BY = 'h2o_ros'
MOST_ROBOTS = 100  # side by side, where nobody says how many

Act = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Request:
    """A dataset to be made, as its name says: halfcheetah-medium-v2."""

    name: str
    task: Task
    level: str


@dataclass(frozen=True)
class Made:
    """Steps of a dataset, with what goes to infos/ and metadata/ of its file."""

    transitions: Transitions
    infos: dict[str, np.ndarray]
    metadata: dict[str, Any]


def parse_name(name: str) -> Request:
    """Read a name; ConfigurationError lists those that can be made."""
    environment, _, rest = name.partition('-')
    level, _, version = rest.rpartition('-')
    if environment not in ENVIRONMENTS or level not in LEVELS or version != 'v2':
        raise ConfigurationError(
            f'dataset {name!r} cannot be made; choose one of '
            f'{", ".join(f"{e}-LEVEL-v2" for e in ENVIRONMENTS)} with a LEVEL of '
            f'{", ".join(LEVELS)}'
        )
    return Request(name, load_task(ENVIRONMENTS[environment]), level)


def check_policies(requests: Sequence[Request], policies: dict[str, Path]) -> None:
    """Read every policy that is to act, before the first dataset is made.

    ConfigurationError: one is not shipped, or given and used by no dataset. PolicyError: its file.
    """
    used = [
        (request, level)
        for request in requests
        if request.level != 'medium-replay'
        for level in request.level.split('-')
    ]
    for level, path in policies.items():
        if level not in [acting for _, acting in used]:
            raise ConfigurationError(
                f'--policy {level}={path}: no {level} policy acts in '
                f'{", ".join(request.name for request in requests)}; leave it out'
            )
    for request, level in used:
        _controller(request, level, policies.get(level), seed=0)


def make(
    request: Request,
    steps: int,
    robots: int | None,
    seed: int,
    policies: dict[str, Path],
) -> Made:
    """Make any dataset but medium-replay; medium-expert holds `steps` of each half.

    robots: stepped side by side, see `shares`. policies: files by level, in place of those of
    config/policies.
    """
    levels = request.level.split('-')
    parts = [
        collect(
            request.task,
            *_controller(request, level, policies.get(level), seed),
            steps=steps,
            robots=robots,
            seed=_seed(seed, level, 0),
        )
        for level in levels
    ]
    metadata: dict[str, Any] = {'made_by': MADE_BY, 'level': request.level, 'seed': seed}
    for level, part in zip(levels, parts, strict=True):
        metadata |= {f'{level}/{name}': value for name, value in part.metadata.items()}
    names = parts[0].infos
    return Made(
        concatenate([part.transitions for part in parts]) if parts[1:] else parts[0].transitions,
        {name: np.concatenate([part.infos[name] for part in parts]) for name in names},
        metadata,
    )


def make_replay(
    request: Request, run: BehaviourRun, level: float, most: int, tell: Callable[[Progress], None]
) -> tuple[Made, Path]:
    """Train until the sampled return reaches `level`; returns all steps so far and the policy.

    most: steps after which it is given up, with a ConfigurationError. tell: is told of progress.
    """
    reached = next((row for row in run.history() if row.sampled >= level), None)
    training = run.train(most)
    while reached is None:
        row = next(training, None)
        if row is None:
            raise ConfigurationError(
                f'{request.name}: no return of {level:.0f} within {most} steps; give more --steps '
                'or a lower --level'
            )
        tell(row)
        reached = row if row.sampled >= level else None
    metadata = {
        'made_by': MADE_BY,
        'level': request.level,
        'seed': run.seed,
        'deterministic_return': reached.deterministic,
        'sampled_return': reached.sampled,
    }
    return Made(run.buffer(reached.steps), {}, metadata), run.policy_file(reached.steps)


def collect(
    task: Task, act: Act, metadata: dict[str, Any], steps: int, robots: int | None, seed: int
) -> Made:
    """Take `steps` control steps; each robot's lie one after the other, its last ends an episode.

    infos: the joints' positions and velocities, before the action as the observation.
    """
    robots, each = shares(steps, robots, task.horizon)
    simulator = make_simulator(task, MODEL, robots, seed=seed)
    plant = simulator.plant
    if not isinstance(plant, Locomotion):
        raise ConfigurationError(f'task {task.name}: its robot does not tell its joints')
    table: dict[str, np.ndarray] = {}
    for step in range(each):
        position, velocity = plant.pose()
        rows = simulator.step(act(simulator.observation))
        columns = {**vars(rows), 'qpos': position, 'qvel': velocity}
        for name, values in columns.items():
            if name not in table:
                kind = np.float32 if values.dtype == np.float64 else values.dtype
                table[name] = np.empty((robots, each, *values.shape[1:]), kind)
            table[name][:, step] = values
    table['truncated'][:, -1] = ~table['terminated'][:, -1]
    flat = {k: v.reshape(robots * each, *v.shape[2:])[:steps] for k, v in table.items()}
    flat['truncated'][-1] = not flat['terminated'][-1]
    infos = {name: flat.pop(name) for name in ('qpos', 'qvel')}
    return Made(Transitions(**flat), infos, metadata)


def shares(steps: int, robots: int | None, horizon: int) -> tuple[int, int]:
    """Return how many robots step side by side, and how many steps each takes.

    robots: None takes so many that episodes of `horizon` steps are whole, but for the last one.
    """
    if robots is not None:
        return robots, -(-steps // robots)
    episodes = -(-steps // horizon)
    of_each = -(-episodes // MOST_ROBOTS)
    return -(-episodes // of_each), min(of_each * horizon, steps)


def policy_path(environment: str, level: str) -> Path:
    """Return a shipped behaviour policy; ConfigurationError where there is none."""
    path = shipped_policy(environment, level)
    if path is None:
        raise ConfigurationError(
            f'no {level} policy of {environment} is shipped; train one, h2o dataset train '
            f'{environment}, and give it with --policy {level}=FILE'
        )
    return path


def _controller(
    request: Request, level: str, path: Path | None, seed: int
) -> tuple[Act, dict[str, Any]]:
    """Return what acts at a level, and what is to be said of it."""
    generator = np.random.default_rng(_seed(seed, level, 1))
    task = request.task
    lower, upper = task.action_lower, task.action_upper
    if level == 'random':
        return lambda rows: generator.uniform(lower, upper, (len(rows), len(lower))), {}
    path = path or policy_path(request.name.partition('-')[0], level)
    policy = Policy.load(path)
    policy.check_contract(task)

    def act(rows: np.ndarray) -> np.ndarray:
        return policy.act(rows, generator.standard_normal((len(rows), len(lower))))

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return act, {'policy': path.name, 'policy_sha256': digest, 'policy_update': policy.update}


def _seed(seed: int, level: str, purpose: int) -> int:
    sequence = np.random.SeedSequence([seed, SOURCES[level], purpose])
    return int(sequence.generate_state(1)[0] >> 1)
