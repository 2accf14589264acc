"""Columns of text and HDF5 become bags, and come back out of them."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from repository import ROOT

from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.bags.bag import Bag
from h2o_ros.data.import_columns.columns import import_recording
from h2o_ros.errors import BagError
from h2o_ros.task import ObservationField, Source, load_task

TASK = load_task('standing_still')
NAMES = ['x', 'x_dot', 'theta', 'theta_dot', 'torque', 'done']
REAL = Path(
    os.environ.get(
        'H2O_REAL_RECORDING',
        ROOT.parent / 'shared' / 'real_robot' / 'standing_60s.txt',
    )
)


def table(count=30, seed=0):
    values = np.random.default_rng(seed).normal(0, 0.1, (count, 6))
    values[:, 5] = 0
    return values


def check(dataset, values, used=slice(None, -1)):
    """The transitions hold the columns x, x_dot, theta, theta_dot, torque of the rows used."""
    chosen = np.arange(len(values))[used]
    want = values[:, [2, 3, 0, 1]].astype(np.float32)
    np.testing.assert_allclose(dataset.transitions.observation, want[chosen], rtol=0, atol=1e-7)
    np.testing.assert_allclose(
        dataset.transitions.next_observation, want[chosen + 1], rtol=0, atol=1e-7
    )
    torque = np.clip(values[chosen, 4], -3, 3)
    np.testing.assert_allclose(dataset.transitions.action[:, 0], torque, rtol=1e-6)


@pytest.mark.parametrize(
    ('name', 'text', 'delimiter'),
    [
        ('plain.txt', {}, None),
        ('comma.csv', {'delimiter': ',', 'header': 'a,b,c,d,e,f', 'comments': ''}, None),
        ('semicolon.csv', {'delimiter': ';', 'header': 'commented'}, ';'),
        ('spreadsheet.csv', {'delimiter': ',', 'encoding': 'utf-8-sig'}, None),
    ],
)
def test_text_round_trip(tmp_path, name, text, delimiter):
    values = table()
    np.savetxt(tmp_path / name, values, **text)
    rows = import_recording(tmp_path / name, NAMES, TASK, tmp_path / 'bag', delimiter=delimiter)
    assert rows == len(values)
    dataset = load_bags(tmp_path / 'bag', TASK)
    check(dataset, values)
    assert dataset.transitions.truncated.tolist() == [False] * 28 + [True]
    with Bag(tmp_path / 'bag') as bag:
        assert bag.metadata['contract_hash'] == TASK.contract_hash
        assert bag.metadata['recording'] == name
    assert set(dataset.sources) == {-1}, 'columns do not say who decided'


def test_done_breaks_the_time_line(tmp_path):
    values = table(12)
    values[[3, 7], 5] = 1
    np.savetxt(tmp_path / 'r.txt', values)
    import_recording(tmp_path / 'r.txt', NAMES, TASK, tmp_path / 'bag')
    dataset = load_bags(tmp_path / 'bag', TASK)
    used = np.array([0, 1, 2, 4, 5, 6, 8, 9, 10])
    check(dataset, values, used)
    assert used[dataset.transitions.truncated].tolist() == [2, 6, 10]
    assert dataset.report.gaps == 2


def test_time_column_and_columns_left_out(tmp_path):
    values = table(10)
    seconds = 50 + 0.005 * np.arange(10)
    seconds[6:] += 0.1
    content = np.column_stack([seconds, values[:, 5] + 7, values[:, :5]])
    np.savetxt(tmp_path / 'r.txt', content)
    names = ['time', '-', *NAMES[:5]]
    import_recording(tmp_path / 'r.txt', names, TASK, tmp_path / 'bag')
    dataset = load_bags(tmp_path / 'bag', TASK)
    check(dataset, values, np.array([0, 1, 2, 3, 4, 6, 7, 8]))
    content[4, 0] = content[3, 0]
    np.savetxt(tmp_path / 'r.txt', content)
    with pytest.raises(BagError, match='time does not grow in row 4'):
        import_recording(tmp_path / 'r.txt', names, TASK, tmp_path / 'other')


def test_hdf5_round_trip(tmp_path):
    values = table()
    with h5py.File(tmp_path / 'r.h5', 'w') as file:
        file['log/all'] = values
        file['observations'] = values[:, :4]
        file['torque'] = values[:, 4]
    import_recording(tmp_path / 'r.h5', NAMES, TASK, tmp_path / 'one', dataset='log/all')
    check(load_bags(tmp_path / 'one', TASK), values)
    columns = [f'{name}=observations[{i}]' for i, name in enumerate(NAMES[:4])] + ['torque']
    import_recording(tmp_path / 'r.h5', columns, TASK, tmp_path / 'two')
    check(load_bags(tmp_path / 'two', TASK), values)
    with pytest.raises(
        BagError, match=r"r\.h5: has no dataset 'x'; it holds log/all, observations, torque"
    ):
        import_recording(tmp_path / 'r.h5', NAMES, TASK, tmp_path / 'three')
    with pytest.raises(
        BagError, match=r'observations has shape \(30, 4\); give one of its columns'
    ):
        names = ['x=observations', *columns[1:]]
        import_recording(tmp_path / 'r.h5', names, TASK, tmp_path / 'three')
    (tmp_path / 'torn.h5').write_bytes((tmp_path / 'r.h5').read_bytes()[:100])
    with pytest.raises(BagError, match=r'torn\.h5: not an HDF5 file'):
        import_recording(tmp_path / 'torn.h5', NAMES, TASK, tmp_path / 'three')


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['x', 'x_dot', 'theta', 'torque', '-', '-'], 'columns: theta_dot missing'),
        ([*NAMES[:5], 'speed'], "columns: 'speed' is unknown to task standing_still"),
        ([*NAMES[:5], 'x'], "columns: 'x' is named twice"),
        (NAMES[:5], r'r\.txt: has 6 columns, the list names 5'),
        ([*NAMES, '-'], r'r\.txt: has 6 columns, the list names 7'),
    ],
)
def test_column_list_that_does_not_fit(tmp_path, names, message):
    np.savetxt(tmp_path / 'r.txt', table())
    with pytest.raises(BagError, match=message):
        import_recording(tmp_path / 'r.txt', names, TASK, tmp_path / 'bag')
    assert not (tmp_path / 'bag').exists()


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(BagError, match='none: there is no such file'):
        import_recording(tmp_path / 'none', NAMES, TASK, tmp_path / 'bag')
    file = tmp_path / 'r.txt'
    file.write_text('1 2 3 4 5 6\n1 2 three 4 5 6\n')
    with pytest.raises(BagError, match=r'r\.txt: not columns of numbers .*three'):
        import_recording(file, NAMES, TASK, tmp_path / 'bag')
    file.write_text('')
    with pytest.raises(BagError, match=r'r\.txt: '):
        import_recording(file, NAMES, TASK, tmp_path / 'bag')
    values = table()
    values[4, 3] = np.nan
    np.savetxt(file, values)
    with pytest.raises(BagError, match=r'r\.txt: column theta_dot is nan in row 4'):
        import_recording(file, NAMES, TASK, tmp_path / 'bag')
    values[4, 3], values[5, 2] = 0, 100.0
    np.savetxt(file, values)
    with pytest.raises(BagError, match='orientation.pitch reaches 100 rad'):
        import_recording(file, NAMES, TASK, tmp_path / 'bag')
    (tmp_path / 'bag').mkdir()
    np.savetxt(file, table())
    with pytest.raises(BagError, match='bag: exists already'):
        import_recording(file, NAMES, TASK, tmp_path / 'bag')


@pytest.mark.parametrize(
    ('column', 'message'),
    [
        (np.array([b'up', b'down']), r'dataset theta holds \|S4, expected numbers'),
        (np.zeros(2, complex), 'dataset theta holds complex128, expected numbers'),
        (np.zeros(0), 'dataset theta holds no rows'),
    ],
)
def test_hdf5_without_numbers_is_refused(tmp_path, column, message):
    with h5py.File(tmp_path / 'r.h5', 'w') as file:
        for name in NAMES:
            file[name] = column if name == 'theta' else np.zeros(2)
    names = ['theta', *(name for name in NAMES if name != 'theta')]
    with pytest.raises(BagError, match=message):
        import_recording(tmp_path / 'r.h5', names, TASK, tmp_path / 'bag')
    with pytest.raises(BagError, match=message):
        import_recording(tmp_path / 'r.h5', names, TASK, tmp_path / 'bag', dataset='theta')


def test_time_in_nanoseconds_is_refused(tmp_path):
    values = table()
    values[:, 5] = 1.7e18 + 5e9 * np.arange(len(values))
    np.savetxt(tmp_path / 'r.txt', values)
    with pytest.raises(BagError, match=r'column time goes on for 1.45e\+11 s; give it in seconds'):
        import_recording(tmp_path / 'r.txt', [*NAMES[:-1], 'time'], TASK, tmp_path / 'bag')
    assert not (tmp_path / 'bag').exists()


def test_rate_other_than_the_tasks_is_refused_by_the_loader(tmp_path):
    np.savetxt(tmp_path / 'r.txt', table())
    import_recording(tmp_path / 'r.txt', NAMES, TASK, tmp_path / 'bag', rate=100.0)
    with pytest.raises(BagError, match=r'runs at 100\.0 Hz, task standing_still at 200\.0 Hz'):
        load_bags(tmp_path / 'bag', TASK)


def test_fields_that_share_a_source_and_contradict(tmp_path):
    source = Source('imu/data', 'sensor_msgs/msg/Imu', 'angular_velocity.y')
    twin = dataclasses.replace(
        TASK, observation=(*TASK.observation, ObservationField('twin', 'rad/s', (source,)))
    )
    values = table()
    np.savetxt(tmp_path / 'r.txt', np.column_stack([values, values[:, 3] + 1]))
    with pytest.raises(BagError, match='sources are those of other fields'):
        import_recording(tmp_path / 'r.txt', [*NAMES, 'twin'], twin, tmp_path / 'bag')


def test_any_message_type_can_be_a_source(tmp_path):
    def source(field, **place):
        return (Source('/arm/odom', 'nav_msgs/msg/Odometry', field, **place),)

    other = dataclasses.replace(
        TASK,
        observation=(
            ObservationField('theta', 'rad', source('pose.pose.orientation.yaw')),
            ObservationField('theta_dot', 'rad/s', source('twist.twist.angular.z', scale=-2.0)),
            ObservationField('x', 'm', source('pose.covariance', index=35)),
            ObservationField('x_dot', 'm/s', source('twist.twist.linear.x')),
        ),
    )
    values = table()
    np.savetxt(tmp_path / 'r.txt', values)
    import_recording(tmp_path / 'r.txt', NAMES, other, tmp_path / 'bag')
    check(load_bags(tmp_path / 'bag', other), values)


def test_command_line(tmp_path):
    np.savetxt(tmp_path / 'r.txt', table())
    command = [
        sys.executable,
        '-m',
        'h2o_ros.data.import_columns.columns',
        str(tmp_path / 'r.txt'),
    ]
    command += ['--task', 'standing_still', '--output', str(tmp_path / 'bag'), '--columns']
    root = ROOT
    done = subprocess.run([*command, ','.join(NAMES)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '30 rows' in done.stdout
    assert f'bag:={tmp_path / "bag"}' in done.stdout
    wrong = subprocess.run([*command, 'x,y'], cwd=root, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: columns: 'y' is unknown")
    assert 'Traceback' not in wrong.stderr


@pytest.mark.skipif(not REAL.is_file(), reason='the real recording is not here')
def test_the_real_recording(tmp_path):
    import_recording(REAL, NAMES, TASK, tmp_path / 'bag')
    dataset = load_bags(tmp_path / 'bag', TASK)
    values = np.loadtxt(REAL)
    check(dataset, values)
    assert len(dataset.transitions) == 11_999
    assert dataset.report.clipped == int((np.abs(values[:-1, 4]) > 3).sum())
    assert dataset.transitions.reward.mean() == pytest.approx(29.3, abs=0.1)
