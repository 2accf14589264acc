"""Recording and deployment from the shipped launch files: real nodes, CAN frames, real time."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from driver_bench import PATIENT
from repository import ROOT

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.files import tensor_file
from h2o_ros.algorithms.files.checkpoint import KIND
from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.bag_transitions.streams import BALANCE_CONTROLLER, OPERATOR, POLICY
from h2o_ros.data.selection import chosen_bags
from h2o_ros.experiments.core.in_process_training import train
from h2o_ros.launching.without_ros.command import load_graph
from h2o_ros.robot.pilot.balance_controller import BalanceController
from h2o_ros.robot.pilot.pilot import FIRM
from h2o_ros.task import Task, load_task

TASK = load_task('standing_still')


def linear_policy(task: Task, gains: np.ndarray) -> Policy:
    """Return a policy of torque = 3 tanh(-gains . observation / 3) N·m: two ReLUs a sum."""
    direction = -gains[:, None] / 3.0
    first = np.concatenate([direction, -direction], 1)
    head = np.array([[1.0, 0.0], [-1.0, 0.0]])
    size = len(task.observation)
    return Policy(
        [first, head],
        [np.zeros(2), np.zeros(2)],
        np.array([1.0, -5.0]),
        np.ones(size),
        np.zeros(size),
        task.contract(),
        update=7,
    )


@pytest.fixture
def balancing(tmp_path: Path) -> Path:
    """Give the file of a policy that balances as the balance controller does."""
    gains = BalanceController(TASK, dataclasses.replace(FIRM, integral=0.0)).gains
    path = tmp_path / 'policy.safetensors'
    linear_policy(TASK, gains[:4]).save(path)
    return path


@pytest.fixture
def run(tmp_path, node_environment, processes):
    """Give a function that runs a launch file to its end: its exit code and what it printed."""
    # Who drives when is tested here, test_hardware_driver.py tests the limits of time.
    (tmp_path / 'driver.yaml').write_text(yaml.safe_dump(PATIENT))
    command = [str(Path(sys.executable).with_name('h2o')), 'launch']

    def run_launch(file: str, *words: str, timeout: float = 90.0) -> tuple[int, str]:
        patient = f'driver:={tmp_path / "driver.yaml"}'
        process = processes.start([*command, file, patient, *words], env=node_environment)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.terminate()
            pytest.fail(f'did not end: {process.communicate(timeout=30)[0]}')
        return process.returncode, output

    return run_launch


def drive_of(folder: Path) -> dict:
    return json.loads((folder / 'drive.json').read_text())


def test_a_policy_is_shadowed_handed_the_robot_and_recorded(run, balancing, tmp_path):
    output = tmp_path / 'deploy'
    code, text = run(
        'deploy_robot.launch.py', f'policy:={balancing}', 'seconds:=3.0',
        'shadow_seconds:=4.0', f'output:={output}',
    )  # fmt: skip
    assert code == 0, text
    drive = drive_of(output)
    assert drive['fault'] == ''
    assert drive['shadow_passed']
    assert drive['seconds'] == pytest.approx(3.0, abs=0.5)
    assert len(drive['policy_hash']) == 64
    order = ['armed: the balance controller drives', 'shadow phase: 4 s', 'the policy drives']
    assert sorted(order, key=text.index) == order
    dataset = load_bags(output / 'take_001', TASK)
    drove = set(dataset.sources.tolist())
    assert drove == {BALANCE_CONTROLLER, POLICY}
    by_policy = dataset.transitions.select(dataset.sources == POLICY)
    assert len(by_policy) >= 400
    # What was sent is what the policy says to what it saw. The bag pairs by stamps, the driver
    # took what had come: they differ by an IMU message or so, the more the busier the machine.
    expected = Policy.load(balancing).act(by_policy.observation)
    assert np.corrcoef(by_policy.action[:, 0], expected[:, 0])[0, 1] > 0.9


@pytest.fixture
def drive_until(tmp_path, node_environment, processes, balancing, wait_until):
    """Give a function that hands the robot over, does something to the launch, and ends it.

    It returns the exit code, what was printed, and drive.json.
    """
    (tmp_path / 'driver.yaml').write_text(yaml.safe_dump(PATIENT))
    output, log = tmp_path / 'deploy', tmp_path / 'log'
    command = [str(Path(sys.executable).with_name('h2o')), 'launch', 'deploy_robot.launch.py']
    words = {
        'driver': tmp_path / 'driver.yaml', 'policy': balancing, 'output': output,
        'seconds': 0.0, 'shadow_seconds': 2.0, 'shadow_answered': 0.5,
    }  # fmt: skip

    def drive(act: Callable[[subprocess.Popen, Callable[[str], int]], None]):
        given = [f'{name}:={value}' for name, value in words.items()]
        with log.open('w') as file:
            process = processes.start([*command, *given], env=node_environment, stdout=file)
        wait_until(lambda: 'handed over' in log.read_text(), 60, log.read_text)
        act(process, lambda name: process_id(log.read_text(), name))
        process.wait(30)
        return process.returncode, log.read_text(), drive_of(output)

    return drive


def process_id(text: str, name: str) -> int:
    """Return a node's process id as the launch has said it."""
    match = re.search(rf'{name} started \(pid=(\d+)\)', text)
    assert match, text
    return int(match[1])


