"""An update captured as one CUDA graph: one launch in place of some 300.

On a GPU an update is many small kernels, and to launch them from Python takes longer than to run
them. A graph is the list of those kernels with their addresses, recorded once and replayed whole.
So what an update reads lies at fixed addresses: the state's tensors do, and each update's inputs
and rates are copied into tensors that stay, in one call. Nothing here waits for the device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.optimiser import Rates

Step = Callable[[Inputs, Rates, bool], dict[str, Tensor]]
Call = Callable[[], dict[str, Tensor]]
WARM_UP = 3  # updates before the recording, in which libraries choose and allocate


class Recorder(Protocol):
    """What runs, records and replays calls on a device."""

    def run(self, call: Call) -> dict[str, Tensor]:
        """Make a call now, as preparation of a recording."""

    def record(self, call: Call) -> tuple[Callable[[], None], dict[str, Tensor]]:
        """Record a call without making it; return what replays it, and where its results lie.

        RuntimeError: it cannot be recorded. Nothing has changed then.
        """


class CudaRecorder:
    """Calls on a stream of their own, as CUDA wants it for what is to be recorded."""

    def run(self, call: Call) -> dict[str, Tensor]:
        """Make a call on another stream, after all that was asked of the present one."""
        present, other = torch.cuda.current_stream(), torch.cuda.Stream()
        other.wait_stream(present)
        with torch.cuda.stream(other):
            results = call()
        present.wait_stream(other)
        return results

    def record(self, call: Call) -> tuple[Callable[[], None], dict[str, Tensor]]:
        """Record a call; its results lie in memory of the graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = call()
        return graph.replay, results


class CapturedStep:
    """Makes the updates of one state: a few as they are, then replays of one recording.

    The first updates are the warm-up and count like any other. Where the recording fails, updates
    go on as they are, and one line in the log says why.
    """

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step, self._recorder = step, recorder
        self._made = 0
        self._fixed: list[Tensor] = []
        self._replay: Callable[[], None] | None = None
        self._metrics: dict[str, Tensor] = {}

    def __call__(self, inputs: Inputs, rates: Rates, measure: bool) -> dict[str, Tensor]:
        """Make one update; metrics are always measured and overwritten by the next update."""
        given = [*inputs, *rates]
        if not self._fixed:
            self._fixed = [tensor.clone() for tensor in given]
        torch._foreach_copy_(self._fixed, given)
        if self._made == WARM_UP:
            self._record()
        self._made += 1
        if self._replay is not None:
            self._replay()
            return self._metrics
        return self._recorder.run(self._update) if self._made <= WARM_UP else self._update()

    def _update(self) -> dict[str, Tensor]:
        count = len(Inputs._fields)
        inputs, rates = Inputs(*self._fixed[:count]), Rates(*self._fixed[count:])
        return self._step(inputs, rates, True)

    def _record(self) -> None:
        try:
            self._replay, self._metrics = self._recorder.record(self._update)
        except RuntimeError as err:
            reason = str(err).strip().splitlines()[0]
            logging.getLogger(__name__).warning('training without a CUDA graph: %s', reason)
