"""Captured updates equal plain ones, for every algorithm, and read nothing but fixed tensors.

There need not be a GPU: the recorder here takes an update apart into the calls of PyTorch that it
makes, refuses what CUDA refuses while it records, and replays the calls on the same tensors.
"""

import numpy as np
import pytest
import torch
from test_trainer import trainer_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from h2o_ros.algorithms.compute.compile import make_step
from h2o_ros.algorithms.compute.cuda_graph import WARM_UP
from h2o_ros.algorithms.config import algorithm_names

aten = torch.ops.aten
# What would wait for the device, or bring numbers from the processor to it.
REFUSED = (aten._local_scalar_dense, aten.nonzero, aten.lift_fresh, aten._assert_async)
UPDATES = WARM_UP + 6


class Calls(TorchDispatchMode):
    """Notes each call with its tensors while it is made."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        drawn = torch.Tag.nondeterministic_seeded in function.tags
        if function.overloadpacket in REFUSED or drawn:
            raise RuntimeError(f'{function} is not permitted while a graph is recorded')
        results = function(*args, **(kwargs or {}))
        self.made.append((function, args, kwargs or {}, results))
        return results


class ProcessorRecorder:
    """Records and replays on the processor; state is what a recording must not change."""

    def __init__(self, state):
        self.state, self.runs, self.replays = state, 0, 0

    def run(self, call):
        self.runs += 1
        return call()

    def record(self, call):
        before = {name: tensor.clone() for name, tensor in self.state.tensors().items()}
        with Calls() as calls:
            metrics = call()
        for name, tensor in self.state.tensors().items():
            tensor.copy_(before[name])
        for function, _, _, results in calls.made:
            if makes_new(function):  # nothing is computed while CUDA records
                for tensor in tensors_of(results):
                    tensor.fill_(torch.nan if tensor.is_floating_point() else 0)
        return lambda: self._replay(calls.made), metrics

    def _replay(self, made):
        self.replays += 1
        for function, args, kwargs, recorded in made:
            if function._schema.is_mutable:
                function(*args, **kwargs)
            elif makes_new(function):
                results = tensors_of(function(*args, **kwargs))
                for old, new in zip(tensors_of(recorded), results, strict=True):
                    old.copy_(new)


def makes_new(function):
    """Say whether what a call returns are new tensors, not given ones or views of them."""
    aliases = [result.alias_info for result in function._schema.returns]
    return not function._schema.is_mutable and not any(aliases)


def tensors_of(results):
    return [leaf for leaf in tree_leaves(results) if isinstance(leaf, torch.Tensor)]


def captured(name, recorder_of=ProcessorRecorder, **changes):
    """Return a trainer whose updates are captured and lose what they were given, and recorder."""
    trainer = trainer_of(name, **changes)
    recorder = recorder_of(trainer.state)
    step = make_step(trainer.state, 'auto', recorder)

    def step_and_spoil(inputs, rates, measure):
        metrics = step(inputs, rates, measure)
        for tensor in (*inputs, *rates):
            tensor.fill_(torch.nan)
        return metrics

    trainer._step = step_and_spoil
    return trainer, recorder


def expect_equal(one, other):
    for name, tensor in one.state.tensors().items():
        assert torch.equal(tensor, other.state.tensors()[name]), name
    for name, value in one.metrics().items():
        np.testing.assert_array_equal(value, other.metrics()[name], name)


@pytest.mark.parametrize('name', algorithm_names())
def test_captured_updates_equal_plain_ones(name):
    plain = trainer_of(name, seeds=(3, 7))
    graph, recorder = captured(name, seeds=(3, 7))
    for count in (1, UPDATES, 30):
        plain.update(count)
        graph.update(count)
        expect_equal(plain, graph)
    assert (recorder.runs, recorder.replays) == (WARM_UP, 1 + UPDATES + 30 - WARM_UP)


def test_a_checkpoint_of_captured_updates_goes_on(tmp_path):
    """A state that is filled anew keeps its addresses."""
    graph, _ = captured('h2o')
    graph.update(UPDATES)
    before = {name: tensor.clone() for name, tensor in graph.state.tensors().items()}
    graph.update(3)
    after = {name: tensor.clone() for name, tensor in graph.state.tensors().items()}
    for name, tensor in graph.state.tensors().items():
        tensor.copy_(before[name])
    graph.updates -= 3
    graph.sampler._block = -1  # what was drawn has been spoiled
    graph.update(3)
    assert all(torch.equal(tensor, after[k]) for k, tensor in graph.state.tensors().items())


def test_updates_go_on_where_the_recording_fails(caplog):
    class Refusing(ProcessorRecorder):
        def record(self, call):
            raise RuntimeError('out of memory\nand more')

    plain = trainer_of('h2o')
    graph, recorder = captured('h2o', Refusing)
    for trainer in (plain, graph):
        trainer.update(UPDATES)
    expect_equal(plain, graph)
    assert [r.getMessage() for r in caplog.records] == [
        'training without a CUDA graph: out of memory'
    ]
    assert recorder.runs == WARM_UP


def test_an_update_that_waits_for_the_device_is_refused():
    trainer = trainer_of('h2o')
    recorder = ProcessorRecorder(trainer.state)
    for call in (
        lambda: {'loss': torch.zeros(()) if trainer.state.target[0] > 0.0 else torch.ones(())},
        lambda: {'loss': torch.tensor([1.0, 2.0])},
        lambda: {'loss': torch.randn(3)},
    ):
        with pytest.raises(RuntimeError, match='not permitted'):
            recorder.record(call)
