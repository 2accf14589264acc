"""Node bag_recorder: writes what a policy is learned from into bags, one a take."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from h2o_ros.configuration import setting
from h2o_ros.data.bags.takes import LABELS, TakeRecorder
from h2o_ros.errors import BagError
from h2o_ros.msg import PilotStatus, RecordingStatus
from h2o_ros.nodes.core.base_node import (
    EVERY,
    LATCHED,
    STREAM_EVERY,
    BaseNode,
    answering,
    message_class,
)
from h2o_ros.nodes.core.diagnostics import ERROR, OK, Diagnostics
from h2o_ros.nodes.core.node_process import run
from h2o_ros.nodes.core.parameter_client import ParameterReader
from h2o_ros.nodes.core.polled_subscription import PolledSubscriptions
from h2o_ros.nodes.recording.topics import (
    STREAMS,
    begins_with_header,
    header_stamp,
    robot_topics,
    topics_of,
)
from h2o_ros.task import Task, load_task

TAKE_PERIOD = 0.05  # s between two looks at what came
FAREWELL = 0.2  # s in which the answer to who ended the take goes out
WATCH_PERIOD = 0.4  # s between two times that everything is brought to the disk


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    output: str = setting('bags/recording', '', 'folder of the new bag, or of the takes')
    takes: bool = setting(
        False, '', 'many takes of all that a robot says; false: one bag of the task, then the end'
    )
    autostart: bool = setting(True, '', 'begin at once; false: when start_recording is called')
    await_stop: float = setting(
        0.0,
        's',
        'to wait at Ctrl-C until whoever began the take has called stop_recording; 0: end it',
        minimum=0.0,
        maximum=9.0,
    )
    operator: str = setting('', '', 'who drove, kept in the bag')
    minimum_free: int = setting(
        500, 'MB', 'that stay free on the disk, else no take goes on', minimum=1, maximum=10**9
    )
    driver: str = setting('hardware_driver', '', 'node whose parameters are kept in the bag')
    stamped_cmd_vel: bool = setting(True, '', 'cmd_vel is a TwistStamped; false: a Twist')


class BagRecorder(BaseNode):
    """Records from the start or on call; a person ends, judges and annotates each take."""

    _ready = False

    def __init__(self) -> None:
        super().__init__('bag_recorder')
        self._settings = parameters = self.read_parameters(Parameters)
        task = load_task(parameters.task)
        topics = topics_of(task)
        if parameters.takes:
            topics = robot_topics(parameters.stamped_cmd_vel) | topics
        topics = {self.resolve_topic_name(t): kind for t, kind in topics.items()}
        self._classes = {t: message_class(t, kind) for t, kind in topics.items()}
        self._stamped = {t for t, kind in self._classes.items() if begins_with_header(kind)}
        self._takes = TakeRecorder(
            parameters.output,
            topics,
            _metadata(task, parameters.operator),
            minimum_free=parameters.minimum_free * 10**6,
            numbered=parameters.takes,
        )
        self._driver = ParameterReader(self, parameters.driver)
        self._status = self.create_publisher(RecordingStatus, 'recording_status', LATCHED)
        self._diagnostics = Diagnostics(self)
        self._said = 0
        self._logged: tuple[bool, Path | None] | None = None
        if parameters.autostart:
            self._takes.start(self._now())
        self._listen = PolledSubscriptions(self)
        self._awaited = {self.resolve_topic_name(topic) for topic in topics_of(task)}
        streams = {self.resolve_topic_name(topic) for topic in STREAMS}
        for topic in self._classes.keys() - self._awaited:
            qos = STREAM_EVERY if topic in streams else EVERY
            self._listen.add(topic, self._classes[topic], qos)
        if parameters.takes:
            self.create_subscription(PilotStatus, 'pilot_status', self._on_pilot, LATCHED)
        self.create_subscription(String, 'recording_note', self._on_note, EVERY)
        for name, act in (
            ('start_recording', self._start),
            ('stop_recording', self._stop),
            ('label_success', lambda: f'{self._takes.label("success")}: success'),
            ('label_failure', lambda: f'{self._takes.label("failure")}: failure'),
        ):
            self.create_service(Trigger, name, answering(act))
        self.create_timer(TAKE_PERIOD, self._take)
        self.create_timer(WATCH_PERIOD, self._watch)
        self.create_timer(1.0, self._publish)
        self._publish()
        self._ready = True

    def stop(self) -> None:
        """End; a take that somebody else ends is written until then."""
        if self._settings.await_stop and self._takes.recording:
            self.end_when(lambda: self._takes.idle > FAREWELL, self._settings.await_stop)
        else:
            super().stop()

    def _find_publishers(self) -> None:
        """Listen to the task's topics once they are there, to each on its publisher's terms."""
        for topic in sorted(self._awaited):
            found = self.get_publishers_info_by_topic(topic)
            if found:
                kinds = {publisher.qos_profile.reliability for publisher in found}
                qos = STREAM_EVERY if ReliabilityPolicy.BEST_EFFORT in kinds else EVERY
                self._listen.add(topic, self._classes[topic], qos)
                self._awaited.discard(topic)

    def _take(self) -> None:
        """Write what came; a message without a stamp, or with a negative one, by its receipt."""
        for topic, raw, received in self._listen.take():
            stamp = header_stamp(raw) if topic in self._stamped else 0
            self._takes.write(topic, stamp if stamp > 0 else received, raw)

    def _on_pilot(self, message: PilotStatus) -> None:
        if message.policy_hash:
            said = {
                'policy_version': str(message.policy_version),
                'policy_hash': message.policy_hash,
            }
            self._takes.describe(said)

    def _on_note(self, message: String) -> None:
        try:
            self._takes.note(message.data, self._now())
        except BagError as err:
            self.get_logger().warning(f'note lost: {err}')

    def _start(self) -> str:
        self._take()  # what came before is not of this take
        self._driver.forget()
        return f'recording to {self._takes.start(self._now())}'

    def _stop(self) -> str:
        if not self._takes.recording:
            status = self._takes.status()
            why = f': {status.reason}' if status.fault else ''
            raise BagError(f'nothing is being recorded{why}')
        self._take()
        self._takes.stop(self._now())
        status = self._takes.status()
        if status.fault:
            if not self._settings.takes:
                self._end_early()
            raise BagError(status.reason)
        if not self._settings.takes:
            self.stop()
        return self._summary()

    def _summary(self) -> str:
        status = self._takes.status()
        return f'{status.messages} messages in {status.path}: {status.reason}'

    def _watch(self) -> None:
        self._find_publishers()
        if self._settings.takes:
            self._driver.ask()
            if self._driver.text:
                self._takes.describe({'driver_parameters': self._driver.text})
        self._takes.watch(self._now())
        if self._takes.changes != self._said:
            self._publish()
        if not (self._settings.takes or self._takes.recording or self.finished):
            self._end_early()

    def _end_early(self) -> None:
        """End where the only take broke off; it is nothing to a run without takes to wait."""
        status = self._takes.status()
        if status.takes:
            self.exit_code = 2
            print(f'error: {status.reason}', file=sys.stderr, flush=True)
            self.stop()

    def _publish(self) -> None:
        status = self._takes.status()
        self._said = self._takes.changes
        doing = f'recording to {status.path}' if status.recording else self._summary()
        if status.takes and (status.recording, status.path) != self._logged:
            self._logged = (status.recording, status.path)
            self.get_logger().info(doing)
        message = RecordingStatus(
            state=int(status.recording),
            take=str(status.path or ''),
            takes=status.takes,
            messages=status.messages,
            duration=status.duration,
            free_space=status.free_space,
            label=LABELS.index(status.label),
            reason=status.reason,
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)
        self._diagnostics.publish(
            ERROR if status.fault else OK,
            'recording' if status.recording else status.reason,
            {'take': message.take, 'messages': status.messages, 'free_bytes': status.free_space},
        )

    def _now(self) -> int:
        return self.get_clock().now().nanoseconds

    def destroy_node(self) -> None:
        """End the take, then the node; one that was refused has nothing to end."""
        if self._ready:
            self._ready = False
            self._take()
            recording = self._takes.status().recording
            self._takes.stop(self._now(), 'the recorder ended')
            self._publish()
            status = self._takes.status()
            if recording and status.fault:
                self.exit_code = 2
                print(f'error: {status.reason}', file=sys.stderr, flush=True)
        super().destroy_node()


def _metadata(task: Task, operator: str) -> dict[str, str]:
    return {
        'task': task.name,
        'contract': json.dumps(task.contract(), ensure_ascii=False),
        'contract_hash': task.contract_hash,
        'operator': operator,
    }


def main() -> None:
    """Run the node."""
    run(BagRecorder, Parameters)


if __name__ == '__main__':
    main()
