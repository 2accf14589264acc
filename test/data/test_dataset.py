"""Transitions from bags, held against answers worked out by hand."""

import dataclasses
import time

import numpy as np
import pytest
from bag_samples import PERIOD, START, TYPES, Messages, columns_to_entries, write_bag

from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.cdr.decode import quaternion_angle, quaternion_from_angles
from h2o_ros.data.import_columns.encode import write_columns
from h2o_ros.errors import BagError
from h2o_ros.task import Source, load_task

TASK = load_task('standing_still')
MESSAGES = Messages()
FALL = 0.6  # rad, beyond pi/6


def rows(count, **changes):
    """Columns theta, theta_dot, x, x_dot, torque of `count` steps; torque counts the steps.

    changes: theta=[...] replaces a column.
    """
    columns = np.zeros((count, 5))
    columns[:, 2] = 0.01 * np.arange(count)
    columns[:, 4] = 0.1 * np.arange(count)
    for name, values in changes.items():
        columns[:, ('theta', 'theta_dot', 'x', 'x_dot', 'torque').index(name)] = values
    return columns


def stamps(periods):
    return START + np.rint(PERIOD * np.asarray(periods, float)).astype(np.int64)


def load(path, entries, task=TASK, **options):
    return load_bags(write_bag(path, entries, **options), task)


def steps_used(dataset):
    """The numbers of the steps that became transitions, read off the torque."""
    return np.rint(dataset.transitions.action[:, 0] * 10).astype(int).tolist()


def truncated_steps(dataset):
    return [
        s for s, t in zip(steps_used(dataset), dataset.transitions.truncated, strict=True) if t
    ]


def test_two_rows_by_hand(tmp_path):
    columns = np.array(
        [[0.1, -0.2, 0.3, 0.4, 0.5], [-0.05, 1.5, -0.25, 0.0, -2.0], [0.02, 0.0, 0.1, 0.2, 1.0]]
    )
    dataset = load(tmp_path / 'bag', columns_to_entries(columns))
    t = dataset.transitions
    np.testing.assert_allclose(t.observation, columns[:2, :4], atol=1e-7)
    np.testing.assert_allclose(t.next_observation, columns[1:, :4], atol=1e-7)
    np.testing.assert_allclose(t.action, [[0.5], [-2.0]], atol=1e-7)
    # 30 - 0.01 - 0.04 - 0.09 - 0.16 - 0.25 and 30 - 0.0025 - 2.25 - 0.0625 - 0 - 4
    np.testing.assert_allclose(t.reward, [29.45, 23.685], rtol=1e-6)
    assert t.terminated.tolist() == [False, False]
    assert t.truncated.tolist() == [False, True]
    assert dataset.stamps.tolist() == [START, START + PERIOD]
    report = dataset.report
    assert (report.steps, report.episodes, report.falls, report.gaps) == (2, 1, 0, 0)
    assert report.rate == pytest.approx(200.0)
    assert report.duration == pytest.approx(0.01)
    assert report.files == (str(tmp_path / 'bag'),)


def test_moving_straight_reads_the_same_bag_without_x(tmp_path):
    columns = np.array([[0.1, -0.2, 0.3, 0.4, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0]])
    dataset = load(tmp_path / 'bag', columns_to_entries(columns), load_task('moving_straight'))
    np.testing.assert_allclose(dataset.transitions.observation, [[0.1, -0.2, 0.4]], atol=1e-7)
    # 15 - 0.2² - 0.5²
    np.testing.assert_allclose(dataset.transitions.reward, [14.71], rtol=1e-6)


def test_the_last_observation_without_an_action_still_counts(tmp_path):
    entries = columns_to_entries(rows(5))
    entries = [e for e in entries if not (e[0] == '/action' and e[1] == START + 4 * PERIOD)]
    dataset = load(tmp_path / 'bag', entries)
    assert steps_used(dataset) == [0, 1, 2, 3]
    assert truncated_steps(dataset) == [3]