def test_ctrl_c_while_a_policy_drives_is_no_fault(drive_until, tmp_path):
    code, text, drive = drive_until(lambda launch, _: launch.send_signal(signal.SIGINT))
    assert (code, drive['fault'], drive['recording_lost']) == (0, '', ''), text
    assert drive['stopped']
    assert POLICY in load_bags(tmp_path / 'deploy' / 'take_001', TASK).sources


def test_a_recorder_that_was_killed_is_told_also_at_ctrl_c(drive_until, wait_until):
    def act(launch, process_of):
        os.kill(process_of('bag_recorder'), signal.SIGKILL)
        launch.send_signal(signal.SIGINT)

    code, text, drive = drive_until(act)
    assert (code, drive['fault'], drive['stopped']) == (1, '', True), text
    assert drive['recording_lost'].startswith('stop_recording: ')


@pytest.mark.parametrize('name', ['hardware_driver', 'policy_server'])
def test_a_node_that_is_killed_while_a_policy_drives_is_the_fault(drive_until, name):
    code, text, drive = drive_until(lambda _, process: os.kill(process(name), signal.SIGKILL))
    assert code == 128 + signal.SIGKILL, text
    # A driver that has no command trips; which of both comes first is not sure.
    assert name in drive['fault'] or 'the driver tripped' in drive['fault'], text
    assert not drive['stopped']


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, Path]:
    """Give an algorithm's file, and a checkpoint of its first updates on the demonstration."""
    small = {'compile': 'off', 'hidden': [8, 8], 'classifier_hidden': [8, 8], 'batch': 16}
    algorithm = tmp_path / 'small.yaml'
    algorithm.write_text(yaml.safe_dump({**small, 'classifier_batch': 8, 'warmup_steps': 64}))
    real = load_bags(chosen_bags('', TASK), TASK).transitions
    trainer = Trainer(load_config(algorithm, updates_total=64), TASK, real, [0])
    train(trainer, TASK, [0])
    trainer.save(tmp_path / 'checkpoint.safetensors')
    return algorithm, tmp_path / 'checkpoint.safetensors'


@pytest.mark.timeout(260)
def test_learning_goes_on_while_a_policy_drives(run, balancing, checkpoint, tmp_path):
    algorithm, before = checkpoint
    output = tmp_path / 'deploy'
    code, text = run(
        'deploy_robot.launch.py', f'policy:={balancing}', f'algorithm:={algorithm}',
        f'checkpoint:={before}', 'learn:=true', 'seconds:=20.0', 'shadow_seconds:=4.0',
        f'output:={output}', timeout=200.0,
    )  # fmt: skip
    assert code == 0, text
    drive = drive_of(output)
    assert drive['fault'] == '', text
    assert drive['seconds'] == pytest.approx(20.0, abs=3.0)
    after = output / 'learning' / 'checkpoint.safetensors'
    document, arrays = tensor_file.unpack(KIND, after.read_bytes(), str(after), ValueError, '')
    assert document['updates'] > 64, text
    robot, observations = arrays['added_real'], arrays['added_real'][:, :4]
    assert len(robot) >= 2000, text  # of 20 s at 200 Hz
    assert np.isfinite(robot).all()
    assert np.abs(observations[:, 0]).max() < 0.5  # rad: the robot stood


