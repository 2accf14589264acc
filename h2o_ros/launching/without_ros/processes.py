"""A graph's processes under honcho, ended together, on machines without `ros2 launch`."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import honcho.manager

from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import (
    RESPAWN_DELAY,
    NodeProcess,
    RespawnLimit,
    is_mistake_at_the_beginning,
)
from h2o_ros.launching.without_ros import child, give_way
from h2o_ros.launching.without_ros.installation import PACKAGE
from h2o_ros.launching.without_ros.printer import Printer


def run_processes(
    processes: Sequence[NodeProcess], prefix: Path, environment: dict[str, str]
) -> int:
    """Run the nodes until a required one ends, one fails, or a signal comes; return the exit code.

    prefix: of the built package. environment: of every node.
    """
    manager = Manager(
        required={process.label for process in processes if process.required},
        respawned={process.label for process in processes if process.respawn},
        apart={process.label for process in processes if process.apart},
    )
    with tempfile.TemporaryDirectory(prefix='h2o_launch_') as folder:
        for process in processes:
            command = command_line(process, prefix, Path(folder))
            manager.add_process(process.label, command, env=environment)
        try:
            manager.loop()
        finally:
            manager.end()
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
    words = [sys.executable, give_way.__file__, str(process.nice)] if process.nice else []
    words += [sys.executable, str(executable), '--ros-args']
    words += ['-r', f'__node:={process.name or process.executable}']
    if process.namespace:
        words += ['-r', f'__ns:=/{process.namespace}']
    for inside, outside in process.remappings:
        words += ['-r', f'{inside}:={outside}']
    return words + (['--params-file', str(parameters)] if process.parameters else [])


class Manager(honcho.manager.Manager):
    """Honcho's manager with the endings of `ros2 launch`.

    SIGINT first and then time to save. Only a required node's end, or a failure, ends all; a node
    that is to be respawned is started again instead, and without one that is apart all go on.
    """

    def __init__(
        self, required: set[str], respawned: set[str], apart: Collection[str] = ()
    ) -> None:
        self._output = Printer()
        super().__init__(self._output)
        self._process_ctor = child.Process
        self._parent = os.getppid()
        self._terminating = False
        self._required, self._apart = required, frozenset(apart)
        self._began = time.monotonic()
        self._missed: set[str] = set()  # of those apart, which have failed
        self._limits = {name: RespawnLimit() for name in respawned}
        self._due: dict[str, float] = {}  # name: monotonic s at which to start it again
        self._first_failed: str | None = None

    def terminate(self) -> None:
        """Ask every process to end; harder and harder where it does not."""
        if self._terminating:
            return
        self._terminating = True
        threading.Thread(target=self._stop, daemon=True).start()

    def kill(self) -> None:
        """Do nothing: terminate() goes on to SIGKILL by itself."""

    def end(self) -> None:
        """Print what waits, and let no node outlive a launch that failed itself."""
        for name in self._alive():
            monitor = self._processes[name].get('process')
            if monitor is not None and monitor.is_alive():
                os.kill(monitor.pid, child.ABANDON)
        self._output.flush()

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
        self._note_failures()
        self._respawn()
        if self._is_abandoned():
            self._system_print('who started this launch has ended: ending the nodes\n')
            self.terminate()
        return super()._all_started()

    def _is_abandoned(self) -> bool:
        """Say whether nobody reads what is printed, or the process that started this has ended.

        Under nohup, which ignores SIGHUP, it is meant to outlive that.
        """
        kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        orphaned = os.getppid() != self._parent and not kept
        return not self._terminating and (orphaned or self._output.reader_is_gone)

    def _note_failures(self) -> None:
        for name, process in self._processes.items():
            code = process.get('returncode')
            known = name in self._due or name in self._missed
            if code and not (known or self._first_failed or self._terminating):
                self._note_failure(name, code)

    def _respawn(self) -> None:
        """Start those again whose time has come."""
        now = time.monotonic()
        for name in [n for n, at in self._due.items() if at <= now and not self._terminating]:
            del self._due[name]
            process = self._processes[name]
            del process['pid'], process['returncode']
            process['process'] = multiprocessing.Process(
                name=name, target=process['obj'].run, args=(self.events, True)
            )
            process['process'].start()

    def _any_stopped(self) -> bool:
        """Say whether the launch is over."""
        stopped = {name for name, p in self._processes.items() if 'returncode' in p}
        return bool(self._first_failed or stopped & self._required) or self._all_stopped()

    def _all_stopped(self) -> bool:
        waiting = self._due and not self._terminating
        return not waiting and super()._all_stopped()

    def _note_failure(self, name: str, code: int) -> None:
        limit, now = self._limits.get(name), time.monotonic()
        if limit is not None and limit.allows(code, now):
            self._due[name] = now + RESPAWN_DELAY
            self._system_print(f'{name} ended with exit code {code}: starting it again\n')
            return
        often = f'for the {limit.deaths}th time ' if limit and limit.exhausted else ''
        mistake = is_mistake_at_the_beginning(code, now - self._began)
        if name in self._apart and not mistake:
            self._missed.add(name)
            then = 'the others go on without it'
        else:
            self._first_failed, then = name, 'ending the others'
        self._system_print(f'{name} ended {often}with exit code {code}: {then}\n')

    def _stop(self) -> None:
        for number, timeout in child.ESCALATION:
            until = time.monotonic() + timeout
            if number != signal.SIGINT and self._alive():
                alive = ', '.join(self._alive())
                self._system_print(f'{signal.Signals(number).name} to {alive}\n')
            # A process that is being started is only known once honcho has read its message.
            sent = {None}
            while self._alive() and time.monotonic() < until:
                leaders = {self._processes[name].get('pid') for name in self._alive()}
                for leader in leaders - sent:
                    child.send_signal(number, leader)
                sent |= leaders
                time.sleep(0.05)

    def _alive(self) -> list[str]:
        return [name for name, p in list(self._processes.items()) if 'returncode' not in p]

    def _system_print(self, data: str) -> None:
        now = datetime.datetime.now()
        self._printer.write(honcho.manager.Message('line', data, now, 'launch', None))
