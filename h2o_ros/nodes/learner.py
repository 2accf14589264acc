"""Node learner: trains on recorded bags and simulated transitions, and sets everyone's pace."""

from __future__ import annotations

import secrets
from concurrent.futures import wait
from dataclasses import dataclass

import numpy as np
from std_srvs.srv import Trigger

from h2o_ros.algorithms.config import AlgorithmConfig, load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.configuration import setting
from h2o_ros.data.load import load_recorded
from h2o_ros.errors import TrainingError
from h2o_ros.msg import Evaluation, TransitionBatch
from h2o_ros.nodes.core.base_node import EVERY, BaseNode, answering
from h2o_ros.nodes.core.conversions import figures_from_message, transitions_from_message
from h2o_ros.nodes.core.node_process import run
from h2o_ros.nodes.core.single_instance import SoleRun
from h2o_ros.nodes.training.topics import TrainingTopics
from h2o_ros.nodes.training.training_thread import NewestSteps, TrainingThread
from h2o_ros.pacing import PaceMaker
from h2o_ros.report.run import RunReport
from h2o_ros.report.summary import words_to_resume
from h2o_ros.sim.gaps import simulation
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

HEARTBEAT = 0.25  # s between two repetitions of the budget
ENDLESS = 2**62  # updates
LISTENING = 1.0  # s that it listens before it says anything
SAVED_WITHIN = 10.0  # s, more than a chunk of updates and a checkpoint take


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    bag: str = setting(
        '',
        '',
        'recordings or datasets, separated by commas; empty takes the demonstration of the task',
    )
    algorithm: str = setting('h2o', '', 'name in config/algorithms or path of a YAML file')
    seed: int = setting(0, '', 'random seed', minimum=0)
    device: str = setting('cpu', '', 'where to train', choices=('cpu', 'cuda'))
    updates: int = setting(0, 'updates', 'to make; 0 takes the number of the algorithm', minimum=0)
    window: int = setting(512, 'steps', 'granted beyond what the updates need', minimum=1)
    output: str = setting('runs/train_sim', '', 'folder for everything the run writes')
    gap: str = setting('none', '', 'of the simulator, as checkpoints keep it; it is put in there')
    environments: int = setting(
        32, '', 'robots in the simulator, as checkpoints keep it', minimum=1, maximum=4096
    )
    resume: str = setting('', '', 'checkpoint to go on from; empty begins anew')
    online: bool = setting(
        False,
        '',
        "go on past the algorithm's updates until stopped, and learn from robot_transitions too",
    )
    publish_every: int = setting(100, 'updates', 'between two exploring policies', minimum=1)
    checkpoint_every: int = setting(20000, 'updates', 'between two checkpoints', minimum=1)


