"""One update, of whichever algorithm: its own networks, then actor, critics and temperature.

`update` reads and changes nothing but the state and inputs it is given, and draws nothing: the
batches and the noise come in through batch.py, for many updates at once, so that the work common
to them is done in a few large calls. All networks carry a seed dimension S; seeds never meet.

To add an algorithm NAME, write NAME.py with a `critic_loss`, enter it in METHODS, and in
settings.py in SOURCES and in the `methods` of each setting that it reads. Then a YAML file in
config/algorithms is run by every trainer, node and test, after `make build`: install/ links each
file, and knows no new one before. docs/algorithm.md has an example. What it may need besides:

- *The classifiers*: a `learn` that steps them and a `gap` here, WITH_CLASSIFIERS in settings.py.

- *Networks of its own*: another entry of State.groups by state._own_shapes. Adam's moments,
  checkpoints and the check of the precision follow. A `learn` steps them, before `critic_loss`.
- *Another dynamics gap*: h2o.critic_loss_with_gap takes any; `gap` tells it to who asks.
- *Another target*: `critic_loss` makes y itself; values.next_value is SAC's.
- *Random numbers*: another field of batch.Noise with its shape in sampler.py, brought to where
  they are used by a field of Inputs.
- *Nothing that depends on the numbers*: no branches on values and no copies to the processor, so
  that the update compiles as a whole and can be captured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import (
    cql,
    darc,
    domain_classifiers,
    h2o,
    h2o_ensemble,
    h2o_expectile,
    h2o_reverse_kl,
    sac,
)
from h2o_ros.algorithms.methods.actor_critic import CriticLoss, Values, agent_gradient, evaluate
from h2o_ros.algorithms.methods.domain_classifiers import Gap
from h2o_ros.algorithms.optimiser import Rates, adam_step
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.state import State
from h2o_ros.errors import ConfigurationError


class Method(NamedTuple):
    """What an algorithm adds to the soft actor-critic.

    critic_loss: what its critics learn from. learn: one step of networks besides the agent's, and
    their metrics. gap: the dynamics gap of steps taken (Inputs.taken, Inputs.drawn, their seeds).
    """

    critic_loss: Callable[[State, Inputs, Values], CriticLoss]
    learn: Callable[[State, Inputs, Rates], dict[str, Tensor]] | None = None
    gap: Callable[[State, Tensor, Tensor, slice], Gap] | None = None


METHODS = {
    'sac': Method(sac.critic_loss),
    'cql': Method(cql.critic_loss),
    'darc': Method(darc.critic_loss, domain_classifiers.learn, domain_classifiers.dynamics_gap),
    'h2o': Method(h2o.critic_loss, domain_classifiers.learn, domain_classifiers.dynamics_gap),
    'h2o_reverse_kl': Method(
        h2o_reverse_kl.critic_loss, h2o_reverse_kl.learn, h2o_reverse_kl.dynamics_gap
    ),
    'h2o_ensemble': Method(
        h2o_ensemble.critic_loss, h2o_ensemble.learn, h2o_ensemble.dynamics_gap
    ),
    'h2o_expectile': Method(
        h2o_expectile.critic_loss, h2o_expectile.learn, domain_classifiers.dynamics_gap
    ),
}


def find_method(config: AlgorithmConfig) -> Method:
    """Return the configuration's method; ConfigurationError where a place lacks it."""
    name = config.method
    if name not in METHODS:
        raise ConfigurationError(
            f'method {name}: is in SOURCES of settings.py, but not in METHODS of '
            'h2o_ros/algorithms/update.py; enter its critic_loss there'
        )
    method = METHODS[name]
    asks = method.gap is not None or method.learn is domain_classifiers.learn
    if asks and not config.classifiers:
        raise ConfigurationError(
            f'method {name}: has classifiers in METHODS of update.py, but is not in '
            'WITH_CLASSIFIERS of h2o_ros/algorithms/settings.py; enter it there'
        )
    if config.classifiers and (method.gap is None or method.learn is None):
        raise ConfigurationError(
            f'method {name}: is in WITH_CLASSIFIERS of settings.py, but lacks `learn` or `gap` in '
            'METHODS of h2o_ros/algorithms/update.py; enter both there'
        )
    return method


def update(state: State, inputs: Inputs, rates: Rates, measure: bool = True) -> dict[str, Tensor]:
    """Make one update in place; return the metrics, (S,) or (2, S) each, empty unless `measure`.

    Every loss of the agent is taken with the weights of this moment; only then do all step.
    """
    config, agent, method = state.config, state.agent_parameters, METHODS[state.config.method]
    metrics = method.learn(state, inputs, rates) if method.learn else {}
    values = evaluate(state, inputs)
    loss = method.critic_loss(state, inputs, values)
    gradient, measured = agent_gradient(state, values, loss, measure)
    adam_step(agent, gradient, rates)
    state.target.lerp_(agent.value[state.critic_span], config.tau)
    if config.actor_average > 0.0:
        state.average.lerp_(agent.value[state.actor_span], rates.average)
    return {**metrics, **measured} if measure else {}
