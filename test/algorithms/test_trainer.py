"""Every switch trains every network, seeds do not meet, checkpoints continue exactly."""

import itertools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_golden import can_compile

from h2o_ros.algorithms.config import algorithm_names, load_config
from h2o_ros.algorithms.files import checkpoint, tensor_file
from h2o_ros.algorithms.settings import ADDED
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.errors import CheckpointError
from h2o_ros.nodes.training.topics import TrainingTopics
from h2o_ros.nodes.training.training_thread import NewestSteps, TrainingThread
from h2o_ros.pacing import PaceMaker
from h2o_ros.report.evaluation import EpisodeFigures
from h2o_ros.report.run import RunReport
from h2o_ros.sim.gaps import simulation
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

SMALL = {'hidden': [8, 8], 'classifier_hidden': [8, 8], 'updates_total': 200, 'compile': 'off'}
TASK = load_task('standing_still')
# Of each method the algorithm with the shortest name.
BY_LENGTH = sorted(algorithm_names(), key=len, reverse=True)
ONE_OF_EACH = sorted({load_config(name).method: name for name in BY_LENGTH}.values())


def transitions(rows, seed=0):
    """Return random rows with a failure and a cut among them."""
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(rows, 4)) * [0.05, 0.5, 0.2, 0.2]
    ends = rng.random((2, rows)) < 0.02
    return Transitions(
        observation,
        rng.normal(size=(rows, 1)),
        29.0 + rng.normal(size=rows),
        observation + 0.01 * rng.normal(size=(rows, 4)),
        *ends,
    )


def trainer_of(name, seeds=(0,), real=True, **changes):
    """Return a small trainer with simulated rows, each seed's its own."""
    config = load_config(name, TASK, **(SMALL | changes))
    trainer = Trainer(config, TASK, transitions(300) if real else None, seeds)
    if config.needs_simulated:
        for index, seed in enumerate(seeds):
            trainer.add_simulated(transitions(200 + 10 * seed, 100 + seed), index)
    return trainer


@pytest.mark.parametrize('name', algorithm_names())
def test_every_network_of_every_algorithm_moves(name):
    trainer = trainer_of(name)
    groups = {name: group.views for name, group in trainer.state.groups.items()}
    if not trainer.config.classifiers:
        del groups['classifier']
    agent = trainer.state.agent_parameters
    before = {g: {k: v.clone() for k, v in views.items()} for g, views in groups.items()}
    target = [layer.weight.clone() for layer in trainer.state.target_layers]
    trainer.update(5)
    for group, views in groups.items():
        for key, view in views.items():
            for kind in range(len(view)):
                assert not torch.equal(view[kind], before[group][key][kind]), (key, kind)
    for old, layer in zip(target, trainer.state.target_layers, strict=True):
        assert (old != layer.weight).flatten(1).any(1).all()
    if trainer.config.actor_average:
        assert not torch.equal(trainer.state.average, agent.value[trainer.state.actor_span])
    assert all(torch.isfinite(tensor).all() for tensor in trainer.state.tensors().values())
    assert all(np.isfinite(value).all() for value in trainer.metrics().values())


def test_every_switch_changes_what_is_learned():
    """On equal batches and noise no two variants of a method end in the same critics."""
    ends = {}
    for name in algorithm_names():
        if name != 'h2o_paper':
            trainer = trainer_of(name, learning_rate=3e-3)
            trainer.update(40)  # classifiers that know nothing yet may have all u clipped
            ends[name] = trainer.state.target
    assert len(ends) >= 14
    for one, other in itertools.combinations(ends, 2):
        assert not torch.equal(ends[one], ends[other]), (one, other)


