"""Prints what the nodes say, and keeps nobody waiting whose reader is slow or gone."""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import Any

import honcho.printer

WAITING_LIMIT = 10_000  # messages; a reader that is so far behind does not get more
LAST_WORDS_TIMEOUT = 1.0  # s for what waits at the end


class Printer(honcho.printer.Printer):
    """Honcho's printer in a thread of its own.

    A pipe whose reader hangs would block the launch, which could then end no node.
    reader_is_gone: what is printed reaches nobody, as if the reader of a pipe has ended.
    """

    def __init__(self) -> None:
        # A file of its own: processes that are forked meanwhile flush sys.stdout, and would wait
        # for its lock.
        descriptor = os.dup(sys.__stdout__.fileno()) if sys.__stdout__ else os.open(os.devnull, 1)
        super().__init__(os.fdopen(descriptor, 'w', errors='replace'))
        self.reader_is_gone = False
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._print, name='printer', daemon=True).start()

    def write(self, message: Any) -> None:
        """Print a message soon; callable from a signal handler, too."""
        if not self.reader_is_gone and self._waiting.qsize() < WAITING_LIMIT:
            self._waiting.put(message)

    def flush(self) -> None:
        """Wait, not for long, until all is printed."""
        done = threading.Event()
        self._waiting.put(done)
        if not self.reader_is_gone:
            done.wait(LAST_WORDS_TIMEOUT)

    def _print(self) -> None:
        while True:
            message = self._waiting.get()
            if isinstance(message, threading.Event):
                message.set()
                continue
            try:
                super().write(message)
            except OSError:
                self.reader_is_gone = True
                return
