"""Everything that training changes, of several seeds at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from h2o_ros.algorithms.cpu_kernels import LARGE
from h2o_ros.algorithms.networks import Layer, Parameters, initialise, layers_of, mlp_shapes
from h2o_ros.algorithms.settings import AlgorithmConfig


@dataclass(frozen=True)
class Shape:
    """Sizes that fix the networks: seeds, observation and action widths."""

    seeds: int
    observation: int
    action: int


class State:
    """All that training changes: parameters, optimiser moments, targets, averaged actor, counter.

    groups: what one optimiser moves, by name. classifier_parameters: `classifiers` (2 x
    pairs x S networks: D_sa, D_sas). agent_parameters: `actor` (S), `scale/log_std` (S, 2),
    `temperature/log` (S,), `critics` (2 x S). own: groups that the method has besides, each named
    as its network. target: the critics' twin, laid out like them.
    average: the actor's and scale's running mean. factors: what updates round the factors of
    large products to; settled: whether that was found out (precision.py).
    """

    def __init__(self, config: AlgorithmConfig, shape: Shape, device: str = 'cpu') -> None:
        s, o, a = shape.seeds, shape.observation, shape.action
        self.config, self.shape = config, shape
        medium = config.matmul_precision == 'medium'
        self.factors = torch.bfloat16 if medium else torch.float32
        self.settled = False
        classifiers, sizes = 2 * config.pairs * s, (2 * o + a, *config.classifier_hidden, 2)
        self.classifier_parameters = Parameters(
            mlp_shapes('classifiers', classifiers, sizes), device
        )
        self.agent_parameters = Parameters(
            {
                **mlp_shapes('actor', s, (o, *config.hidden, 2 * a)),
                'scale/log_std': (s, 2),
                'temperature/log': (s,),
                **mlp_shapes('critics', 2 * s, (o + a, *config.hidden, 1)),
            },
            device,
        )
        self.own = {k: Parameters(v, device) for k, v in _own_shapes(config, shape).items()}
        self.groups = {
            'classifier': self.classifier_parameters,
            'agent': self.agent_parameters,
            **self.own,
        }
        self._owners = {
            name.split('/')[0]: group for group in self.groups.values() for name in group.shapes
        }
        agent = self.agent_parameters
        self.critic_span, actor_span = agent.span('critics'), agent.span('actor')
        self.actor_span = slice(actor_span.start, agent.span('scale').stop)
        self.target = torch.zeros_like(agent.value[self.critic_span])
        self.average = torch.zeros_like(agent.value[self.actor_span])
        self.target_layers = layers_of(self._mirror_views(self.target, ('critics/',)), 'critics')
        sign = torch.ones(2, config.classifier_batch, device=device)
        sign[1] = -1.0
        self.sign = sign.flatten()

    def layers(self, network: str) -> list[Layer]:
        """Return the layers of a network of any group, or of `targets`, for an update.

        Between inputs or outputs and a hidden layer little is to be gained, so nothing is rounded.
        """
        layers = self.target_layers
        if network != 'targets':
            layers = self._owners[network].layers(network)
        return [
            layer._replace(factors=self.factors) if min(layer.weight.shape[1:]) >= LARGE else layer
            for layer in layers
        ]

    def initialise(self, seed_index: int, generator: torch.Generator) -> None:
        """Draw one seed's networks; alike whether alone or among other seeds."""
        s, agent, pairs = self.shape.seeds, self.agent_parameters, self.config.pairs
        initialise(agent.layers('actor'), seed_index, generator, small_output=True)
        agent.views['scale/log_std'][seed_index] = torch.tensor([1.0, -1.0])
        for twin in range(2):
            critic = twin * s + seed_index
            initialise(agent.layers('critics'), critic, generator, small_output=True)
            layers = self.classifier_parameters.layers('classifiers')
            for pair in range(twin * pairs, (twin + 1) * pairs):
                initialise(layers, pair * s + seed_index, generator, small_output=False)
        for name, parameters in self.own.items():
            layers = parameters.layers(name)
            for network in range(seed_index, len(layers[0].weight) if layers else 0, s):
                initialise(layers, network, generator, small_output=True)
        self.reset_copies()

    def reset_copies(self) -> None:
        """Set targets and averages to the networks they follow."""
        self.target.copy_(self.agent_parameters.value[self.critic_span])
        self.average.copy_(self.agent_parameters.value[self.actor_span])

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name, for checkpoints."""
        named = {'target': self.target, 'average': self.average}
        for group, parameters in self.groups.items():
            for part in ('value', 'mean', 'square'):
                named[f'{group}/{part}'] = getattr(parameters, part)
        return named

    def average_views(self) -> dict[str, Tensor]:
        """Return the averaged actor's tensors by the names of agent_parameters."""
        return self._mirror_views(self.average, ('actor/', 'scale/'))

    def _mirror_views(self, flat: Tensor, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
        shapes = self.agent_parameters.shapes
        named = {k: v for k, v in shapes.items() if k.startswith(prefixes)}
        pieces = flat.split([math.prod(v) for v in named.values()])
        return {k: p.view(v) for p, (k, v) in zip(pieces, named.items(), strict=True)}


def _own_shapes(config: AlgorithmConfig, shape: Shape) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return what a method has besides classifiers and agent: shapes of each group's tensors."""
    s, o, a = shape.seeds, shape.observation, shape.action
    if config.learns_dynamics:
        sizes = (o + a, *config.hidden, 2 * o)
        return {'dynamics': mlp_shapes('dynamics', config.dynamics_members * s, sizes)}
    if config.held_out_batch:
        return {'calibration': {'calibration/log_temperature': (2 * config.pairs * s,)}}
    if config.learns_state_value:
        return {'value': mlp_shapes('value', s, (o, *config.hidden, 1))}
    return {}
