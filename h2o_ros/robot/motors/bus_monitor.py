"""State of the CAN bus: load, wrong frames, errors, and unknown hosts."""

from __future__ import annotations

import collections

import can

from h2o_ros.robot.motors.odrive.cansimple import most_bits

BUCKET = 0.1  # s
BUCKETS = 10
# Error frames as SocketCAN reports them: classes in the identifier.
BUS_OFF, NO_ANSWER = 0x40, 0x20
RECENT = 1.0  # s


class BusMonitor:
    """Counts what passes. Each counter is written by one thread alone."""

    def __init__(self, bitrate: int) -> None:
        """bitrate: bit/s."""
        self._bitrate = bitrate
        self._buckets: collections.deque[list[float]] = collections.deque(maxlen=BUCKETS + 1)
        self.wrong_frames = self.error_frames = self.failed_sends = 0
        self._unanswered = float('-inf')
        self.events: list[str] = []

    def count(self, message: can.Message, now: float) -> None:
        """Add one frame, sent or received, to the load."""
        start = now // BUCKET
        if not self._buckets or self._buckets[-1][0] != start:
            self._buckets.append([start, 0])
        self._buckets[-1][1] += most_bits(message)

    def load(self, now: float) -> float:
        """Return the share of the last second's bits that were used, at most; 0 to 1."""
        first = now // BUCKET - BUCKETS
        bits = sum(bits for start, bits in list(self._buckets) if start >= first)
        return bits / (BUCKET * BUCKETS * self._bitrate)

    def hear_error(self, message: can.Message, now: float) -> None:
        """Take an error frame of the host's own CAN controller."""
        self.error_frames += 1
        if message.arbitration_id & BUS_OFF:
            self.remember('the CAN controller is off the bus: check cable, termination, bitrate')
        if message.arbitration_id & NO_ANSWER:
            self._unanswered = now

    def remember(self, event: str) -> None:
        """Keep a fault until it is forgotten on purpose."""
        if event not in self.events:
            self.events.append(event)

    def faults(self, now: float) -> list[str]:
        """Say what is wrong with the bus, or was since the last arming."""
        found = list(self.events)
        if now - self._unanswered < RECENT:
            found.append('nobody acknowledges the frames')
        return [f'CAN bus: {text}' for text in found]