def test_gap(tmp_path):
    # step 6 comes 2.6 periods after step 5; 1.4 periods between 2 and 3 are no gap
    times = [0, 1, 2, 3.4, 4.4, 5.4, 8, 9, 10, 11, 12, 13]
    dataset = load(tmp_path / 'bag', columns_to_entries(rows(12), stamps(times)))
    assert steps_used(dataset) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert truncated_steps(dataset) == [4, 10]
    assert (dataset.report.gaps, dataset.report.episodes) == (1, 2)
    x = dataset.transitions.next_observation[:, 2] - dataset.transitions.observation[:, 2]
    np.testing.assert_allclose(x, 0.01, atol=1e-7)


def test_lost_action_message(tmp_path):
    entries = columns_to_entries(rows(8))
    entries = [e for e in entries if not (e[0] == '/action' and e[1] == START + 3 * PERIOD)]
    dataset = load(tmp_path / 'bag', entries)
    # step 2 still has its next observation; nothing is known of what was done in step 3
    assert steps_used(dataset) == [0, 1, 2, 4, 5, 6]
    assert truncated_steps(dataset) == [2, 6]


@pytest.mark.parametrize('topic', ['/imu/data', '/joint_states'])
def test_lost_sensor_message(tmp_path, topic):
    entries = columns_to_entries(rows(8))
    entries = [e for e in entries if not (e[0] == topic and e[1] == START + 3 * PERIOD)]
    dataset = load(tmp_path / 'bag', entries)
    assert steps_used(dataset) == [0, 1, 4, 5, 6]
    assert truncated_steps(dataset) == [1, 6]
    assert dataset.report.incomplete == 1


