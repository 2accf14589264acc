"""The written-out backward pass against autograd, and Adam against torch.optim."""

import pytest
import torch

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.networks import (
    MANY,
    Parameters,
    backward,
    backward_to_input,
    by_weight,
    flatten,
    forward,
    initialise,
    mlp_shapes,
    sum_over_rows,
)
from h2o_ros.algorithms.optimiser import Rates, adam_step, rates


def network(layer_norm):
    """Return parameters of 2 networks 3-8-8-2, their layers, and inputs (2, 5, 3)."""
    parameters = Parameters(mlp_shapes('net', 2, (3, 8, 8, 2)))
    generator = torch.Generator().manual_seed(3)
    layers = parameters.layers('net')
    for index in range(2):
        initialise(layers, index, generator, small_output=False)
    return parameters, layers, torch.randn(2, 5, 3, generator=generator)


def reference(layers, x, layer_norm):
    """Compute the same with torch.nn.functional, one network at a time."""
    outputs = []
    for index in range(2):
        h = x[index]
        for i, layer in enumerate(layers):
            h = torch.nn.functional.linear(h, layer.weight[index].T, layer.bias[index, 0])
            if i < len(layers) - 1:
                h = torch.nn.functional.layer_norm(h, h.shape[-1:]) if layer_norm else h
                h = torch.relu(h)
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize('layer_norm', [False, True])
def test_forward_and_backward_equal_autograd(layer_norm):
    _, layers, x = network(layer_norm)
    leaves = [tensor for layer in layers for tensor in layer[:2]]
    for tensor in leaves:
        tensor.requires_grad_()
    expected_output = reference(layers, x, layer_norm)
    by_output = torch.randn(expected_output.shape, generator=torch.Generator().manual_seed(4))
    expected = torch.autograd.grad((by_output * expected_output).sum(), leaves)
    with torch.no_grad():
        output, tape = forward(layers, x, layer_norm)
        gradients, by_first = backward(layers, tape, by_output)
        torch.testing.assert_close(output, expected_output)
        for ours, theirs in zip(gradients, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(by_first, backward_to_input(layers, tape, by_output))


@torch.no_grad()
@pytest.mark.parametrize('rows', [MANY, MANY + 1])
def test_sums_over_many_rows_equal_those_in_double_precision(rows):
    generator = torch.Generator().manual_seed(6)
    x, d = (torch.randn(2, rows, n, generator=generator) for n in (5, 1))
    total = x.double().sum(1, keepdim=True)
    torch.testing.assert_close(sum_over_rows(x).double(), total, rtol=1e-5, atol=1e-4)
    product = x.mT.double() @ d.double()
    torch.testing.assert_close(by_weight(x, d).double(), product, rtol=1e-5, atol=1e-4)


def test_adam_equals_torch():
    """Five steps with the schedule off, on one vector."""
    parameters, layers, _ = network(False)
    config = load_config('h2o_paper')
    theirs = parameters.value.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], config.learning_rate)
    generator = torch.Generator().manual_seed(5)
    of_all = rates(config, 0, 5)
    for i in range(5):
        gradient = torch.randn(theirs.shape, generator=generator)
        theirs.grad = gradient.clone()
        optimiser.step()
        adam_step(parameters, gradient, Rates(*(r[i] for r in of_all)))
    torch.testing.assert_close(parameters.value, theirs.detach(), rtol=0, atol=1e-7)


def test_learning_rate_falls_to_its_final_fraction_and_stays():
    config = load_config('h2o', updates_total=100, learning_rate_final_fraction=0.1)
    step = rates(config, 0, 201).step / rates(load_config('h2o_paper'), 0, 201).step
    torch.testing.assert_close(step[[0, 50, 100, 200]], torch.tensor([1.0, 0.55, 0.1, 0.1]))


def test_flat_gradient_follows_the_order_of_the_parameters():
    parameters, layers, _ = network(False)
    assert torch.equal(flatten([t for layer in layers for t in layer[:2]]), parameters.value)
    assert parameters.span('net') == slice(0, len(parameters.value))
