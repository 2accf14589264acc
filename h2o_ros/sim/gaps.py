"""Named dynamics gaps: wrong physics put into a model on purpose (H2O paper, section 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco

from h2o_ros.errors import ConfigurationError


@dataclass(frozen=True)
class Gap:
    """gravity, friction: factors; action_noise: standard deviation in N·m added to the torque."""

    gravity: float = 1.0
    friction: float = 1.0
    action_noise: float = 0.0


GAPS = {
    'none': Gap(),
    'gravity': Gap(gravity=2.0),
    'friction': Gap(friction=0.3),
    'action_noise': Gap(action_noise=1.0),
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
