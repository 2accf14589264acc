"""The losses that algorithms share, each with its derivative by the outputs it is made of.

Source: H. Niu et al., "When to Trust Your Simulator: Dynamics-Aware Hybrid Offline-and-Online
Reinforcement Learning", NeurIPS 2022. Equation numbers are the paper's. Index 0 of a classifier's
two logits is real, 1 is simulated. S counts seeds, K = 2 twin critics or the two classifiers.

Every function returns the loss of each seed and the derivative of the sum over seeds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

LOG_STD_LIMITS = (-20.0, 2.0)
LOG_2 = math.log(2.0)
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def classifier_loss(outputs: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of both domain classifiers with their coupling (appendix B.1).

        z = 2 tanh(outputs)                    logits of D_sa and of D_sas on its own
        l_sa = z_sa[sim] - z_sa[real]          log p(sim | s, a) / p(real | s, a)
        l_sas = l_sa + z_sas[sim] - z_sas[real]
        L = mean over real rows of softplus(l) + mean over simulated rows of softplus(-l)

    which is -log p(real | real row) - log p(sim | simulated row). The loss of l_sas flows into
    D_sa as well.

    outputs: (2, S, rows, 2), D_sa then D_sas, before the tanh. sign: (rows,), 1 on real rows, -1
    on as many simulated rows.
    Returns the losses (2, S) and the derivative by `outputs`.
    """
    z = torch.tanh(outputs)
    signed = torch.mul(z[..., 1] - z[..., 0], 2.0).cumsum(0).mul_(sign)
    each = 0.5 * sign.numel()
    slope = torch.sigmoid(signed).mul_(sign).mul_(2.0 / each)
    slope[0] += slope[1]
    by_z = torch.stack((-slope, slope), -1)
    return softplus(signed).sum(-1) / each, torch.ops.aten.tanh_backward(by_z, z)