def test_smoothness_makes_the_action_step_less():
    rows, steps = transitions(300), {}
    for weight in (0.0, 1e4):
        trainer = trainer_of('h2o', learning_rate=3e-3, actor_smoothness=weight)
        trainer.update(150)
        first, then = (trainer.policy().act(x) for x in (rows.observation, rows.next_observation))
        steps[weight] = np.square(first - then).mean()
    assert steps[1e4] < 0.5 * steps[0.0]


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_seeds_in_one_batch_equal_separate_runs(name):
    together = trainer_of(name, seeds=(3, 7))
    together.update(40)
    for index, seed in enumerate((3, 7)):
        alone = trainer_of(name, seeds=(seed,))
        alone.update(40)
        for name_of_group, group in alone.state.groups.items():
            for key, view in group.views.items():
                both = together.state.groups[name_of_group].views[key].unflatten(0, (-1, 2))
                torch.testing.assert_close(both[:, index], view, rtol=0, atol=1e-5)
        for key, value in alone.metrics().items():
            both = together.metrics()[key][index]
            np.testing.assert_allclose(both, value[0], rtol=1e-4, atol=1e-5)
        observation = np.ones((2, 3, 4), np.float32)
        np.testing.assert_allclose(
            together.act(observation, True)[index], alone.act(observation[:1], True)[0], atol=1e-5
        )


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_portions_of_updates_make_no_difference(name):
    one, other = trainer_of(name), trainer_of(name)
    one.update(37)
    for count in (1, 20, 3, 13):
        other.update(count)
    assert all(torch.equal(v, other.state.tensors()[k]) for k, v in one.state.tensors().items())


@pytest.mark.timeout(400)  # compiling on a busy machine
@pytest.mark.parametrize('name', [n for n in ONE_OF_EACH if n not in ('sac', 'darc', 'h2o')])
def test_compiled_updates_equal_plain_ones(name):
    """What a method adds compiles with the rest; what h2o has, test_golden holds."""
    if not can_compile():
        pytest.skip("needs a C++ compiler and Python's headers")
    plain, compiled = trainer_of(name, (1, 2)), trainer_of(name, (1, 2), compile='on')
    for trainer in (plain, compiled):
        trainer.update(3)
    for key, tensor in plain.state.tensors().items():
        torch.testing.assert_close(compiled.state.tensors()[key], tensor, rtol=0, atol=1e-5)
    for key, value in plain.metrics().items():
        np.testing.assert_allclose(compiled.metrics()[key], value, rtol=1e-4, atol=1e-5)


def test_buffer_keeps_the_newest_rows():
    trainer = trainer_of('h2o', sim_buffer_ratio=0.1)
    assert trainer.simulated.capacity == 30
    batch = transitions(45, 5)
    trainer.add_simulated(batch)
    held = trainer.simulated.rows[0, :, :4].numpy()
    assert {tuple(row) for row in held} == {tuple(row) for row in batch.observation[-30:]}
    trainer.add_simulated(batch.select(slice(0, 1)))
    held = trainer.simulated.rows[0, :, :4].numpy()
    assert tuple(batch.observation[0]) in {tuple(row) for row in held}
    assert trainer.simulated_steps == 200 + 46


def test_no_denormals_and_no_nan_when_flushed_to_zero():
    """A simulator that equals reality drives u to its lower clip; still all is finite."""
    trainer = trainer_of('h2o', sim_buffer_ratio=1.0, gap_samples=1)
    trainer.add_simulated(transitions(300))
    trainer.update(60)
    tiny = torch.finfo(torch.float32).tiny
    for name, tensor in trainer.state.tensors().items():
        assert torch.isfinite(tensor).all(), name
    u, ratio = trainer.dynamics_gap(transitions(300))
    assert (u >= tiny).all() and (u <= 10.0).all() and (u == np.float32(1e-30)).any()
    assert (ratio > 0.0).all() and np.isfinite(ratio).all()


def test_simulator_alone_needs_no_recording_and_standardises_by_its_rows():
    trainer = trainer_of('sac', real=False)
    trainer.update(2)
    assert trainer.scaling.scale[0, 0] > 10.0  # theta's deviation is 0.05
    with pytest.raises(ValueError, match='recorded'):
        trainer_of('h2o', real=False)


def test_recorded_rows_that_are_not_learned_from_change_nothing():
    with_rows, without = trainer_of('sac', real=True), trainer_of('sac', real=False)
    for trainer in (with_rows, without):
        trainer.update(2)
    assert (with_rows.recorded, with_rows.real_digest) == (0, '')
    for name, tensor in without.state.tensors().items():
        assert torch.equal(with_rows.state.tensors()[name], tensor), name


def test_update_without_simulated_rows_is_refused():
    trainer = Trainer(load_config('h2o', **SMALL), TASK, transitions(10), [0])
    with pytest.raises(ValueError, match='simulated rows'):
        trainer.update(1)


