"""Which messages make a control step: what the policy saw, and what the motors were sent."""

import numpy as np
import pytest
from bag_samples import PERIOD, START, TYPES, Messages, columns_to_entries, write_bag

from h2o_ros.data.bag_transitions.armed_intervals import ARMED, STATE
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.bag_transitions.streams import BALANCE_CONTROLLER, OPERATOR, POLICY, task_sources
from h2o_ros.data.bag_transitions.time_matching import newest
from h2o_ros.data.bags.bag import Bag
from h2o_ros.data.cdr.decode import decode
from h2o_ros.data.cdr.definitions import Definitions
from h2o_ros.data.import_columns.encode import encode
from h2o_ros.data.selection import demonstration_bag
from h2o_ros.errors import BagError
from h2o_ros.task import load_task

TASK = load_task('standing_still')
MESSAGES = Messages()
APPLIED = {'/applied_action': TYPES['/action']}
STATUS = {'/driver_status': STATE.type}


def steps_used(dataset):
    return ((dataset.stamps - START) // PERIOD).tolist()


@pytest.mark.parametrize('name', ['standing_still', 'moving_straight'])
def test_shipped_bags_give_what_equal_stamps_give_bit_for_bit(name):
    """Their robot waits for its answers, so all messages of a step carry the same stamp."""
    task = load_task(name)
    path = demonstration_bag(task)
    values = {}
    with Bag(path) as bag:
        for topic, sources in task_sources(task).items():
            recorded = bag.read([f'/{topic}'])[f'/{topic}']
            decoded = decode(recorded.messages, recorded.type, sources, bag.definitions, '')
            assert (np.diff(decoded.header_stamps) == PERIOD).all()
            values |= dict(zip(sources, decoded.columns, strict=True))
            values[topic] = decoded.header_stamps
    stamps = values['action']
    same = [stamps.tolist() == values[topic].tolist() for topic in ('imu/data', 'joint_states')]
    assert same == [True, True]

    def table(entries):
        columns = [sum(s.scale * values[s] for s in entry.sources) for entry in entries]
        return np.stack(columns, axis=1).astype(np.float32)

    observation = table(task.observation)
    found = load_bags(path, task)
    assert found.stamps.tolist() == stamps[:-1].tolist()
    assert found.transitions.observation.tobytes() == observation[:-1].tobytes()
    assert found.transitions.next_observation.tobytes() == observation[1:].tobytes()
    assert found.transitions.action.tobytes() == table(task.action)[:-1].tobytes()


def test_the_newest_message_that_can_have_been_seen():
    """A sensor of 400 Hz beside control at 200 Hz, in ms; up to 0.25 ms late is not too late."""
    stamps = np.array([1.0, 3.4, 5.1, 7.6, 10.3, 12.5, 15.0])
    chosen, good = newest(
        np.rint(stamps * 1e6).astype(np.int64), np.array([0, 5, 10, 15]) * 10**6, 5e6
    )
    # at 0 there is none yet, at 5 the one of 5.1 counts, at 10 the one of 10.3 does not
    assert good.tolist() == [False, True, True, True]
    assert chosen[1:].tolist() == [2, 3, 6]


def test_a_lost_message_is_not_replaced_by_an_old_one():
    period = 5_000_000
    stamps = np.array([0, 1, 2, 4, 5, 6]) * period
    _, good = newest(stamps, np.arange(8) * period, period)
    assert good.tolist() == [True, True, True, False, True, True, True, False]
    # one that came late is another matter: what is a whole period old is what was seen
    chosen, good = newest(
        np.rint(np.array([1.0, 2.0, 3.12, 4.0]) * period), np.arange(1, 5) * period, period
    )
    assert chosen.tolist() == [0, 1, 1, 3]
    assert good.all()


def test_observations_come_from_before_the_step(tmp_path):
    """IMU messages a third of a period behind each step were not seen by who acted in it."""
    entries = []
    for row in range(6):
        stamp = START + row * PERIOD
        parts = MESSAGES.step(stamp)
        parts['/imu/data'] = MESSAGES.imu(stamp + PERIOD // 3, 0.01 * row, 0.0)
        entries += [(topic, stamp, raw) for topic, raw in parts.items()]
    dataset = load_bags(write_bag(tmp_path / 'bag', entries), TASK)
    assert steps_used(dataset) == [1, 2, 3, 4]
    theta = dataset.transitions.observation[:, 0]
    np.testing.assert_allclose(theta, [0.0, 0.01, 0.02, 0.03], atol=1e-7)


def applied_bag(path, torques, more_types=(), more_entries=()):
    """Steps whose commands are all 9 N·m; the motors were sent `torques`, None: nothing."""
    entries = columns_to_entries(np.full((len(torques) + 1, 5), [0, 0, 0, 0, 9.0]))
    for row, torque in enumerate(torques):
        stamp = START + row * PERIOD
        if torque is not None:
            entries.append(('/applied_action', stamp, MESSAGES.action(stamp, [torque])))
    types = TYPES | APPLIED | dict(more_types)
    return write_bag(path, sorted([*entries, *more_entries], key=lambda e: e[1]), types)


def test_what_the_motors_were_sent_is_the_action(tmp_path):
    path = applied_bag(tmp_path / 'bag', [0.1, 0.2, 0.3, None, None, 0.4, 0.5])
    dataset = load_bags(path, TASK)
    np.testing.assert_allclose(
        dataset.transitions.action[:, 0], [0.1, 0.2, 0.3, 0.4, 0.5], atol=1e-7
    )
    assert dataset.transitions.truncated.tolist() == [False, False, True, False, True]
    assert dataset.report.gaps == 1


def test_motors_that_were_never_armed_make_no_transitions(tmp_path):
    path = applied_bag(tmp_path / 'bag', [None] * 6)
    with pytest.raises(BagError, match='/applied_action: .* the motors were never armed'):
        load_bags(path, TASK)


def test_steps_with_the_motors_off_are_left_out(tmp_path):
    """The driver was armed from just before step 2 until just before step 6."""
    moments = START + np.array([-1, int(1.5 * PERIOD), int(5.5 * PERIOD)], np.int64)
    states = np.array([ARMED - 1, ARMED, ARMED + 2])
    rows = encode([STATE], [states], moments, Definitions())
    said = [
        ('/driver_status', int(stamp), raw.tobytes())
        for stamp, raw in zip(moments, rows, strict=True)
    ]
    dataset = load_bags(applied_bag(tmp_path / 'bag', [0.1] * 9, STATUS, said), TASK)
    assert steps_used(dataset) == [2, 3, 4, 5]
    assert dataset.transitions.truncated.tolist() == [False, False, False, True]
    assert dataset.report.unarmed == 5
    assert '5 unarmed' in str(dataset.report)


def test_who_decided_each_step(tmp_path):
    who = [POLICY, POLICY, OPERATOR, OPERATOR, BALANCE_CONTROLLER, POLICY, OPERATOR, POLICY]
    entries = []
    for row, (topic, stamp, raw) in enumerate(columns_to_entries(np.zeros((8, 5)))):
        if topic == '/action':
            message = MESSAGES.store.deserialize_cdr(raw, TYPES[topic])
            message.source = who[row // 3]
            raw = MESSAGES.raw(message)
        entries.append((topic, stamp, raw))
    dataset = load_bags(write_bag(tmp_path / 'bag', entries), TASK)
    assert dataset.sources.tolist() == who[:7]
    assert dataset.report.interventions == 2
    assert '2 interventions' in str(dataset.report)
