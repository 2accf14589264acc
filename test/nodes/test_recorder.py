"""Takes: begun, ended, judged, crowded out by a full disk, killed; over DDS and by themselves."""

import contextlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from bag_samples import PERIOD, START, TYPES, Messages
from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from rclpy.qos import qos_profile_sensor_data
from ros_client import call, collect, listening
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, String

from h2o_ros.data.bag_transitions.armed_intervals import ARMED
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.bag_transitions.streams import BALANCE_CONTROLLER, OPERATOR, POLICY, UNSAID
from h2o_ros.data.bags.bag import Bag
from h2o_ros.data.bags.takes import LABELS, TakeRecorder
from h2o_ros.errors import BagError
from h2o_ros.msg import Action, DriverStatus, PilotStatus, RecordingStatus
from h2o_ros.nodes.core.base_node import LATCHED
from h2o_ros.nodes.recording.topics import header_stamp
from h2o_ros.task import load_task

TASK = load_task('standing_still')
MESSAGES = Messages()
PLENTY = 10**12


def recorder(path, **options):
    options = {'minimum_free': 10**6, 'free_space': lambda _: PLENTY} | options
    return TakeRecorder(path, TYPES, {'task': TASK.name}, **options)


def write_steps(takes, first, count):
    for row in range(first, first + count):
        for topic, raw in MESSAGES.step(START + row * PERIOD, torque=0.001 * row).items():
            takes.write(topic, START + row * PERIOD, raw)


def metadata(path):
    with Bag(path) as bag:
        return bag.metadata


def test_who_decided_has_the_numbers_of_the_message():
    names = ('POLICY', 'BALANCE_CONTROLLER', 'OPERATOR', 'UNKNOWN')
    numbers = [getattr(Action, f'SOURCE_{name}') for name in names]
    assert numbers == [POLICY, BALANCE_CONTROLLER, OPERATOR, UNSAID]


def test_each_take_is_a_bag_with_its_own_label_and_notes(tmp_path):
    takes = recorder(tmp_path / 'drive')
    with pytest.raises(BagError, match='no take yet'):
        takes.label('success')
    for label in ('success', 'failure'):
        path = takes.start(START)
        with pytest.raises(BagError, match='is being recorded; end it first'):
            takes.start(START)
        write_steps(takes, 0, 20)
        takes.describe({'policy_hash': 'abc'})
        takes.note(f'the floor\nis {label}', START)
        takes.stop(START + 20 * PERIOD)
        takes.label(label)  # how it went is known when it is over
        takes.note('well', START + 10**9)
        assert len(load_bags(path, TASK).transitions) == 19
    assert [p.name for p in sorted((tmp_path / 'drive').iterdir())] == ['take_001', 'take_002']
    assert metadata(path) == {
        'task': 'standing_still',
        'started': '1970-01-01T00:01:40Z',
        'ended': '1970-01-01T00:01:40Z',
        'end': 'stopped',
        'label': 'failure',
        'notes': '1970-01-01T00:01:40Z the floor is failure\n1970-01-01T00:01:41Z well',
        'policy_hash': 'abc',
    }
    assert metadata(tmp_path / 'drive' / 'take_001')['label'] == 'success'
    assert sorted(p.name for p in path.iterdir()) == ['metadata.yaml', 'take_002.mcap']
    assert recorder(tmp_path / 'drive').start(START).name == 'take_003'


def test_a_folder_of_takes_stands_for_those_with_steps(tmp_path):
    takes = recorder(tmp_path)
    for steps in (10, 0, 20):
        takes.start(START)
        write_steps(takes, 0, steps)
        takes.stop(START)
    dataset = load_bags(tmp_path, TASK)
    assert (len(dataset.transitions), dataset.report.episodes) == (9 + 19, 2)
    assert [f[-3:] for f in dataset.report.files] == ['001', '003']
    (warning,) = dataset.report.warnings
    assert 'left out: ' in warning and 'take_002: the bag is empty' in warning
    with pytest.raises(BagError, match='take_001: given twice'):
        load_bags([tmp_path, tmp_path / 'take_001'], TASK)
    for path in tmp_path.glob('take_00[13]'):
        shutil.rmtree(path)
    with pytest.raises(BagError, match='none of its 1 takes can be used; left out: .*empty'):
        load_bags(tmp_path, TASK)


