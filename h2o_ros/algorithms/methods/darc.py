"""DARC and DARC+: simulated rewards are corrected by how likely reality is to take the same step.

Source: B. Eysenbach et al., "Off-Dynamics Reinforcement Learning: Training for Transfer with
Domain Classifiers", ICLR 2021; H2O's section 6.2 and appendix B.1, where recorded rows take the
place of its own trips to reality.

    y = r + clip(delta_r) + ...  on simulated rows
    delta_r = log p_real/p_sim (s'|s, a), from the classifiers of this moment

DARC learns from simulated rows alone (`sources: simulated`), DARC+ from real ones, too (`both`),
whose rewards stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import sac
from h2o_ros.algorithms.methods.actor_critic import CriticLoss, Values
from h2o_ros.algorithms.methods.domain_classifiers import log_dynamics_ratio
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.state import State


def critic_loss(state: State, inputs: Inputs, values: Values) -> CriticLoss:
    """Return SAC's loss with the corrected rewards."""
    log_ratio = log_dynamics_ratio(state, inputs.taken)
    corrected = corrected_reward(state.config, inputs.reward, log_ratio)
    loss = sac.critic_loss(state, inputs._replace(reward=corrected), values)
    metrics = {
        'reward_correction': log_ratio.mean(-1),
        'mean_dynamics_ratio': log_ratio.exp().mean(-1),
    }
    return loss._replace(metrics=metrics)


def corrected_reward(config: AlgorithmConfig, reward: Tensor, log_ratio: Tensor) -> Tensor:
    """Return the learning rewards (S, rows), those of simulated rows with their correction.

    log_ratio: (S, sim rows).
    """
    real = config.real_batch
    corrected = reward[:, real:] + correction(config, log_ratio)
    return torch.cat((reward[:, :real], corrected), 1)


def correction(config: AlgorithmConfig, log_ratio: Tensor) -> Tensor:
    """Return what is added to simulated rewards, of log_ratio's shape.

    It is a reward in the task's units, as in DARC, and so takes part in their scaling:
    reward_scale x (r + delta_r).
    """
    limit = config.correction_limit
    return config.reward_scale * log_ratio.clamp(-limit, limit)
