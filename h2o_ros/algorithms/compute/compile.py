"""The update compiled to machine code: fewer calls for the same arithmetic, about 3 times as fast.

torch.compile needs a C++ compiler and Python's headers; where they are missing, the update runs as
it is. The first compilation of a configuration takes 10-20 s, later ones a few seconds from the
cache. On a GPU the update, compiled or not, is captured besides (cuda_graph.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.compute.cuda_graph import CapturedStep, CudaRecorder, Recorder, Step
from h2o_ros.algorithms.compute.precision import settle_precision
from h2o_ros.algorithms.optimiser import Rates
from h2o_ros.algorithms.state import State
from h2o_ros.algorithms.update import update


def _may_change(guards: Sequence[Any]) -> list[bool]:
    """Name the conditions to check at each call: those on its arguments.

    A step belongs to one state, whose tensors and settings keep their kind; to check some 300 of
    them costs an eighth of an update of small networks.
    """
    return [guard.name.startswith('inputs') for guard in guards]


ANYWHERE: dict[str, str | int | bool | Callable] = {'guard_filter_fn': _may_change}
ON_PROCESSOR = ANYWHERE | {'cpp_wrapper': True, 'cpp.threads': 1, 'compile_threads': 1}


def make_step(state: State, mode: str, recorder: Recorder | None = None) -> Step:
    """Return a function that makes one update of `state`; its first call settles the precision.

    mode: 'on' compiles; 'off' takes the plain update; 'auto' compiles on a processor, the plain
    update where that fails, and on a GPU captures the plain update. recorder: captures what is
    made with 'on' or 'auto'; by default a GPU's own, none on a processor.
    """
    if recorder is None and state.target.device.type == 'cuda':
        recorder = CudaRecorder()
    settled: list[Step] = []

    def step(inputs: Inputs, rates: Rates, measure: bool) -> dict[str, Tensor]:
        if not settled:
            settle_precision(state, inputs, rates)
            settled.append(_make_step(state, mode, recorder))
        return settled[0](inputs, rates, measure)

    return step


def _make_step(state: State, mode: str, recorder: Recorder | None) -> Step:

    def plain(inputs: Inputs, rates: Rates, measure: bool) -> dict[str, Tensor]:
        return update(state, inputs, rates, measure)

    if mode == 'off':
        return plain
    if mode == 'auto' and recorder is not None:
        return CapturedStep(plain, recorder)
    options = ON_PROCESSOR if state.target.device.type == 'cpu' else ANYWHERE
    compiled = torch.compile(  # type: ignore[call-overload]
        plain, fullgraph=True, dynamic=False, options=options, isolate_recompiles=True
    )
    if recorder is not None:
        return CapturedStep(compiled, recorder)
    return _with_fallback(compiled, plain) if mode == 'auto' else _measuring(compiled)


def _measuring(step: Step) -> Step:
    """Always measure: one compiled graph then serves all updates, and metrics cost it little."""
    return lambda inputs, rates, measure: step(inputs, rates, True)


def _with_fallback(compiled: Step, plain: Step) -> Step:
    chosen: list[Step] = []

    def step(inputs: Inputs, rates: Rates, measure: bool) -> dict[str, Tensor]:
        if chosen:
            return chosen[0](inputs, rates, measure)
        try:
            metrics = compiled(inputs, rates, True)
        except torch._dynamo.exc.TorchDynamoException as err:
            reason = str(err).strip().splitlines()[0]
            logging.getLogger(__name__).info('training without compilation: %s', reason)
            chosen.append(plain)
            return plain(inputs, rates, measure)
        chosen.append(_measuring(compiled))
        return metrics

    return step
