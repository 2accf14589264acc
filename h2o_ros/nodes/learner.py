"""Node learner: trains on recorded bags and simulated transitions, and sets everyone's pace."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from std_srvs.srv import Trigger

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.configuration import setting
from h2o_ros.data.dataset import load_bags
from h2o_ros.data.demonstration import chosen_bags
from h2o_ros.errors import ConfigurationError
from h2o_ros.msg import DynamicsGap, Evaluation, LearnerStatus, RolloutBudget, TransitionBatch
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.common import BEST_EFFORT, EVERY, LATCHED, BaseNode, run, to_floats
from h2o_ros.nodes.conversions import (
    budget_to_message,
    policy_to_message,
    transitions_from_message,
)
from h2o_ros.nodes.training import TrainingThread
from h2o_ros.pacing import PaceMaker
from h2o_ros.report.evaluation import EpisodeFigures
from h2o_ros.report.picture import GapSample
from h2o_ros.report.run import CHECKPOINT, POLICY, RunReport
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

HEARTBEAT = 0.25  # s between two repetitions of the budget
LISTENING = 1.0  # s that it listens before it says anything
GUARDED = 10.0  # s in which a new learner gives way to another one on its topics
FINAL_EVALUATION_TIMEOUT = 120.0  # s
GAP_ROWS = 2000  # newest simulated steps at which the dynamics gap is shown


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    task: str = setting('standing_still', '', 'task name or path of its YAML file')
    bag: str = setting('', '', 'recordings, separated by commas; empty takes the demonstration of the task')
    algorithm: str = setting('h2o', '', 'name in config/algorithms or path of a YAML file')
    seed: int = setting(0, '', 'random seed', minimum=0)
    device: str = setting('cpu', '', 'where to train', choices=('cpu', 'cuda'))
    updates: int = setting(0, 'updates', 'to make; 0 takes the number of the algorithm', minimum=0)
    window: int = setting(512, 'steps', 'granted beyond what the updates need', minimum=1)
    output: str = setting('runs/train_sim', '', 'folder for everything the run writes')
    resume: str = setting('', '', 'checkpoint to go on from; empty begins anew')
    publish_every: int = setting(100, 'updates', 'between two exploring policies', minimum=1)
    checkpoint_every: int = setting(20000, 'updates', 'between two checkpoints', minimum=1)


class Learner(BaseNode):
    """Connects a Trainer, in a thread of its own, with the topics of the run."""

    def __init__(self) -> None:
        super().__init__('learner')
        self._settings = parameters = self.read_parameters(Parameters)
        self._task = load_task(parameters.task)
        overrides = {'updates_total': parameters.updates} if parameters.updates else {}
        config = load_config(parameters.algorithm, **overrides)
        self._report = RunReport(
            parameters.output,
            self._task,
            parameters.algorithm,
            parameters.seed,
            config.updates_total,
            words_to_resume(parameters),
        )
        self._session = secrets.randbits(63)
        self._guard_until = time.monotonic() + GUARDED
        self.create_subscription(RolloutBudget, 'rollout_budget', self._on_budget, LATCHED)
        self._real = self._load_bags() if config.real_batch else None
        self._trainer = self._make_trainer(config)
        self._published = self._checkpointed = self._trainer.updates
        self._pace = PaceMaker(
            self._session, parameters.seed + 1, config.updates_per_step if config.sim_batch else 0,
            config.warmup_steps, parameters.window, config.updates_total,
        )
        self._pace.restore(self._trainer.simulated_steps, self._trainer.updates)
        self._evaluated = threading.Condition()
        self._last_evaluated = -1
        self._training = TrainingThread(
            self._trainer, self._pace, self._after_chunk, self._when_done
        )
        self._report.begin(self._trainer.updates)
        self._connect()

    def _load_bags(self) -> Transitions:
        dataset = load_bags(chosen_bags(self._settings.bag, self._task), self._task)
        self._report.message(str(dataset.report))
        return dataset.transitions

    def _make_trainer(self, config) -> Trainer:
        parameters = self._settings
        if parameters.resume:
            return Trainer.load(parameters.resume, config, self._task, self._real)
        return Trainer(config, self._task, self._real, [parameters.seed], parameters.device)

    def _connect(self) -> None:
        self._budget = self.create_publisher(RolloutBudget, 'rollout_budget', LATCHED)
        self._policy = self.create_publisher(PolicyMessage, 'policy', LATCHED)
        self._exploring = self.create_publisher(PolicyMessage, 'exploration_policy', LATCHED)
        self._status = self.create_publisher(LearnerStatus, 'learner_status', EVERY)
        self._gap = self.create_publisher(DynamicsGap, 'dynamics_gap', BEST_EFFORT)
        self.create_subscription(TransitionBatch, 'transitions', self._on_transitions, EVERY)
        self.create_subscription(Evaluation, 'evaluation', self._on_evaluation, EVERY)
        self._serve('pause', self._training.pause)
        self._serve('resume', self._training.proceed)
        self._serve('save_checkpoint', lambda: self._training.ask(self._save))
        self._start = self.create_timer(LISTENING, self._begin)

    def _begin(self) -> None:
        """Begin to train: nobody else was heard in the meantime."""
        self._start.cancel()
        self.create_timer(HEARTBEAT, self._on_heartbeat)
        self._publish_policies()
        self._training.start()

    def _serve(self, name: str, action: Callable[[], None]) -> None:
        def answer(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            action()
            response.success = True
            return response

        self.create_service(Trigger, name, answer)

    def stop(self) -> None:
        """Save a checkpoint and end: the training thread does both."""
        self._training.stop()
        if not self._training.is_alive():
            self.finished = True

    def _on_budget(self, message: RolloutBudget) -> None:
        """Give way to a learner that was there first; later comers give way to this one."""
        if message.session != self._session and time.monotonic() < self._guard_until:
            raise ConfigurationError(
                f'another run is training in ROS domain {os.environ.get("ROS_DOMAIN_ID", "0")} '
                f'on {self.resolve_topic_name("rollout_budget")}; set ROS_DOMAIN_ID to another '
                'number (0 to 101) for one of them'
            )

    def _on_heartbeat(self) -> None:
        self._publish_budget()
        if self._training.error is not None:
            raise self._training.error

    def _publish_budget(self) -> None:
        now = self.get_clock().now().to_msg()
        self._budget.publish(budget_to_message(self._pace.budget(), now))

    def _on_transitions(self, message: TransitionBatch) -> None:
        if message.session == self._session:
            rows = transitions_from_message(message, self._task)
            self._training.receive(rows, message.last_step)

    def _on_evaluation(self, message: Evaluation) -> None:
        figures = EpisodeFigures(
            message.policy_version, message.returns, message.lengths,
            message.mean_abs_x, message.mean_abs_action,
        )
        with self._evaluated:
            self._report.evaluation(figures)
            self._last_evaluated = message.policy_version
            self._evaluated.notify_all()

    def _after_chunk(self) -> None:
        """In the training thread: tell the others how far training is."""
        self._publish_budget()
        updates, parameters = self._trainer.updates, self._settings
        if updates - self._published >= parameters.publish_every:
            self._published = updates
            self._publish_policies()
        if updates - self._checkpointed >= parameters.checkpoint_every:
            self._checkpointed = updates
            self._save()
        if self._report.status_due():
            self._publish_status()

    def _publish_policies(self, final: bool = False) -> None:
        now, version = self.get_clock().now().to_msg(), self._trainer.updates
        for publisher, averaged in ((self._policy, True), (self._exploring, False)):
            message = policy_to_message(self._trainer.policy(averaged=averaged), version, now)
            message.final = final
            publisher.publish(message)

    def _publish_status(self) -> None:
        metrics = {name: float(value[0]) for name, value in self._trainer.metrics().items()}
        with self._evaluated:
            self._report.status(self._trainer.updates, metrics)
        message = LearnerStatus(
            update=self._trainer.updates,
            updates_total=self._trainer.config.updates_total,
            simulated_steps=self._trainer.simulated_steps,
            updates_per_second=self._report.updates_per_second,
            seconds_left=self._report.seconds_left,
        )
        message.header.stamp = self.get_clock().now().to_msg()
        for name in metrics.keys() & message.get_fields_and_field_types().keys():
            setattr(message, name, metrics[name])
        self._status.publish(message)
        self._publish_gap()

    def _publish_gap(self) -> None:
        rows = self._training.newest(GAP_ROWS)
        if rows is None or not self._trainer.config.classifiers:
            return
        u, ratio = self._trainer.dynamics_gap(rows)
        message = DynamicsGap(
            update=self._trainer.updates,
            observation=to_floats(rows.observation),
            action=to_floats(rows.action),
            u=to_floats(u),
            dynamics_ratio=to_floats(ratio),
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._gap.publish(message)

    def _save(self) -> None:
        self._trainer.save(self._report.folder / CHECKPOINT)

    def _when_done(self, complete: bool) -> None:
        """In the training thread, at the end: save, wait for the last evaluation, report."""
        self._save()
        self._trainer.policy().save(self._report.folder / POLICY)
        if complete:
            self._publish_status()
            self._publish_policies(final=True)
            self._await_final_evaluation()
        text = self._report.finish(
            self._trainer.updates,
            self._trainer.simulated_steps,
            self._gap_sample(),
            self._real.observation if self._real is not None else np.zeros((0, 0)),
            self._final_episodes(),
        )
        print(text.rstrip(), flush=True)
        self.finished = True

    def _await_final_evaluation(self) -> None:
        deadline = time.monotonic() + FINAL_EVALUATION_TIMEOUT
        with self._evaluated:
            while self._last_evaluated < self._trainer.updates and time.monotonic() < deadline:
                self._evaluated.wait(timeout=0.5)
            if self._last_evaluated < self._trainer.updates:
                self._report.message(
                    f'no evaluation of the final policy within {FINAL_EVALUATION_TIMEOUT:g} s; '
                    'does the evaluator run?'
                )

    def _gap_sample(self) -> GapSample | None:
        rows = self._training.newest(GAP_ROWS)
        if rows is None or not self._trainer.config.classifiers:
            return None
        return GapSample(rows.observation, self._trainer.dynamics_gap(rows)[0])

    def _final_episodes(self) -> list[np.ndarray]:
        path = self._report.folder / 'evaluation.npz'
        if self._last_evaluated < self._trainer.updates or not path.exists():
            return []
        with np.load(path, allow_pickle=False) as content:
            return [
                observation[:length]
                for observation, length in zip(
                    content['observation'], content['lengths'], strict=True
                )
            ]


def words_to_resume(parameters: Parameters) -> dict[str, str | int]:
    """Return the launch arguments, beside the checkpoint, that differ from their defaults."""
    names = {'task': 'task', 'bag': 'bag', 'algorithm': 'algorithm', 'updates': 'steps'}
    names |= {'device': 'device', 'output': 'output'}
    default = Parameters()
    return {
        word: getattr(parameters, name)
        for name, word in names.items()
        if getattr(parameters, name) != getattr(default, name)
    }


def main() -> None:
    """Run the node."""
    run(Learner)


if __name__ == '__main__':
    main()
