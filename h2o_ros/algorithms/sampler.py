"""Samples of each update: rows drawn from the replay buffers, and noise.

The random numbers of update n depend on the seed and n alone. So a checkpoint keeps no generators,
it does not matter in what portions updates are asked for, and several seeds trained as one batch
see what each would see alone. Numbers are drawn, and rows gathered, for a block of updates at
once, on the device that trains: a processor could not draw as fast as a GPU learns. A GPU draws
other numbers than a processor.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs, Noise, prepare
from h2o_ros.algorithms.replay_buffer import RowLayout, Scaling, SimulatedRows
from h2o_ros.algorithms.settings import AlgorithmConfig

BLOCK = 16
HOLD_OUT_EVERY = 10  # of so many rows in a buffer one is held out from classifiers, where any is
PURPOSES = {'networks': 0, 'update': 1, 'action': 2, 'gap': 3}


def generator(
    seed: int, purpose: str, number: int = 0, device: torch.device | str = 'cpu'
) -> torch.Generator:
    """Return a generator for one purpose, independent of all others."""
    sequence = np.random.SeedSequence([seed, PURPOSES[purpose], number])
    return torch.Generator(device).manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))


class Sampler:
    """Draws and arranges the inputs of updates for several seeds."""

    def __init__(self, config: AlgorithmConfig, layout: RowLayout, seeds: tuple[int, ...]) -> None:
        self.config, self.layout, self.seeds = config, layout, seeds
        o, a = layout.observation, layout.action
        classifiers = config.classifier_batch if config.classifiers else 0
        self._parts = (classifiers, config.held_out_batch)
        self._each = sum(self._parts)
        self._batch = config.real_batch + config.sim_batch
        gap_rows = config.sim_batch if config.draws_next_states else 0
        self._noise_shapes = (
            (2 * self._each, 2 * o + a),
            (gap_rows, config.gap_samples, o),
            (2 * self._batch, a),
            (3 * config.sampled_actions if config.method == 'cql' else 0, self._batch, a),
        )
        self._block = -1
        self._uniform = self._normal = torch.empty(0)

    def inputs(
        self,
        first: int,
        most: int,
        real: Tensor | None,
        simulated: SimulatedRows,
        scaling: Scaling,
    ) -> list[Inputs]:
        """Return the inputs of updates first, first + 1, ...: up to `most`, to the block's end.

        real: (N, W) rows common to all seeds. Uniform numbers are kept and turned into row numbers
        here, since the simulated buffer grows between calls.
        """
        block, start = divmod(first, BLOCK)
        if block != self._block:
            self._draw(block, scaling.scale.device)
        part = slice(start, start + min(most, BLOCK - start))
        agent, classifier = self._gather(self._uniform[part], real, simulated)
        prepared = prepare(
            self.config,
            self.layout,
            scaling.apply(agent),
            scaling.apply(classifier),
            self._noise(self._normal[part]),
            scaling.gap_deviation,
        )
        return [Inputs(*tensors) for tensors in zip(*(t.unbind(0) for t in prepared), strict=True)]

    def _draw(self, block: int, device: torch.device) -> None:
        """Draw a block's numbers: uniform in [0, 1), one a row; standard normal for the noise."""
        rows = self._batch + 2 * self._each
        size = sum(int(np.prod(shape)) for shape in self._noise_shapes)
        uniform, normal = [], []
        for seed in self.seeds:
            g = generator(seed, 'update', block, device)
            uniform.append(
                torch.rand(BLOCK, rows, generator=g, dtype=torch.float64, device=device)
            )
            normal.append(torch.randn(BLOCK, size, generator=g, device=device))
        self._uniform, self._normal = torch.stack(uniform, 1), torch.stack(normal, 1)
        self._block = block

    def _noise(self, normal: Tensor) -> Noise:
        sizes = [int(np.prod(shape)) for shape in self._noise_shapes]
        pieces = normal.split(sizes, -1)
        return Noise(
            *(p.unflatten(-1, s) for p, s in zip(pieces, self._noise_shapes, strict=True))
        )

    def _gather(
        self, uniform: Tensor, real: Tensor | None, simulated: SimulatedRows
    ) -> tuple[Tensor, Tensor]:
        """Return the agent's rows (U, S, rows, W) and the classifiers' (U, S, 2 rows, W)."""
        config, (updates, s, _) = self.config, uniform.shape
        from_real, from_sim = uniform.split(
            [config.real_batch + self._each, config.sim_batch + self._each], -1
        )
        width = self.layout.width
        none = simulated.rows.new_empty(updates, s, 0, width)
        real_rows = sim_rows = none
        if real is not None:
            index = self._choose(from_real, len(real))
            real_rows = real.index_select(0, index.flatten()).view(updates, s, -1, width)
        if config.needs_simulated:
            filled = torch.tensor([[simulated.filled(i)] for i in range(s)])
            filled = filled.to(uniform.device, non_blocking=True)  # the device is not waited for
            start = torch.arange(s, device=uniform.device)[:, None] * simulated.capacity
            index = self._choose(from_sim, filled) + start
            flat = simulated.rows.view(-1, width)
            sim_rows = flat.index_select(0, index.flatten()).view(updates, s, -1, width)
        r, m = config.real_batch, config.sim_batch
        agent = torch.cat((real_rows[:, :, :r], sim_rows[:, :, :m]), 2)
        return agent, torch.cat((real_rows[:, :, r:], sim_rows[:, :, m:]), 2)

    def _choose(self, uniform: Tensor, rows: int | Tensor) -> Tensor:
        """Turn uniform numbers into row numbers: of the agent's rows, the classifiers', held-out.

        Where none are held out, classifiers see all rows.
        """
        if self.config.held_out_batch == 0:
            return (uniform * rows).long()
        of_agent, stepped, held = uniform.split([uniform.shape[-1] - self._each, *self._parts], -1)
        parts = (of_agent * rows).long(), stepped_rows(stepped, rows), held_out_rows(held, rows)
        return torch.cat(parts, -1)


def stepped_rows(uniform: Tensor, rows: int | Tensor) -> Tensor:
    """Return numbers of rows among `rows` that are not held out: all but 9, 19, 29, ..."""
    rows = torch.as_tensor(rows, device=uniform.device)
    index = (uniform * (rows - rows // HOLD_OUT_EVERY)).long()
    return index + index // (HOLD_OUT_EVERY - 1)


def held_out_rows(uniform: Tensor, rows: int | Tensor) -> Tensor:
    """Return numbers of rows among `rows` that are held out: 9, 19, ...; the last of up to 9."""
    rows = torch.as_tensor(rows, device=uniform.device)
    held = (rows // HOLD_OUT_EVERY).clamp(min=1)
    index = (uniform * held).long() * HOLD_OUT_EVERY + HOLD_OUT_EVERY - 1
    return torch.minimum(index, rows - 1)
