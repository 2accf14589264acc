"""The shadow phase: what a policy would do, held against the controller that drives.

Nothing that the policy says reaches the motors. It passes where it is finite, agrees with the
balance controller in direction and size, and stays off its limits.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.task import Task


@dataclass(frozen=True)
class ShadowLimits:
    """What a policy must keep to be handed the robot; shares and differences over the phase."""

    shadow_seconds: float = setting(8.0, 's', 'length of the shadow phase', minimum=1.0)
    shadow_correlation: float = setting(
        0.5,
        '1',
        'smallest correlation with the torque of the balance controller',
        minimum=0.0,
        maximum=1.0,
    )
    shadow_difference: float = setting(
        0.3,
        '1',
        'largest root mean square difference from its torque, in halves of the action range',
        minimum=0.01,
        maximum=1.0,
    )
    shadow_at_limit: float = setting(
        0.05, '1', 'largest share of steps at an action limit', minimum=0.0, maximum=1.0
    )
    shadow_answered: float = setting(
        0.98, '1', 'smallest share of steps that the policy answered', minimum=0.5, maximum=1.0
    )


@dataclass(frozen=True)
class ShadowFigures:
    """What the phase showed.

    steps: control steps driven. answered: share of them that the policy answered. correlation: of
    both torques, 0 where one is constant. difference: root mean square, in halves of the action
    range. at_limit: share. finite: every answer was.
    """

    steps: int
    answered: float
    correlation: float
    difference: float
    at_limit: float
    finite: bool

    def __str__(self) -> str:
        """One line for people."""
        return (
            f'{self.steps} steps, {100 * self.answered:.1f} % answered, correlation '
            f'{self.correlation:.2f}, difference {self.difference:.2f} of half the range, '
            f'{100 * self.at_limit:.1f} % at a limit'
        )


class ShadowPhase:
    """Collects what drove and what the policy would have done, step by step.

    It begins with the first step that the policy answers: messages of before may still be on
    their way. One thread may add while another judges.
    """

    def __init__(self, task: Task, limits: ShadowLimits | None = None) -> None:
        self._task, self.limits = task, limits or ShadowLimits()
        self._lock = threading.Lock()
        self._driven: dict[int, np.ndarray] = {}
        self._answers: dict[int, np.ndarray] = {}

    def clear(self) -> None:
        """Begin the phase anew."""
        with self._lock:
            self._driven.clear()
            self._answers.clear()

    def add_driven(self, step: int, action: np.ndarray) -> None:
        """Take the action (A,) that drove control step `step`."""
        with self._lock:
            self._driven[step] = np.array(action, np.float64)

    def add_answer(self, step: int, action: np.ndarray) -> None:
        """Take what the policy would have done (A,)."""
        with self._lock:
            self._answers[step] = np.array(action, np.float64)

    @property
    def complete(self) -> bool:
        """Whether the phase is long enough to be judged."""
        return len(self._seen()[0]) >= self._needed

    def figures(self) -> ShadowFigures:
        """Return what was seen so far."""
        driven_by_step, answer_by_step = self._seen()
        both = sorted(driven_by_step.keys() & answer_by_step.keys())
        steps = len(driven_by_step)
        if not both:
            return ShadowFigures(0, 0.0, 0.0, np.inf, 0.0, True)
        driven = np.stack([driven_by_step[step] for step in both])
        answers = np.stack([answer_by_step[step] for step in both])
        finite = bool(np.isfinite(answers).all())
        if not finite:
            return ShadowFigures(steps, len(both) / steps, 0.0, np.inf, 0.0, False)
        lower, upper = self._task.action_lower, self._task.action_upper
        half = np.float64(upper - lower) / 2.0
        edge = 0.01 * half
        at_limit = ((answers <= lower + edge) | (answers >= upper - edge)).any(1)
        return ShadowFigures(
            steps=steps,
            answered=len(both) / steps,
            correlation=_correlation(driven, answers),
            difference=float(np.sqrt((((driven - answers) / half) ** 2).mean())),
            at_limit=float(at_limit.mean()),
            finite=True,
        )

    def reasons_to_refuse(self) -> list[str]:
        """Say why the policy must not drive; empty where it may."""
        seen, limits = self.figures(), self.limits
        if seen.steps < self._needed:
            return [
                f'{seen.steps} steps were answered or came after an answer, {self._needed} are '
                'needed: policy server or driver do not keep up'
            ]
        if not seen.finite:
            return ['the policy answered with numbers that are not finite']
        reasons = []
        if seen.answered < limits.shadow_answered:
            reasons.append(
                f'the policy answered {100 * seen.answered:.1f} % of the steps, '
                f'{100 * limits.shadow_answered:.1f} % are needed'
            )
        if seen.correlation < limits.shadow_correlation:
            reasons.append(
                f'its torque has correlation {seen.correlation:.2f} with that of the balance '
                f'controller, {limits.shadow_correlation:.2f} is needed'
            )
        if seen.difference > limits.shadow_difference:
            reasons.append(
                f'its torque differs by {seen.difference:.2f} of half the range, '
                f'{limits.shadow_difference:.2f} is allowed'
            )
        if seen.at_limit > limits.shadow_at_limit:
            reasons.append(
                f'it is at its limits in {100 * seen.at_limit:.1f} % of the steps, '
                f'{100 * limits.shadow_at_limit:.1f} % are allowed'
            )
        return reasons

    @property
    def _needed(self) -> int:
        return round(self.limits.shadow_seconds * self._task.rate)

    def _seen(self) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """Return what drove since the first answer, and the answers, by step."""
        with self._lock:
            driven, answers = dict(self._driven), dict(self._answers)
        first = min(answers, default=None)
        if first is None:
            return {}, {}
        return {step: action for step, action in driven.items() if step >= first}, answers


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the smallest correlation of the columns of two (N, A)."""
    values = []
    for a, b in zip(one.T, other.T, strict=True):
        a, b = a - a.mean(), b - b.mean()
        size = np.sqrt((a @ a) * (b @ b))
        values.append(float(a @ b / size) if size > 0.0 else 0.0)
    return min(values)
