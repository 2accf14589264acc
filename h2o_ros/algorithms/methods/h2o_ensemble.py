"""H2O whose dynamics gap several pairs of classifiers tell, with calibrated probabilities.

Beyond the paper, whose section 7 asks for a better measure of the gap. Several networks and their
mean: B. Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation Using Deep
Ensembles", NeurIPS 2017. A temperature learned on held-out rows: C. Guo et al., "On Calibration of
Modern Neural Networks", ICML 2017. To put both into H2O, and how, is ours:

    d_sa, d_sas: simulated logit minus real, each within ±4     of pair k = 1 ... K
    l_sa = d_sa / T_sa      l_sas = l_sa + d_sas / T_sas        log odds of sim, calibrated
    log p_real/p_sim = mean over k of -d_sas / T_sas            (eq. 7; l_sa cancels)
    u = -log p_real/p_sim of the step that the simulator took
    T = argmin of the cross-entropy of l_sa and l_sas on rows the classifiers never step on

Each pair learns as H2O's one does, on the same rows; what it began with sets it apart. A
temperature above 1 takes back what was learned by heart; one below 1 goes beyond the bound of ±4
where held-out rows are told apart as surely. The deviation among pairs is reported.

u is the Kullback-Leibler divergence of eq. 33 by one sample. It is the simulator's own, where H2O
draws around it from a Gaussian that stands for the simulator: as wide as the real data that lands
where neither dynamics would, and no classifier was ever asked.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import h2o, losses
from h2o_ros.algorithms.methods.actor_critic import CriticLoss, Values
from h2o_ros.algorithms.methods.domain_classifiers import LOSSES, Gap, clipped_gap
from h2o_ros.algorithms.networks import backward, flatten, forward
from h2o_ros.algorithms.optimiser import Rates, adam_step
from h2o_ros.algorithms.state import State


def critic_loss(state: State, inputs: Inputs, values: Values) -> CriticLoss:
    """Return H2O's loss with the pairs' common gap."""
    each = of_each_pair(state, inputs.taken, slice(None))
    loss = h2o.critic_loss_with_gap(state, inputs, values, _common_gap(state, each))
    disagreement = each.std(0, correction=0).mean(-1)
    return loss._replace(metrics={**loss.metrics, 'gap_disagreement': disagreement})


def dynamics_gap(state: State, taken: Tensor, drawn: Tensor, seeds: slice = slice(None)) -> Gap:
    """Return the pairs' common gap of the steps taken; the draws are not looked at."""
    return _common_gap(state, of_each_pair(state, taken, seeds))


def _common_gap(state: State, of_each: Tensor) -> Gap:
    log_ratio = of_each.mean(0)
    return clipped_gap(state.config, log_ratio, -log_ratio)


def of_each_pair(state: State, taken: Tensor, seeds: slice) -> Tensor:
    """Return log p_real/p_sim of the steps taken as each pair sees it, (K, S, rows)."""
    k, kinds = state.config.pairs, (2, state.config.pairs, -1)
    layers = [
        layer._replace(
            weight=layer.weight.unflatten(0, kinds)[1, :, seeds].flatten(0, 1),
            bias=layer.bias.unflatten(0, kinds)[1, :, seeds].flatten(0, 1),
        )
        for layer in state.layers('classifiers')
    ]
    outputs, _ = forward(layers, taken.repeat(k, 1, 1))
    certainty = (-_log_temperature(state).view(kinds)[1, :, seeds]).exp().unsqueeze(-1)
    return losses.log_dynamics_ratio(outputs).unflatten(0, (k, -1)) * certainty


def learn(state: State, inputs: Inputs, rates: Rates) -> dict[str, Tensor]:
    """Make one step of all classifiers, then one of their temperatures; return metrics, (S,)."""
    layers, k = state.layers('classifiers'), state.config.pairs
    domains = inputs.classifier.unflatten(2, (2, -1))
    stepped, held = domains.tensor_split((state.config.classifier_batch,), 3)
    outputs, tape = forward(layers, _for_each_pair(stepped, k))
    loss, slope = losses.classifier_loss(outputs.unflatten(0, (2, -1)), state.sign)
    gradients, _ = backward(layers, tape, slope.flatten(0, 1))
    adam_step(state.classifier_parameters, flatten(gradients), rates)

    outputs, _ = forward(state.layers('classifiers'), _for_each_pair(held, k))
    log_temperature, sign = _log_temperature(state).view(2, -1), state.sign.view(2, -1)
    held_loss, by_log = calibration_loss(
        outputs.unflatten(0, (2, -1)), log_temperature, sign[:, : held.shape[3]].flatten()
    )
    adam_step(state.own['calibration'], by_log.flatten(), rates)
    of_seeds = loss.unflatten(1, (k, -1)).mean(1)
    return {
        **dict(zip(LOSSES, of_seeds, strict=True)),
        'held_out_loss': held_loss[1].unflatten(0, (k, -1)).mean(0),
        'classifier_temperature': log_temperature[1].exp().unflatten(0, (k, -1)).mean(0),
    }


def calibration_loss(
    outputs: Tensor, log_temperature: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of held-out rows with each network's logits over its temperature.

        L = mean over real rows of softplus(l) + mean over simulated rows of softplus(-l)

    of l_sa and of l_sas, as losses.classifier_loss has it; the latter's is of both temperatures.

    outputs: (2, G, rows, 2), D_sa then D_sas, before the tanh. log_temperature: (2, G). sign:
    (rows,), 1 on real rows, -1 on as many simulated rows.
    Returns the losses (2, G) and their sum's derivative by log_temperature.
    """
    z = torch.tanh(outputs)
    own = 2.0 * (z[..., 1] - z[..., 0]) * (-log_temperature).exp().unsqueeze(-1)
    signed = own.cumsum(0) * sign
    each = 0.5 * sign.numel()
    by_log_odds = torch.sigmoid(signed) * sign / each
    by_own = torch.stack((by_log_odds[0] + by_log_odds[1], by_log_odds[1]))
    return softplus(signed).sum(-1) / each, -(by_own * own).sum(-1)


def _for_each_pair(rows: Tensor, pairs: int) -> Tensor:
    """Return rows (2, S, 2, n, W) as inputs of all classifiers, (2 x pairs x S, 2 n, W)."""
    kinds, s, domains, n, width = rows.shape
    every = rows.unsqueeze(1).expand(kinds, pairs, s, domains, n, width)
    return every.reshape(kinds * pairs * s, domains * n, width)


def _log_temperature(state: State) -> Tensor:
    return state.own['calibration'].views['calibration/log_temperature']
