"""Who drives the robot: the balance controller, a person through it, or a policy.

A person who holds the dead-man drives at once, whatever drove before, through the balance
controller. After release the balance controller keeps the robot where it is until somebody hands
it to the policy again. Time comes with every call, from a monotonic clock in s.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from h2o_ros.robot.operator.human_model import cruise_speed
from h2o_ros.robot.pilot.balance_controller import SOFT, BalanceController, Weights
from h2o_ros.robot.pilot.excitation import DisturbanceSettings, Excitation
from h2o_ros.robot.pilot.settings import PilotSettings
from h2o_ros.task import Task

# Stiffer on x than eq. 34's cost, against friction; the integral finds the trim in some seconds.
# Held against two periods of further delay on the hard virtual robot: test/robot/test_pilot.py.
FIRM = Weights(theta=1.0, theta_dot=1.0, x=2.0, x_dot=2.0, torque=1.0, integral=1.0)
HAND = replace(SOFT, integral=0.1)  # of FIRM's, the share that x has
LEASH = 1.0  # m; long enough to hold 15 mm of centre-of-mass offset before the trim is found
SWAY, SWAY_PERIOD = 0.2, 4.0  # m/s, s
GAP = 0.1  # s without an observation after which the robot may stand elsewhere


class Mode(enum.IntEnum):
    """Who drives while nobody holds the dead-man; the values of PilotStatus.MODE_*."""

    BALANCE = 0
    SHADOW = 1
    POLICY = 2


class Source(enum.IntEnum):
    """Who decided a torque; the values of Action.SOURCE_*."""

    POLICY = 0
    BALANCE_CONTROLLER = 1
    OPERATOR = 2


@dataclass(frozen=True)
class Answer:
    """The torque (1, 1) float32 in N·m, who decided it, and the policy's in shadow mode."""

    torque: np.ndarray
    source: Source
    shadow: np.ndarray | None = None


Act = Callable[[np.ndarray], np.ndarray]