def test_a_disk_that_runs_full_ends_the_take_and_refuses_the_next(tmp_path):
    free = [3_000_000]
    takes = recorder(tmp_path, minimum_free=2_000_000, free_space=lambda _: free[0])
    path = takes.start(START)
    write_steps(takes, 0, 20)
    takes.watch(START)
    assert takes.recording
    free[0] = 1_000_000
    takes.watch(START)
    status = takes.status()
    assert (status.recording, status.fault, status.messages) == (False, True, 60)
    assert '1 MB free on its disk, 2 MB must stay' in status.reason and '\n' not in status.reason
    assert metadata(path)['end'] == status.reason
    with pytest.raises(BagError, match='1 MB free'):
        takes.start(START)
    assert len(load_bags(path, TASK).transitions) == 19
    free[0] = PLENTY
    assert takes.start(START).name == 'take_002'


WRITE_UNTIL_REFUSED = """
import sys
sys.path += sys.argv[1:]
import test_recorder
takes = test_recorder.recorder('.')
takes.start(test_recorder.START)
row = 0
while takes.recording:
    test_recorder.write_steps(takes, row, 50)
    takes.watch(test_recorder.START)
    row += 50
print(row, takes.status().reason)
"""


def test_a_take_that_can_not_be_written_any_more_still_reads(tmp_path, request):
    """A limit on the size of files refuses the write as a full disk does."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, '-c', WRITE_UNTIL_REFUSED, *request.config.getini('pythonpath')],
        cwd=tmp_path,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    steps, reason = done.stdout.split(' ', 1)
    assert 'take_001: cannot be written' in reason and 'Traceback' not in done.stderr
    dataset = load_bags(tmp_path / 'take_001', TASK)
    assert int(steps) - 120 < len(dataset.transitions) < int(steps)
    assert 'ends at byte' in dataset.report.warnings[0]
    assert metadata(tmp_path / 'take_001')['task'] == 'standing_still'


class Robot:
    """A robot that publishes its sensors and what it did, as fast as it is told to."""

    def __init__(self, node):
        self.node = node
        node.declare_parameter('largest_torque', 2.5)
        make = node.create_publisher
        self.imu = make(Imu, 'imu/data', qos_profile_sensor_data)
        self.joints = make(JointState, 'joint_states', 50)
        self.action = make(Action, 'action', 50)
        self.applied = make(Action, 'applied_action', 50)
        self.pilot = make(PilotStatus, 'pilot_status', LATCHED)
        self.cmd_vel = make(TwistStamped, 'cmd_vel', 10)
        self.stop = make(Bool, 'emergency_stop', LATCHED)
        self.note = make(String, 'recording_note', 10)
        self.status = collect(node, RecordingStatus, 'recording_status', LATCHED)

    def wait_for_recorder(self, wait_until):
        """Wait until everything is heard, the IMU too, whose messages are not repeated."""
        publishers = (self.imu, self.joints, self.action, self.applied, self.note, self.cmd_vel)
        wait_until(lambda: all(p.get_subscription_count() for p in publishers), 30, 'a recorder')

    def drive(self, seconds):
        """Publish 200 steps a second, stamped in step; return the last one's stamp (ns)."""
        begin, stamp = self.node.get_clock().now().nanoseconds, 0
        for step in range(round(200 * seconds)):
            stamp = begin + step * PERIOD
            imu = Imu()
            imu.orientation.w = 1.0
            joints = JointState(name=['left_wheel', 'right_wheel'], position=[0.0] * 2)
            joints.velocity = [0.0] * 2
            for publisher, message in (
                (self.imu, imu),
                (self.joints, joints),
                (self.action, Action(data=[0.5], source=POLICY)),
                (self.applied, Action(data=[0.25], source=POLICY)),
            ):
                message.header.stamp.sec = stamp // 10**9
                message.header.stamp.nanosec = stamp % 10**9
                publisher.publish(message)
            early = stamp - self.node.get_clock().now().nanoseconds
            time.sleep(max(0.0, early / 1e9))
        return stamp


