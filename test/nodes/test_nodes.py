"""The nodes over DDS, started from the shipped launch files: topics, faults, restarts, endings."""

import contextlib
import functools
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from rcl_interfaces.srv import DescribeParameters
from repository import ROOT
from ros_client import ask, call, collect, listening
from std_srvs.srv import Trigger

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.commands import train
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.episodes import Episodes
from h2o_ros.errors import CheckpointError, ConfigurationError
from h2o_ros.msg import (
    Action,
    DynamicsGap,
    Evaluation,
    LearnerStatus,
    Observation,
    RolloutBudget,
    TransitionBatch,
)
from h2o_ros.msg import Policy as PolicyMessage
from h2o_ros.nodes import learner
from h2o_ros.nodes.core.base_node import EVERY, LATCHED, LATEST, STREAM, to_floats
from h2o_ros.nodes.core.conversions import (
    episodes_to_message,
    figures_from_message,
    policy_to_message,
    transitions_to_message,
)
from h2o_ros.nodes.core.single_instance import SoleRun
from h2o_ros.sim.gaps import simulation
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

TASK = load_task('standing_still')
# A short run with a short task: the episodes of the evaluations are what takes time.
HORIZON = 200


def untrained_policy(task=TASK):
    generator = np.random.default_rng(0)
    states = generator.normal(size=(50, len(task.observation)))
    zeros = np.zeros(50)
    real = Transitions(states, zeros[:, None], zeros, states, zeros, zeros)
    return Trainer(load_config('h2o'), task, real, [0]).policy()


@pytest.fixture
def short_task(tmp_path):
    """Give the shipped standing task with a horizon of one second."""
    text = (ROOT / 'config/tasks/standing_still.yaml').read_text()
    path = tmp_path / 'standing_short.yaml'
    path.write_text(text.replace('horizon: 6000', f'horizon: {HORIZON}'))
    return path


@pytest.fixture(scope='module')
def launch_command():
    return [str(Path(sys.executable).with_name('h2o')), 'launch']


@pytest.fixture
def bag(tmp_path, launch_command, processes, node_environment):
    """Record a short demonstration with the shipped launch file."""
    path = tmp_path / 'demonstration'
    recording = processes.start(
        [*launch_command, 'record_demo.launch.py', 'steps:=1500', f'output:={path}'],
        env=node_environment,
    )
    output, _ = recording.communicate(timeout=60)
    assert recording.returncode == 0, output
    return path


def train_command(launch_command, short_task, bag, output, *words):
    return [
        *launch_command, 'train_sim.launch.py', f'task:={short_task}', f'bag:={bag}',
        f'output:={output}', *words,
    ]  # fmt: skip


def test_recording_and_training_from_end_to_end(
    tmp_path, launch_command, processes, node_environment, short_task, bag, ros_domain
):
    rows = load_bags([bag], TASK).transitions
    assert len(rows) > 1400
    output = tmp_path / 'run'
    with listening(ros_domain) as node:
        heard = {
            topic: collect(node, kind, topic, qos)
            for topic, kind, qos in (
                ('observation', Observation, LATEST),
                ('action', Action, LATEST),
                ('transitions', TransitionBatch, EVERY),
                ('rollout_budget', RolloutBudget, LATCHED),
                ('policy', PolicyMessage, LATCHED),
                ('exploration_policy', PolicyMessage, LATCHED),
                ('learner_status', LearnerStatus, EVERY),
                ('dynamics_gap', DynamicsGap, STREAM),
                ('evaluation', Evaluation, EVERY),
                ('virtual_robot/transitions', TransitionBatch, EVERY),
            )
        }
        run = processes.start(
            train_command(launch_command, short_task, bag, output, 'steps:=1500'),
            env=node_environment,
        )
        text, _ = run.communicate(timeout=120)
    assert run.returncode == 0, text
    silent = [topic for topic, messages in heard.items() if not messages]
    assert not silent, f'no message on {silent}\n{text}'
    check_files(output, text)
    check_pace(heard['transitions'])
    status = heard['learner_status'][-1]
    assert status.update == 1500 and status.mean_u > 0
    # The last one may come right behind another.
    assert any(each.updates_per_second > 0 for each in heard['learner_status'])
    final = heard['evaluation'][-1]
    assert final.policy_version == 1500 and len(final.returns) == 10
    assert max(final.lengths) <= HORIZON
    gap = heard['dynamics_gap'][-1]
    assert len(gap.u) * len(TASK.observation) == len(gap.observation) > 0
    assert heard['policy'][-1].final


