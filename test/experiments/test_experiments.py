"""Training without ROS: the same twice, to the last bit, and judged as the tables say."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.commands import train
from h2o_ros.data.load import load_recorded
from h2o_ros.data.selection import chosen_bags, demonstration_bag
from h2o_ros.errors import BagError, CheckpointError, ConfigurationError
from h2o_ros.experiments.core import in_process_training
from h2o_ros.experiments.wheel_legged import compare, controller_stiffness, deployment
from h2o_ros.experiments.wheel_legged.comparison import passes
from h2o_ros.launching.without_ros.command import load_graph
from h2o_ros.launching.without_ros.installation import find_launch_file
from h2o_ros.report.run import CHECKPOINT, POLICY
from h2o_ros.report.summary import words_to_resume
from h2o_ros.sim import simulator
from h2o_ros.task import find_task, load_task, share_folder


@pytest.fixture
def short_task(tmp_path):
    """Give the shipped standing task with a horizon of half a second."""
    path = tmp_path / 'standing_short.yaml'
    text = find_task('standing_still').read_text(encoding='utf-8')
    path.write_text(text.replace('horizon: 6000', 'horizon: 100'), encoding='utf-8')
    return str(path)


def train_once(folder, task, *words):
    bag = share_folder('bags') / 'moving_straight_demo'  # 20,000 steps: quick to load
    code = train.main(
        [
            '--task', task, '--bag', str(bag), '--updates', '200', '--episodes', '2',
            '--output', str(folder), *words,
        ]
    )  # fmt: skip
    assert code == 0
    return [(Path(folder) / name).read_bytes() for name in (POLICY, CHECKPOINT)]


def test_equal_seeds_give_equal_bytes(tmp_path, short_task, capsys):
    first = train_once(tmp_path / 'a', short_task)
    *_, whole, last = capsys.readouterr().err.splitlines()
    assert whole.startswith('100%  update 200/200') and last == 'evaluating the final policy'
    assert train_once(tmp_path / 'b', short_task) == first
    assert train_once(tmp_path / 'c', short_task, '--seed', '1')[0] != first[0]
    summary = json.loads((tmp_path / 'a' / 'summary.json').read_text())
    assert summary['updates'] == 200 and summary['episodes'] == 2
    assert summary['simulated_steps'] == pytest.approx(1200, abs=32)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_and_resume_goes_on(number, tmp_path, short_task, monkeypatch, capsys):
    def interrupted_at_once(trainer, *arguments, stopping, **options):
        os.kill(os.getpid(), number)
        in_process_training.train(trainer, *arguments, stopping=stopping, **options)
        assert trainer.updates == 0 and stopping()

    before = signal.getsignal(number)
    monkeypatch.setattr(train, 'train', interrupted_at_once)
    _, checkpoint = train_once(tmp_path / 'a', short_task)
    *_, told = capsys.readouterr().out.splitlines()
    label, *command = shlex.split(told)
    assert [label, *command[:2]] == ['next:', 'h2o', 'train']
    again = vars(train.parse(command[2:]))
    assert again.pop('resume') == str(tmp_path / 'a' / CHECKPOINT)
    bag = str(share_folder('bags') / 'moving_straight_demo')
    chosen = {'task': short_task, 'bag': bag, 'updates': 200, 'episodes': 2}
    usual = {name: value for name, value in vars(train.parse([])).items() if name != 'resume'}
    assert again == usual | chosen | {'output': str(tmp_path / 'a')}
    assert signal.getsignal(number) == before
    monkeypatch.undo()
    path = tmp_path / 'saved'
    path.write_bytes(checkpoint)
    train_once(tmp_path / 'a', short_task, '--resume', str(path))
    assert json.loads((tmp_path / 'a' / 'summary.json').read_text())['updates'] == 200


@pytest.fixture
def checkpoint_of_seed_3(tmp_path, short_task):
    """Give the checkpoint of 200 updates of seed 3 in heavy gravity."""
    train_once(tmp_path / 'first', short_task, '--seed', '3', '--gap', 'gravity', *SAC)
    return str(tmp_path / 'first' / CHECKPOINT)


SAC = ('--algorithm', 'sac')  # needs no recording
LONGER = (*SAC, '--updates', '300')


def test_another_run_is_not_gone_on_with(checkpoint_of_seed_3, tmp_path, short_task, capsys):
    words = ['--task', short_task, '--output', str(tmp_path / 'second'), *LONGER]
    for others, said in (
        ((), 'trained with seed 3, got 0; give seed 3'),
        (('--seed', '3'), 'gravity (2.0 there, 1.0 here)'),
        (('--seed', '3', '--gap', 'gravity', '--environments', '8'), '(32 there, 8 here)'),
    ):
        capsys.readouterr()
        assert train.main([*words, '--resume', checkpoint_of_seed_3, *others]) == 2
        error = capsys.readouterr().err
        assert error.startswith('error: ') and error.count('\n') == 1 and said in error
    again = ('--resume', checkpoint_of_seed_3, '--seed', '3', '--gap', 'gravity')
    assert train.main([*words, *again, '--episodes', '1']) == 0
    summary = json.loads((tmp_path / 'second' / 'summary.json').read_text())
    assert (summary['seed'], summary['updates']) == (3, 300)


def test_resumed_robots_do_not_repeat_their_first_episodes(
    checkpoint_of_seed_3, tmp_path, short_task, monkeypatch
):
    made = []

    def make(*arguments, seed, **options):
        made.append(seed)
        return simulator.make_simulator(*arguments, seed=seed, **options)

    monkeypatch.setattr(in_process_training, 'make_simulator', make)
    words = ('--seed', '3', '--gap', 'gravity', *LONGER)
    train_once(tmp_path / 'fresh', short_task, *words)
    resumed = [
        train_once(tmp_path / name, short_task, *words, '--resume', checkpoint_of_seed_3)
        for name in ('a', 'b')
    ]
    assert resumed[0] == resumed[1]  # the same again
    assert made[::2] == [3, 200_000_003, 200_000_003]  # beside those of the evaluations


def test_a_run_that_is_killed_leaves_a_checkpoint(tmp_path, short_task, monkeypatch):
    class Killed(BaseException):
        pass

    saved = []

    def note(trainer, path):
        saved.append((trainer.updates, path))
        if len(saved) == 2:
            raise Killed

    monkeypatch.setattr(train, 'SAVING', 0.0)
    monkeypatch.setattr(Trainer, 'save', note)
    with pytest.raises(Killed):
        train_once(tmp_path, short_task, *SAC)
    assert [path for _, path in saved] == [tmp_path / CHECKPOINT] * 2
    assert 0 < saved[0][0] < saved[1][0] < 200
    saved.clear()
    monkeypatch.setattr(train, 'SAVING', 300.0)
    with pytest.raises(FileNotFoundError):
        train_once(tmp_path, short_task, *SAC)
    assert [updates for updates, _ in saved] == [200]


def test_a_full_disk_leaves_the_policy_and_is_one_line(tmp_path, short_task, monkeypatch, capsys):
    def full(*_arguments):
        raise CheckpointError('no room for it')

    monkeypatch.setattr(Trainer, 'save', full)
    words = ['--task', short_task, '--updates', '64', '--output', str(tmp_path), *SAC]
    assert train.main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1] == 'error: no room for it'
    assert (tmp_path / POLICY).is_file()


@pytest.mark.parametrize('content', [None, 'body_mas: 8.0', 'body_mass: 0.5'])
def test_a_robot_that_cannot_be_leaves_the_earlier_run_alone(content, tmp_path, capsys):
    robot, earlier = tmp_path / 'robot.yaml', tmp_path / POLICY
    earlier.write_bytes(b'a policy')
    if content:
        robot.write_text(content)
    words = ['--robot', str(robot), '--updates', '64', '--output', str(tmp_path), *SAC]
    assert train.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and str(robot) in error and error.count('\n') == 1
    assert earlier.read_bytes() == b'a policy'


@pytest.mark.parametrize('module', ['train', 'identify'])
def test_a_mistake_is_one_line_under_its_modules_name_too(module, tmp_path):
    words = {'train': ['--task', 'nonsense'], 'identify': ['--bag', '', '--task', 'nonsense']}
    command = [sys.executable, '-m', f'h2o_ros.commands.{module}', *words[module]]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: task 'nonsense'") and ended.stderr.count('\n') == 1


def test_an_empty_list_of_bags_is_the_demonstration_but_an_empty_name_is_refused():
    task = load_task('standing_still')
    assert chosen_bags(' ', task) == [demonstration_bag(task)]
    assert chosen_bags('a , b/c', task) == [Path('a'), Path('b/c')]
    for names in (',', 'a,', ',a', 'a, ,b'):
        with pytest.raises(ConfigurationError, match=f'^bag: an empty name in {names!r}; '):
            chosen_bags(names, task)


def test_who_has_no_recordings_is_told_how_to_name_them_for_train_and_for_launch(tmp_path):
    give = r'give --bag \(with a launch file: bag:=\) '
    with pytest.raises(BagError, match=f'none was named; {give}a name'):
        demonstration_bag(load_task('half_cheetah'))
    with pytest.raises(BagError, match=f'{give}the name of a dataset'):
        load_recorded('a_bag', load_task('half_cheetah'))
    own = tmp_path / 'mine.yaml'
    text = find_task('standing_still').read_text(encoding='utf-8')
    own.write_text(text.replace('name: standing_still', 'name: big_robot'), encoding='utf-8')
    with pytest.raises(BagError, match=f'{give}.*make demo ARGS="task:=FILE.yaml"$'):
        demonstration_bag(load_task(str(own)))


def test_a_bag_given_twice_is_refused_under_any_name(tmp_path, monkeypatch, capsys):
    demonstration = share_folder('bags') / 'standing_still_demo'
    (tmp_path / 'link').symlink_to(demonstration, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    file = next(demonstration.glob('*.mcap*'))
    for again in (demonstration, 'link', './link/', file):
        for names in (f'{demonstration},{again}', f'{again},{demonstration}'):
            assert train.main(['--bag', names, '--output', str(tmp_path / 'run')]) == 2
            said = capsys.readouterr().err
            assert 'given twice' in said and said.endswith('; name each bag once\n')


def test_a_run_is_resumed_by_the_launch_with_its_own_arguments():
    graph = load_graph(find_launch_file('train_sim.launch.py', None))
    usual = train.parse([])
    assert words_to_resume(usual, usual) == {'output': str(Path('runs/train').absolute())}
    chosen = {
        'task': 'moving_straight', 'bag': 'a,b', 'algorithm': 'sac', 'seed': 3, 'robot': 'hard',
        'gap': 'gravity', 'environments': 8, 'device': 'cuda', 'updates': 500, 'output': '/x',
    }  # fmt: skip
    options = train.parse([f'--{name}={value}' for name, value in chosen.items()])
    words = words_to_resume(options, usual)
    assert words == {'steps' if name == 'updates' else name: v for name, v in chosen.items()}
    values = graph.read({word: str(value) for word, value in words.items()})
    assert {word: values[word] for word in words} == words
    defaults = graph.read({})
    for word in set(words) - {'output', 'steps'}:
        assert defaults[word] == getattr(usual, word), f'{word} would be left out wrongly'


def test_a_command_to_resume_is_right_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'take').mkdir()
    files = {'task': 'my.yaml', 'robot': 'mine.yml', 'bag': 'take,a-dataset-v2', 'output': 'run'}
    options = train.parse([f'--{name}={value}' for name, value in files.items()])
    assert words_to_resume(options, train.parse([]), launched=False) == {
        'task': f'{tmp_path}/my.yaml', 'robot': f'{tmp_path}/mine.yml',
        'bag': f'{tmp_path}/take,a-dataset-v2', 'output': f'{tmp_path}/run',
    }  # fmt: skip


def test_the_help_says_what_each_option_takes(capsys):
    with pytest.raises(SystemExit):
        train.parse(['--help'])
    said = ' '.join(capsys.readouterr().out.split())
    for name in vars(train.parse([])):
        text = said.rpartition(f' --{name} ')[2].partition(' --')[0]
        assert 'default' in text, name
        assert ('path of a YAML file' in text) == (name in ('task', 'algorithm', 'robot', 'gap'))
    assert "0, the default: the algorithm's own number" in said


def test_comparison_keeps_what_is_done_and_writes_table_and_picture(tmp_path, short_task, capsys):
    words = [
        '--task', short_task, '--seeds', '2', '--updates', '64',
        '--output', str(tmp_path / 'runs'),
        '--bag', str(share_folder('bags') / 'moving_straight_demo'),
        '--algorithms', 'lqr,h2o,real_only,sac',
    ]  # fmt: skip
    assert compare.main(words) == 0
    folder = tmp_path / 'runs'
    table = (folder / 'table.md').read_text()
    assert table.count('| h2o | ') == 3 and '| lqr | hard |' in table
    assert (folder / 'comparison.png').stat().st_size > 10000
    written = (folder / 'h2o.json').stat().st_mtime_ns
    capsys.readouterr()
    assert compare.main(words) == 0
    assert (folder / 'h2o.json').stat().st_mtime_ns == written
    assert 'done in' not in capsys.readouterr().out


def test_a_robot_held_firmly_behind_a_delay_is_recorded_trembling(tmp_path, capsys):
    words = [
        '--delays', '0.008', '--steps', '4000', '--seeds', '1', '--updates', '32',
        '--output', str(tmp_path / 'runs'),
    ]  # fmt: skip
    assert controller_stiffness.main(words) == 0
    rows = (tmp_path / 'runs' / 'table.md').read_text().splitlines()[2:]
    cells = [[cell.strip() for cell in row.split('|')[1:-1]] for row in rows]
    assert [row[:2] for row in cells] == [['8 ms', 'soft'], ['8 ms', 'firm']]
    assert float(cells[1][2]) > float(cells[0][2]) > 0.0
    assert capsys.readouterr().out.splitlines()[2:4] == rows


def test_passing_needs_survival_place_and_calm():
    row = {'survived': 9, 'episodes': 10, 'mean_abs_x': 0.9, 'mean_abs_action': 0.9}
    assert passes(row)
    assert not passes(row | {'survived': 8})
    assert not passes(row | {'mean_abs_x': 1.0})
    assert not passes(row | {'mean_abs_action': 1.0})
    assert passes(row | {'mean_abs_x': float('nan')})


@pytest.mark.parametrize(
    ('experiment', 'words', 'expected'),
    [
        (compare, ['--task', 'dancing'], ["'dancing'", 'standing_still']),
        (compare, ['--algorithms', 'magic'], ["'magic'", 'h2o_paper']),
        (compare, ['--bag', '/nowhere/bag'], ['/nowhere/bag']),
        (deployment, ['--tasks', 'dancing'], ["'dancing'", 'standing_still']),
        (deployment, ['--output', '/dev/null/x'], ['/dev/null/x']),
        (controller_stiffness, ['--task', 'half_cheetah'], ['half_cheetah', 'standing_still']),
        (controller_stiffness, ['--delays', '-1'], ['torque_delay', '-1']),
    ],
)
def test_a_mistake_is_one_line(experiment, words, expected, tmp_path, capsys):
    assert experiment.main(['--output', str(tmp_path / 'runs'), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1
    assert all(word in said for word in expected), said
