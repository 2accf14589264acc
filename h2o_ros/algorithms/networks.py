"""Multi-layer perceptrons for many networks at once, with a backward pass written out.

A batch of networks shares every call: weights are (G, in, out), inputs (G, rows, in). G counts
seeds, or kind x seeds with the kind first (twin critics, the two domain classifiers), so that one
kind is a contiguous slice. All parameters that one optimiser moves lie in one flat vector; the
layers are views of it.

The backward pass is by hand because autograd costs more than the arithmetic at these sizes; a test
holds it against autograd.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

NORM_EPSILON = 1e-5
MANY, ROW_GROUPS = 4096, 16  # rows from which sums over them are made in so many groups
NARROW = 2  # outputs up to which a layer is a sum of products rather than a matrix product


class Layer(NamedTuple):
    """Weight (G, in, out) and bias (G, 1, out): y = x W + b.

    factors: what both sides of a product with the weight are rounded to, in all three passes.
    """

    weight: Tensor
    bias: Tensor
    factors: torch.dtype = torch.float32


class Tape(NamedTuple):
    """What the backward pass needs: each layer's input and, if any, its normalisation."""

    inputs: list[Tensor]
    normalised: list[tuple[Tensor, Tensor, Tensor]]


class Parameters:
    """One flat vector of parameters with Adam's moments; `layers` gives views by prefix.

    shapes: what lies in it, in order. A gradient is the concatenation of parts in that order.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], device: str = 'cpu') -> None:
        self.shapes = dict(shapes)
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.value, self.mean, self.square = torch.zeros(3, size, device=device)
        self.views = self._cut(self.value)

    def span(self, prefix: str) -> slice:
        """Return where the entries named `prefix/...` lie; they must be neighbours."""
        start = stop = offset = 0
        for name, shape in self.shapes.items():
            if name.startswith(prefix + '/'):
                start, stop = (start if stop else offset), offset + math.prod(shape)
            offset += math.prod(shape)
        return slice(start, stop)

    def layers(self, prefix: str) -> list[Layer]:
        """Return the layers of the network `prefix`."""
        return layers_of(self.views, prefix)

    def _cut(self, flat: Tensor) -> dict[str, Tensor]:
        pieces = flat.split([math.prod(shape) for shape in self.shapes.values()])
        return {
            name: piece.view(shape)
            for piece, (name, shape) in zip(pieces, self.shapes.items(), strict=True)
        }


def layers_of(views: Mapping[str, Tensor], prefix: str) -> list[Layer]:
    """Collect the layers `prefix/weight0, prefix/bias0, ...` of named tensors."""
    count = sum(name.startswith(f'{prefix}/weight') for name in views)
    return [Layer(views[f'{prefix}/weight{i}'], views[f'{prefix}/bias{i}']) for i in range(count)]


def mlp_shapes(prefix: str, networks: int, sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of `networks` perceptrons with the given layer sizes, input to output."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        shapes[f'{prefix}/weight{i}'] = (networks, inputs, outputs)
        shapes[f'{prefix}/bias{i}'] = (networks, 1, outputs)
    return shapes


def initialise(
    layers: Sequence[Layer], network: int, generator: torch.Generator, small_output: bool
) -> None:
    """Draw one network's parameters: uniform within 1/sqrt(inputs), as torch.nn.Linear does.

    small_output: the last layer Xavier-uniform times 0.01 with zero bias, so that policies start
    near zero torque and critics near zero value (the authors' code).
    """
    for layer in layers:
        weight, bias = layer.weight[network], layer.bias[network]
        bound = 1.0 / math.sqrt(len(weight))
        for tensor in (weight, bias):
            drawn = torch.rand(tensor.shape, generator=generator)
            tensor.copy_((2.0 * drawn - 1.0) * bound)
    if small_output:
        weight, bias = layers[-1].weight[network], layers[-1].bias[network]
        bound = 0.01 * math.sqrt(6.0 / sum(weight.shape))
        weight.copy_((2.0 * torch.rand(weight.shape, generator=generator) - 1.0) * bound)
        bias.zero_()


def affine(layer: Layer, x: Tensor) -> Tensor:
    """Return x W + b, (G, rows, out).

    Libraries are slow where there are one or two outputs; written out, the compiler joins their
    sums with the ReLU before them. A bias added by the library would cost a copy.
    """
    if layer.weight.shape[-1] > NARROW:
        return _product(x, layer.weight, layer.factors).add_(layer.bias)
    columns = [(x * column.unsqueeze(1)).sum(-1) for column in layer.weight.unbind(-1)]
    return torch.stack(columns, -1).add_(layer.bias)


def _product(x: Tensor, y: Tensor, factors: torch.dtype) -> Tensor:
    """Return x y in float32; bfloat16 factors are summed in float32, their product is rounded."""
    return torch.bmm(x.to(factors), y.to(factors)).to(torch.float32)


def forward(layers: Sequence[Layer], x: Tensor, layer_norm: bool = False) -> tuple[Tensor, Tape]:
    """Return the outputs (G, rows, out), linear after ReLU layers, and the tape.

    layer_norm: bring each hidden layer to mean 0 and variance 1 over its units before the ReLU.
    """
    return forward_after_first(layers, affine(layers[0], x), Tape([x], []), layer_norm)


def forward_after_first(
    layers: Sequence[Layer], x: Tensor, tape: Tape, layer_norm: bool = False
) -> tuple[Tensor, Tape]:
    """Go on as `forward` from the first layer's output, which may be overwritten."""
    for layer in layers[1:]:
        if layer_norm:
            before = x
            x, mean, spread = torch.native_layer_norm(
                before, before.shape[-1:], None, None, NORM_EPSILON
            )
            tape.normalised.append((before, mean, spread))
        x = torch.relu_(x).to(layer.factors)
        tape.inputs.append(x)
        x = affine(layer, x)
    return x, tape


def backward(
    layers: Sequence[Layer], tape: Tape, output_gradient: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Return the parameters' gradients, and the derivative by the first layer's output.

    The gradients stand in the order of the layers, weight before bias.
    output_gradient: (G, rows, out), the derivative of the loss by the network's output.
    """
    gradients, d = backward_after_first(layers, tape, output_gradient)
    of_first = by_weight(tape.inputs[0], d, layers[0].factors)
    return [of_first, sum_over_rows(d), *gradients], d


def backward_after_first(
    layers: Sequence[Layer], tape: Tape, output_gradient: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Return as `backward` does, without the first layer's gradients."""
    gradients: list[Tensor] = []
    d = output_gradient
    for i in reversed(range(1, len(layers))):
        of_layer = by_weight(tape.inputs[i], d, layers[i].factors)
        gradients[:0] = (of_layer, sum_over_rows(d))
        d = _through(layers, tape, i, d)
    return gradients, d


def by_weight(x: Tensor, d: Tensor, factors: torch.dtype = torch.float32) -> Tensor:
    """Return x^T d, the gradient of a weight from a layer's inputs and its outputs' derivative.

    A few outputs stand on the left, since libraries are fast along wide rows.
    """
    if d.shape[-1] == 1 and x.shape[1] >= MANY:
        return sum_over_rows(x * d).mT
    if d.shape[-1] < x.shape[-1]:
        return _product(d.mT, x, factors).mT
    if len(x) == 1:  # a batch of one that is part of a larger tensor would be copied
        return torch.mm(x[0].mT.to(factors), d[0].to(factors)).to(torch.float32).unsqueeze(0)
    return _product(x.mT, d, factors)


def sum_over_rows(x: Tensor) -> Tensor:
    """Return the sum over rows, (G, 1, n).

    The compiler's loop adds up one column after another; where the rows do not fit the cache, it
    is faster to add them up in groups first.
    """
    if x.shape[1] >= MANY and x.shape[1] % ROW_GROUPS == 0:
        x = x.unflatten(1, (ROW_GROUPS, -1)).sum(1)
    return x.sum(1, keepdim=True)


def _by_input(layer: Layer, d: Tensor) -> Tensor:
    """Return d W^T, written out for few outputs as in `affine`."""
    if layer.weight.shape[-1] > NARROW:
        return _product(d, layer.weight.mT, layer.factors)
    columns = zip(d.unbind(-1), layer.weight.unbind(-1), strict=True)
    return reduce(torch.add, (a.unsqueeze(-1) * b.unsqueeze(1) for a, b in columns))


def backward_to_input(layers: Sequence[Layer], tape: Tape, output_gradient: Tensor) -> Tensor:
    """Return the derivative by the first layer's output alone, parameters held."""
    d = output_gradient
    for i in reversed(range(1, len(layers))):
        d = _through(layers, tape, i, d)
    return d


def _through(layers: Sequence[Layer], tape: Tape, i: int, d: Tensor) -> Tensor:
    """Pass the derivative by layer i's output back to layer i - 1's, before its ReLU and norm."""
    d = _by_input(layers[i], d)
    d = torch.ops.aten.threshold_backward(d, tape.inputs[i].to(d.dtype), 0.0)
    if tape.normalised:
        before, mean, spread = tape.normalised[i - 1]
        d = torch.ops.aten.native_layer_norm_backward(
            d, before, before.shape[-1:], mean, spread, None, None, [True, False, False]
        )[0]
    return d


def flatten(parts: Sequence[Tensor]) -> Tensor:
    """Return the parts as one vector, in order."""
    return torch.cat([part.reshape(-1) for part in parts])
