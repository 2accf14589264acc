"""What several tests share: a ROS domain of their own, nodes' environment, processes that end."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from machine_watch import MACHINE

from h2o_ros.launching.without_ros.installation import built_prefix, environment_of_nodes
from h2o_ros.nodes.core.launcher import LAUNCHER

# `colcon test` before `make setup` has only what the distribution has.
MISSING = [
    name
    for name in ('torch', 'mujoco', 'pytest_rerunfailures', 'pytest_timeout')
    if importlib.util.find_spec(name) is None
]
if MISSING:
    pytest.exit(
        f'the tests need {", ".join(MISSING)}: run `make setup` in the folder of h2o_ros, then '
        '`make test`, or colcon build and colcon test again',
        returncode=2,
    )

# A shell lets what it starts in the background ignore SIGINT, and all that this starts in turn.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LAST_DOMAIN = 101  # the highest whose ports are free of the system's own on Linux


@pytest.fixture
def ros_domain(request: pytest.FixtureRequest) -> Iterator[int]:
    """Give a ROS domain that no other test of this machine uses meanwhile.

    Tests begin to look at different numbers: processes that one test killed are still believed
    alive by DDS for some seconds.
    """
    first = zlib.crc32(request.node.nodeid.encode())
    for domain in (1 + (first + k) % LAST_DOMAIN for k in range(LAST_DOMAIN)):
        path = Path(tempfile.gettempdir()) / f'h2o_ros_test_domain_{domain}.lock'
        try:
            lock = path.open('w')
        except PermissionError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        with lock:
            yield domain
        return
    pytest.fail('every ROS domain is in use by another test')


@pytest.fixture
def node_environment(ros_domain: int) -> dict[str, str]:
    """Give the environment in which the built nodes run, in the test's own domain."""
    environment = environment_of_nodes(built_prefix(os.environ), os.environ)
    return environment | {
        'ROS_DOMAIN_ID': str(ros_domain),
        'OMP_NUM_THREADS': '1',
        LAUNCHER: str(os.getpid()),  # no node outlives a test run that is killed
    }


class Processes:
    """Starts processes; each must have ended when the test does."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen] = []

    def start(self, command: list[str], **options: object) -> subprocess.Popen:
        """Start a command in a session of its own, its output in pipes as text."""
        defaults = {
            'stdout': subprocess.PIPE,
            'stderr': subprocess.STDOUT,
            'text': True,
            'start_new_session': True,
        }
        process = subprocess.Popen(command, **(defaults | options))  # type: ignore[call-overload]
        self._started.append(process)
        return process

    def start_node(
        self, name: str, environment: dict[str, str], *words: str, **options: object
    ) -> subprocess.Popen:
        """Start a built node with command line words, as '-p', 'seed:=1'."""
        executable = built_prefix(os.environ) / 'lib' / 'h2o_ros' / name
        command = [sys.executable, str(executable), '--ros-args', *words]
        return self.start(command, env=environment, **options)

    def end_all(self) -> list[str]:
        """Kill what still runs and return its commands."""
        left = []
        for process in self._started:
            if process.poll() is None:
                left.append(' '.join(map(str, process.args)))
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdout is not None and process.stdout.closed:  # by the test
                process.wait()
            else:
                process.communicate()
        return left


FAILED = pytest.StashKey[bool]()
OF_MOMENTS = {'processes', 'ros_domain', 'bench'}  # fixtures of what runs in real time


def pytest_sessionstart() -> None:
    """Watch the machine from now on."""
    MACHINE.start()


def pytest_sessionfinish() -> None:
    """End the watch."""
    MACHINE.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what runs in real time run again where it failed while the machine stood still."""
    for item in items:
        if OF_MOMENTS & set(getattr(item, 'fixturenames', ())):
            item.add_marker(pytest.mark.flaky(reruns=2, condition=MACHINE.stood_still))


@pytest.hookimpl(tryfirst=True)  # before what may skip it
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell the watch that a test begins, which has not failed yet."""
    MACHINE.begin()
    item.stash[FAILED] = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, object, object]:
    """Keep whether the test failed, for its fixtures."""
    report = yield
    item.stash[FAILED] |= report.failed
    return report


@pytest.fixture
def processes(request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Give a starter of processes; a test that leaves one running has failed."""
    started = Processes()
    yield started
    left = started.end_all()
    # One that has failed has not come to its end.
    assert not left or request.node.stash[FAILED], f'still running at the end of the test: {left}'


def is_running(process_id: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        state = Path(f'/proc/{process_id}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != 'Z'


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Give a function that waits for a condition, and fails where it does not come true."""

    def wait(
        condition: Callable[[], bool], timeout: float = 20.0, what: str | Callable[[], str] = ''
    ) -> None:
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() >= end:
                said = what() if callable(what) else what
                raise AssertionError(f'not within {timeout} s: {said or condition}')
            time.sleep(0.02)

    return wait


@pytest.fixture
def running() -> Callable[[int], bool]:
    """Give the function that says whether a process runs."""
    return is_running