def test_clock_that_goes_back(tmp_path):
    # the log goes on while the stamps start again, with other values under the same stamps
    times = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    entries = columns_to_entries(rows(12), stamps(times))
    entries = [(t, int(START + (i // 3) * PERIOD), raw) for i, (t, _, raw) in enumerate(entries)]
    dataset = load(tmp_path / 'bag', entries)
    assert steps_used(dataset) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert truncated_steps(dataset) == [4, 10]
    assert (dataset.report.jumps, dataset.report.gaps) == (1, 0)
    np.testing.assert_allclose(
        dataset.transitions.observation[:, 2], 0.01 * np.array(steps_used(dataset)), atol=1e-7
    )


def test_duplicate_action_stamp(tmp_path):
    entries = columns_to_entries(rows(8))
    entries.insert(12, ('/action', START + 4 * PERIOD, MESSAGES.action(START + 4 * PERIOD, [2.9])))
    dataset = load(tmp_path / 'bag', entries)
    assert steps_used(dataset) == [0, 1, 2, 3, 5, 6]
    assert truncated_steps(dataset) == [3, 6]
    assert dataset.report.duplicates == 2


def test_almost_the_same_action_stamp(tmp_path):
    entries = columns_to_entries(rows(8))
    stamp = START + int(4.3 * PERIOD)
    entries.insert(12, ('/action', stamp, MESSAGES.action(stamp, [2.9])))
    dataset = load(tmp_path / 'bag', entries)
    assert steps_used(dataset) == [0, 1, 2, 3, 5, 6]
    assert truncated_steps(dataset) == [3, 6]


def test_action_from_two_topics(tmp_path):
    kind = TYPES['/action']
    both = tuple(Source(side, kind, 'data', index=0, scale=2.0) for side in ('left', 'right'))
    task = dataclasses.replace(TASK, action=(dataclasses.replace(TASK.action[0], sources=both),))
    types = {'/imu/data': TYPES['/imu/data'], '/joint_states': TYPES['/joint_states']}
    types |= {'/left': kind, '/right': kind}
    entries = []
    for topic, stamp, raw in columns_to_entries(rows(6)):
        if topic != '/action':
            entries.append((topic, stamp, raw))
            continue
        row = (stamp - START) // PERIOD
        entries.append(('/left', stamp, MESSAGES.action(stamp, [0.02 * row])))
        if row != 2:
            entries.append(('/right', stamp, MESSAGES.action(stamp, [0.03 * row])))
    dataset = load(tmp_path / 'bag', entries, task, types=types)
    assert steps_used(dataset) == [0, 1, 3, 4]
    assert truncated_steps(dataset) == [1, 4]


def test_joints_that_swap_places(tmp_path):
    """Names of one length: nothing but their content tells the messages apart."""
    source = Source('joint_states', TYPES['/joint_states'], 'position', joint='wheel_a')
    field = dataclasses.replace(TASK.observation[2], sources=(source,))
    observation = (*TASK.observation[:2], field, TASK.observation[3])
    task = dataclasses.replace(TASK, observation=observation)
    entries = []
    for topic, stamp, raw in columns_to_entries(rows(6)):
        row = (stamp - START) // PERIOD
        if topic == '/joint_states':
            names, values = ['wheel_a', 'wheel_b'], [float(row), -1.0]
            names, values = (names, values) if row % 2 else (names[::-1], values[::-1])
            names += ['left_wheel', 'right_wheel']
            raw = MESSAGES.joints(stamp, [*values, 0, 0], [0] * 4, names)
        entries.append((topic, stamp, raw))
    dataset = load(tmp_path / 'bag', entries, task)
    np.testing.assert_array_equal(dataset.transitions.observation[:, 2], [0, 1, 2, 3, 4])


def test_duplicate_sensor_stamp(tmp_path):
    entries = columns_to_entries(rows(8))
    stamp = START + 4 * PERIOD
    entries.insert(12, ('/imu/data', stamp, MESSAGES.imu(stamp, 0.3, 0.0)))
    dataset = load(tmp_path / 'bag', entries)
    assert steps_used(dataset) == [0, 1, 2, 5, 6]
    assert truncated_steps(dataset) == [2, 6]


def test_sensor_that_stands_still_makes_no_transition(tmp_path):
    # the IMU's message of step 3 comes late, so that steps 2 and 3 share one
    entries = [e for e in columns_to_entries(rows(12)) if e[0] != '/imu/data']
    for row in range(12):
        stamp = int(START + (3.3 if row == 3 else row) * PERIOD)
        entries.append(('/imu/data', stamp, MESSAGES.imu(stamp, 0.0, 0.0)))
    dataset = load(tmp_path / 'bag', sorted(entries, key=lambda e: e[1]))
    assert steps_used(dataset) == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]
    assert truncated_steps(dataset) == [1, 10]


def test_fall(tmp_path):
    theta = [0, 0.1, 0.3, 0.5, FALL, 0.9, FALL, 0.2, 0.1, 0, 0, 0]
    dataset = load(tmp_path / 'bag', columns_to_entries(rows(12, theta=theta)))
    assert steps_used(dataset) == [0, 1, 2, 3, 7, 8, 9, 10]
    assert dataset.transitions.terminated.tolist() == [False] * 3 + [True] + [False] * 4
    assert truncated_steps(dataset) == [10]
    assert (dataset.report.falls, dataset.report.down, dataset.report.episodes) == (1, 3, 2)


def test_fall_at_which_the_controller_stops(tmp_path):
    entries = columns_to_entries(rows(6, theta=[0, 0.1, 0.2, 0.4, FALL, 0.9]))
    entries = [e for e in entries if not (e[0] == '/action' and e[1] >= START + 4 * PERIOD)]
    dataset = load(tmp_path / 'bag', entries)
    assert steps_used(dataset) == [0, 1, 2, 3]
    assert dataset.transitions.terminated.tolist() == [False, False, False, True]
    assert truncated_steps(dataset) == []


def test_swapped_neighbours_are_put_in_order(tmp_path):
    entries = columns_to_entries(rows(12))
    order = [e for e in entries if e[0] != '/action']
    actions = [e[2] for e in entries if e[0] == '/action']
    actions[2], actions[3] = actions[3], actions[2]
    order += [('/action', START + i * PERIOD, raw) for i, raw in enumerate(actions)]
    dataset = load(tmp_path / 'bag', sorted(order, key=lambda e: e[1]))
    assert steps_used(dataset) == list(range(11))


def test_several_bags(tmp_path):
    one = write_bag(tmp_path / 'one', columns_to_entries(rows(4)))
    late = stamps(np.arange(4) + 4)  # goes on exactly where the first ends
    two = write_bag(
        tmp_path / 'two',
        columns_to_entries(rows(4), late),
        storage='sqlite3',
        compression='message',
    )
    dataset = load_bags([one, two], TASK)
    assert steps_used(dataset) == [0, 1, 2, 0, 1, 2]
    assert dataset.transitions.truncated.tolist() == [False, False, True] * 2
    assert (dataset.report.steps, dataset.report.episodes) == (6, 2)
    assert dataset.report.files == (str(one), str(two))
    assert dataset.report.duration == pytest.approx(0.03)
    with pytest.raises(BagError, match='no bag'):
        load_bags([], TASK)


def test_actions_beyond_the_limits_are_clipped_and_counted(tmp_path):
    dataset = load(tmp_path / 'bag', columns_to_entries(rows(4, torque=[12.0, -3.5, 2.0, 0.0])))
    np.testing.assert_allclose(dataset.transitions.action[:, 0], [3.0, -3.0, 2.0])
    assert dataset.report.clipped == 2
    assert '2 clipped' in str(dataset.report)
    # x is 0, 0.01, 0.02; the reward counts the torque within the limits
    np.testing.assert_allclose(dataset.transitions.reward, [21.0, 20.9999, 25.9996], rtol=1e-6)


def test_an_action_that_is_only_rounded_to_float32_is_not_clipped(tmp_path):
    source = Source('command', 'geometry_msgs/msg/TwistStamped', 'twist.linear.x')
    torque = dataclasses.replace(TASK.action[0], sources=(source,))
    task = dataclasses.replace(TASK, action=(torque,))
    columns = dict.fromkeys(TASK.observation_names, np.zeros(4))
    columns['torque'] = np.array([0.1, 3.5, 0.3, 0.0])
    write_columns(tmp_path / 'bag', columns, stamps(range(4)), task, {})
    assert load_bags(tmp_path / 'bag', task).report.clipped == 1


@pytest.mark.parametrize(
    ('value', 'name'), [(np.nan, 'nan'), (np.inf, 'inf'), (1e300, r'\d.*e\+30\d')]
)
def test_not_finite(tmp_path, value, name):
    entries = columns_to_entries(rows(6, theta_dot=[0, 0, 0, value, 0, 0]))
    path = write_bag(tmp_path / 'bag', entries)
    with pytest.raises(
        BagError,
        match=rf'bag: topic .*: field (angular_velocity\.y|velocity\[left_wheel\]) is -?{name} '
        r'in message 3 \(0\.015 s',
    ):
        load_bags(path, TASK)


def test_numbers_not_used_may_be_anything(tmp_path):
    entries = columns_to_entries(rows(4))
    entries[3] = (
        '/imu/data',
        entries[3][1],
        MESSAGES.imu(entries[3][1], 0, 0, acceleration=(np.nan,) * 3),
    )
    assert len(load(tmp_path / 'bag', entries).transitions) == 3


@pytest.mark.parametrize('norm', [0.0, 0.5, 1e200])
def test_imu_without_an_orientation(tmp_path, norm):
    entries = [
        (topic, stamp, MESSAGES.imu(stamp, 0.0, 0.0, norm=norm) if number == 6 else raw)
        for number, (topic, stamp, raw) in enumerate(columns_to_entries(rows(4)))
    ]
    path = write_bag(tmp_path / 'bag', entries)
    with pytest.raises(
        BagError, match=r'/imu/data: orientation is not a unit quaternion .*\(message 2\)'
    ):
        load_bags(path, TASK)


def test_missing_topic(tmp_path):
    types = {topic: kind for topic, kind in TYPES.items() if topic != '/joint_states'}
    entries = [e for e in columns_to_entries(rows(4)) if e[0] in types]
    path = write_bag(tmp_path / 'bag', entries, types)
    with pytest.raises(
        BagError, match=r'lacks the topic joint_states .* holds /action, /imu/data;'
    ):
        load_bags(path, TASK)


def test_topic_without_messages(tmp_path):
    entries = [e for e in columns_to_entries(rows(4)) if e[0] != '/joint_states']
    path = write_bag(tmp_path / 'bag', entries)
    with pytest.raises(BagError, match='topic /joint_states: holds no messages'):
        load_bags(path, TASK)


def test_other_type(tmp_path):
    types = {**TYPES, '/imu/data': 'sensor_msgs/msg/JointState'}
    path = write_bag(tmp_path / 'bag', columns_to_entries(rows(4)), types)
    with pytest.raises(
        BagError,
        match='/imu/data has type sensor_msgs/msg/JointState, .* expects sensor_msgs/msg/Imu',
    ):
        load_bags(path, TASK)


@pytest.mark.parametrize(('factor', 'rate'), [(2.0, '100.0'), (0.8, '250.0'), (1.15, '173.9')])
def test_other_rate(tmp_path, factor, rate):
    path = write_bag(tmp_path / 'bag', columns_to_entries(rows(6), stamps(factor * np.arange(6))))
    with pytest.raises(
        BagError, match=f'/action runs at {rate} Hz, task standing_still at 200.0 Hz'
    ):
        load_bags(path, TASK)


def test_slow_sensor(tmp_path):
    entries = columns_to_entries(rows(8))
    entries = [e for e in entries if e[0] != '/imu/data' or (e[1] - START) // PERIOD % 2 == 0]
    path = write_bag(tmp_path / 'bag', entries)
    with pytest.raises(BagError, match='/imu/data runs at 100.0 Hz'):
        load_bags(path, TASK)


def test_joint_not_there_and_index_out_of_range(tmp_path):
    stamp_list = [START + i * PERIOD for i in range(4)]
    parts = [MESSAGES.step(stamp) for stamp in stamp_list]
    for name, stamp, part in zip('abcd', stamp_list, parts, strict=True):
        part['/joint_states'] = MESSAGES.joints(stamp, [0, 0], [0, 0], ('left_wheel', name))
    entries = [
        (t, s, raw) for s, part in zip(stamp_list, parts, strict=True) for t, raw in part.items()
    ]
    with pytest.raises(
        BagError, match="/joint_states: joint 'right_wheel' is not among the joints left_wheel, a"
    ):
        load_bags(write_bag(tmp_path / 'joint', entries), TASK)
    for part, stamp in zip(parts, stamp_list, strict=True):
        part['/joint_states'] = MESSAGES.joints(stamp, [0, 0], [])
    entries = [
        (t, s, raw) for s, part in zip(stamp_list, parts, strict=True) for t, raw in part.items()
    ]
    with pytest.raises(BagError, match="'velocity' has 0 elements, .* joint 'left_wheel'"):
        load_bags(write_bag(tmp_path / 'velocity', entries), TASK)
    entries = [
        (t, s, MESSAGES.action(s, []) if t == '/action' else raw)
        for t, s, raw in columns_to_entries(rows(4))
    ]
    with pytest.raises(BagError, match="/action: field 'data' has 0 elements, .* index 0"):
        load_bags(write_bag(tmp_path / 'index', entries), TASK)


@pytest.mark.parametrize(
    ('field', 'index', 'message'),
    [
        ('orientaton.pitch', None, "field 'orientaton.pitch' is not one of sensor_msgs/msg/Imu"),
        ('angular_velocity.y', 2, 'single number'),
        ('orientation_covariance', None, 'name a joint or an index'),
        ('orientation_covariance', 9, 'has 9 elements'),
        ('orientation_covariance', -1, 'has 9 elements'),
    ],
)
def test_task_that_does_not_fit_the_message(tmp_path, field, index, message):
    source = Source('imu/data', 'sensor_msgs/msg/Imu', field, index=index)
    wrong = dataclasses.replace(TASK.observation[0], sources=(source,))
    task = dataclasses.replace(TASK, observation=(wrong, *TASK.observation[1:]))
    path = write_bag(tmp_path / 'bag', columns_to_entries(rows(4)))
    with pytest.raises(BagError, match=message):
        load_bags(path, task)


def test_too_few_steps(tmp_path):
    with pytest.raises(BagError, match=r'one: topic /action: too short, 1 message'):
        load(tmp_path / 'one', columns_to_entries(rows(1)))
    with pytest.raises(BagError, match=r'down: too short, .* 4 with the robot down'):
        load(tmp_path / 'down', columns_to_entries(rows(4, theta=[1, 1, 1, 1])))


def test_other_clock(tmp_path):
    entries = []
    for row, values in enumerate(rows(6)):
        stamp = START + row * PERIOD
        parts = MESSAGES.step(stamp, *values)
        parts['/imu/data'] = MESSAGES.imu(stamp + 3_000_000_000, 0.0, 0.0)
        entries += [(topic, stamp, raw) for topic, raw in parts.items()]
    with pytest.raises(
        BagError, match=r'no message of topic /imu/data .* 5\.5 ms .* 3\.000 s apart'
    ):
        load(tmp_path / 'bag', entries)


def test_stamps_never_set_fall_back_to_log_times(tmp_path):
    parts = MESSAGES.step(0, torque=0.5)
    entries = [(t, START + row * PERIOD, raw) for row in range(5) for t, raw in parts.items()]
    dataset = load(tmp_path / 'bag', entries)
    assert len(dataset.transitions) == 4
    assert dataset.stamps[0] == START


def test_namespaces(tmp_path):
    entries = columns_to_entries(rows(4))
    spaced = [(f'/virtual_robot{topic}', stamp, raw) for topic, stamp, raw in entries]
    types = {f'/virtual_robot{topic}': kind for topic, kind in TYPES.items()}
    assert len(load(tmp_path / 'one', spaced, types=types).transitions) == 3
    bare = [(topic[1:], stamp, raw) for topic, stamp, raw in entries]
    bare_types = {topic[1:]: kind for topic, kind in TYPES.items()}
    assert len(load(tmp_path / 'bare', bare, types=bare_types).transitions) == 3
    other = [(f'/second{topic}', stamp, raw) for topic, stamp, raw in entries]
    types |= {f'/second{topic}': kind for topic, kind in TYPES.items()}
    path = write_bag(tmp_path / 'two', spaced + other, types)
    with pytest.raises(BagError, match='several namespaces .*/second, /virtual_robot'):
        load_bags(path, TASK)


def test_irregular_messages_read_like_regular_ones(tmp_path):
    """Frames of other lengths, joints in another order, more joints, big-endian messages."""
    columns = np.random.default_rng(3).normal(0, 0.1, (90, 5))
    entries = []
    for row, (theta, theta_dot, x, x_dot, torque) in enumerate(columns):
        stamp = START + row * PERIOD
        parts = MESSAGES.step(stamp, theta, theta_dot, x, x_dot, torque)
        parts['/imu/data'] = MESSAGES.imu(stamp, theta, theta_dot, frame='f' * (row % 41))
        wheel, speed = x / 0.065 - theta, x_dot / 0.065 - theta_dot
        if row % 3:
            names = ['right_wheel', f'hip{row % 5}', 'left_wheel']
            values = [wheel + 1, 99.0, wheel - 1], [speed + 1, 99.0, speed - 1]
            parts['/joint_states'] = MESSAGES.joints(stamp, *values, names)
        if row % 7 == 0:
            kind = TYPES['/action']
            message = MESSAGES.store.deserialize_cdr(parts['/action'], kind)
            parts['/action'] = bytes(
                MESSAGES.store.serialize_cdr(message, kind, little_endian=False)
            )
        entries += [(topic, stamp, raw) for topic, raw in parts.items()]
    t = load(tmp_path / 'bag', entries).transitions
    np.testing.assert_allclose(t.observation, columns[:-1, :4], atol=1e-6)
    np.testing.assert_allclose(t.next_observation, columns[1:, :4], atol=1e-6)
    np.testing.assert_allclose(t.action[:, 0], columns[:-1, 4], atol=1e-6)


def test_message_cut_short(tmp_path):
    entries = columns_to_entries(rows(4))
    topic, stamp, raw = entries[6]
    entries[6] = (topic, stamp, raw[:100])
    with pytest.raises(
        BagError, match='/imu/data: message 2 cannot be read as sensor_msgs/msg/Imu'
    ):
        load(tmp_path / 'bag', entries)


def test_warning_of_a_torn_bag_reaches_the_report(tmp_path):
    path = write_bag(tmp_path / 'bag', columns_to_entries(rows(2000)))
    (path / 'metadata.yaml').unlink()
    file = path / 'bag.mcap'
    file.write_bytes(file.read_bytes()[:-100])
    dataset = load_bags(path, TASK)
    assert len(dataset.transitions) > 1000
    assert len(dataset.report.warnings) == 1


def test_angles_of_quaternions():
    # a quarter turn about each axis, x, y, z, w
    half = np.sqrt(0.5)
    for axis, angle in enumerate(('roll', 'pitch', 'yaw')):
        quaternion = np.zeros((1, 4))
        quaternion[0, axis], quaternion[0, 3] = half, half
        assert quaternion_angle(quaternion, angle)[0] == pytest.approx(np.pi / 2)
    angles = np.random.default_rng(0).uniform(-1.5, 1.5, (3, 50))
    quaternion = quaternion_from_angles(*angles)
    for angle, values in zip(('roll', 'pitch', 'yaw'), angles, strict=True):
        np.testing.assert_allclose(quaternion_angle(quaternion, angle), values, atol=1e-12)


def test_large_bag_loads_quickly(tmp_path):
    """20,000 steps of three topics; 100,000 take under 3 s on one core (bench/load_bag.py)."""
    columns = np.random.default_rng(0).normal(0, 0.1, (20_000, 5))
    names = [*TASK.observation_names, *TASK.action_names]
    table = dict(zip(names, columns.T, strict=True))
    times = START + PERIOD * np.arange(len(columns))
    write_columns(tmp_path / 'bag', table, times, TASK, {})
    begin = time.perf_counter()
    dataset = load_bags(tmp_path / 'bag', TASK)
    assert time.perf_counter() - begin < 3.0
    assert len(dataset.transitions) == 19_999


@pytest.mark.parametrize(
    ('storage', 'compression'),
    [
        ('mcap', 'none'),
        ('mcap', 'storage'),
        ('mcap', 'file'),
        ('sqlite3', 'none'),
        ('sqlite3', 'message'),
    ],
)
def test_damage_anywhere_is_a_bag_error_or_harmless(tmp_path, storage, compression):
    generator = np.random.default_rng(7)
    entries = columns_to_entries(generator.normal(0, 0.1, (100, 5)))
    path = write_bag(tmp_path / 'bag', entries, storage=storage, compression=compression)
    (file,) = (f for f in path.iterdir() if f.name != 'metadata.yaml')
    whole, refused = file.read_bytes(), 0
    for trial in range(24):
        data = bytearray(whole)
        place = int(generator.integers(0, len(data) - 20))
        if trial % 3 == 0:
            data = data[:place]
        elif trial % 3 == 1:
            data[place] ^= 0xFF
        else:
            data[place : place + 20] = generator.bytes(20)
        file.write_bytes(data)
        for given in (path, file):
            try:
                assert load_bags(given, TASK).transitions.is_finite()
            except BagError as err:
                refused += 1
                assert str(file) in str(err) or str(path) in str(err)
                assert '\n' not in str(err)
    assert refused > 5