class Pilot:
    """Answers each observation of one robot."""

    def __init__(self, task: Task, settings: PilotSettings, mode: Mode, seed: int = 0) -> None:
        """seed: of the excitation."""
        self.task, self.settings = task, settings
        self.mode, self.reason = mode, 'started so'
        self._released = not settings.needs_release
        self.velocity = 0.0  # m/s, what the balance controller follows
        weights = driving_weights(settings.excitation)
        self._controller = BalanceController(task, weights, leash=LEASH)
        self._controller.trim[:] = settings.trim
        self._gains = self._controller.gains.copy()
        self._excitation = make_excitation(settings.excitation, task, seed)
        self._x_dot = task.observation_names.index('x_dot')
        self._wanted, self._wanted_at = 0.0, -math.inf
        self._answered_at = -math.inf
        self._armed = True
        self._source: Source | None = None

    @property
    def trim(self) -> float:
        """The tilt (rad) at which the robot was found to balance."""
        return float(self._controller.trim[0])

    @property
    def source(self) -> Source:
        """Who decided last, or would."""
        if self._source is not None:
            return self._source
        return Source.POLICY if self.mode is Mode.POLICY else Source.BALANCE_CONTROLLER

    def next_source(self, now: float) -> Source:
        """Say who decides from now on: after a choice that may be another than decided last."""
        if self.mode is Mode.POLICY:
            return Source.POLICY
        return Source.OPERATOR if self.holds(now) else Source.BALANCE_CONTROLLER

    def holds(self, now: float) -> bool:
        """Say whether a person holds the dead-man: a command came within the timeout."""
        return now - self._wanted_at <= self.settings.command_timeout

    def command(self, velocity: float, now: float) -> None:
        """Take a person's velocity in m/s; one that is not finite does not count."""
        if not math.isfinite(velocity):
            return
        limit = self.settings.velocity_limit
        self._wanted, self._wanted_at = min(max(velocity, -limit), limit), now
        if self.mode is Mode.POLICY:
            self._change(Mode.BALANCE, 'a person took over')

    def choose(self, mode: Mode, now: float, has_policy: bool) -> str:
        """Change who drives; return why not, or an empty string."""
        if mode is Mode.POLICY:
            if not has_policy:
                return 'there is no policy; give the server one first'
            if not self._armed:
                return 'the motors are not armed; arm them first'
            if not self._released:
                return 'the policy has not passed the shadow phase; wait for its end'
            if self.holds(now):
                return 'a person holds the dead-man; release it first'
        self._change(mode, 'asked for')
        return ''

    def release(self) -> str:
        """Let a policy drive until the motors go off; return why not, or an empty string."""
        if not self._armed:
            return 'the motors are not armed; nothing can have been judged'
        if self.mode is not Mode.SHADOW:
            return 'the policy is not in shadow; only what is listened to can be judged'
        self._released = True
        return ''

    def set_armed(self, armed: bool) -> None:
        """Hear whether torque reaches the motors; a policy does not outlast their going off."""
        if self._armed and not armed:
            self._released = not self.settings.needs_release
            if self.mode is Mode.POLICY:
                self._change(Mode.BALANCE, 'the motors went off')
        self._armed = armed

    def answer(self, observation: np.ndarray, now: float, policy: Act | None) -> Answer:
        """Return the answer to observation (1, O), finite, at the time `now`."""
        if now - self._answered_at > GAP:
            self._source = None
        self._answered_at = now
        torque = None if policy is None or self.mode is Mode.BALANCE else policy(observation)
        if self.mode is Mode.POLICY:
            if torque is not None and np.isfinite(torque).all():
                self._source = Source.POLICY
                return Answer(torque, Source.POLICY)
            missing = (
                'there is no policy' if policy is None else 'the policy gave no finite torque'
            )
            self._change(Mode.BALANCE, missing)
        source = self.next_source(now)
        shadow = torque if self.mode is Mode.SHADOW else None
        return Answer(self._balance(observation, source, now), source, shadow)

    def _balance(self, observation: np.ndarray, source: Source, now: float) -> np.ndarray:
        """Return the balance controller's torque (1, 1) while it or a person drives."""
        if not self._armed or self._source not in (Source.BALANCE_CONTROLLER, Source.OPERATOR):
            self._begin(observation)
        self._explain(source)
        self._source = source
        wanted = self._wanted if source is Source.OPERATOR else self._sway(now)
        if not self._armed:
            self.velocity = 0.0
            return self._controller.act(observation)
        step = self.settings.acceleration_limit * self.task.period
        self.velocity += min(max(wanted - self.velocity, -step), step)
        if self._excitation is None:
            return self._controller.act(observation, self.velocity)
        gains = self._excitation.jitter(self._gains)
        if gains is not None:
            self._controller.gains = gains
        torque = self._controller.act(observation, self.velocity) + self._excitation.torque()
        return np.clip(torque, self.task.action_lower, self.task.action_upper).astype(np.float32)

    def _sway(self, now: float) -> float:
        """Return the speed (m/s) to go at where nobody steers: to and fro in shadow.

        A robot at rest shows a policy little but the noise of its sensors, and answers to noise
        say nothing of how it balances.
        """
        if self.mode is not Mode.SHADOW:
            return 0.0
        swing = SWAY * math.sin(2.0 * math.pi * now / SWAY_PERIOD)
        limit = self.settings.velocity_limit
        return min(max(cruise_speed(self.task.reward) + swing, -limit), limit)

    def _begin(self, observation: np.ndarray) -> None:
        """Stand or roll on from where the robot is: neither reference may jump."""
        self._controller.reset()
        if self._excitation is not None:
            self._excitation.reset()
        limit = self.settings.velocity_limit
        self.velocity = min(max(float(observation[0, self._x_dot]), -limit), limit)

    def _explain(self, source: Source) -> None:
        """Keep the reason that belongs to who drives now."""
        if source is Source.OPERATOR and self._source is Source.BALANCE_CONTROLLER:
            self.reason = 'the dead-man is held'
        elif source is Source.BALANCE_CONTROLLER and self._source is Source.OPERATOR:
            self.reason = 'the dead-man was released'

    def _change(self, mode: Mode, reason: str) -> None:
        self.mode, self.reason = mode, reason


def driving_weights(excitation: float) -> Weights:
    """Return the LQR's cost: firm where nothing disturbs the robot, a hand's from excitation 1 on.

    Firm gains behind the delay of motors and topics make a disturbed robot tremble, and what
    learned from such recordings fell (docs/wheel_legged.md).
    """
    share = min(excitation, 1.0)
    firm, hand = asdict(FIRM), asdict(HAND)
    return Weights(**{name: firm[name] ** (1.0 - share) * hand[name] ** share for name in firm})


def make_excitation(scale: float, task: Task, seed: int) -> Excitation | None:
    """Return a disturbance `scale` times as strong as the scripted operator's; None for 0."""
    if scale == 0.0:
        return None
    calm = DisturbanceSettings()
    unrest = replace(
        calm,
        gain_jitter=scale * calm.gain_jitter,
        torque_noise=scale * calm.torque_noise,
        knock_torque=scale * calm.knock_torque,
    )
    return Excitation(unrest, task.period, np.random.default_rng(seed))
