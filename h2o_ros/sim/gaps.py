"""Dynamics gaps: wrong physics put into a model on purpose, in memory (H2O paper, section 6.1).

A gap is written as names joined by +, each with its degree where it is not the paper's: gravity,
friction+joint_noise, gravity:1.5; or as the path of a YAML file with fields of Gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from h2o_ros.configuration import YAML_SUFFIXES, build, read_yaml, setting
from h2o_ros.errors import ConfigurationError

if TYPE_CHECKING:
    import mujoco


@dataclass(frozen=True)
class Gap:
    """How far a simulator is from reality.

    joint_noise acts on every field of the action, in the action's unit. velocity_offset is added
    to every field too: velocity_offset times the velocity along x, where that is forward. Both
    come after the action was clipped to the task's limits; a model's motors keep limits of their
    own. Figure 3 of the paper has an offset that grows with the velocity, and does not say how.
    """

    gravity: float = setting(1.0, '', 'factor of gravity', minimum=0.0, maximum=100.0)
    friction: float = setting(1.0, '', 'factor of every friction', minimum=0.0, maximum=100.0)
    joint_noise: float = setting(
        0.0, '', 'standard deviation of what is added to the action', minimum=0.0, maximum=100.0
    )
    velocity_offset: float = setting(
        0.0, 's/m', 'what is added to the action per m/s forward', minimum=-100.0, maximum=100.0
    )

    def disturb(
        self, action: np.ndarray, speed: np.ndarray | None, generator: np.random.Generator
    ) -> np.ndarray:
        """Return what acts (N, A) where action (N, A) was sent at a speed (N,) m/s along x."""
        if self.joint_noise:
            action = action + self.joint_noise * generator.standard_normal(action.shape)
        if self.velocity_offset and speed is not None:
            action = action + self.velocity_offset * speed.clip(0.0)[:, None]
        return action


NONE = 'none'
NO_GAP = Gap()
# The paper's degree of each; its figure 3 states none for velocity_offset.
DEGREES = {'gravity': 2.0, 'friction': 0.3, 'joint_noise': 1.0, 'velocity_offset': 0.05}
HELP = (
    f'Dynamics gap put into the simulator on top: {NONE}, {", ".join(DEGREES)}, joined by +, with '
    'a degree as gravity:1.5, or path of a YAML file'
)


def gap_names() -> list[str]:
    """List the gaps by name."""
    return [NONE, *DEGREES]


def find_gap(text: str) -> Gap:
    """Return the gap that a text states; ConfigurationError in one line where it states none."""
    if text.endswith(YAML_SUFFIXES):
        return build(Gap, read_yaml(text), text)
    if text == NONE:
        return NO_GAP
    degrees: dict[str, float] = {}
    for part in text.split('+'):
        name, separator, degree = part.partition(':')
        if name not in DEGREES:
            raise ConfigurationError(
                f'gap {text!r}: {name!r} is unknown; choose one of {", ".join(gap_names())}, '
                'several joined by + (none stands alone), or give a .yaml file'
            )
        if name in degrees:
            raise ConfigurationError(f'gap {text!r}: {name} is given twice; give it once')
        degrees[name] = _degree(text, degree) if separator else DEGREES[name]
    return build(Gap, degrees, f'gap {text!r}')


def simulation(gap: str, environments: int) -> dict[str, float]:
    """Return what tells a training simulator from others: its gap's fields, its robots."""
    return asdict(find_gap(gap)) | {'environments': environments}


def gap_text(gap: Gap) -> str:
    """Return the one text that is kept for a gap, which find_gap reads: gravity:1.5+friction."""
    values, usual = asdict(gap), asdict(NO_GAP)
    parts = [
        name if values[name] == degree else f'{name}:{str(values[name]).removesuffix(".0")}'
        for name, degree in DEGREES.items()
        if values[name] != usual[name]
    ]
    return '+'.join(parts) or NONE


def canonical_gap(text: str) -> str:
    """Return the one text of the gap that a text states, which a .yaml file keeps as it is.

    ConfigurationError as find_gap.
    """
    gap = find_gap(text)
    return text if text.endswith(YAML_SUFFIXES) else gap_text(gap)


def gap_of(simulated_in: Mapping[str, Any]) -> str:
    """Return the gap, as text, of what `simulation` told of a simulator."""
    return gap_text(Gap(**{name: simulated_in[name] for name in DEGREES}))


def _degree(text: str, degree: str) -> float:
    try:
        return float(degree)
    except ValueError as err:
        raise ConfigurationError(
            f'gap {text!r}: expected a number after the colon, as gravity:1.5, got {degree!r}'
        ) from err


def apply_gap(model: mujoco.MjModel, gap: Gap) -> None:
    """Change gravity and every friction of a model in memory: joints, contacts, rolling."""
    model.opt.gravity[:] *= gap.gravity
    model.geom_friction[:] *= gap.friction
    model.dof_frictionloss[:] *= gap.friction
    model.tendon_frictionloss[:] *= gap.friction