def test_a_policy_that_does_not_balance_stays_in_shadow(run, tmp_path):
    policy, output = tmp_path / 'idle.safetensors', tmp_path / 'deploy'
    linear_policy(TASK, np.zeros(4)).save(policy)
    code, text = run(
        'deploy_robot.launch.py', f'policy:={policy}', 'shadow_seconds:=1.0', f'output:={output}'
    )
    assert code == 1
    assert 'the policy stays in shadow: its torque has correlation 0.00' in text, text
    dataset = load_bags(output / 'take_001', TASK)
    assert POLICY not in dataset.sources
    assert not drive_of(output)['shadow_passed']


@pytest.mark.parametrize(
    ('words', 'complaint'),
    [
        (
            ['policy:=nowhere.safetensors'],
            'nowhere.safetensors: there is no such policy file',
        ),
        (['task:=moving_straight'], "trained for task 'standing_still'"),
        (['driver:=unknown.yaml'], 'unknown.yaml: cannot be read'),
        (
            ['robot:=wheel_legged', 'shadow_at_limit:=1.0'],
            'argument shadow_at_limit: 1.0 is looser than 0.05',
        ),
        (['learn:=true', 'algorithm:=sac'], 'algorithm: sac learns from no real transitions'),
        (['robot:=submarine'], 'argument robot: expected one of virtual, wheel_legged'),
    ],
)
def test_what_cannot_run_is_one_line_before_anything_starts(
    run, balancing, tmp_path, words, complaint
):
    code, text = run('deploy_robot.launch.py', f'policy:={balancing}', *words)
    assert code == 2
    assert complaint in text
    assert text.count('\n') == 1


def test_no_script_drives_and_nothing_disturbs_a_real_robot(run):
    code, text = run('record_teleop.launch.py', 'robot:=wheel_legged')
    assert (code, text.count('\n')) == (2, 1)
    assert 'a script drives the virtual robot alone' in text
    graph = load_graph(ROOT / 'launch' / 'record_teleop.launch.py')
    for robot, expected in (('wheel_legged', 0.0), ('virtual', 0.5)):
        nodes = graph.nodes(graph.read({'robot': robot, 'operator': 'keyboard'}))
        server = next(node for node in nodes if node.executable == 'policy_server')
        assert server.parameters['excitation'] == expected


def test_without_motors_nothing_is_armed(run, balancing, tmp_path):
    output = tmp_path / 'deploy'
    code, text = run(
        'deploy_robot.launch.py', f'policy:={balancing}', 'robot:=wheel_legged',
        'interface:=udp_multicast', f'output:={output}',
    )  # fmt: skip
    assert code != 0
    assert 'no heartbeat' in text
    assert 'armed:' not in text
    assert drive_of(output)['seconds'] == 0.0


def test_a_bus_that_does_not_exist_is_one_line(run, balancing, tmp_path):
    code, text = run(
        'deploy_robot.launch.py', f'policy:={balancing}', 'robot:=wheel_legged',
        'channel:=can_nowhere', f'output:={tmp_path / "deploy"}',
    )  # fmt: skip
    assert code != 0
    assert 'CAN bus socketcan can_nowhere: cannot be opened' in text
    assert 'Traceback' not in text


def test_a_script_records_a_take_that_can_be_learned_from(run, tmp_path):
    output = tmp_path / 'teleop'
    code, text = run('record_teleop.launch.py', 'seconds:=3.0', f'output:={output}')
    assert code == 0, text
    dataset = load_bags(output / 'take_001', TASK)
    assert len(dataset.transitions) >= 400
    assert OPERATOR in dataset.sources
    assert dataset.report.falls == 0
