"""The real-world experiment's folder: whole trainings of the options given, and their drives."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from h2o_ros.data.selection import demonstration_bag
from h2o_ros.errors import RobotError
from h2o_ros.experiments.wheel_legged import deployment as deployment_module
from h2o_ros.report.output import FolderLock
from h2o_ros.task import load_task

TASK = 'standing_still'


class Commands:
    """Stands in for `h2o`: what it was given, and the files that it leaves."""

    def __init__(self, updates):
        self.given, self.updates, self.interrupt = [], updates, False
        self.trips = 0  # deployments whose motors go off before the policy drives

    def __call__(self, *words):
        self.given.append(words)
        after = dict(zip(words[1:], words[2:], strict=False))
        if words[0] == 'train':
            self._train(after)
        elif words[1] == 'deploy_robot.launch.py':
            self._deploy(dict(word.split(':=') for word in words[2:]))
        if self.interrupt:
            raise KeyboardInterrupt

    def of(self, name):
        return [words for words in self.given if name in words]

    def _train(self, words):
        folder, done = Path(words['--output']), self.updates // (1 + self.interrupt)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ('policy', 'checkpoint'):
            (folder / f'{name}.safetensors').write_text(f'{done} updates')
        summary = {
            'task': words['--task'], 'algorithm': words['--algorithm'],
            'seed': int(words['--seed']), 'finished': not self.interrupt, 'updates': done,
            'updates_total': self.updates,
        }  # fmt: skip
        (folder / 'summary.json').write_text(json.dumps(summary))

    def _deploy(self, words):
        output = Path(words['output'])
        output.mkdir(parents=True)  # a drive has a folder of its own
        policy = Path(words['policy']).read_bytes()
        drive = {'fault': '', 'policy_hash': hashlib.sha256(policy).hexdigest()}
        if self.trips:
            self.trips -= 1
            drive |= {'fault': 'the driver tripped', 'steps': 0}
        (output / 'drive.json').write_text(json.dumps(drive))


@pytest.fixture
def commands(monkeypatch):
    """Give a stand-in for `h2o`, with the demonstration as what was recorded."""
    stand_in = Commands(64)
    takes = [demonstration_bag(load_task(TASK))]
    monkeypatch.setattr(deployment_module, 'run_command', stand_in)
    monkeypatch.setattr(deployment_module, 'record', lambda task, folder, options: takes)
    return stand_in


def words(folder, *more):
    """Return a command line; what comes later wins."""
    return [
        '--tasks', TASK, '--algorithms', 'h2o,sac', '--updates', '64', '--output', str(folder),
        *more,
    ]  # fmt: skip


def test_a_training_that_was_interrupted_goes_on_before_its_policy_drives(
    tmp_path, commands, capsys
):
    commands.interrupt = True
    assert deployment_module.main(words(tmp_path)) == 130
    assert 'the same command goes on' in capsys.readouterr().err
    assert len(commands.given) == 1
    commands.interrupt = False
    assert deployment_module.main(words(tmp_path)) == 0
    training = tmp_path / TASK / 'h2o' / 'training'
    resumed = commands.given[1]
    assert resumed[-2:] == ('--resume', str(training / 'checkpoint.safetensors'))
    assert (training / 'policy.safetensors').read_text() == '64 updates'
    assert len(commands.given) == 5 and len(commands.of('launch')) == 2
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.given) == 5  # nothing is done again


def test_the_drive_of_another_policy_is_set_aside(tmp_path, commands):
    assert deployment_module.main(words(tmp_path)) == 0
    policy = tmp_path / TASK / 'h2o' / 'training' / 'policy.safetensors'
    policy.write_text('a half-trained one')
    (policy.parent / 'summary.json').unlink()  # a kill left none
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.of('train')) == 3 and '--resume' in commands.of('train')[2]
    assert len(commands.of('launch')) == 2  # the same policy came out
    policy.write_text('another one')
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.of('launch')) == 3
    assert (policy.parents[1] / 'earlier-1' / 'deployment' / 'drive.json').exists()


def test_a_drive_that_left_no_figures_is_set_aside(tmp_path, commands):
    assert deployment_module.main(words(tmp_path)) == 0
    deployment = tmp_path / TASK / 'sac' / 'deployment'
    (deployment / 'drive.json').unlink()
    (deployment / 'take_001').mkdir()
    assert deployment_module.main(words(tmp_path)) == 0
    assert not (deployment / 'take_001').exists() and (deployment / 'drive.json').exists()


def test_a_drive_that_a_person_ended_is_made_again(tmp_path, commands):
    assert deployment_module.main(words(tmp_path)) == 0
    path = tmp_path / TASK / 'sac' / 'deployment' / 'drive.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'stopped': True}))
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.of('launch')) == 3
    assert 'stopped' not in json.loads(path.read_text())


@pytest.mark.parametrize(('trips', 'deployments'), [(1, 3), (2, 4), (9, 6)])
def test_a_policy_that_did_not_come_to_drive_has_three_tries(
    trips, deployments, tmp_path, commands, capsys
):
    commands.trips = trips
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.of('launch')) == deployments  # of two policies
    drive = json.loads((tmp_path / TASK / 'h2o' / 'deployment' / 'drive.json').read_text())
    assert drive.get('steps') == (0 if trips == 9 else None)
    assert capsys.readouterr().out.count('did not drive: the driver tripped') == min(trips, 6)
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.of('launch')) == deployments  # not three more each time


def test_another_policy_has_tries_of_its_own(tmp_path, commands):
    commands.trips = 9
    assert deployment_module.main(words(tmp_path)) == 0
    commands.trips = 1
    policy = tmp_path / TASK / 'h2o' / 'training' / 'policy.safetensors'
    policy.write_text('another one')
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.of('launch')) == 6 + 2


def test_a_policy_that_did_not_drive_without_a_fault_is_not_tried_again(tmp_path, commands):
    assert deployment_module.main(words(tmp_path)) == 0
    path = tmp_path / TASK / 'sac' / 'deployment' / 'drive.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'steps': 0}))
    assert deployment_module.main(words(tmp_path)) == 0
    assert len(commands.of('launch')) == 2


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['--seed', '1'], 'seed 0 where 1'),
        (['--model', 'hard'], 'model standard where hard'),
        (['--steps', '50'], 'steps 100000 where 50'),
        (['--excitation', '0.5'], 'excitation 1.0 where 0.5'),
        (['--updates', '32'], f'algorithm h2o on {TASK}: updates 64, now 32'),
    ],
)
def test_other_options_than_those_of_the_folder_are_refused(
    given, message, tmp_path, commands, capsys
):
    assert deployment_module.main(words(tmp_path)) == 0
    capsys.readouterr()
    assert deployment_module.main(words(tmp_path, *given)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count('\n') == 1 and '--output' in said


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['--seed', '1'], 'of seed 0 where 1'),
        (['--updates', '32'], 'of updates_total 64 where 32'),
    ],
)
def test_a_folder_without_a_manifest_is_asked_for_its_summaries(
    given, message, tmp_path, commands, capsys
):
    assert deployment_module.main(words(tmp_path)) == 0
    (tmp_path / 'manifest.json').unlink()
    capsys.readouterr()
    assert deployment_module.main(words(tmp_path, *given)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count('\n') == 1 and '--output' in said


def test_an_unfinished_policy_is_not_deployed(tmp_path, commands, monkeypatch, capsys):
    def stopped(*words):
        commands.interrupt = True
        with contextlib.suppress(KeyboardInterrupt):  # somebody ended `h2o train` alone
            commands(*words)

    monkeypatch.setattr(deployment_module, 'run_command', stopped)
    assert deployment_module.main(words(tmp_path)) == 2
    assert 'was not finished; the same command goes on' in capsys.readouterr().err
    assert not commands.of('launch')


def test_ctrl_c_waits_for_what_the_command_saves(tmp_path, processes, wait_until):
    script = tmp_path / 'h2o'
    script.write_text(
        '#!/bin/sh\n'
        f'trap "sleep 1; touch {tmp_path}/saved; exit 0" INT\n'
        f'touch {tmp_path}/began\n'
        'while true; do sleep 0.1; done\n'
    )
    script.chmod(0o755)
    code = (
        'import sys; from h2o_ros.experiments.wheel_legged import deployment as r; '
        f'sys.executable = "{tmp_path}/python"; r.run_command("train")'
    )
    process = processes.start([sys.executable, '-c', code], stderr=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / 'began').exists(), 30, 'the command')
    os.killpg(process.pid, signal.SIGINT)
    process.wait(20)
    assert (tmp_path / 'saved').exists()


def test_a_command_that_leaves_no_file_is_an_error(tmp_path):
    with pytest.raises(RobotError, match='was not written'):
        deployment_module.demand(tmp_path / 'policy.safetensors')


def test_two_commands_do_not_share_a_folder(tmp_path, commands, capsys):
    other = FolderLock(tmp_path)
    assert deployment_module.main(words(tmp_path)) == 2
    said = capsys.readouterr().err
    assert f'in use by another run (process {os.getpid()})' in said and said.count('\n') == 1
    assert commands.given == []
    other.close()
    assert deployment_module.main(words(tmp_path)) == 0
