"""The trainer: buffers, updates, acting, policies and checkpoints of seeds in one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from h2o_ros.algorithms.batch import gap_inputs
from h2o_ros.algorithms.compute.compile import make_step
from h2o_ros.algorithms.cpu_kernels import fast_arithmetic
from h2o_ros.algorithms.files import checkpoint
from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.algorithms.methods import losses
from h2o_ros.algorithms.networks import forward, layers_of
from h2o_ros.algorithms.optimiser import Rates, rates
from h2o_ros.algorithms.replay_buffer import RowLayout, Scaling, SimulatedRows, make_rows
from h2o_ros.algorithms.sampler import Sampler, generator
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.state import Shape, State
from h2o_ros.algorithms.update import METHODS, find_method
from h2o_ros.errors import ConfigurationError, TrainingError
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions


class Trainer:
    """Trains one policy per seed; every number depends on its seed, never on the other seeds.

    real: the recorded transitions of all seeds, left alone where config.needs_real is false.
    simulation: what tells the simulator of its rows from others, see h2o_ros.sim.gaps; the caller
    says it, checkpoints keep it.
    Not thread-safe: the caller lets one thread at a time in. ValueError: real rows are missing,
    of another task or not finite. ConfigurationError: a new method was not entered everywhere.
    """

    def __init__(
        self,
        config: AlgorithmConfig,
        task: Task,
        real: Transitions | None,
        seeds: Sequence[int],
        device: str = 'cpu',
    ) -> None:
        find_method(config)
        if not seeds:
            raise ValueError('seeds: expected at least one, got none')
        if real is not None and len(real) == 0:
            raise ValueError('real: expected at least one transition, got none')
        if real is None and config.needs_real:
            raise ValueError('real: expected recorded transitions, since they are learned from')
        if not config.needs_real:
            real = None
        if torch.device(device).type == 'cuda' and not torch.cuda.is_available():
            raise ConfigurationError(f'device: {device!r} is not available here; use cpu')
        self.config, self.task, self.seeds, self.device = config, task, tuple(seeds), device
        self.simulation: dict[str, Any] = {}
        self.layout = RowLayout(len(task.observation), len(task.action))
        shape = Shape(len(seeds), self.layout.observation, self.layout.action)
        self.state = State(config, shape, device)
        for index, seed in enumerate(self.seeds):
            self.state.initialise(index, generator(seed, 'networks'))
        self._actor = self.state.agent_parameters.layers('actor')
        self.updates = self.acts = 0
        self._step = make_step(self.state, config.compile)
        on_processor = torch.device(device).type == 'cpu'
        self._largest_layer = max(config.hidden + config.classifier_hidden) if on_processor else 0
        self.sampler = Sampler(config, self.layout, self.seeds)
        self.scaling = Scaling.identity(len(seeds), self.layout).to(device)
        capacity = config.sim_capacity(0 if real is None else len(real))
        self.real: Tensor | None = None
        self.recorded = 0 if real is None else len(real)
        if real is not None:
            rows = make_rows(real, config, task)
            self.real = rows.to(device)
            self.scaling = Scaling.fit([rows] * len(seeds), config, task).to(device)
        self.simulated = SimulatedRows(len(seeds), capacity, self.layout.width, device)
        self._metrics: dict[str, Tensor] = {}

    @property
    def simulated_steps(self) -> int:
        """Simulated rows received by the seed that has the fewest."""
        return min(self.simulated.added)

    @property
    def real_digest(self) -> str:
        """The SHA-256 of the recorded rows as the learner holds them; empty if there are none."""
        if self.real is None:
            return ''
        return hashlib.sha256(self.real[: self.recorded].cpu().numpy().tobytes()).hexdigest()

    def add_real(self, batch: Transitions) -> None:
        """Append transitions of a running robot to the recorded ones; the scalings stay.

        ValueError: this algorithm learns from no real rows.
        """
        if self.real is None:
            raise ValueError('add_real: this algorithm learns from no real transitions')
        rows = make_rows(batch, self.config, self.task).to(self.device)
        self.real = torch.cat((self.real, rows))

    def add_simulated(self, batch: Transitions, seed_index: int = 0) -> None:
        """Append simulated transitions to one seed's buffer."""
        self.simulated.add(seed_index, make_rows(batch, self.config, self.task).to(self.device))

    def update(self, count: int) -> None:
        """Make `count` updates of all seeds; ValueError where simulated rows are still missing."""
        if self.config.needs_simulated and self.simulated_steps == 0:
            raise ValueError('update: needs simulated rows of every seed; add some first')
        if self.real is None and self.updates == 0:
            self._fit_to_simulated()
        left = count
        with torch.no_grad(), fast_arithmetic(self._largest_layer):
            while left > 0:
                block = self.sampler.inputs(
                    self.updates, left, self.real, self.simulated, self.scaling
                )
                rates_of_block = rates(self.config, self.updates, len(block), self.device)
                for inputs, *each in zip(block, *rates_of_block, strict=True):
                    left -= 1
                    metrics = self._step(inputs, Rates(*each), left == 0)
                    self._metrics = metrics or self._metrics
                    self.updates += 1

    def check(self) -> None:
        """TrainingError where actor, critics or temperature are no longer finite numbers.

        Their sum tells it, at a hundredth of the time of an update or less.
        """
        if not bool(torch.isfinite(self.state.agent_parameters.value.sum())):
            raise TrainingError(f'diverged after update {self.updates}; lower learning_rate')

    def simulator_seed(self, seed: int) -> int:
        """Return the seed of simulated robots that begin now, for a run of this seed.

        Those that begin anew after an interruption do not repeat what they did at first.
        """
        return seed + 1_000_000 * self.updates

    def metrics(self) -> dict[str, np.ndarray]:
        """Return the newest metrics by the names of LearnerStatus, (S,) each; empty before any."""
        return {
            name: (value.mean(0) if value.ndim == 2 else value).cpu().numpy()
            for name, value in self._metrics.items()
        }

    @torch.inference_mode()
    def act(self, observation: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Return actions (S, N, A) of the current actors for observations (S, N, O), SI units."""
        raw = torch.from_numpy(np.ascontiguousarray(observation, np.float32)).to(self.device)
        a = self.layout.action
        outputs, _ = forward(self._actor, self.scaling.standardise(raw))
        if deterministic:
            action = torch.tanh(outputs[..., :a])
        else:
            shape = (observation.shape[1], a)
            noise = [
                torch.randn(shape, generator=generator(seed, 'action', self.acts))
                for seed in self.seeds
            ]
            self.acts += 1
            noise_of_all = torch.stack(noise).to(self.device)
            scale = self.state.agent_parameters.views['scale/log_std']
            action = losses.SquashedGaussian(outputs, scale, noise_of_all).action
        lower, upper = self.task.action_lower, self.task.action_upper
        unscaled = (lower + upper) / 2 + (upper - lower) / 2 * action.cpu().numpy()
        return np.clip(unscaled, lower, upper)

    def policy(self, seed_index: int = 0, averaged: bool = True, version: int = 0) -> Policy:
        """Return one seed's policy; averaged: the running mean of its actor where one is kept."""
        state, o = self.state, self.layout.observation
        names = [k for k in state.agent_parameters.shapes if k.startswith(('actor/', 'scale/'))]
        views = {name: state.agent_parameters.views[name] for name in names}
        if averaged and self.config.actor_average > 0.0:
            views = state.average_views()
        layers = layers_of(views, 'actor')
        return Policy(
            [layer.weight[seed_index].cpu().numpy().copy() for layer in layers],
            [layer.bias[seed_index, 0].cpu().numpy().copy() for layer in layers],
            views['scale/log_std'][seed_index].cpu().numpy().copy(),
            self.scaling.scale[seed_index, :o].cpu().numpy().copy(),
            self.scaling.shift[seed_index, :o].cpu().numpy().copy(),
            self.task.contract(),
            version,
            self.updates,
            self.config.method,
        )

    @torch.inference_mode()
    def dynamics_gap(
        self, batch: Transitions, seed_index: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return u in nats and p_real/p_sim before clipping, (N,) each, of given transitions."""
        dynamics_gap = METHODS[self.config.method].gap
        if dynamics_gap is None:
            raise ValueError('dynamics_gap: this algorithm trains no classifiers')
        raw = make_rows(batch, self.config, self.task).to(self.device)
        rows = self.scaling.apply(raw.expand(len(self.seeds), -1, -1))[seed_index]
        noise = torch.randn(
            (len(rows), self.config.gap_samples, self.layout.observation),
            generator=generator(self.seeds[seed_index], 'gap', self.updates),
        ).to(self.device)
        one = slice(seed_index, seed_index + 1)
        inputs = gap_inputs(self.layout, rows[None], noise[None], self.scaling.gap_deviation[one])
        gap = dynamics_gap(self.state, *inputs, one)
        return gap.u[0].cpu().numpy(), gap.ratio[0].cpu().numpy()

    @torch.inference_mode()
    def value(self, batch: Transitions, seed_index: int = 0) -> np.ndarray:
        """Return the smaller of both critics' Q(s, a), (N,) in units of the learning reward."""
        raw = make_rows(batch, self.config, self.task).to(self.device)
        rows = self.scaling.apply(raw.expand(len(self.seeds), -1, -1))[seed_index]
        twins = [seed_index, len(self.seeds) + seed_index]
        layers = [
            layer._replace(weight=layer.weight[twins], bias=layer.bias[twins])
            for layer in self.state.agent_parameters.layers('critics')
        ]
        pairs = rows[:, : self.layout.seen.start].expand(2, -1, -1)
        q, _ = forward(layers, pairs, self.config.critic_layer_norm)
        return q[..., 0].amin(0).cpu().numpy()

    def save(self, path: str | Path) -> None:
        """Write a checkpoint, whole or not at all."""
        checkpoint.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        config: AlgorithmConfig | None,
        task: Task,
        real: Transitions | None,
        device: str = 'cpu',
        seeds: Sequence[int] | None = None,
        simulation: Mapping[str, Any] | None = None,
    ) -> Trainer:
        """Go on from a checkpoint; given the same rows, each update as without interruption.

        config, seeds, simulation: None takes the checkpoint's. CheckpointError: the file is torn,
        or was made by another configuration, for another task, on other recordings, with other
        seeds or in another simulator.
        """
        return checkpoint.load(cls, path, config, task, real, device, seeds, simulation)

    def _fit_to_simulated(self) -> None:
        """Without real rows, the simulated ones that came first standardise observations."""
        parts = [
            self.simulated.rows[i, : self.simulated.filled(i)].cpu()
            for i in range(len(self.seeds))
        ]
        self.scaling = Scaling.fit(parts, self.config, self.task).to(self.device)