def test_a_running_robots_transitions_are_learned_from_and_kept(tmp_path):
    path = tmp_path / 'checkpoint.safetensors'
    straight, other = trainer_of('h2o'), trainer_of('h2o')
    straight.add_real(transitions(200, 5))
    assert len(straight.real) == 500
    for trainer in (straight, other):
        trainer.update(20)
    changed = [
        name
        for name, tensor in straight.state.tensors().items()
        if not torch.equal(tensor, other.state.tensors()[name])
    ]
    assert changed  # the new rows were drawn
    straight.save(path)
    resumed = Trainer.load(path, None, TASK, transitions(300))  # the bag alone is given again
    assert torch.equal(resumed.real, straight.real)
    for trainer in (straight, resumed):
        trainer.update(20)
    assert straight.policy().to_bytes() == resumed.policy().to_bytes()
    with pytest.raises(ValueError, match='no real transitions'):
        trainer_of('sac', real=False).add_real(transitions(10))


def test_what_came_from_the_robot_before_the_end_is_kept():
    trainer = trainer_of('h2o')
    pace, ends = PaceMaker(1, 0, 1.0, 64, 512, 200), []
    thread = TrainingThread(
        trainer, pace, 200, NewestSteps(), lambda: None, lambda complete: ends.append(complete)
    )
    thread.receive_real(transitions(50, 5))
    thread.stop()  # as while a chunk of updates is made on a machine that is busy
    thread.receive_real(transitions(30, 6))
    thread.start()
    thread.join(10.0)
    assert ends == [False] and thread.error is None
    assert len(trainer.real) == 380


def test_a_checkpoint_that_was_asked_for_is_written_when_it_is_told(tmp_path):
    path = tmp_path / 'run' / 'checkpoint.safetensors'
    trainer = trainer_of('real_only')
    report = RunReport(path.parent, TASK, 'real_only', 0, 200)
    report.begin(0)
    node = SimpleNamespace(create_publisher=lambda *_: None)
    topics = TrainingTopics(node, trainer, None, report, NewestSteps(), 100, 100)
    pace, ends = PaceMaker(1, 0, 0, 0, 512, 200), []
    thread = TrainingThread(
        trainer, pace, 200, NewestSteps(), lambda: None, lambda complete: ends.append(complete)
    )
    thread.pause()
    thread.start()
    try:
        assert thread.run_between_updates(topics.save).result(10.0) == f'{path} after 0 updates'
        assert Trainer.load(path, None, TASK, transitions(300)).updates == 0
        shutil.rmtree(path.parent)
        with pytest.raises(CheckpointError, match='cannot be written'):
            thread.run_between_updates(topics.save).result(10.0)
        assert thread.is_alive() and thread.error is None
    finally:
        thread.stop()
        thread.join(10.0)
    assert ends == [False]


def test_an_evaluation_that_comes_after_the_report_was_made_ends_nothing(tmp_path):
    trainer, report = trainer_of('real_only'), RunReport(tmp_path, TASK, 'real_only', 0, 200)
    report.begin(0)
    node = SimpleNamespace(create_publisher=lambda *_: None)
    topics = TrainingTopics(node, trainer, None, report, NewestSteps(), 100, 100)
    one = np.ones(1)
    figures = EpisodeFigures(50, one, one, one, one, one, one)
    topics.take_evaluation(figures)
    topics.end(False, np.zeros((0, 0)))
    topics.take_evaluation(figures)
    assert report.last_evaluation.update == 50


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_checkpoint_continues_bit_for_bit(name, tmp_path):
    path = tmp_path / 'checkpoint.safetensors'
    straight, broken = trainer_of(name, seeds=(1, 2)), trainer_of(name, seeds=(1, 2))
    for trainer in (straight, broken):
        trainer.update(50)
        trainer.act(np.zeros((2, 1, 4), np.float32), False)
    broken.save(path)
    resumed = Trainer.load(path, None, TASK, transitions(300))
    for trainer in (straight, resumed):
        if trainer.config.needs_simulated:
            trainer.add_simulated(transitions(20, 9), 1)
        trainer.update(50)
    assert resumed.updates == 100
    assert resumed.simulated.added == straight.simulated.added
    for key, tensor in straight.state.tensors().items():
        assert torch.equal(tensor, resumed.state.tensors()[key]), key
    observation = np.ones((2, 5, 4), np.float32)
    actions = [trainer.act(observation, False) for trainer in (straight, resumed)]
    np.testing.assert_array_equal(*actions)
    for index in range(2):
        assert straight.policy(index).to_bytes() == resumed.policy(index).to_bytes()


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / 'checkpoint.safetensors'
    trainer = trainer_of('h2o')
    trainer.update(3)
    trainer.save(path)
    return path