def dynamics_gap(outputs: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Log ratio of the two dynamics, of steps taken and of next states drawn around theirs.

    outputs: (S, rows x (1 + samples), 2) before the tanh; of each row first the next state that
    was reached, then N next states drawn around it.
    Returns log p_real/p_sim of the step taken (S, rows), and u (eq. 33 with a mean over the N
    samples, before clipping) (S, rows).
    """
    log_ratio = log_dynamics_ratio(outputs).unflatten(-1, (-1, 1 + samples))
    return log_ratio[..., 0], -log_ratio[..., 1:].mean(-1)


def log_dynamics_ratio(outputs: Tensor) -> Tensor:
    """Log p_real/p_sim of steps (...), from D_sas's outputs (..., 2) before the tanh (eq. 7).

    log p_real/p_sim = l_sa - l_sas = z_sas[real] - z_sas[sim]      (D_sa cancels exactly)
    """
    z = torch.tanh(outputs)
    return torch.mul(z[..., 0] - z[..., 1], 2.0)


def bellman_loss(q: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted Bellman error (eq. 8, without its factor 1/2, as the authors' code).

        L = sum over rows of w (Q(s, a) - y)²

    q: (K, S, rows). target y: (S, rows), a constant. weight w: (S, rows).
    Returns each row's part of the loss (K, S, rows) and the derivative by q.
    """
    error = q - target
    weighted = weight * error
    return weighted * error, 2.0 * weighted


class SquashedGaussian:
    """The actor's distribution: a = tanh(x), x = mean + std * noise (SAC).

        log std = clip(multiplier * head + offset)
        log pi = sum over fields of -noise²/2 - log std - log(2 pi)/2 - log(1 - a²)

    outputs: (S, rows, 2 A), mean then head. scale: (S, 2), multiplier and offset, trained like any
    other parameter. noise: (S, rows, A), standard normal.
    """

    def __init__(self, outputs: Tensor, scale: Tensor, noise: Tensor) -> None:
        mean, self.head = outputs.chunk(2, -1)
        self.multiplier = scale[:, None, :1]
        self.raw = torch.addcmul(scale[:, None, 1:], self.head, self.multiplier)
        self.log_std = self.raw.clamp(*LOG_STD_LIMITS)
        self.spread = self.log_std.exp() * noise
        self.noise, self.mean = noise, mean
        self.x = mean + self.spread
        self.action = torch.tanh(self.x)

    def log_probability(self, rows: int) -> Tensor:
        """Return log pi of the first `rows` rows, (S, rows)."""
        x, noise, log_std = self.x[:, :rows], self.noise[:, :rows], self.log_std[:, :rows]
        # log(1 - tanh²(x)) = 2 (log 2 - x - softplus(-2x)) does not cancel for large |x|
        density = softplus(-2.0 * x).add_(x).mul_(2.0).sub_(log_std)
        density = density.addcmul_(noise, noise, value=-0.5)
        return density.sum(-1) - (HALF_LOG_2PI + 2.0 * LOG_2) * x.shape[-1]

    def backward(self, by_action: Tensor, by_log_probability: Tensor) -> tuple[Tensor, Tensor]:
        """Return derivatives by `outputs` and by `scale` of a loss on the first rows.

        by_action: (S, n, A). by_log_probability: (S, 1, 1), equal for all n rows.
        With x = mean + std * noise:  d log pi / dx = 2 a,  d log pi / d log std = -1 + 2 a std
        noise.
        """
        n = by_action.shape[1]
        action, raw = self.action[:, :n], self.raw[:, :n]
        by_x = torch.ops.aten.tanh_backward(by_action, action)
        by_x = torch.addcmul(by_x, action, by_log_probability, value=2.0)
        by_raw = torch.addcmul(-by_log_probability, by_x, self.spread[:, :n])
        by_raw = by_raw * ((raw >= LOG_STD_LIMITS[0]) & (raw <= LOG_STD_LIMITS[1]))
        by_scale = torch.stack(((by_raw * self.head[:, :n]).sum((1, 2)), by_raw.sum((1, 2))), -1)
        return torch.cat((by_x, by_raw * self.multiplier), -1), by_scale


def actor_loss(log_pi: Tensor, q: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """SAC's actor loss (algorithm 1, line 7): mean of temperature * log pi - min of critics' Q.

    log_pi: (S, rows). q: (2, S, rows) at the actor's own actions. temperature: (S,), a constant.
    Returns (S,) and the derivative by q; that by log pi is temperature / rows.
    """
    rows = log_pi.shape[-1]
    loss = (temperature.unsqueeze(-1) * log_pi - torch.minimum(q[0], q[1])).mean(-1)
    first = (q[0] < q[1]).to(q.dtype).mul_(-1.0 / rows)
    return loss, torch.stack((first, -1.0 / rows - first))


def smoothness_loss(mean: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """How far the deterministic action steps in one control step, squared.

        L = weight x mean over rows of sum over fields of (tanh m(s) - tanh m(s'))²

    Source: the temporal term of S. Mysore et al., "Regularizing Action Policies for Smooth Control
    with Reinforcement Learning", ICRA 2021, who take the distance itself.

    mean: (S, 2 rows, A), of the actor's Gaussian at s, then at s'.
    Returns (S,) and the derivative by the mean.
    """
    action = torch.tanh(mean)
    now, then = action.chunk(2, 1)
    step = now - then
    by_action = torch.cat((step, -step), 1) * (2.0 * weight / step.shape[1])
    by_mean = torch.ops.aten.tanh_backward(by_action, action)
    return weight * step.square().sum(-1).mean(-1), by_mean


def temperature_loss(
    log_temperature: Tensor, log_pi: Tensor, target_entropy: float
) -> tuple[Tensor, Tensor]:
    """Tune the temperature: -log lambda * mean(log pi + target entropy); its derivative, (S,)."""
    slope = -(log_pi.mean(-1) + target_entropy)
    return log_temperature * slope, slope