def test_takes_by_service(processes, node_environment, ros_domain, tmp_path, wait_until):
    words = {
        'takes': 'true',
        'autostart': 'false',
        'output': tmp_path / 'drive',
        'operator': 'Ada',
    }
    words = [word for name, value in words.items() for word in ('-p', f'{name}:={value}')]
    node = processes.start_node('bag_recorder', node_environment, *words)
    with listening(ros_domain, 'hardware_driver') as listener:
        robot = Robot(listener)
        refused = call(robot.node, 'stop_recording', wait_until)
        assert (refused.success, refused.message) == (False, 'nothing is being recorded')
        assert not call(robot.node, 'label_success', wait_until).success
        robot.wait_for_recorder(wait_until)
        robot.pilot.publish(PilotStatus(policy_version=7, policy_hash='0123abcd'))
        for number in (1, 2):
            if number == 2:
                assert call(robot.node, 'stop_recording', wait_until).success
            answer = call(robot.node, 'start_recording', wait_until)
            assert answer.success and f'take_00{number}' in answer.message
            wait_until(lambda: robot.status[-1].state == RecordingStatus.STATE_RECORDING, 10)
            robot.drive(1.0)
        assert 'end it first' in call(robot.node, 'start_recording', wait_until).message
        robot.cmd_vel.publish(TwistStamped())
        robot.stop.publish(Bool(data=True))
        robot.note.publish(String(data='carpet'))
        robot.pilot.publish(PilotStatus(policy_version=8, policy_hash='4567cdef'))
        file = tmp_path / 'drive/take_002/take.json'
        wait_until(
            lambda: all(w in file.read_text() for w in ('4567', 'carpet', 'largest_torque')), 10
        )
        answer = call(robot.node, 'stop_recording', wait_until)
        assert answer.success and 'take_002: stopped' in answer.message
        assert call(robot.node, 'label_success', wait_until).success
        wait_until(lambda: robot.status[-1].label == RecordingStatus.LABEL_SUCCESS, 10)
        assert robot.status[-1].state == RecordingStatus.STATE_IDLE
        assert robot.status[-1].messages > 700
        assert robot.status[-1].free_space > 0
    node.send_signal(signal.SIGINT)
    text, _ = node.communicate(timeout=20)
    assert node.returncode == 0 and 'Traceback' not in text, text
    check_second_take(tmp_path / 'drive/take_002')


def check_second_take(path):
    said = metadata(path)
    assert json.loads(said['driver_parameters'])['largest_torque'] == 2.5
    assert json.loads(said['contract']) == TASK.contract()
    assert said['contract_hash'] == TASK.contract_hash
    assert (said['policy_version'], said['policy_hash']) == ('8', '4567cdef')
    assert (said['label'], said['operator'], said['end']) == ('success', 'Ada', 'stopped')
    assert said['notes'].endswith(' carpet')
    with Bag(path) as bag:
        counts = {topic: len(m.messages) for topic, m in bag.read(bag.topics).items()}
    assert counts['/cmd_vel'] == counts['/emergency_stop'] == counts['/recording_note'] == 1
    assert counts['/action'] == counts['/applied_action'] == 200
    dataset = load_bags(path, TASK)
    assert len(dataset.transitions) > 150  # the IMU's messages are not repeated when lost
    assert set(dataset.transitions.action[:, 0]) == {0.25}
    assert set(dataset.sources) == {POLICY}


def test_at_ctrl_c_a_take_goes_on_until_it_is_ended(
    processes, node_environment, ros_domain, tmp_path, wait_until
):
    words = ('-p', 'await_stop:=9.0')
    given = (processes, node_environment, ros_domain, tmp_path, wait_until)
    with recorded_robot(*given, words=words) as (node, robot):
        node.send_signal(signal.SIGINT)
        robot.drive(1.0)
        answer = call(robot.node, 'stop_recording', wait_until)
        assert answer.success and 'take_001: stopped' in answer.message
        text, _ = node.communicate(timeout=10)
    assert node.returncode == 0, text
    assert len(load_bags(tmp_path / 'take_001', TASK).transitions) > 100
    assert metadata(tmp_path / 'take_001')['end'] == 'stopped'


def test_a_new_take_counts_on_from_what_is_there(tmp_path):
    (tmp_path / 'take_007').mkdir()
    (tmp_path / 'take_x').mkdir()
    assert recorder(tmp_path).start(START).name == 'take_008'


@contextlib.contextmanager
def recorded_robot(processes, environment, domain, folder, wait_until, words=()):
    """Give a recorder of takes and a robot that it hears."""
    words = ('-p', 'takes:=true', '-p', f'output:={folder}', *words)
    node = processes.start_node('bag_recorder', environment, *words)
    with listening(domain, 'hardware_driver') as listener:
        robot = Robot(listener)
        robot.wait_for_recorder(wait_until)
        yield node, robot


def test_a_killed_recorder_loses_less_than_a_second(
    processes, node_environment, ros_domain, tmp_path, wait_until
):
    given = (processes, node_environment, ros_domain, tmp_path, wait_until)
    with recorded_robot(*given) as (node, robot):
        last = robot.drive(3.0)
        node.kill()
        node.communicate(timeout=10)
    path = tmp_path / 'take_001'
    assert not (path / 'metadata.yaml').exists()
    with Bag(path) as bag:
        assert 'without its index' in bag.warning
        assert bag.metadata['contract_hash'] == TASK.contract_hash
        for topic in ('/imu/data', '/joint_states', '/action', '/applied_action'):
            assert last - bag.read([topic])[topic].log_times[-1] < 1e9
    assert len(load_bags(path, TASK).transitions) > 300