def check_files(output, text):
    summary = json.loads((output / 'summary.json').read_text())
    assert summary['finished'] and summary['updates'] == 1500
    for name in ('run.png', 'policy.safetensors', 'checkpoint.safetensors', 'evaluation.npz'):
        assert (output / name).stat().st_size > 0
        assert name in text
    learner = [line for line in text.splitlines() if 'learner' in line and '| ' in line]
    deploy = [line for line in learner if 'next: ' in line and ' deploy_robot.launch.py ' in line]
    assert len(deploy) == 1 and f'policy:={output / "policy.safetensors"}' in deploy[0]
    Policy.load(output / 'policy.safetensors').check_contract(TASK)


def check_pace(batches):
    steps = sum(len(batch.reward) for batch in batches)
    config = load_config('h2o')
    needed = config.warmup_steps + 1500 / config.updates_per_step
    assert needed <= steps <= needed + 32 + 512
    assert all(batch.origin == TransitionBatch.ORIGIN_SIMULATOR for batch in batches)


def test_interrupt_saves_and_resume_goes_on(
    tmp_path, launch_command, processes, node_environment, short_task, bag, ros_domain, wait_until
):
    output = tmp_path / 'run'
    gap = 'gap:=gravity:1.1'
    command = train_command(launch_command, short_task, bag, output, 'steps:=200000', gap)
    with listening(ros_domain) as node:
        status = collect(node, LearnerStatus, 'learner_status')
        run = processes.start(command, env=node_environment)
        wait_until(lambda: status and status[-1].update > 200, 60, 'training under way')
        os.kill(run.pid, signal.SIGINT)
        text, _ = run.communicate(timeout=30)
    assert f'resume:={output}/checkpoint.safetensors task:={short_task} bag:={bag}' in text
    assert f' {gap} steps:=200000 output:={output}\n' in text
    checkpoint = output / 'checkpoint.safetensors'
    reached = json.loads((output / 'summary.json').read_text())['updates']
    assert reached > 200
    total = reached + 500
    command = train_command(
        launch_command, short_task, bag, output, f'resume:={checkpoint}', f'steps:={total}'
    )
    refused = processes.start(command, env=node_environment)
    text, _ = refused.communicate(timeout=30)
    assert refused.returncode != 0 and 'Traceback' not in text
    assert f'error: {checkpoint}: trained in another simulator: gravity (1.1 there, 1.0' in text
    with listening(ros_domain) as node:
        status = collect(node, LearnerStatus, 'learner_status')
        again = processes.start([*command, gap], env=node_environment)
        text, _ = again.communicate(timeout=90)
    assert again.returncode == 0, text
    assert status[0].update >= reached
    assert json.loads((output / 'summary.json').read_text())['updates'] == total


def test_a_robots_learner_goes_on_from_any_simulator(tmp_path):
    path, config = tmp_path / 'checkpoint', load_config('sac', TASK)
    heavy = Trainer(config, TASK, None, [3])
    heavy.simulation = simulation('gravity', 32)
    heavy.save(path)

    def resumed(**changes):
        settings = learner.Parameters(resume=str(path), **changes)
        node = SimpleNamespace(_settings=settings, _task=TASK, _real=None)
        return learner.Learner._make_trainer(node, config)

    assert resumed(seed=3, gap='gravity').simulation == simulation('gravity', 32)
    assert resumed(seed=3, online=True).simulation == simulation('gravity', 32)
    with pytest.raises(CheckpointError, match='gravity'):
        resumed(seed=3)
    assert resumed(seed=4, online=True).seeds == (3,)
    with pytest.raises(CheckpointError, match='give seed 3'):
        resumed(seed=4, gap='gravity')


