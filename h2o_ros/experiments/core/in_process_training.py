"""Training in one process, without ROS: the same Trainer, bit for bit the same twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.episodes import EpisodeCollector, Episodes
from h2o_ros.errors import TrainingError
from h2o_ros.sim.simulator import Simulator, make_simulator
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions, concatenate


def train(
    trainer: Trainer,
    task: Task,
    seeds: Sequence[int],
    gap: str = 'none',
    environments: int = 32,
    after_chunk: Callable[[], None] = lambda: None,
    stopping: Callable[[], bool] = lambda: False,
    every: int = 0,
) -> None:
    """Train to the end or until `stopping`; seeds are one batch, each with its own simulator.

    A chunk is one control step of every simulated robot and the updates that it earns. every:
    `after_chunk` is called at each multiple of so many updates, too. TrainingError: it diverged.
    """
    config = trainer.config
    simulators = [
        make_simulator(task, 'simulator', batch=environments, seed=seed, gap=gap)
        for seed in (seeds if config.needs_simulated else [])
    ]
    while trainer.updates < config.updates_total and not stopping():
        if simulators:
            _roll_out(trainer, simulators)
            earned = (trainer.simulated_steps - config.warmup_steps) * config.updates_per_step
        else:
            earned = trainer.updates + environments
        end = min(math.floor(earned), config.updates_total)
        while trainer.updates < end:
            following = (trainer.updates // every + 1) * every if every else end
            trainer.update(min(end, following) - trainer.updates)
            trainer.check()
            after_chunk()


def _roll_out(trainer: Trainer, simulators: list[Simulator]) -> None:
    observation = np.stack([simulator.observation for simulator in simulators])
    actions = trainer.act(observation, deterministic=False)
    for index, (simulator, action) in enumerate(zip(simulators, actions, strict=True)):
        trainer.add_simulated(take_step(simulator, action), index)


def take_step(robots: Simulator, action: np.ndarray) -> Transitions:
    """Take a control step; TrainingError where the action (N, A) is no number."""
    if not np.isfinite(action).all():
        raise TrainingError('the policy diverged: its actions are not finite; lower learning_rate')
    return robots.step(action)


def explore(
    policy: Policy, robots: Simulator, steps: int, generator: np.random.Generator
) -> Transitions:
    """Take so many control steps of every robot, exploring; rows step by step, robot by robot."""
    shape = (robots.batch, len(robots.task.action))
    return concatenate(
        [
            take_step(robots, policy.act(robots.observation, generator.standard_normal(shape)))
            for _ in range(steps)
        ]
    )


def evaluate(
    policy: Policy, task: Task, model: str, episodes: int = 10, seed: int = 1
) -> Episodes:
    """Run `episodes` of the policy without exploration on a model of the robot."""
    return evaluate_controller(lambda rows: policy.act(rows), task, model, episodes, seed)


def evaluate_controller(
    act: Callable[[np.ndarray], np.ndarray],
    task: Task,
    model: str,
    episodes: int = 10,
    seed: int = 1,
) -> Episodes:
    """Run `episodes` of any controller: observation (N, O) in, action (N, A) out."""
    robots = make_simulator(task, model, batch=episodes, seed=seed, reset='evaluation')
    collector = EpisodeCollector(task, episodes)
    while not collector.complete:
        collector.add(take_step(robots, act(robots.observation)))
    return collector.result()