def expect(path, text, task=TASK, config=None, real=None, **given):
    with pytest.raises(CheckpointError, match=text) as caught:
        Trainer.load(path, config, task, real or transitions(300), **given)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_damaged_checkpoints_are_refused(saved):
    data = saved.read_bytes()
    for length in (0, 7, 100, len(data) // 2, len(data) - 1):
        saved.write_bytes(data[:length])
        expect(saved, 'torn')
    for position in np.linspace(8, len(data) - 1, 40).astype(int):
        changed = bytearray(data)
        changed[position] ^= 0x10
        saved.write_bytes(changed)
        expect(saved, 'torn|digest|holds|dtype')
    saved.write_bytes(b'not a checkpoint' * 100)
    expect(saved, 'torn')
    saved.write_bytes(trainer_of('h2o').policy().to_bytes())
    expect(saved, 'policy')
    saved.unlink()
    expect(saved, 'cannot be read')


def test_foreign_checkpoints_are_refused(saved):
    expect(saved, 'moving_straight', task=load_task('moving_straight'))
    expect(saved, 'other recordings', real=transitions(300, 1))
    other = load_config('h2o', **(SMALL | {'discount': 0.9}))
    expect(saved, 'discount', config=other)
    same = load_config('h2o', **(SMALL | {'compile': 'auto'}))
    assert Trainer.load(saved, same, TASK, transitions(300)).updates == 3


def test_a_checkpoint_of_other_seeds_is_refused(saved, tmp_path):
    one, several = tmp_path / 'one', tmp_path / 'several'
    trainer_of('h2o', seeds=(3,)).save(one)
    trainer_of('h2o', seeds=(0, 1, 2)).save(several)
    expect(one, 'trained with seed 3, got 0; give seed 3$', seeds=[0])
    expect(several, 'trained with seeds 0, 1, 2, got 0; ', seeds=[0])
    assert Trainer.load(one, None, TASK, transitions(300), seeds=[3]).seeds == (3,)
    assert Trainer.load(several, None, TASK, transitions(300)).seeds == (0, 1, 2)


def test_a_checkpoint_keeps_what_it_was_simulated_in(saved, tmp_path):
    path = tmp_path / 'heavy'
    heavy, plain = simulation('gravity', 32), simulation('none', 32)
    trainer = trainer_of('h2o')
    trainer.simulation = heavy
    trainer.save(path)
    text = (
        r'another simulator: gravity \(2.0 there, 1.0 here\); give the same gap and environments$'
    )
    expect(path, text, simulation=plain)
    expect(path, r'environments \(32 there, 8 here\)', simulation=simulation('gravity', 8))
    same = simulation('gravity:2', 32)
    resumed = Trainer.load(path, None, TASK, transitions(300), simulation=same)
    assert resumed.simulation == heavy
    assert Trainer.load(path, None, TASK, transitions(300)).simulation == heavy
    # one that says nothing, as checkpoints did, is compared with nothing
    data = saved.read_bytes()
    document, arrays = tensor_file.unpack(checkpoint.KIND, data, 'it', CheckpointError, '')
    assert document.pop('simulation') == {}
    saved.write_bytes(tensor_file.pack(checkpoint.KIND, document, arrays))
    old = Trainer.load(saved, None, TASK, transitions(300), simulation=plain)
    assert old.simulation == plain


def test_a_checkpoint_from_before_a_setting_has_it_off(saved):
    data = saved.read_bytes()
    document, arrays = tensor_file.unpack(checkpoint.KIND, data, 'it', CheckpointError, '')
    for name in ADDED:
        del document['config'][name]
    saved.write_bytes(tensor_file.pack(checkpoint.KIND, document, arrays))
    expect(saved, 'actor_smoothness .0.0 there', config=load_config('h2o', **SMALL))
    assert Trainer.load(saved, None, TASK, transitions(300)).config.actor_smoothness == 0.0


def test_a_crash_while_saving_leaves_the_old_checkpoint(saved, monkeypatch):
    before = saved.read_bytes()
    trainer = trainer_of('h2o')

    def crash(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(tensor_file.os, 'fsync', crash)
    with pytest.raises(CheckpointError, match='No space left'):
        trainer.save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_saving_into_no_folder_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match='cannot be written'):
        trainer_of('h2o').save(tmp_path / 'missing' / 'checkpoint.safetensors')