def test_an_evaluation_goes_over_ros_whole():
    nobody, two = np.full(2, np.nan), np.array([1.0, 2.0])
    episodes = Episodes(
        returns=two, lengths=np.array([200, 200]), survived=np.array([True, False]),
        mean_abs_x=two, mean_abs_action=two, mean_x_dot=nobody,
        observation=np.zeros((2, 200, 4)), action=np.zeros((2, 200, 1)),
    )  # fmt: skip
    message = episodes_to_message(episodes, 7, Time())
    for figures in (figures_from_message(message), train.figures(7, episodes)):
        assert figures.update == 7
        assert figures.survived.tolist() == [1, 0]
        assert figures.lengths.tolist() == [200, 200]
        assert figures.mean_abs_x.tolist() == [1, 2] and not len(figures.mean_x_dot)


def process_of(launcher, node):
    """Return the process id of a node under `h2o launch`: a grandchild of the launcher."""
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = path.read_bytes().decode().split('\0')
            if f'__node:={node}' in words and '__ns:=/virtual_robot' not in words:
                process_id = int(path.parent.name)
                if parent_of(parent_of(process_id)) == launcher:
                    return process_id
    pytest.fail(f'{node} does not run')


def parent_of(process_id):
    return int(Path(f'/proc/{process_id}/stat').read_text().rsplit(')', 1)[1].split()[1])


def test_a_launch_survives_the_death_of_its_nodes(
    tmp_path, launch_command, processes, node_environment, short_task, bag, ros_domain, wait_until
):
    output = tmp_path / 'run'
    with listening(ros_domain) as node:
        status = collect(node, LearnerStatus, 'learner_status')
        run = processes.start(
            train_command(
                launch_command, short_task, bag, output, 'steps:=15000', 'evaluate_every:=5000'
            ),
            env=node_environment,
        )
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(run.stdout), daemon=True)
        reader.start()
        wait_until(lambda: status and status[-1].update > 100, 60, 'training under way')
        for name in ('sim_bridge', 'policy_server', 'evaluator'):
            os.kill(process_of(run.pid, name), signal.SIGKILL)
        run.wait(timeout=90)
        reader.join()
    text = ''.join(lines)
    assert run.returncode == 0, text
    assert text.count(': starting it again') == 3, text
    assert status[-1].simulated_steps == pytest.approx(15000 + 1000, abs=700)
    summary = json.loads((output / 'summary.json').read_text())
    assert summary['finished'] and summary['evaluated_update'] == 15000
    assert summary['episodes'] == 10
    assert (output / 'evaluation.npz').exists() and (output / 'run.png').exists()


def start_parts(processes, environment, short_task, output, bag, updates):
    """Start learner, simulator and policy server one by one, as separate processes."""
    task = ('-p', f'task:={short_task}')
    return {
        'learner': lambda *words: processes.start_node(
            'learner', environment, *task, '-p', f'bag:={bag}', '-p', f'updates:={updates}',
            '-p', f'output:={output}', *words,
        ),
        'sim_bridge': lambda: processes.start_node('sim_bridge', environment, *task),
        'policy_server': lambda: processes.start_node(
            'policy_server', environment, *task, '-p', 'deterministic:=false',
            '-r', 'policy:=exploration_policy',
        ),
    }  # fmt: skip