class Learner(BaseNode):
    """Connects a Trainer, in a thread of its own, with the topics of the run."""

    def __init__(self) -> None:
        super().__init__('learner')
        self._settings = parameters = self.read_parameters(Parameters)
        self._session = secrets.randbits(63)
        self._sole = SoleRun(self, self._session)
        self._task = load_task(parameters.task)
        overrides = {'updates_total': parameters.updates} if parameters.updates else {}
        config = load_config(parameters.algorithm, self._task, **overrides)
        self._report = RunReport(
            parameters.output,
            self._task,
            parameters.algorithm,
            parameters.seed,
            config.updates_total,
            words_to_resume(parameters, Parameters()),
        )
        self._real = self._load_recorded() if config.needs_real else None
        self._trainer = self._make_trainer(config)
        self._first_update = self._trainer.updates
        self._pace = self._make_pace(config)
        newest = NewestSteps()
        self._topics = TrainingTopics(
            self,
            self._trainer,
            self._pace,
            self._report,
            newest,
            parameters.publish_every,
            parameters.checkpoint_every,
        )
        self._training = TrainingThread(
            self._trainer,
            self._pace,
            self._updates_to_make(config),
            newest,
            self._topics.after_chunk,
            self._when_done,
        )
        self._start = self.create_timer(LISTENING, self._begin)

    def _load_recorded(self) -> Transitions:
        dataset = load_recorded(self._settings.bag, self._task)
        self._report.message(str(dataset.report))
        return dataset.transitions

    def _make_trainer(self, config: AlgorithmConfig) -> Trainer:
        given = self._settings
        simulated_in = simulation(given.gap, given.environments) if config.needs_simulated else {}
        if not given.resume:
            trainer = Trainer(config, self._task, self._real, [given.seed], given.device)
        else:
            # A robot's learner goes on from what was trained anywhere, with any seed.
            compared = (None, None) if given.online else ([given.seed], simulated_in)
            trainer = Trainer.load(
                given.resume, config, self._task, self._real, given.device, *compared
            )
        if not (given.online and given.resume):
            trainer.simulation = simulated_in  # else what is kept of the first training stays
        return trainer

    def _make_pace(self, config: AlgorithmConfig) -> PaceMaker:
        pace = PaceMaker(
            self._session,
            self._trainer.simulator_seed(self._settings.seed + 1),
            config.updates_per_step if config.needs_simulated else 0,
            config.warmup_steps,
            self._settings.window,
            self._updates_to_make(config),
        )
        pace.restore(self._trainer.simulated_steps, self._trainer.updates)
        return pace

    def _updates_to_make(self, config: AlgorithmConfig) -> int:
        return ENDLESS if self._settings.online else config.updates_total

    def _begin(self) -> None:
        """Begin to train: nobody else was heard in the meantime."""
        self._start.cancel()
        self._sole.begin()
        self._report.begin(self._trainer.updates, self._settings.resume)
        self.create_subscription(TransitionBatch, 'transitions', self._on_transitions, EVERY)
        self.create_subscription(Evaluation, 'evaluation', self._on_evaluation, EVERY)
        if self._settings.online:
            self.create_subscription(
                TransitionBatch, 'robot_transitions', self._on_robot_transitions, EVERY
            )
        for name, answer in {
            'pause': self._pause,
            'resume': self._resume,
            'save_checkpoint': self._save_checkpoint,
        }.items():
            self.create_service(Trigger, name, answering(answer))
        self.create_timer(HEARTBEAT, self._on_heartbeat)
        self._topics.publish_policies()
        if self._trainer.config.compile != 'off':
            self._report.message('compiling the update: up to half a minute the first time')
        self._training.start()

    # Services; each returns what it did, or raises H2OError with why it did not

    def _pause(self) -> str:
        self._training.pause()
        return 'paused; call resume to go on'

    def _resume(self) -> str:
        self._training.proceed()
        return 'training'

    def _save_checkpoint(self) -> str:
        saved = self._training.run_between_updates(self._topics.save)
        wait([saved], SAVED_WITHIN)
        if not saved.done():
            raise TrainingError(
                f'no checkpoint within {SAVED_WITHIN:g} s: the update is being compiled, and it '
                'is written as soon as that is done, or training has ended, and left one'
            )
        return saved.result()

    def stop(self) -> None:
        """Save a checkpoint and end: the training thread does both.

        Before the first update there is nothing to save, and the thread may be compiling for long.
        """
        self._training.stop()
        self._topics.stop()
        if self._trainer.updates == self._first_update:
            self._report.message('stopped before the first update: nothing to save')
            self.has_unjoinable_thread = self.finished = True

    def _on_heartbeat(self) -> None:
        self._topics.publish_budget()
        if self._training.error is not None:
            raise self._training.error

    def _on_transitions(self, message: TransitionBatch) -> None:
        if message.session != self._session:
            return
        try:
            rows = transitions_from_message(message, self._task)
        except ValueError as err:
            self.get_logger().error(f'transitions refused: {err}', throttle_duration_sec=5.0)
            return
        self._training.receive(rows, message.last_step)

    def _on_robot_transitions(self, message: TransitionBatch) -> None:
        try:
            self._training.receive_real(transitions_from_message(message, self._task))
        except ValueError as err:
            self.get_logger().error(f'robot_transitions refused: {err}', throttle_duration_sec=5.0)

    def _on_evaluation(self, message: Evaluation) -> None:
        self._topics.take_evaluation(figures_from_message(message))

    def _when_done(self, complete: bool) -> None:
        """In the training thread, at the end."""
        observed = self._real.observation if self._real is not None else np.zeros((0, 0))
        self._topics.end(complete, observed)
        self.finished = True


def main() -> None:
    """Run the node."""
    run(Learner, Parameters)


if __name__ == '__main__':
    main()
