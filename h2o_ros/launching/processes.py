"""A graph's processes under honcho, ended together, on machines without `ros2 launch`."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import honcho.manager
import honcho.process

from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import STOP_TIMEOUT, NodeProcess
from h2o_ros.launching.installation import PACKAGE

TERMINATE_TIMEOUT = 3.0  # s from SIGTERM to SIGKILL
ESCALATION = (
    (signal.SIGINT, STOP_TIMEOUT),
    (signal.SIGTERM, TERMINATE_TIMEOUT),
    (signal.SIGKILL, 1.0),
)
LINGER_TIMEOUT = 0.5  # s that a process's own children have after it
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def run_processes(
    processes: Sequence[NodeProcess], prefix: Path, environment: dict[str, str]
) -> int:
    """Run the nodes until a required one ends, one fails, or a signal comes; return the exit code.

    prefix: of the built package. environment: of every node.
    """
    manager = Manager({process.label for process in processes if process.required})
    with tempfile.TemporaryDirectory(prefix='h2o_launch_') as folder:
        for process in processes:
            command = command_line(process, prefix, Path(folder))
            manager.add_process(process.label, command, env=environment)
        manager.loop()
    return manager.exit_code()


def command_line(process: NodeProcess, prefix: Path, folder: Path) -> list[str]:
    """Return the command of one node; its parameters go into a file in `folder`."""
    executable = prefix / 'lib' / PACKAGE / process.executable
    if not executable.is_file():
        raise ConfigurationError(f'node {process.executable} is not built; run `make build`')
    # JSON is YAML, and keeps text and number apart.
    parameters = folder / f'{process.label.replace("/", "_")}.yaml'
    content = {'/**': {'ros__parameters': dict(process.parameters)}}
    parameters.write_text(json.dumps(content), encoding='utf-8')
    words = [sys.executable, str(executable), '--ros-args']
    words += ['-r', f'__node:={process.name or process.executable}']
    if process.namespace:
        words += ['-r', f'__ns:=/{process.namespace}']
    for inside, outside in process.remappings:
        words += ['-r', f'{inside}:={outside}']
    return words + (['--params-file', str(parameters)] if process.parameters else [])


class Process(honcho.process.Process):
    """A process whose end is sure: it does not outlive this program, however that ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._launcher = os.getpid()
        self._child_ctor = self._start

    @staticmethod
    def _start(command: list[str], **options: Any) -> subprocess.Popen:
        child = honcho.process.Popen(
            command,
            shell=False,
            stdin=subprocess.DEVNULL,
            preexec_fn=_begin_child,
            **options,
        )
        threading.Thread(target=_end_group_with, args=(child,), daemon=True).start()
        return child

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """Run the command in honcho's monitoring process, which watches the launcher too."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: self._abandon())
        _signal_at_death_of_parent(signal.SIGUSR1)
        if os.getppid() != self._launcher:
            return
        super().run(events, ignore_signals)

    def _abandon(self) -> None:
        """End the command after the launcher was killed."""
        if self._child is not None:
            # A full pipe would keep the command from ending.
            output = self._child.stdout.fileno()
            threading.Thread(target=_drain, args=(output,), daemon=True).start()
            for number, timeout in ESCALATION:
                _send(number, self._child.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(timeout)
                    break
        os._exit(1)


class Manager(honcho.manager.Manager):
    """Honcho's manager with the endings of `ros2 launch`.

    SIGINT first and then time to save, and only a required node's end, or a failure, ends all.
    """

    def __init__(self, required: set[str]) -> None:
        super().__init__()
        self._process_ctor = Process
        self._terminating = False
        self._required = required
        self._first_failed: str | None = None

    def terminate(self) -> None:
        """Ask every process to end; harder and harder where it does not."""
        if self._terminating:
            return
        self._terminating = True
        threading.Thread(target=self._stop, daemon=True).start()

    def kill(self) -> None:
        """Do nothing: terminate() goes on to SIGKILL by itself."""

    def exit_code(self) -> int:
        """Return that of a required process, or else of the first that failed, or 0."""
        ended = {name: p.get('returncode') or 0 for name, p in self._processes.items()}
        first = self._first_failed
        codes = [ended[first]] if first else [ended[name] for name in sorted(self._required)]
        code = next((code for code in codes if code != 0), 0)
        return code if code >= 0 else 128 - code

    def _all_started(self) -> bool:
        """Say whether every process has been started; one whose monitor is dead has ended."""
        for process in self._processes.values():
            monitor = process.get('process')
            if 'returncode' not in process and monitor is not None and monitor.exitcode:
                process['returncode'] = monitor.exitcode
                process.setdefault('pid', monitor.pid)
        return super()._all_started()

    def _any_stopped(self) -> bool:
        """Say whether the launch is over."""
        for name, process in self._processes.items():
            code = process.get('returncode')
            if code and self._first_failed is None and not self._terminating:
                self._first_failed = name
                self._system_print(f'{name} ended with exit code {code}: ending the others\n')
        stopped = {name for name, p in self._processes.items() if 'returncode' in p}
        return bool(self._first_failed or stopped & self._required) or self._all_stopped()

    def _stop(self) -> None:
        while self._processes and not all(p.get('process') for p in self._processes.values()):
            time.sleep(0.01)
        # A process that is being started is only known once honcho has read its message.
        waiting_until = time.monotonic() + 1.0
        while not self._all_started() and time.monotonic() < waiting_until:
            time.sleep(0.01)
        for number, timeout in ESCALATION:
            alive = self._alive()
            if alive and number != signal.SIGINT:
                self._system_print(f'{signal.Signals(number).name} to {", ".join(alive)}\n')
            for name in alive:
                _send(number, self._processes[name].get('pid'))
            until = time.monotonic() + timeout
            while self._alive() and time.monotonic() < until:
                time.sleep(0.05)

    def _alive(self) -> list[str]:
        return [name for name, p in self._processes.items() if 'returncode' not in p]

    def _system_print(self, data: str) -> None:
        now = datetime.datetime.now()
        self._printer.write(honcho.manager.Message('line', data, now, 'launch', None))


def _send(number: int, leader: int | None) -> None:
    """Send a signal to a process group; one that has ended is fine."""
    if leader is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, number)


def _end_group_with(leader: subprocess.Popen) -> None:
    """End what a process leaves behind, which would hold its output open."""
    leader.wait()
    time.sleep(LINGER_TIMEOUT)
    _send(signal.SIGKILL, leader.pid)


def _drain(descriptor: int) -> None:
    while os.read(descriptor, 65536):
        pass


def _begin_child() -> None:
    """Undo what the monitor ignores, and end where the monitor is killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _signal_at_death_of_parent(signal.SIGINT)


def _signal_at_death_of_parent(number: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