def test_the_learner_may_come_back_to_parts_that_run_on(
    tmp_path, processes, node_environment, short_task, bag, ros_domain, wait_until
):
    output = tmp_path / 'run'
    starters = start_parts(processes, node_environment, short_task, output, bag, 100000)
    parts = {name: start() for name, start in starters.items()}
    with listening(ros_domain) as node:
        status = collect(node, LearnerStatus, 'learner_status')
        wait_until(lambda: status and status[-1].update > 100, 60, 'training under way')
        parts['learner'].send_signal(signal.SIGINT)
        parts['learner'].wait(timeout=30)
        reached = json.loads((output / 'summary.json').read_text())['updates']
        checkpoint = output / 'checkpoint.safetensors'
        parts['learner'] = starters['learner']('-p', f'resume:={checkpoint}')
        wait_until(
            lambda: status[-1].update > reached + 500 and status[-1].update < 100000,
            60,
            'the learner is back',
        )
        assert status[-1].simulated_steps == pytest.approx(status[-1].update + 1000, abs=1100)
    for part in parts.values():
        part.send_signal(signal.SIGINT)
    for name, part in parts.items():
        assert part.wait(timeout=30) == 0, name


def test_a_second_learner_in_the_domain_is_refused_whatever_the_first_does(
    tmp_path, processes, node_environment, ros_domain, wait_until, launch_command
):
    environment = node_environment | {'TMPDIR': str(tmp_path)}
    lock = tmp_path / f'h2o_ros_domain_{ros_domain}.rollout_budget.lock'

    def start(name):
        words = ('-p', f'output:={tmp_path / name}', '-p', 'algorithm:=sac')
        return processes.start_node('learner', environment, *words)

    first = start('a')
    wait_until(lambda: lock.exists() and lock.read_text() == f'{first.pid}\n', 30, 'the lock')
    first.send_signal(signal.SIGSTOP)  # it loads for ever and says nothing
    second = start('b')
    text, _ = second.communicate(timeout=30)
    assert second.returncode == 2
    assert len(text.splitlines()) == 1 and f'another run (process {first.pid})' in text, text
    assert f'domain {ros_domain} on /rollout_budget; set ROS_DOMAIN_ID' in text
    assert not (tmp_path / 'b').exists(), 'it had begun'
    words = ['train_sim.launch.py', f'output:={tmp_path / "b"}']
    launch = processes.start([*launch_command, *words], env=environment)
    text, _ = launch.communicate(timeout=30)
    assert launch.returncode == 2
    assert len(text.splitlines()) == 1 and f'another run (process {first.pid})' in text, text
    first.kill()
    first.wait()
    third = start('c')
    assert any('compiling' in line for line in third.stdout), 'it did not begin'
    third.send_signal(signal.SIGINT)
    third.communicate(timeout=30)
    assert third.returncode == 0


def test_a_run_on_another_machine_is_given_way_to(
    tmp_path, processes, node_environment, ros_domain
):
    with listening(ros_domain) as node:
        budgets = node.create_publisher(RolloutBudget, 'rollout_budget', LATCHED)
        node.create_timer(0.25, lambda: budgets.publish(RolloutBudget(session=1)))
        words = ('-p', f'output:={tmp_path / "run"}', '-p', 'algorithm:=sac')
        learner = processes.start_node('learner', node_environment, *words)
        text, _ = learner.communicate(timeout=60)
    assert learner.returncode == 2
    assert text.splitlines()[-1].startswith('error: another run is training in ROS domain'), text
    assert 'ROS_DOMAIN_ID' in text and 'Traceback' not in text


