"""Options of experiments do what they say, and what is said of a run is so."""

import subprocess
import sys

import numpy as np
import pytest
from grid_samples import make_small, words

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.commands import dataset
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.__main__ import main, parse
from h2o_ros.experiments.sweep import sweep
from h2o_ros.experiments.sweep.progress import GridProgress
from h2o_ros.experiments.sweep.run_config import Cell
from h2o_ros.experiments.wheel_legged import compare, controller_stiffness, deployment
from h2o_ros.task import load_task

MODULES = {
    'grid': lambda given: parse(['table1', *given]),
    'wheel_legged': compare.parse,
    'recording_gains': controller_stiffness.parse,
    'real_world': deployment.parse,
    'dataset': lambda given: dataset.parse(['make', 'walker2d-medium-v2', *given]),
}


@pytest.mark.parametrize(
    ('module', 'option', 'value'),
    [
        ('grid', '--saving', 'nan'),
        ('grid', '--saving', 'inf'),
        ('grid', '--saving', '-1'),
        ('grid', '--saving', 'often'),
        ('grid', '--threads', '2'),
        ('wheel_legged', '--seeds', '0'),
        ('wheel_legged', '--first-seed', '-1'),
        ('wheel_legged', '--updates', '-1'),
        ('wheel_legged', '--environments', '0'),
        ('recording_gains', '--seeds', '0'),
        ('recording_gains', '--first-seed', '-1'),
        ('recording_gains', '--updates', '-1'),
        ('recording_gains', '--steps', '0'),
        ('real_world', '--steps', '0'),
        ('real_world', '--seed', '-1'),
        ('real_world', '--updates', '-1'),
        ('real_world', '--excitation', 'nan'),
        ('real_world', '--excitation', '-0.5'),
        ('dataset', '--level', 'nan'),
    ],
)
def test_a_number_that_is_none_is_refused_where_it_is_read(module, option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        MODULES[module]([option, value])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert option in said and value in said


def test_medium_replay_reads_its_steps_and_a_level_of_0(tmp_path, monkeypatch):
    asked = []

    def made(request, run, level, most, tell):
        asked.append((level, most))
        raise ConfigurationError('enough')

    monkeypatch.setattr(dataset, 'make_replay', made)
    common = ['--runs', str(tmp_path / 'runs'), '--output', str(tmp_path)]
    for more in (['--steps', '5000', '--level', '0'], []):
        with pytest.raises(ConfigurationError, match='enough'):
            dataset.main(['make', 'halfcheetah-medium-replay-v2', *common, *more])
    assert asked == [(0.0, 5000), (4770.3, 1_000_000)]


class Line:
    """Keeps what a progress line says."""

    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)

    def forget(self):
        pass


def test_a_batch_that_left_nothing_is_not_called_saved(tmp_path, monkeypatch, capsys):
    batch, line = sweep.Batch(Cell('sac', 'x', '-', 'none'), (0,)), Line()
    progress = GridProgress([batch], 100, line)
    progress.interrupted(batch, saved=True)
    progress.interrupted(batch, saved=False)
    assert line.said[0].endswith('interrupted and saved; the same command goes on')
    assert 'saved' not in line.said[1] and 'the same command' in line.said[1]

    small = make_small(tmp_path, monkeypatch)
    monkeypatch.setattr(sweep.Run, 'train', lambda run, tell, stopping: False)
    assert main(words(small, tmp_path / 'runs', algorithms='sac')) == 130
    assert 'interrupted and saved' not in capsys.readouterr().err


def test_a_policy_says_by_which_method_it_was_trained():
    task = load_task('half_cheetah')
    config = load_config('sac', task, hidden=(8, 8), compile='off')
    policy = Trainer(config, task, None, [0]).policy()
    assert Policy.from_bytes(policy.to_bytes()).algorithm == 'sac'


def test_exporting_what_is_no_policy_is_one_line(tmp_path):
    path = tmp_path / 'policy.safetensors'
    path.write_bytes(np.zeros(8).tobytes())
    done = subprocess.run(
        [
            sys.executable, '-m', 'h2o_ros.algorithms.files.onnx_export', path,
            tmp_path / 'policy.onnx',
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith(f'error: {path}: ')
    assert done.stderr.count('\n') == 1
