"""Topics and files of the learner's training thread: policies, status and dynamics gap.

The training thread alone calls this, but for `publish_policies` before it starts and for
`publish_budget`, `take_evaluation` and `stop`, which keep away from the trainer.
"""

from __future__ import annotations

import threading

import numpy as np

from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.msg import DynamicsGap, LearnerStatus, RolloutBudget
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes.core.base_node import EVERY, LATCHED, STREAM, BaseNode, to_floats
from h2o_ros.nodes.core.conversions import budget_to_message, policy_to_message
from h2o_ros.nodes.training.training_thread import NewestSteps
from h2o_ros.pacing import PaceMaker
from h2o_ros.report.evaluation import EpisodeFigures
from h2o_ros.report.picture import GapSample
from h2o_ros.report.run import CHECKPOINT, EPISODES, POLICY, RunReport

FINAL_EVALUATION_TIMEOUT = 120.0  # s
GAP_ROWS = 2000  # newest simulated steps at which the dynamics gap is shown


class TrainingTopics:
    """Publishes and writes as training goes on.

    publish_every, checkpoint_every: updates. newest: the steps at which the gap is shown.
    """

    def __init__(
        self,
        node: BaseNode,
        trainer: Trainer,
        pace: PaceMaker,
        report: RunReport,
        newest: NewestSteps,
        publish_every: int,
        checkpoint_every: int,
    ) -> None:
        self._node, self._trainer, self._pace = node, trainer, pace
        self._report, self._newest = report, newest
        self._publish_every, self._checkpoint_every = publish_every, checkpoint_every
        self._published = self._checkpointed = trainer.updates
        self._evaluated = threading.Condition()
        self._last_evaluated = -1
        self._stopped = self._reported = False
        self._budget = node.create_publisher(RolloutBudget, 'rollout_budget', LATCHED)
        self._policy = node.create_publisher(PolicyMessage, 'policy', LATCHED)
        self._exploring = node.create_publisher(PolicyMessage, 'exploration_policy', LATCHED)
        self._status = node.create_publisher(LearnerStatus, 'learner_status', EVERY)
        self._gap = node.create_publisher(DynamicsGap, 'dynamics_gap', STREAM)

    def publish_budget(self) -> None:
        """Grant the simulator its steps; from any thread."""
        self._budget.publish(budget_to_message(self._pace.budget(), self._now()))

    def take_evaluation(self, figures: EpisodeFigures) -> None:
        """Take what the evaluator reports, until the run's report is made; from any thread."""
        with self._evaluated:
            if self._reported:
                return
            self._report.evaluation(figures)
            self._last_evaluated = figures.update
            self._evaluated.notify_all()

    def stop(self) -> None:
        """Wait for no evaluation any more: who evaluates was told to end, too; from any thread."""
        with self._evaluated:
            self._stopped = True
            self._evaluated.notify_all()

    def after_chunk(self) -> None:
        """Tell the others how far training is."""
        self.publish_budget()
        updates = self._trainer.updates
        if updates - self._published >= self._publish_every:
            self._published = updates
            self.publish_policies()
        if updates - self._checkpointed >= self._checkpoint_every:
            self._checkpointed = updates
            self.save()
        if self._report.status_due():
            self._publish_status()

    def publish_policies(self, final: bool = False) -> None:
        """Publish the averaged policy to be judged, and the newest one to explore with."""
        version = self._trainer.updates
        for publisher, averaged in ((self._policy, True), (self._exploring, False)):
            policy = self._trainer.policy(averaged=averaged)
            message = policy_to_message(policy, version, self._now())
            message.final = final
            publisher.publish(message)

    def save(self) -> str:
        """Write the checkpoint and say so; CheckpointError where that fails."""
        path = self._report.folder / CHECKPOINT
        self._trainer.save(path)
        return f'{path} after {self._trainer.updates} updates'

    def end(self, complete: bool, real_observation: np.ndarray) -> None:
        """Save, wait for the last evaluation where training is complete, and report."""
        self.save()
        self._trainer.policy().save(self._report.folder / POLICY)
        if complete:
            self._publish_status()
            self.publish_policies(final=True)
            self._report.evaluating()
            self._await_final_evaluation()
        with self._evaluated:
            self._reported = True
        text = self._report.finish(
            self._trainer.updates,
            self._trainer.simulated_steps,
            self._gap_sample(),
            real_observation,
            self._final_episodes(),
        )
        print(text.rstrip(), flush=True)

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
        message.header.stamp = self._now()
        for name in metrics.keys() & message.get_fields_and_field_types().keys():
            setattr(message, name, metrics[name])
        self._status.publish(message)
        self._publish_gap()

    def _publish_gap(self) -> None:
        rows = self._newest.last(GAP_ROWS)
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
        message.header.stamp = self._now()
        self._gap.publish(message)

    def _await_final_evaluation(self) -> None:
        with self._evaluated:
            self._evaluated.wait_for(
                lambda: self._stopped or self._last_evaluated >= self._trainer.updates,
                FINAL_EVALUATION_TIMEOUT,
            )
            if self._last_evaluated >= self._trainer.updates:
                return
            self._report.message(
                'stopped before the final policy was evaluated'
                if self._stopped
                else f'no evaluation of the final policy within {FINAL_EVALUATION_TIMEOUT:g} s; '
                'does the evaluator run?'
            )

    def _gap_sample(self) -> GapSample | None:
        rows = self._newest.last(GAP_ROWS)
        if rows is None or not self._trainer.config.classifiers:
            return None
        return GapSample(rows.observation, self._trainer.dynamics_gap(rows)[0])

    def _final_episodes(self) -> list[np.ndarray]:
        path = self._report.folder / EPISODES
        if self._last_evaluated < self._trainer.updates or not path.exists():
            return []
        with np.load(path, allow_pickle=False) as content:
            return [
                observation[:length]
                for observation, length in zip(
                    content['observation'], content['lengths'], strict=True
                )
            ]

    def _now(self):
        return self._node.get_clock().now().to_msg()
