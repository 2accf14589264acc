"""Named dynamics gaps: wrong physics put into a model on purpose (H2O paper, section 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from h2o_ros.errors import ConfigurationError


@dataclass(frozen=True)
class Gap:
    """gravity, friction: factors; joint_noise: standard deviation added to every action field."""

    gravity: float = 1.0
    friction: float = 1.0
    joint_noise: float = 0.0
    velocity_offset: float = 0.0

    def disturb(
        self, action: np.ndarray, speed: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """Return what acts (N, A) where action (N, A) was sent; speed (N,) m/s along x."""
        if self.joint_noise:
            action = action + self.joint_noise * generator.standard_normal(action.shape)
        if self.velocity_offset:
            action = action + self.velocity_offset * speed[:, None].clip(0.0)
        return action


NO_GAP = Gap()
GAPS = {
    'none': NO_GAP,
    'gravity': Gap(gravity=2.0),
    'friction': Gap(friction=0.3),
    'joint_noise': Gap(joint_noise=1.0),
    'velocity_offset': Gap(velocity_offset=0.05),
}


def gap_names() -> list[str]:
    """List the gaps by name."""
    return list(GAPS)


def find_gap(name: str) -> Gap:
    """Return a gap by name."""
    if name not in GAPS:
        raise ConfigurationError(f'gap {name!r} is unknown; choose one of {", ".join(GAPS)}')
    return GAPS[name]


def apply_gap(model: mujoco.MjModel, gap: Gap) -> None:
    """Change gravity and every friction of a model in memory: joints, tyres, rolling, traction."""
    model.opt.gravity[:] *= gap.gravity
    model.geom_friction[:] *= gap.friction
    model.dof_frictionloss[:] *= gap.friction
    model.tendon_frictionloss[:] *= gap.friction
