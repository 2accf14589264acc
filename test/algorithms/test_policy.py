"""The policy file: it acts as the trainer does, in numpy alone, and refuses what is not it."""

import shlex
import subprocess
import sys
import time

import numpy as np
import pytest

from h2o_ros import cli
from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.files.onnx_export import export_onnx, main
from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.errors import PolicyError
from h2o_ros.report.summary import next_command
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

TASK = load_task('standing_still')


@pytest.fixture(scope='module')
def trainer():
    rng = np.random.default_rng(0)
    state = rng.normal(size=(200, 4)) * 0.3 + 0.1
    rows = Transitions(
        state,
        rng.normal(size=(200, 1)),
        rng.normal(size=200),
        state + 0.01,
        np.zeros(200, bool),
        np.zeros(200, bool),
    )
    config = load_config('h2o', compile='off', updates_total=100, learning_rate=0.01)
    trainer = Trainer(config, TASK, rows, [0, 1])
    for index in range(2):
        trainer.add_simulated(rows, index)
    trainer.update(30)
    return trainer


@pytest.fixture
def policy(trainer):
    return trainer.policy(1, averaged=False)


OBSERVATION = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)


def test_acts_as_the_trainer(trainer, policy):
    theirs = trainer.act(np.stack([OBSERVATION, OBSERVATION]), deterministic=True)[1]
    np.testing.assert_allclose(policy.act(OBSERVATION), theirs, atol=2e-5)
    assert np.abs(theirs).max() > 0.1
    averaged = trainer.policy(1).act(OBSERVATION)
    assert np.abs(averaged - theirs).max() > 1e-4


def test_survives_its_file_and_stays_within_limits(policy, tmp_path):
    path = tmp_path / 'policy.safetensors'
    policy.save(path)
    loaded = Policy.load(path)
    np.testing.assert_array_equal(loaded.act(OBSERVATION), policy.act(OBSERVATION))
    noise = 100.0 * np.ones((50, 1), np.float32)
    action = loaded.act(OBSERVATION, noise)
    assert action.dtype == np.float32 and action.shape == (50, 1)
    np.testing.assert_allclose(action, 3.0)
    assert (loaded.contract_hash, loaded.update) == (TASK.contract_hash, 30)
    loaded.check_contract(TASK)


def test_noise_moves_the_action_by_the_distribution(policy):
    """Two noises of one std each way lie on either side of the deterministic action."""
    ones = np.ones((50, 1), np.float32)
    low, middle, high = (policy.act(OBSERVATION, z) for z in (-ones, 0.0 * ones, ones))
    assert (low < middle).all() and (middle < high).all()
    np.testing.assert_allclose(middle, policy.act(OBSERVATION), atol=1e-6)


def test_wrong_task_or_contract_is_refused(policy):
    with pytest.raises(PolicyError, match='moving_straight.*observation'):
        policy.check_contract(load_task('moving_straight'))
    narrower = dict(TASK.contract(), action=[['torque', 'N·m', -1.0, 1.0]])
    other = Policy(
        policy.weights,
        policy.biases,
        policy.log_std_scale,
        policy.observation_scale,
        policy.observation_shift,
        narrower,
    )
    with pytest.raises(PolicyError, match='action'):
        other.check_contract(TASK)


def test_damaged_files_are_refused(policy, tmp_path):
    path = tmp_path / 'policy.safetensors'
    data = policy.to_bytes()
    for length in (0, 5, 50, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(PolicyError, match='policy.safetensors: torn'):
            Policy.load(path)
    for position in range(8, len(data), max(1, len(data) // 60)):
        changed = bytearray(data)
        changed[position] ^= 0x01
        with pytest.raises(PolicyError):
            Policy.from_bytes(bytes(changed))
    with pytest.raises(PolicyError, match='cannot be read'):
        Policy.load(tmp_path / 'missing.safetensors')
    misfit = Policy(
        policy.weights,
        policy.biases,
        policy.log_std_scale,
        policy.observation_scale,
        policy.observation_shift,
        dict(TASK.contract(), action=TASK.contract()['action'] * 2),
    )
    with pytest.raises(PolicyError, match='fit'):
        Policy.from_bytes(misfit.to_bytes())


def test_imports_no_torch_and_is_fast(policy, tmp_path):
    path = tmp_path / 'policy.safetensors'
    policy.save(path)
    code = (
        'import sys; from h2o_ros.algorithms.files.policy import Policy; '
        f'Policy.load({str(path)!r}); sys.exit("torch" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
    times = []
    for _ in range(300):
        start = time.perf_counter()
        policy.act(OBSERVATION[:1])
        times.append(time.perf_counter() - start)
    assert np.median(times) < 200e-6  # about 10 us; the bound allows for a busy machine


def test_onnx_acts_alike(policy, tmp_path):
    runtime = pytest.importorskip('onnxruntime')
    source, target = tmp_path / 'policy.safetensors', tmp_path / 'policy.onnx'
    policy.save(source)
    # as the summary of a finished run without a robot tells one to
    command, *words = shlex.split(next_command(True, None, source, on_robot=False))
    assert (command, cli.main(words)) == ('h2o', 0)
    session = runtime.InferenceSession(target, providers=['CPUExecutionProvider'])
    (action,) = session.run(['action'], {'observation': OBSERVATION})
    np.testing.assert_allclose(action, policy.act(OBSERVATION), atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata['contract_hash'] == TASK.contract_hash
    with pytest.raises(PolicyError, match='cannot be written'):
        export_onnx(policy, tmp_path / 'missing' / 'policy.onnx')
    with pytest.raises(PolicyError, match='missing'):
        main([str(tmp_path / 'missing'), str(target)])
