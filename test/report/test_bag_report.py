"""`h2o bags`: what is in bags, in words and as a picture."""

import numpy as np
import pytest
from bag_samples import PERIOD, START, TYPES, Messages

from h2o_ros.cli import main
from h2o_ros.data.bag_transitions.streams import BALANCE_CONTROLLER, OPERATOR, POLICY
from h2o_ros.data.bags.takes import TakeRecorder
from h2o_ros.report.bag_report import DRIVERS
from h2o_ros.task import load_task

MESSAGES = Messages()
TASK = load_task('standing_still')


def action(stamp, torque, source):
    message = MESSAGES.store.deserialize_cdr(MESSAGES.action(stamp, [torque]), TYPES['/action'])
    message.source = source
    return MESSAGES.raw(message)


@pytest.fixture
def takes(tmp_path):
    """Two takes: a policy that an operator catches and that falls at the end, and an empty one."""
    folder = tmp_path / 'drive'
    recorder = TakeRecorder(folder, TYPES, {'task': TASK.name, 'operator': 'Ada'}, 1)
    recorder.start(START)
    theta = 0.1 * np.sin(0.05 * np.arange(400))
    theta[-1] = 0.6
    for row in range(400):
        if row in (50, 51, 52):
            continue
        stamp = START + row * PERIOD
        source = OPERATOR if 100 <= row < 140 else POLICY
        for topic, raw in MESSAGES.step(stamp, theta[row], 0.1 * np.cos(0.05 * row)).items():
            own = action(stamp, np.sin(0.1 * row), source) if topic == '/action' else raw
            recorder.write(topic, stamp, own)
    recorder.note('on carpet', START)
    recorder.stop(START + 400 * PERIOD)
    recorder.label('failure')
    recorder.start(START)
    recorder.stop(START)
    return folder


def test_report_and_picture(takes, tmp_path, capsys):
    picture = tmp_path / 'new' / 'bags.png'
    assert main(['bags', str(takes), '--picture', str(picture)]) == 0
    text = capsys.readouterr().out
    for expected in (
        'task standing_still, started 1970-01-01T00:01:40Z, operator Ada, label failure',
        # of 397 recorded steps those before the gap, and the last one, have none behind them
        '395 steps, 2 s, 2 episodes, 1 fall',
        'drove: policy 90%, operator 10%',
        'besides: interventions 1, gaps 1, steps with the robot down 1',
        'best possible 30',
        'note: 1970-01-01T00:01:40Z on carpet',
        'longest pause (ms)',
        'take_002: the bag is empty',
        'all 2 bags, 1 with steps',
        f'picture: {picture}',
    ):
        assert expected in text, f'{expected}\n{text}'
    (row,) = [line for line in text.splitlines() if line.startswith('  /action')]
    assert row.split() == ['/action', '397', '200.0', '20.0']
    assert picture.read_bytes().startswith(b'\x89PNG') and picture.stat().st_size > 30_000


def test_another_task_reads_the_same_bag(takes, tmp_path, capsys):
    words = ['--task', 'moving_straight', '--picture', str(tmp_path / 'bags.png')]
    assert main(['bags', str(takes / 'take_001'), *words]) == 0
    assert 'best possible 15' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['{takes}/take_002'], 'no step of task standing_still in'),
        (['/nowhere/bag'], '/nowhere/bag: there is no such bag or folder'),
        (['{takes}', '--task', 'dancing'], "task 'dancing' is unknown"),
        (['{takes}', '--picture', '/dev/null/x.png'], '/dev/null/x.png: cannot be written'),
        (['{takes}', '--picture', 'x.txt'], '--picture x.txt: expected the name of a .png file'),
        (['{takes}', '--picture', 'here'], '--picture here: expected the name of a .png file'),
    ],
)
def test_a_mistake_is_one_line(takes, words, expected, capsys):
    assert main(['bags', *(word.format(takes=takes) for word in words)]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith('error: ') and expected in line
    assert not said.out or 'no such' not in line


def test_both_layers_name_the_same_drivers():
    named = {POLICY: 'policy', BALANCE_CONTROLLER: 'balance controller', OPERATOR: 'operator'}
    assert {number: DRIVERS[number] for number in named} == named
