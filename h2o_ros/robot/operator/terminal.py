"""Keys from a terminal, one by one and without echo, read by a thread of their own."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable

from h2o_ros.errors import ConfigurationError

ARROWS = {b'\x1b[A': 'up', b'\x1b[B': 'down', b'\x1bOA': 'up', b'\x1bOB': 'down'}
ESCAPE = 0x1B
POLL_PERIOD = 0.05  # s between two checks whether to end


class Terminal:
    """Calls a function for every key, in the reader's thread, until `close`."""

    def __init__(
        self, on_key: Callable[[str], None], on_end: Callable[[], None], descriptor: int = 0
    ) -> None:
        """on_end: called where the terminal goes away. ConfigurationError where there is none."""
        if not os.isatty(descriptor):
            raise ConfigurationError(
                'operator:=keyboard needs a terminal and standard input is none; start it by '
                'itself with `ros2 run h2o_ros teleop` or `h2o run teleop`, or choose '
                'operator:=joystick'
            )
        self._descriptor, self._on_key, self._on_end = descriptor, on_key, on_end
        self._before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)  # Ctrl-C still interrupts
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name='keys', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and give the terminal back as it was."""
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        try:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        except termios.error as err:  # it is gone
            print(f'terminal: {err}', file=sys.stderr)

    def _read(self) -> None:
        rest = b''
        while not self._closing.is_set():
            if not select.select([self._descriptor], [], [], POLL_PERIOD)[0]:
                rest = b''  # the escape key alone, no code
                continue
            try:
                data = os.read(self._descriptor, 1024)
            except OSError:  # the other end of the terminal has closed
                data = b''
            if not data:
                self._on_end()
                return
            # A space stops the robot even where it looks like a part of something else.
            first = [' '] if b' ' in data else []
            keys, rest = split_keys(rest + data)
            for key in first + keys:
                self._on_key(key)


def split_keys(data: bytes) -> tuple[list[str], bytes]:
    """Return the keys in what a terminal sent, and the begun code at its end.

    'up' and 'down' are the arrows, '?' any other code: its letters must not count as keys.
    """
    keys, place = [], 0
    while place < len(data):
        if data[place] != ESCAPE:
            keys.append(chr(data[place]).lower() if data[place] < 0x80 else '?')
            place += 1
            continue
        end = place + 1
        if data[end : end + 1] in (b'[', b'O'):
            end += 1
            while end < len(data) and not 0x40 <= data[end] <= 0x7E:
                end += 1
        if end >= len(data):
            return keys, data[place:]
        keys.append(ARROWS.get(data[place : end + 1], '?'))
        place = end + 1
    return keys, b''