def test_a_stamp_before_the_epoch_counts_by_its_receipt_and_the_take_goes_on(
    processes, node_environment, ros_domain, tmp_path, wait_until
):
    given = (processes, node_environment, ros_domain, tmp_path, wait_until)
    with recorded_robot(*given) as (node, robot):
        begin = robot.node.get_clock().now().nanoseconds
        for sec in (-1, 0, 100):
            command = TwistStamped()
            command.header.stamp.sec = sec
            robot.cmd_vel.publish(command)
        assert robot.cmd_vel.wait_for_all_acked(Duration(seconds=10))
        assert call(robot.node, 'stop_recording', wait_until).success
    node.send_signal(signal.SIGINT)
    text, _ = node.communicate(timeout=20)
    assert node.returncode == 0 and 'Traceback' not in text, text
    with Bag(tmp_path / 'take_001') as bag:
        times = bag.read(['/cmd_vel'])['/cmd_vel'].log_times
    assert min(times) == 100 * 10**9
    assert (times > begin).sum() == 2 == len(times) - 1


def test_a_message_too_short_for_a_header_has_no_stamp():
    assert header_stamp(MESSAGES.action(START, [0.5])) == START
    assert header_stamp(b'\0\1\0\0\1') == 0


@pytest.mark.parametrize(('takes', 'file', 'code'), [('true', 'take_001', 0), ('false', '', 2)])
def test_a_take_that_can_not_be_finished_is_no_success(
    processes, node_environment, ros_domain, tmp_path, wait_until, takes, file, code
):
    """A limit on the size of files, set behind the last message, refuses the end of the bag."""
    words = ('-p', f'takes:={takes}', '-p', f'output:={tmp_path}/drive')
    node = processes.start_node('bag_recorder', node_environment, *words)
    path = tmp_path / 'drive' / file
    with listening(ros_domain, 'somebody') as listener:
        status = collect(listener, RecordingStatus, 'recording_status', LATCHED)
        wait_until(lambda: status and status[-1].state == RecordingStatus.STATE_RECORDING, 30)
        (storage,) = path.glob('*.mcap')
        size = storage.stat().st_size
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (size, size))
        answer = call(listener, 'stop_recording', wait_until)
        assert not answer.success
        assert 'is the disk full?' in answer.message and '\n' not in answer.message
        if takes == 'true':
            node.send_signal(signal.SIGINT)
    text, _ = node.communicate(timeout=20)
    assert (node.returncode, 'Traceback' in text) == (code, False), text


def test_a_take_that_the_end_of_the_recorder_can_not_finish_is_a_failure(
    processes, node_environment, ros_domain, tmp_path, wait_until
):
    node = processes.start_node('bag_recorder', node_environment, '-p', f'output:={tmp_path}/take')
    with listening(ros_domain, 'somebody') as listener:
        status = collect(listener, RecordingStatus, 'recording_status', LATCHED)
        wait_until(lambda: status and status[-1].state == RecordingStatus.STATE_RECORDING, 30)
    (storage,) = (tmp_path / 'take').glob('*.mcap')
    size = storage.stat().st_size
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (size, size))
    node.send_signal(signal.SIGINT)
    text, _ = node.communicate(timeout=20)
    assert node.returncode == 2 and 'Traceback' not in text
    assert 'error: ' in text and 'is the disk full?' in text


def test_a_disk_without_room_is_one_line(processes, node_environment, tmp_path):
    words = ('-p', f'output:={tmp_path}/take', '-p', 'minimum_free:=900000000')
    node = processes.start_node('bag_recorder', node_environment, *words)
    text, _ = node.communicate(timeout=30)
    assert node.returncode == 2
    assert [line for line in text.splitlines() if 'error' in line] == [text.strip()]
    assert '900000000 MB must stay; make room' in text
    assert not (tmp_path / 'take').exists()


def test_numbers_in_bags_are_those_of_the_messages():
    sources = (Action.SOURCE_POLICY, Action.SOURCE_BALANCE_CONTROLLER, Action.SOURCE_OPERATOR)
    assert sources == (POLICY, BALANCE_CONTROLLER, OPERATOR)
    assert DriverStatus.ARMED == ARMED
    assert LABELS.index('success') == RecordingStatus.LABEL_SUCCESS
    assert LABELS.index('failure') == RecordingStatus.LABEL_FAILURE
