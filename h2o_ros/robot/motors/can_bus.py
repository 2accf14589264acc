"""Opens the CAN bus: SocketCAN on robots, UDP multicast between processes, virtual within one."""

from __future__ import annotations

import collections
import contextlib
import ipaddress
import os
import select
import socket
import threading
import time

import can
from can.interfaces.udp_multicast import UdpMulticastBus

from h2o_ros.errors import RobotError
from h2o_ros.robot.motors.settings import MotorSettings

# Linux hands a socket the multicast of every group that anyone on the machine has joined, unless
# it says no; Python's socket module does not name the option.
IP_MULTICAST_ALL = 49
ECHO_LIFETIME = 1.0  # s
DRAIN_LIMIT = 0.2  # s
RECEIVE_BUFFER = 4 << 20  # bytes, as far as the system allows


class MulticastBus(UdpMulticastBus):
    """CAN frames between the processes of one machine, as on a wire.

    Three things differ from python-can's own: frames of other groups stay out, so each ROS domain
    has its own bus; nobody hears his own frames, as with a real controller; and who does not come
    to read for a moment loses no frames.
    """

    def __init__(self, channel: str, **options: object) -> None:
        super().__init__(channel, hop_limit=0, fd=False, **options)  # type: ignore[arg-type]
        with socket.socket(fileno=os.dup(self.fileno())) as same:
            same.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._echoes: collections.deque[tuple[float, tuple[int, bytes]]] = collections.deque()
        self._lock = threading.Lock()
        # What came of other groups before that is in the queue.
        until = time.monotonic() + DRAIN_LIMIT
        while time.monotonic() < until and select.select([self.fileno()], [], [], 0.0)[0]:
            with contextlib.suppress(can.CanError):
                super()._recv_internal(0.0)

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        """Send one frame and remember that it comes back."""
        with self._lock:
            self._echoes.append((time.monotonic(), _content(msg)))
        super().send(msg, timeout)

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        message, filtered = super()._recv_internal(timeout)
        while message is not None and self._is_echo(message):
            # What waits behind an echo must not wait for the next call.
            message, filtered = super()._recv_internal(0.0)
        return message, filtered

    def _is_echo(self, message: can.Message) -> bool:
        content, now = _content(message), time.monotonic()
        with self._lock:
            while self._echoes and now - self._echoes[0][0] > ECHO_LIFETIME:
                self._echoes.popleft()
            for index, (_, sent) in enumerate(self._echoes):
                if sent == content:
                    del self._echoes[index]
                    return True
        return False


def _content(message: can.Message) -> tuple[int, bytes]:
    return message.arbitration_id, bytes(message.data)


def default_channel(interface: str) -> str:
    """Return where the bus is found if nothing else is said."""
    if interface == 'socketcan':
        return 'can0'
    if interface == 'virtual':
        return 'h2o_ros'
    domain = os.environ.get('ROS_DOMAIN_ID', '')
    return f'239.74.163.{1 + (int(domain) if domain.isdigit() else 0) % 250}'


def open_bus(settings: MotorSettings) -> can.BusABC:
    """Open the bus; RobotError in one line where there is none.

    SocketCAN takes its bitrate from the system (`ip link`), so it is not set here.
    """
    channel = settings.channel or default_channel(settings.interface)
    try:
        if settings.interface == 'udp_multicast':
            if not ipaddress.IPv4Address(channel).is_multicast:
                raise ValueError('no multicast group')
            return MulticastBus(channel)
        return can.Bus(interface=settings.interface, channel=channel)
    except (OSError, ValueError, can.CanError, NotImplementedError, AttributeError) as err:
        reason = getattr(err, 'strerror', None) or str(err) or type(err).__name__
        ways_out = {
            'socketcan': f'sudo ip link set {channel} up type can bitrate {settings.bitrate}',
            'udp_multicast': 'channel must be an IPv4 multicast group, and a network be up',
            'virtual': 'choose another channel',
        }
        raise RobotError(
            f'CAN bus {settings.interface} {channel}: cannot be opened ({reason}); '
            f'{ways_out[settings.interface]}'
        ) from err
