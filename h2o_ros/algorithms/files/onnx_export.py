"""Export a policy to ONNX: deterministic actions in SI units from observations in SI units.

python -m h2o_ros.algorithms.files.onnx_export policy.safetensors policy.onnx
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from h2o_ros.algorithms.files import tensor_file
from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.errors import PolicyError, exit_code_of

OPSET = 17


def export_onnx(policy: Policy, path: str | Path) -> None:
    """Write an ONNX model, input `observation` (N, O), output `action` (N, A), float32.

    The model's metadata holds the task's contract. PolicyError: the file cannot be written.
    """
    tensor_file.write_atomically(path, onnx_model(policy).SerializeToString(), PolicyError)


def onnx_model(policy: Policy):
    """Return the ONNX model of a policy."""
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as err:
        raise PolicyError('onnx is not installed; install it with: pip install onnx') from err

    actions = policy.contract['action']
    limits = np.array([[low, high] for _, _, low, high in actions], np.float32)
    constants: dict[str, np.ndarray] = {
        'scale': np.float32(policy.observation_scale),
        'shift': np.float32(policy.observation_shift),
        'start': np.array([0], np.int64),
        'stop': np.array([len(actions)], np.int64),
        'axis': np.array([1], np.int64),
        'half': (limits[:, 1] - limits[:, 0]) / 2.0,
        'middle': limits.mean(1),
        'lower': limits[:, 0],
        'upper': limits[:, 1],
    }
    nodes = [
        helper.make_node('Mul', ['observation', 'scale'], ['scaled']),
        helper.make_node('Add', ['scaled', 'shift'], ['x0']),
    ]
    last = len(policy.weights) - 1
    for i, (weight, bias) in enumerate(zip(policy.weights, policy.biases, strict=True)):
        constants |= {f'weight{i}': np.float32(weight), f'bias{i}': np.float32(bias)}
        output = f'linear{i}'
        nodes.append(helper.make_node('Gemm', [f'x{i}', f'weight{i}', f'bias{i}'], [output]))
        if i < last:
            nodes.append(helper.make_node('Relu', [output], [f'x{i + 1}']))
    nodes += [
        helper.make_node('Slice', [f'linear{last}', 'start', 'stop', 'axis'], ['mean']),
        helper.make_node('Tanh', ['mean'], ['squashed']),
        helper.make_node('Mul', ['squashed', 'half'], ['halved']),
        helper.make_node('Add', ['halved', 'middle'], ['unclipped']),
        helper.make_node('Max', ['unclipped', 'lower'], ['above']),
        helper.make_node('Min', ['above', 'upper'], ['action']),
    ]
    fields = len(policy.contract['observation'])
    graph = helper.make_graph(
        nodes,
        'h2o_ros_policy',
        [helper.make_tensor_value_info('observation', TensorProto.FLOAT, ['N', fields])],
        [helper.make_tensor_value_info('action', TensorProto.FLOAT, ['N', len(actions)])],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', OPSET)], producer_name='h2o_ros'
    )
    model.ir_version = 9  # read by onnxruntime from 1.16 on
    contract = {'contract': json.dumps(policy.contract, ensure_ascii=False)}
    helper.set_model_props(model, {**contract, 'contract_hash': policy.contract_hash})
    checker.check_model(model)
    return model


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser('h2o export-onnx', description=__doc__)
    parser.add_argument('policy', help='policy file (.safetensors)')
    parser.add_argument('output', help='ONNX file to write')
    options = parser.parse_args(arguments)
    export_onnx(Policy.load(options.policy), options.output)
    print(f'wrote {options.output}')
    return 0


if __name__ == '__main__':
    raise SystemExit(exit_code_of(main))
