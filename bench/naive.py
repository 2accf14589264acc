"""H2O's update as one writes it first in PyTorch: modules, autograd, one optimiser a network.

The yardstick of bench/update.py and bench/gpu.py; same mathematics, same sizes, one seed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2o_ros.algorithms.settings import AlgorithmConfig


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Return a perceptron with ReLU layers."""
    parts: list[nn.Module] = []
    for width in hidden:
        parts += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*parts, nn.Linear(inputs, outputs))


class Actor(nn.Module):
    """Squashed Gaussian with a trained multiplier and offset of the log-std."""

    def __init__(self, observation: int, action: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.network = mlp(observation, hidden, 2 * action)
        self.multiplier = nn.Parameter(torch.tensor(1.0))
        self.offset = nn.Parameter(torch.tensor(-1.0))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return an action and its log probability."""
        mean, log_std = self.network(observation).chunk(2, -1)
        log_std = (self.multiplier * log_std + self.offset).clamp(-20.0, 2.0)
        normal = torch.distributions.Normal(mean, log_std.exp())
        x = normal.rsample()
        correction = 2.0 * (0.6931471805599453 - x - F.softplus(-2.0 * x))
        return torch.tanh(x), (normal.log_prob(x) - correction).sum(-1)


class NaiveH2O:
    """One seed of H2O with the paper's losses; rows are tuples of (s, a, r, s', terminated)."""

    def __init__(
        self, config: AlgorithmConfig, observation: int, action: int, device: str = 'cpu'
    ) -> None:
        self.config, self.target_entropy = config, -float(action)
        self.actor = Actor(observation, action, config.hidden).to(device)
        critics = [mlp(observation + action, config.hidden, 1).to(device) for _ in range(4)]
        self.critics, self.targets = nn.ModuleList(critics[:2]), nn.ModuleList(critics[2:])
        self.targets.load_state_dict(self.critics.state_dict())
        self.d_sa = mlp(observation + action, config.classifier_hidden, 2).to(device)
        self.d_sas = mlp(2 * observation + action, config.classifier_hidden, 2).to(device)
        self.log_temperature = nn.Parameter(torch.tensor(0.0, device=device))
        self.state_std = torch.ones(observation, device=device)
        rate = config.learning_rate
        self.optimisers = {
            name: torch.optim.Adam(parameters, rate)
            for name, parameters in (
                ('actor', self.actor.parameters()),
                ('critics', self.critics.parameters()),
                ('d_sa', self.d_sa.parameters()),
                ('d_sas', self.d_sas.parameters()),
                ('temperature', [self.log_temperature]),
            )
        }

    def update(
        self, real: tuple, sim: tuple, classifier_real: tuple, classifier_sim: tuple
    ) -> None:
        """Make one update."""
        self._train_classifiers(classifier_real, classifier_sim)
        observation = torch.cat((real[0], sim[0]))
        action, log_pi = self.actor(observation)
        temperature_loss = -(self.log_temperature * (log_pi + self.target_entropy).detach()).mean()
        temperature = self.log_temperature.exp().detach()
        own_q = torch.min(*self._q(self.critics, observation, action))
        actor_loss = (temperature * log_pi - own_q).mean()
        critic_loss = self._critic_loss(real, sim)
        steps = (
            ('temperature', temperature_loss),
            ('actor', actor_loss),
            ('critics', critic_loss),
        )
        # in this order: the actor's loss leaves gradients in the critics, which their step clears
        for name, loss in steps:
            self.optimisers[name].zero_grad()
            loss.backward()
        for name, _ in steps:
            self.optimisers[name].step()
        with torch.no_grad():
            for target, own in zip(
                self.targets.parameters(), self.critics.parameters(), strict=True
            ):
                target.copy_((1.0 - self.config.tau) * target + self.config.tau * own)

    def _q(self, critics: nn.ModuleList, observation: Tensor, action: Tensor) -> list[Tensor]:
        inputs = torch.cat((observation, action), -1)
        return [critic(inputs).squeeze(-1) for critic in critics]

    def _critic_loss(self, real: tuple, sim: tuple) -> Tensor:
        config = self.config
        ratio = self._ratio(sim).clamp(config.ratio_minimum, config.ratio_maximum)
        u = self._u(sim)
        log_omega = torch.log(u / u.sum())
        loss = torch.zeros_like(ratio[0])
        real_target, sim_target = self._target(real), self._target(sim)
        for real_q, sim_q in zip(
            self._q(self.critics, *real[:2]), self._q(self.critics, *sim[:2]), strict=True
        ):
            bellman = F.mse_loss(real_q, real_target) + (ratio * (sim_q - sim_target) ** 2).mean()
            gap = torch.logsumexp(sim_q + log_omega, 0) - real_q.mean()
            loss = loss + bellman + config.beta * gap.clamp(-1000.0, 1000.0)
        return loss

    @torch.no_grad()
    def _target(self, rows: tuple) -> Tensor:
        _, _, reward, after, terminated = rows
        value = torch.min(*self._q(self.targets, after, self.actor(after)[0]))
        return reward + (1.0 - terminated) * self.config.discount * value

    def _train_classifiers(self, real: tuple, sim: tuple) -> None:
        sa_loss = sas_loss = real[0].new_zeros(())
        for rows, domain in ((real, 0), (sim, 1)):
            s, a, after = (
                x + self.config.classifier_noise * torch.randn_like(x)
                for x in (rows[0], rows[1], rows[3])
            )
            sa, sas = self._logits(s, a, after)
            sa_loss = sa_loss - F.log_softmax(sa, -1)[:, domain].mean()
            sas_loss = sas_loss - F.log_softmax(sas + sa, -1)[:, domain].mean()
        for name in ('d_sa', 'd_sas'):
            self.optimisers[name].zero_grad()
        (sa_loss + sas_loss).backward()
        for name in ('d_sa', 'd_sas'):
            self.optimisers[name].step()

    def _logits(self, s: Tensor, a: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        sa = 2.0 * torch.tanh(self.d_sa(torch.cat((s, a), -1)))
        return sa, 2.0 * torch.tanh(self.d_sas(torch.cat((s, a, after), -1)))

    @torch.no_grad()
    def _log_ratio(self, s: Tensor, a: Tensor, after: Tensor) -> Tensor:
        sa, sas = self._logits(s, a, after)
        p_sa, p_sas = F.softmax(sa, -1), F.softmax(sa + sas, -1)
        return (p_sas[:, 1] / p_sas[:, 0]).log() - (p_sa[:, 1] / p_sa[:, 0]).log()

    def _ratio(self, sim: tuple) -> Tensor:
        return (-self._log_ratio(sim[0], sim[1], sim[3])).exp()

    def _u(self, sim: tuple) -> Tensor:
        n = self.config.gap_samples
        s, a, after = (x.repeat_interleave(n, 0) for x in (sim[0], sim[1], sim[3]))
        after = after + torch.randn_like(after) * self.state_std
        u = self._log_ratio(s, a, after).view(-1, n).mean(-1)
        return u.clamp(self.config.gap_minimum, self.config.gap_maximum)
