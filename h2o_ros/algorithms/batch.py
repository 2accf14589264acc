"""Inputs of one update, arranged from rows and noise for many updates at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from h2o_ros.algorithms.replay_buffer import RowLayout
from h2o_ros.algorithms.settings import AlgorithmConfig


class Noise(NamedTuple):
    """Standard normal numbers of U updates for S seeds, leading dimensions (U, S).

    classifier (rows, 2 O + A): real rows, then simulated ones, of each domain the held-out ones
    last, where there are any. gap (sim rows, N, O).
    action (2 rows, A): the actor's actions at s (real rows, sim rows), then at s' likewise.
    sampled (3 N, rows, A): CQL's actions, N uniform ones, N at s, N at s'.
    """

    classifier: Tensor
    gap: Tensor
    action: Tensor
    sampled: Tensor


class Inputs(NamedTuple):
    """What one update computes on; with a leading dimension (U,) what `prepare` returns.

    classifier (2, S, rows, 2 O + A): for D_sa with s' blanked, and for D_sas; noise added; rows
               as Noise.classifier
    taken      (S, sim rows, 2 O + A): the steps taken, where classifiers judge them
    drawn      (S, sim rows, 1 + N, O): from the next state reached to itself, which is 0, and to
               the N drawn around it
    states     (S, 2 rows, O): s then s'
    critic     (2, S, rows, O + A): the batch's (s, a)
    own        (2, S, rows, O + A): s with room for the actor's action
    target     (2, S, rows, O + A): s' with room for the actor's action
    reward     (S, rows), continuation (S, rows): y = reward + continuation x next value
    noise      (S, 2 rows, A), sampled (S, 3 N, rows, A): Noise.action and Noise.sampled
    recorded   (S, real rows, 2 O + A): what a dynamics model, where there is one, learns from
    """

    classifier: Tensor
    taken: Tensor
    drawn: Tensor
    states: Tensor
    critic: Tensor
    own: Tensor
    target: Tensor
    reward: Tensor
    continuation: Tensor
    noise: Tensor
    sampled: Tensor
    recorded: Tensor


def prepare(
    config: AlgorithmConfig,
    layout: RowLayout,
    agent_rows: Tensor,
    classifier_rows: Tensor,
    noise: Noise,
    gap_deviation: Tensor,
) -> Inputs:
    """Arrange the rows and noise of U updates as `update` wants them.

    agent_rows: (U, S, rows, W), real rows first; classifier_rows: (U, S, 2 rows, W), real rows
    first; both in learning units, columns by `layout`. gap_deviation: (S, O), standard deviation
    of the next states drawn for u, in the units in which the classifiers see s'.
    """
    u, s, rows, _ = agent_rows.shape
    o, a = layout.observation, layout.action
    noisy = classifier_rows[..., : 2 * o + a] + config.classifier_noise * noise.classifier
    blanked = noisy.clone()
    blanked[..., o + a :] = 0.0
    sim = slice(config.real_batch, None if config.classifiers else config.real_batch)
    learned = config.real_batch if config.learns_dynamics else 0
    taken, drawn = gap_inputs(layout, agent_rows[:, :, sim], noise.gap, gap_deviation)
    state_action, after = agent_rows[..., : o + a], agent_rows[..., layout.next_observation]
    room = agent_rows.new_zeros(u, s, rows, a)
    states = torch.cat((agent_rows[..., :o], after), 2)
    own = torch.cat((agent_rows[..., :o], room), 3)

    def twice(x: Tensor) -> Tensor:
        return x.unsqueeze(1).repeat(1, 2, 1, 1, 1)

    return Inputs(
        torch.stack((blanked, noisy), 1),
        taken,
        drawn,
        states,
        twice(state_action),
        twice(own),
        twice(torch.cat((after, room), 3)),
        agent_rows[..., layout.reward].contiguous(),
        agent_rows[..., layout.continuation].contiguous(),
        noise.action,
        noise.sampled,
        agent_rows[:, :, :learned, : layout.seen.stop].contiguous(),
    )


def gap_inputs(
    layout: RowLayout, rows: Tensor, noise: Tensor, deviation: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each row's (s, a, s') and where N next states drawn around s' lie from it.

    rows: (..., S, rows, W) in learning units. noise: (..., S, rows, N, O), standard normal.
    deviation: (S, O). Returns Inputs.taken and Inputs.drawn, with the same leading dimensions.
    """
    drawn = noise.new_zeros(*noise.shape[:-2], 1 + noise.shape[-2], noise.shape[-1])
    torch.mul(noise, deviation[:, None, None], out=drawn[..., 1:, :])
    return rows[..., : layout.seen.stop].contiguous(), drawn