@contextlib.contextmanager
def learner_node(domain, namespace=''):
    context = rclpy.Context()
    context.init(domain_id=domain)
    node = rclpy.create_node('learner', context=context, namespace=namespace)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_a_run_in_another_namespace_is_left_alone(tmp_path, ros_domain, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    with learner_node(ros_domain) as node, learner_node(ros_domain, 'other') as other:
        SoleRun(node, 1)
        SoleRun(other, 2)
        with pytest.raises(ConfigurationError, match=rf'process {os.getpid()}.* namespace$'):
            SoleRun(node, 3)
        topics = ('rollout_budget', 'other.rollout_budget')
        names = {f'h2o_ros_domain_{ros_domain}.{topic}.lock' for topic in topics}
        assert {path.name for path in tmp_path.iterdir()} == names


def test_a_lock_that_cannot_be_had_is_told_and_training_goes_on(
    tmp_path, ros_domain, monkeypatch, capfd
):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    (tmp_path / f'h2o_ros_domain_{ros_domain}.rollout_budget.lock').mkdir()
    with learner_node(ros_domain) as node:
        SoleRun(node, 1)
    assert 'Is a directory' in capfd.readouterr().err


def test_policy_server_answers_and_refuses(
    processes, node_environment, ros_domain, wait_until, tmp_path
):
    server = processes.start_node('policy_server', node_environment)
    policy = untrained_policy()
    with listening(ros_domain) as node:
        actions = collect(node, Action, 'action', LATEST)
        policies = node.create_publisher(PolicyMessage, 'policy', LATCHED)
        observations = node.create_publisher(Observation, 'observation', LATEST)
        wait_until(lambda: observations.get_subscription_count() > 0, 20, 'the server')
        now = node.get_clock().now().to_msg()
        rows = np.array([[0.1, 0.0, 0.0, 0.0], [-0.1, 0.3, 0.2, 0.1]], np.float32)

        def ask(step):
            observation = Observation(step=step, batch=2, data=to_floats(rows))
            observation.header.stamp.sec = 12
            observations.publish(observation)
            return any(action.step == step for action in actions)

        policies.publish(policy_to_message(policy, 7, now))
        wait_until(lambda: ask(1), 20, 'an answer')
        answer = actions[-1]
        assert answer.policy_version == 7 and answer.header.stamp.sec == 12
        assert np.allclose(np.array(answer.data), policy.act(rows)[:, 0])

        observations.publish(Observation())  # of no robot
        wait_until(lambda: actions[-1].step == 0, 20, 'an empty answer')
        assert len(actions[-1].data) == 0

        torn = policy_to_message(policy, 8, now)
        torn.file = torn.file[:-9]
        other = policy_to_message(untrained_policy(load_task('moving_straight')), 9, now)
        # One after the other: a policy that another follows at once is not seen.
        for step, refused in ((2, torn), (3, other)):
            policies.publish(refused)
            wait_until(functools.partial(ask, step), 20, 'an answer')
            assert actions[-1].policy_version == 7, 'a refused policy acted'
    server.send_signal(signal.SIGINT)
    text, _ = server.communicate(timeout=20)
    assert 'policy 8 refused' in text and 'damaged' in text
    assert 'policy 9 refused' in text and 'moving_straight' in text
    assert server.returncode == 0


LISTENER = """
import rclpy
from h2o_ros.msg import TransitionBatch
from h2o_ros.nodes.core.base_node import EVERY
rclpy.init()
node = rclpy.create_node('listener')
node.create_subscription(TransitionBatch, 'transitions', lambda message: None, EVERY)
rclpy.spin(node)
"""


def test_the_simulator_outlives_a_listener_that_was_killed(
    processes, node_environment, ros_domain, wait_until, tmp_path
):
    """DDS keeps 5,000 messages for it, refuses the next, and forgets it after 20 s."""
    parts = [
        processes.start_node('sim_bridge', node_environment),
        processes.start_node('policy_server', node_environment),
    ]
    program = tmp_path / 'listener.py'  # not -c, which finds the sources before the built package
    program.write_text(LISTENER)
    listener = processes.start([sys.executable, str(program)], env=node_environment)
    with listening(ros_domain) as node:
        batches = collect(node, TransitionBatch, 'transitions', EVERY)
        policies = node.create_publisher(PolicyMessage, 'policy', LATCHED)
        policies.publish(policy_to_message(untrained_policy(), 1, node.get_clock().now().to_msg()))
        wait_until(lambda: node.count_subscribers('/transitions') == 2, 20, 'both listeners')
        budgets = node.create_publisher(RolloutBudget, 'rollout_budget', LATCHED)
        budgets.publish(RolloutBudget(session=1, steps=2**40, seed=1))
        wait_until(lambda: len(batches) > 10, 20, 'the first steps')
        listener.kill()
        wait_until(lambda: len(batches) > 5200, 90, 'steps beyond those kept for the dead')
        counts = [batch.last_step for batch in batches]
        assert np.unique(np.diff(counts)).tolist() == [32], 'one lost or twice'
    parts[0].send_signal(signal.SIGINT)
    text, _ = parts[0].communicate(timeout=20)
    assert 'a listener of transitions hangs or was killed' in text
    parts[1].send_signal(signal.SIGINT)
    assert [part.wait(timeout=20) for part in parts] == [0, 0]


@pytest.mark.parametrize(
    ('node', 'words', 'expected'),
    [
        ('learner', ['-p', 'bag:=/nowhere/bag'], ['/nowhere/bag']),
        ('learner', ['-p', 'bag:=a,'], ["bag: an empty name in 'a,'", 'demonstration']),
        ('learner', ['-p', 'seed:=-1'], ['seed: expected 0 or more, got -1']),
        ('learner', ['-p', 'seed:=abc'], ['seed', 'int']),
        ('learner', ['-p', 'algorithm:=magic'], ['magic', 'h2o_paper']),
        ('learner', ['-p', 'device:=abacus'], ['device', 'cpu, cuda', 'abacus']),
        ('learner', ['-p', 'task:=dancing'], ['dancing', 'standing_still']),
        ('sim_bridge', ['-p', 'gap:=tilted'], ['tilted', 'gravity']),
        ('sim_bridge', ['-p', 'environments:=0'], ['environments: expected 1 to', 'got 0']),
        ('policy_server', ['-p', 'policy:=/nowhere/policy.safetensors'], ['/nowhere/policy']),
        ('bag_recorder', ['-p', 'output:=/dev/null/bag'], ['/dev/null/bag']),
        ('policy_server', ['-p', 'bad'], ["'-p bad'", '-p name:=value']),
        ('policy_server', ['--nonsense'], ['unknown ROS arguments', '--nonsense']),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    processes, node_environment, node, words, expected, tmp_path
):
    output = ['-p', f'output:={tmp_path}/run'] if node == 'learner' else []
    process = processes.start_node(node, node_environment, *output, *words)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 2, text
    assert len([line for line in text.splitlines() if 'error' in line]) == 1, text
    assert 'Traceback' not in text
    for word in expected:
        assert word in text


def test_the_learner_describes_its_parameters_and_refuses_rows_of_another_task(
    processes, node_environment, ros_domain, tmp_path, wait_until
):
    words = ('-p', f'output:={tmp_path}/run', '-p', 'algorithm:=sac')
    learner = processes.start_node('learner', node_environment, *words)
    with listening(ros_domain) as node:
        client = node.create_client(DescribeParameters, 'learner/describe_parameters')
        request = DescribeParameters.Request(names=['window', 'device'])
        window, device = ask(node, client, request, wait_until).descriptors
        assert window.description == 'granted beyond what the updates need (steps)'
        assert (window.read_only, window.integer_range[0].from_value) == (True, 1)
        assert device.additional_constraints == 'one of cpu, cuda'

        budgets = collect(node, RolloutBudget, 'rollout_budget', LATCHED)
        publisher = node.create_publisher(TransitionBatch, 'transitions', EVERY)
        wait_until(lambda: budgets and publisher.get_subscription_count(), 30, 'the learner')
        rows, zeros = np.zeros((8, 3)), np.zeros(8)
        foreign = transitions_to_message(
            Transitions(rows, zeros[:, None], zeros, rows, zeros, zeros)
        )
        foreign.session, foreign.last_step, foreign.batch = budgets[-1].session, 8, 8
        publisher.publish(foreign)
        publisher.publish(foreign)
        wait_until(lambda: len(budgets) > 8, 20, 'the learner goes on')
    learner.send_signal(signal.SIGINT)
    text, _ = learner.communicate(timeout=30)
    assert learner.returncode == 0, text
    refusals = [line for line in text.splitlines() if 'transitions refused' in line]
    assert len(refusals) == 1 and 'Traceback' not in text, text
    assert 'standing_still has 4 observation and 1 action fields' in refusals[0]
    assert 'got 3 and 1' in refusals[0] and 'ROS_DOMAIN_ID' in refusals[0]


def test_ctrl_c_while_the_final_policy_is_evaluated_ends_with_the_summary(
    processes, node_environment, tmp_path, wait_until
):
    algorithm, output = tmp_path / 'quick.yaml', tmp_path / 'run'
    algorithm.write_text("method: sac\nsources: real\nhidden: [8, 8]\ncompile: 'off'\n")
    words = ('-p', f'algorithm:={algorithm}', '-p', f'output:={output}', '-p', 'updates:=50')
    learner = processes.start_node('learner', node_environment, *words)  # nobody evaluates
    wait_until((output / 'policy.safetensors').exists, 120, 'the end of the training')
    learner.send_signal(signal.SIGINT)
    text, _ = learner.communicate(timeout=30)
    assert learner.returncode == 0, text
    assert 'stopped before the final policy was evaluated' in text
    assert json.loads((output / 'summary.json').read_text())['finished']
    assert (output / 'run.png').exists()


def test_ctrl_c_while_a_node_is_imported_leaves_no_trace(processes, node_environment, wait_until):
    learner = processes.start_node('learner', node_environment)
    maps = Path(f'/proc/{learner.pid}/maps')
    wait_until(lambda: 'numpy' in maps.read_text(), 20, 'imports under way')
    learner.send_signal(signal.SIGINT)
    text, _ = learner.communicate(timeout=20)
    assert learner.returncode == -signal.SIGINT
    assert text == ''


def test_an_operator_answers_no_observation_of_another_size(
    processes, node_environment, ros_domain, wait_until
):
    operator = processes.start_node('scripted_operator', node_environment)
    steps = iter(range(1, 1000))
    with listening(ros_domain) as node:
        answers = collect(node, Action, 'action')
        robot = node.create_publisher(Observation, 'observation', LATEST)

        def ask_in_turn():
            step = next(steps)
            data = to_floats(np.zeros((4, 0, 3)[step % 3]))
            robot.publish(Observation(step=step, batch=1, data=data))
            return len(answers) >= 3

        wait_until(ask_in_turn, 20, 'answers')
        assert {m.step % 3 for m in answers} == {0}
    operator.send_signal(signal.SIGINT)
    text, _ = operator.communicate(timeout=20)
    assert operator.returncode == 0 and 'expected 4 numbers, got' in text


def test_a_lockstep_robot_makes_no_step_with_a_torque_that_is_not_finite(
    processes, node_environment, ros_domain, wait_until
):
    robot = processes.start_node('lockstep_robot', node_environment)
    torques = itertools.cycle((np.nan, 0.0))
    with listening(ros_domain) as node:
        observations = collect(node, Observation, 'observation', LATEST)
        action = node.create_publisher(Action, 'action', LATEST)

        def drive():
            step = observations[-1].step if observations else 0
            action.publish(Action(step=step, data=to_floats(np.array([next(torques)]))))
            return step >= 5

        wait_until(drive, 20, 'five steps')
        assert np.isfinite([m.data for m in observations]).all()
    robot.send_signal(signal.SIGINT)
    text, _ = robot.communicate(timeout=20)
    assert robot.returncode == 0 and 'action: refused, not finite' in text


def test_recorder_stops_by_service(processes, node_environment, ros_domain, tmp_path, wait_until):
    recorder = processes.start_node(
        'bag_recorder', node_environment, '-p', f'output:={tmp_path}/take'
    )
    with listening(ros_domain) as node:
        assert call(node, 'stop_recording', wait_until).success
    recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    assert (tmp_path / 'take' / 'metadata.yaml').exists()


def test_ctrl_c_ends_a_robots_policy_server_though_simulated_time_stands_still(
    processes, node_environment, ros_domain
):
    words = ('-p', 'mode:=balance', '-p', 'use_sim_time:=true')
    server = processes.start_node('policy_server', node_environment, *words)
    with listening(ros_domain) as node:
        assert node.create_client(Trigger, 'shadow').wait_for_service(20.0)
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=20) == 0
