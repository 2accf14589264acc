"""One description of a graph: run by `h2o launch`, and the LaunchDescription of `ros2 launch`."""

import dataclasses
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import (
    Argument,
    Graph,
    NodeProcess,
    RespawnLimit,
    node_environment,
    split_arguments,
)
from h2o_ros.launching.without_ros.command import load_graph, parse
from h2o_ros.launching.without_ros.processes import command_line
from h2o_ros.robot.description import check_model
from h2o_ros.task import load_task

SHIPPED = ROOT / 'launch'
PROLOGUE = """
import os, signal, subprocess, sys, time
from pathlib import Path
folder, name = Path(os.environ['TEST_FOLDER']), Path(sys.argv[0]).name
def note(what, text=''):
    (folder / f'{name}.{what}.part').write_text(str(text))
    (folder / f'{name}.{what}.part').rename(folder / f'{name}.{what}')
def on_interrupt(*_):
    note('saved')
    sys.exit(int(os.environ.get('TEST_CODE', 0)))
ORIGINAL = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
signal.signal(signal.SIGINT, ORIGINAL[0] if name == 'plain' else on_interrupt)
"""
NODES = {
    'worker': "note('pid', os.getpid())\nprint('at work')\ntime.sleep(60)",
    'stubborn': 'signal.signal(signal.SIGINT, signal.SIG_IGN)\n'
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nnote('pid', os.getpid())\ntime.sleep(60)",
    'parent': "note('child', subprocess.Popen(['sleep', '60'], preexec_fn=lambda: "
    "signal.signal(signal.SIGINT, signal.SIG_IGN)).pid)\nnote('pid', os.getpid())\ntime.sleep(60)",
    'fragile': "starts = folder / 'starts'\nstarts.open('a').write('x')\n"
    "time.sleep(0.05)\nif len(starts.read_text()) <= int(os.environ['TEST_DEATHS']):\n"
    "    os.kill(os.getpid(), 9) if 'TEST_CODE' not in os.environ else "
    "os._exit(int(os.environ['TEST_CODE']))\nnote('pid', os.getpid())\ntime.sleep(60)",
    'short': 'time.sleep(0.3)\nsys.exit(int(os.environ.get("TEST_CODE", 0)))',
    'plain': "assert signal.SIG_IGN not in ORIGINAL\nnote('pid', os.getpid())\ntime.sleep(60)",
    'polite': "session = Path('/proc/self/autogroup')\nprint('niceness', os.nice(0))\n"
    "print('of the session', session.read_text().split()[-1] if session.exists() else 'none')",
    'chatty': "note('pid', os.getpid())\nwhile True: print(200 * 'x'); time.sleep(0.001)",
    'network': "print('network', os.environ['H2O_ROS_NETWORK'])",
    'echo': "print('\\n'.join(sys.argv[1:]))\n"
    'print(next(Path(word) for word in sys.argv[:0:-1] if Path(word).is_file()).read_text())',
}
LAUNCH_FILE = """
from h2o_ros.launching.description import Argument, Graph, NodeProcess
def nodes(arguments):
    return [{nodes}]
GRAPH = Graph((
    Argument('seed', 0, 'Random seed'),
    Argument('gap', 'none', 'Dynamics gap', ('none', 'gravity')),
    Argument('fast', False, 'Whether to hurry'),
), nodes)
"""
# The waits of a real run would make the tests slow.
START = """
import signal, sys
from h2o_ros import cli
from h2o_ros.launching.without_ros import child
from h2o_ros.launching.without_ros import processes
processes.RESPAWN_DELAY = {delay}
child.ESCALATION = ((signal.SIGINT, {patience}), (signal.SIGTERM, 0.3), (signal.SIGKILL, 1))
sys.exit(cli.main(['launch', *sys.argv[1:]]))
"""
RUN = "import sys; from h2o_ros import cli; sys.exit(cli.main(['run', *sys.argv[1:]]))"


class Launch:
    """A built prefix with tiny nodes, and the launcher on it."""

    def __init__(self, folder, processes):
        self.folder, self._processes = folder, processes
        self.environment = os.environ | {
            'AMENT_PREFIX_PATH': str(folder),
            'TEST_FOLDER': str(folder),
        }
        executables = folder / 'lib' / 'h2o_ros'
        executables.mkdir(parents=True)
        for name, body in NODES.items():
            (executables / name).write_text(PROLOGUE + body)

    def start(self, nodes, *words, patience=5.0, delay=0.05, prefix=(), **environment):
        """Run a launch file with these nodes; words are further arguments.

        prefix: a command that runs the launch.
        """
        file = self.folder / 'test.launch.py'
        file.write_text(LAUNCH_FILE.format(nodes=nodes))
        code = START.format(patience=patience, delay=delay)
        command = [*prefix, sys.executable, '-c', code, str(file), *words]
        return self.start_command(command, **environment)

    def start_command(self, command, **environment):
        """Run a command on this prefix."""
        return self._processes.start(command, env=self.environment | environment)

    def noted(self, name, what='pid'):
        """Return what a node has noted, or nothing."""
        path = self.folder / f'{name}.{what}'
        return path.read_text() if path.exists() else None


@pytest.fixture
def launch(tmp_path, processes):
    return Launch(tmp_path, processes)


def test_ctrl_c_ends_every_process_and_lets_them_save(launch, wait_until, running):
    run = launch.start("NodeProcess('worker', required=True), NodeProcess('parent')")
    wait_until(lambda: launch.noted('worker') and launch.noted('parent'))
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=20)[0]
    assert time.monotonic() - began < 4.0
    assert run.returncode == 0, output
    assert launch.noted('worker', 'saved') == '' and launch.noted('parent', 'saved') == ''
    left = [launch.noted('worker'), launch.noted('parent'), launch.noted('parent', 'child')]
    assert not any(running(int(process_id)) for process_id in left)
    assert 'worker' in output and 'at work' in output


def test_a_node_without_a_handler_is_interrupted_too(launch, wait_until):
    run = launch.start("NodeProcess('plain', required=True)")
    wait_until(lambda: launch.noted('plain'))
    run.send_signal(signal.SIGINT)
    assert 'KeyboardInterrupt' in run.communicate(timeout=20)[0]
    assert run.returncode == 128 + signal.SIGINT


def test_sigterm_does_the_same(launch, wait_until, running):
    run = launch.start("NodeProcess('worker', required=True)", TEST_CODE='7')
    wait_until(lambda: launch.noted('worker'))
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=20)
    assert run.returncode == 7
    assert launch.noted('worker', 'saved') == ''
    assert not running(int(launch.noted('worker')))


def test_a_process_that_does_not_end_is_killed(launch, wait_until, running):
    run = launch.start("NodeProcess('stubborn', required=True)", patience=0.3)
    wait_until(lambda: launch.noted('stubborn'))
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=20)[0]
    assert run.returncode == 128 + signal.SIGKILL
    assert 'SIGTERM to stubborn' in output and 'SIGKILL to stubborn' in output
    assert not running(int(launch.noted('stubborn')))


def test_no_process_outlives_a_killed_launcher(launch, wait_until, running):
    run = launch.start("NodeProcess('worker', required=True), NodeProcess('stubborn')", patience=1)
    wait_until(lambda: launch.noted('worker') and launch.noted('stubborn'))
    run.kill()
    wait_until(lambda: not running(int(launch.noted('worker'))), 10, 'the worker ends')
    wait_until(lambda: not running(int(launch.noted('stubborn'))), 10, 'the stubborn one ends')
    assert launch.noted('worker', 'saved') == ''


STARTER = """
import subprocess, sys, time
subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], 'w'), stderr=subprocess.STDOUT)
time.sleep(60)
"""


@pytest.mark.parametrize('kept', [False, True])
def test_a_launch_whose_parent_was_killed_ends_its_nodes(launch, wait_until, running, kept):
    output = launch.folder / 'output.txt'
    prefix = (['nohup'] if kept else []) + [sys.executable, '-c', STARTER, str(output)]
    nodes = "NodeProcess('worker', required=True)"
    starter = launch.start(nodes, prefix=prefix)
    wait_until(lambda: launch.noted('worker'))
    starter.kill()
    if kept:  # as a shell that ends leaves what it was told to keep
        time.sleep(1.0)
        assert running(int(launch.noted('worker')))
        os.killpg(starter.pid, signal.SIGTERM)
    wait_until(lambda: not running(int(launch.noted('worker'))), 10, output.read_text)
    assert launch.noted('worker', 'saved') == ''
    told = 'who started this launch has ended: ending the nodes'
    wait_until(lambda: 'worker stopped' in output.read_text(), 10, output.read_text)
    assert (told in output.read_text()) == (not kept)


def test_a_launch_whose_reader_is_gone_ends_its_nodes(launch, wait_until, running):
    run = launch.start("NodeProcess('chatty', required=True), NodeProcess('worker')")
    wait_until(lambda: launch.noted('chatty') and launch.noted('worker'))
    run.stdout.close()
    assert run.wait(20) == 0
    assert launch.noted('chatty', 'saved') == launch.noted('worker', 'saved') == ''
    assert not any(running(int(launch.noted(name))) for name in ('chatty', 'worker'))


def test_a_reader_that_hangs_does_not_keep_a_launch_from_ending(launch, wait_until, running):
    run = launch.start("NodeProcess('chatty', required=True)")
    wait_until(lambda: launch.noted('chatty'))
    time.sleep(1.5)  # 300 kB, where a pipe holds 64
    run.send_signal(signal.SIGINT)
    assert run.wait(10) == 0
    assert launch.noted('chatty', 'saved') == ''
    assert not running(int(launch.noted('chatty')))


def test_the_end_of_the_required_node_ends_all_with_its_code(launch, running):
    nodes = "NodeProcess('short', required=True), NodeProcess('worker')"
    run = launch.start(nodes, TEST_CODE='3')
    run.communicate(timeout=20)
    assert run.returncode == 3
    assert launch.noted('worker', 'saved') == ''
    assert not running(int(launch.noted('worker')))


def test_another_node_may_end_well_but_its_failure_ends_all(launch, wait_until):
    nodes = "NodeProcess('worker', required=True), NodeProcess('short')"
    run = launch.start(nodes)
    wait_until(lambda: launch.noted('worker'))
    time.sleep(1.0)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 0
    failed = launch.start(nodes, TEST_CODE='5')
    output = failed.communicate(timeout=20)[0]
    assert failed.returncode == 5
    assert 'short ended with exit code 5: ending the others' in output


def test_without_a_node_that_is_apart_all_go_on(launch, wait_until):
    nodes = (
        "NodeProcess('worker', required=True), NodeProcess('short', apart=True), "
        "NodeProcess('fragile', respawn=True, apart=True)"
    )
    run = launch.start(nodes, TEST_CODE='5', TEST_DEATHS='99')
    wait_until(lambda: launch.noted('worker') and (launch.folder / 'starts').exists())
    wait_until(lambda: (launch.folder / 'starts').read_text() == 6 * 'x')
    time.sleep(0.5)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=20)[0]
    assert run.returncode == 5, output  # what the worker ends with at Ctrl-C
    assert output.count('short ended with exit code 5: the others go on without it') == 1
    assert output.count('for the 6th time with exit code 5: the others go on without it') == 1
    assert launch.noted('worker', 'saved') == ''


def test_a_mistake_at_the_beginning_of_one_that_is_apart_ends_all(launch):
    run = launch.start(
        "NodeProcess('worker', required=True), NodeProcess('short', apart=True)", TEST_CODE='2'
    )
    output = run.communicate(timeout=20)[0]
    assert run.returncode == 2 and 'short ended with exit code 2: ending the others' in output


RESPAWNED = "NodeProcess('worker', required=True), NodeProcess('fragile', respawn=True)"


def test_a_node_that_is_killed_is_started_again(launch, wait_until):
    run = launch.start(RESPAWNED, TEST_DEATHS='2')
    wait_until(lambda: launch.noted('fragile') and launch.noted('worker'))
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=20)[0]
    assert run.returncode == 0, output
    assert output.count('fragile ended with exit code -9: starting it again') == 2
    assert launch.noted('fragile', 'saved') == ''


def test_a_node_that_dies_again_and_again_ends_all(launch):
    run = launch.start(RESPAWNED, TEST_DEATHS='99', TEST_CODE='5')
    output = run.communicate(timeout=20)[0]
    assert run.returncode == 5
    assert (launch.folder / 'starts').read_text() == 6 * 'x'
    assert output.count('fragile ended for the 6th time with exit code 5: ending the others') == 1


def test_a_mistake_is_not_started_again(launch):
    run = launch.start(RESPAWNED, TEST_DEATHS='99', TEST_CODE='2')
    output = run.communicate(timeout=20)[0]
    assert run.returncode == 2
    assert 'fragile ended with exit code 2: ending the others' in output
    assert (launch.folder / 'starts').read_text() == 'x'


def test_ctrl_c_does_not_wait_for_what_is_to_be_started_again(launch, wait_until):
    run = launch.start(RESPAWNED, TEST_DEATHS='1', delay=60)
    wait_until(lambda: launch.noted('worker') and (launch.folder / 'starts').exists())
    time.sleep(0.5)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 0
    assert time.monotonic() - began < 4.0
    assert launch.noted('fragile') is None


def test_deaths_far_apart_are_not_in_a_row():
    limit = RespawnLimit()
    assert all(limit.allows(-9, 11.0 * number) for number in range(20))
    assert [limit.allows(1, 300.0 + number) for number in range(6)] == [True] * 5 + [False]
    assert not RespawnLimit().allows(2, 0.0)


def test_names_topics_and_parameters_reach_the_node(launch):
    node = (
        "NodeProcess('echo', name='talker', namespace='robot', required=True, "
        "parameters={'seed': arguments['seed'], 'text': '5', 'fast': arguments['fast'], "
        "'rate': 2.0, 'empty': ''}, remappings=(('policy', 'other'),))"
    )
    run = launch.start(node, 'seed:=4', 'fast:=true')
    output = run.communicate(timeout=20)[0]
    assert run.returncode == 0, output
    for word in ('__node:=talker', '__ns:=/robot', 'policy:=other', '--params-file'):
        assert word in output
    expected = {'seed': 4, 'text': '5', 'fast': True, 'rate': 2.0, 'empty': ''}
    assert json.dumps({'/**': {'ros__parameters': expected}}) in output
    assert 'robot/talker' in output


def test_a_node_may_give_way_to_others(launch):
    process = launch.start("NodeProcess('polite', required=True, nice=7)")
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert f'niceness {os.nice(0) + 7}' in output
    shared_among_sessions = Path('/proc/self/autogroup').exists()
    assert f'of the session {7 if shared_among_sessions else "none"}' in output


@pytest.mark.parametrize('words', [['echo', 'one', __file__], ['short']])
def test_a_node_runs_alone_as_under_ros2_run(launch, words):
    command = [sys.executable, '-c', RUN, *words]
    process = launch.start_command(command, TEST_CODE='3')
    output = process.communicate(timeout=20)[0]
    assert process.returncode == (0 if words[0] == 'echo' else 3)
    if words[0] == 'echo':
        assert output.startswith(f'one\n{__file__}\n')


OPENED = """
from h2o_ros.launching.arguments import NETWORK
from h2o_ros.launching.description import Graph, NodeProcess
GRAPH = Graph((NETWORK,), lambda arguments: [NodeProcess('network', required=True)])
"""


@pytest.mark.parametrize('words', [[], ['network:=host'], ['network:=subnet']])
def test_only_an_argument_opens_the_nodes_to_other_machines(launch, words):
    file = launch.folder / 'opened.launch.py'
    file.write_text(OPENED)
    command = [sys.executable, '-c', START.format(patience=5, delay=1), str(file), *words]
    run = launch.start_command(
        command, H2O_ROS_NETWORK='subnet', ROS_AUTOMATIC_DISCOVERY_RANGE='SUBNET'
    )
    output = run.communicate(timeout=20)[0]
    opened = words == ['network:=subnet']
    assert f'network {"subnet" if opened else "host"}' in output
    warned = 'warning: network:=subnet: every machine of the network that uses ROS domain'
    assert output.startswith(warned) == opened, output


@pytest.mark.parametrize('path', sorted(SHIPPED.glob('*.launch.py')), ids=lambda path: path.name)
def test_every_shipped_file_keeps_to_this_machine_unless_told(path):
    (network,) = [a for a in load_graph(path).arguments if a.name == 'network']
    assert (network.default, network.choices) == ('host', ('host', 'subnet'))


def test_an_unknown_node_is_one_line_that_lists_the_known(launch):
    process = launch.start_command([sys.executable, '-c', RUN, 'sorcerer'])
    output = process.communicate(timeout=20)[0]
    assert output.startswith("error: unknown node 'sorcerer'; choose one of chatty, echo, ")
    assert output.count('\n') == 1
    assert process.returncode == 2


def test_the_parameter_file_is_what_ros_reads(tmp_path, ros_domain):
    rclpy = pytest.importorskip('rclpy')
    (tmp_path / 'lib' / 'h2o_ros').mkdir(parents=True)
    (tmp_path / 'lib' / 'h2o_ros' / 'echo').touch()
    process = NodeProcess('echo', parameters={'a': '5', 'b': 5, 'c': 5.0, 'd': '', 'e': True})
    words = command_line(process, tmp_path, tmp_path)
    context = rclpy.Context()
    rclpy.init(args=words[2:], context=context, domain_id=ros_domain)
    node = rclpy.create_node(
        'unnamed', context=context, automatically_declare_parameters_from_overrides=True
    )
    values = {name: node.get_parameter(name).value for name in process.parameters}
    assert node.get_name() == 'echo'
    node.destroy_node()
    rclpy.shutdown(context=context)
    assert values == process.parameters
    assert {name: type(v) for name, v in values.items()} == {
        'a': str, 'b': int, 'c': float, 'd': str, 'e': bool,
    }  # fmt: skip


@pytest.mark.parametrize(
    ('word', 'complaint'),
    [
        ('speed:=1', "unknown argument 'speed'; known arguments: fast, gap, seed"),
        ('gap:=wind', "argument gap: expected one of none, gravity, got 'wind'"),
        ('seed:=one', "argument seed: expected int, got 'one'"),
        ('fast:=2', "argument fast: expected bool, got '2'"),
        ('seed=1', "malformed argument 'seed=1', expected name:=value"),
        ('seed:=', "malformed argument 'seed:=', expected name:=value"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(launch, word, complaint):
    run = launch.start("NodeProcess('worker', required=True)", word)
    assert run.communicate(timeout=20)[0] == f'error: {complaint}\n'
    assert run.returncode == 2
    assert launch.noted('worker') is None


def test_unknown_files_and_nodes_are_one_line(launch):
    missing = launch.start("NodeProcess('sorcerer')")
    assert missing.communicate(timeout=20)[0] == (
        'error: node sorcerer is not built; run `make build`\n'
    )
    (launch.folder / 'other.launch.py').write_text('')
    with pytest.raises(ConfigurationError, match='states no GRAPH'):
        load_graph(launch.folder / 'other.launch.py')


def test_arguments_are_shown_as_ros2_launch_shows_them(launch):
    run = launch.start("NodeProcess('worker')", '--show-args')
    assert run.communicate(timeout=20)[0].splitlines() == [
        "Arguments (pass arguments as '<name>:=<value>'):",
        '',
        "    'seed':",
        '        Random seed',
        "        (default: '0')",
        '',
        "    'gap':",
        "        Dynamics gap. Valid choices are: ['none', 'gravity']",
        "        (default: 'none')",
        '',
        "    'fast':",
        '        Whether to hurry',
        "        (default: 'false')",
    ]
    assert run.returncode == 0


STARTS_NOTHING = """
import sys
sys.addaudithook(lambda event, given: print(event) if event == 'subprocess.Popen' else None)
import h2o_ros.sim.simulator
"""


def test_a_node_that_simulates_starts_no_process_for_ctrl_c_to_hit():
    plain = {name: text for name, text in os.environ.items() if name != 'MUJOCO_GL'}
    command = [sys.executable, '-c', STARTS_NOTHING]
    environment = plain | node_environment(plain)
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == ''


def test_only_the_launch_file_is_required(capsys):
    with pytest.raises(SystemExit):
        parse([])
    assert capsys.readouterr().err.endswith('the following arguments are required: file\n')


def test_what_is_shown_of_a_robot_is_what_may_be_given():
    shown = {a.name: a.description for a in load_graph(SHIPPED / 'train_sim.launch.py').arguments}
    with pytest.raises(ConfigurationError) as refused:
        check_model('wheel_legged', 'harder')
    assert str(refused.value).partition('choose one of ')[2] in shown['robot']


def test_the_last_of_a_repeated_argument_wins():
    assert split_arguments(['a:=1', 'b:=x:=y', 'a:=2']) == {'a': '2', 'b': 'x:=y'}


class Recorded:
    """Stands for a class of launch: keeps what it was made with."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


def stand_in(monkeypatch):
    """Put modules with the documented signatures of launch and launch_ros in place."""

    class DeclareLaunchArgument(Recorded):
        def __init__(self, name, *, default_value=None, description=None, choices=None):
            super().__init__(name)
            assert default_value is None or isinstance(default_value, str)
            assert choices is None or default_value in choices
            self.name, self.default_value = name, default_value
            self.description, self.choices = description, choices

    class OpaqueFunction(Recorded):
        def __init__(self, *, function, args=None, kwargs=None):
            super().__init__()
            self.function = function

    class Shutdown(Recorded):
        def __init__(self, *, reason='reason not given', **kwargs):
            super().__init__(reason=reason)

    class ParameterValue(Recorded):
        def __init__(self, value, *, value_type=None):
            super().__init__(value)
            self.value, self.value_type = value, value_type

    class Node(Recorded):
        def __init__(
            self, *, executable, package=None, name=None, namespace=None, exec_name=None,
            parameters=None, remappings=None, ros_arguments=None, arguments=None,
            output='log', additional_env=None, sigterm_timeout='5', on_exit=None,
            respawn=False, respawn_delay=None, respawn_max_retries=-1, prefix=None,
        ):  # fmt: skip
            given = dict(locals())
            super().__init__(**{k: v for k, v in given.items() if k not in ('self', '__class__')})

    class LaunchDescription(Recorded):
        def __init__(self, initial_entities=None):
            super().__init__()
            self.entities = list(initial_entities or [])

    contents = {
        'launch': {'LaunchDescription': LaunchDescription},
        'launch.actions': {
            'DeclareLaunchArgument': DeclareLaunchArgument,
            'OpaqueFunction': OpaqueFunction,
            'Shutdown': Shutdown,
        },
        'launch.logging': {'get_logger': logging.getLogger},
        'launch_ros': {},
        'launch_ros.actions': {'Node': Node},
        'launch_ros.parameter_descriptions': {'ParameterValue': ParameterValue},
    }
    for name, members in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)


class Context:
    """What a launch description needs of a LaunchContext.

    failures: messages of the errors that its loop's exception handler was given.
    """

    def __init__(self, launch_configurations, is_shutdown=False):
        self.launch_configurations, self.is_shutdown = launch_configurations, is_shutdown
        self.failures = []
        self.asyncio_loop = types.SimpleNamespace(
            call_exception_handler=lambda context: self.failures.append(context['message'])
        )


def declared_parameters(module):
    """Return the fields of every dataclass that a node declares its parameters from."""
    names = [name for name in vars(module) if name == 'Parameters' or name.endswith('Settings')]
    kinds = [vars(module)[name] for name in names]
    return {f.name: f for kind in kinds for f in dataclasses.fields(kind)}


@pytest.fixture
def given(path, tmp_path):
    """Give the arguments without which a shipped launch file starts nothing."""
    if path.name != 'deploy_robot.launch.py':
        return {}
    policy = tmp_path / 'policy.safetensors'
    task = load_task('standing_still')
    ones = np.ones(len(task.observation))
    head, bias = np.zeros((len(ones), 2)), np.zeros(2)
    Policy([head], [bias], np.ones(2), ones, 0 * ones, task.contract()).save(policy)
    return {'policy': str(policy), 'learn': 'true', 'checkpoint': str(policy)}


def load(path):
    specification = importlib.util.spec_from_file_location('shipped', path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize('path', sorted(SHIPPED.glob('*.launch.py')), ids=lambda path: path.name)
def test_both_ways_start_the_same_nodes(path, given, monkeypatch):
    stand_in(monkeypatch)
    module = load(path)
    *declared, last = module.generate_launch_description().entities
    assert [action.name for action in declared] == [a.name for a in module.GRAPH.arguments]
    assert all(action.description for action in declared)
    chosen = {action.name: action.default_value for action in declared} | given
    context = Context(chosen)
    made = [action.kwargs for action in last.function(context)]
    stated = module.GRAPH.nodes(module.GRAPH.read(given))
    assert len(made) == len(stated)
    for node, process in zip(made, stated, strict=True):
        assert (node['package'], node['executable']) == ('h2o_ros', process.executable)
        assert node['name'] == (process.name or process.executable)
        assert node['namespace'] == process.namespace
        assert tuple(node['remappings']) == process.remappings
        assert node['prefix'] == (f'nice -n {process.nice}' if process.nice else None)
        values = {k: getattr(v, 'value', v) for k, v in node['parameters'][0].items()}
        assert values == process.parameters
        texts = [v for v in node['parameters'][0].values() if hasattr(v, 'value_type')]
        assert all(text.value_type is str for text in texts)
        assert (node['respawn'], node['respawn_delay']) == (process.respawn, 1.0)
        assert (node['respawn_max_retries'] < 0) == (not process.apart)
        for code in (0, 1, -9, 2):
            context = Context(chosen)
            ends = node['on_exit'](types.SimpleNamespace(returncode=code), context)
            fails = code == 2 or (code != 0 and not process.respawn)
            lets_go = process.apart and code != 2  # a mistake at the beginning ends all
            assert (ends is not None) == (process.required or (fails and not lets_go))
            told = f'{process.label} ended with exit code {code}'
            assert context.failures == [told] * (ends is not None and code != 0)
            assert ends is None or ends.kwargs['reason'] == told
            context = Context(chosen, is_shutdown=True)
            assert node['on_exit'](types.SimpleNamespace(returncode=code), context) is None
            assert context.failures == [told] * (process.required and code != 0)
    assert len({process.label for process in stated}) == len(stated)


# What the Python of a ROS installation, which runs `ros2 launch`, need not have.
NOT_OF_ROS = (
    'torch', 'scipy', 'safetensors', 'h5py', 'rosbags', 'mujoco', 'gymnasium', 'onnx',
    'onnxruntime', 'can', 'cantools', 'msgpack', 'honcho', 'matplotlib', 'rich', 'tensorboard',
    'tqdm',
)  # fmt: skip
ON_ROS_PYTHON = """
import importlib.util, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in sys.argv[2].split(','):
            raise ModuleNotFoundError(f'{name} is not installed')
sys.meta_path.insert(0, Missing())
specification = importlib.util.spec_from_file_location('shipped', sys.argv[1])
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)
graph = module.GRAPH
graph.check('')
print(len(graph.nodes(graph.read(dict(word.split(':=') for word in sys.argv[3:])))), 'nodes')
"""


@pytest.mark.parametrize('path', sorted(SHIPPED.glob('*.launch.py')), ids=lambda path: path.name)
def test_a_launch_file_needs_only_what_ros_has(path, given, processes):
    words = [f'{name}:={value}' for name, value in given.items()]
    command = [sys.executable, '-c', ON_ROS_PYTHON, str(path), ','.join(NOT_OF_ROS), *words]
    run = processes.start(command)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 0 and said.endswith(' nodes\n'), said


def topic_of(action, namespace, topic, context):
    """Return the full name of a node's topic, where launch_ros starts it in a pushed namespace."""
    given, rclpy = action.kwargs, pytest.importorskip('rclpy')
    words = [word for pair in given['remappings'] for word in ('-r', ':='.join(pair))]
    node = rclpy.create_node(
        given['name'],
        namespace='/'.join(part for part in (namespace, given['namespace']) if part),
        cli_args=['--ros-args', *words],
        context=context,
    )
    name = node.resolve_topic_name(topic)
    node.destroy_node()
    return name


@pytest.mark.parametrize('namespace', ['', '/robot1', '/lab/robot1'])
@pytest.mark.parametrize('path', [SHIPPED / 'deploy_robot.launch.py'], ids=['deploy'])
def test_who_learns_on_and_who_drives_hear_each_other_in_a_namespace(
    path, namespace, given, monkeypatch, ros_domain
):
    rclpy = pytest.importorskip('rclpy')
    stand_in(monkeypatch)
    *declared, last = load(path).generate_launch_description().entities
    chosen = {action.name: action.default_value for action in declared} | given
    if namespace:
        chosen['ros_namespace'] = namespace  # as PushRosNamespace leaves it
    made = last.function(Context(chosen))
    nodes = {action.kwargs['name']: action for action in made}
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    for inside, other, topic in (
        ('policy', 'policy_gate', 'candidate_policy'),
        ('robot_transitions', 'robot_bridge', 'robot_transitions'),
        ('evaluation', 'evaluator', 'evaluation'),
    ):
        learners = topic_of(nodes['learner'], namespace, inside, context)
        others = topic_of(nodes[other], namespace, topic, context)
        assert (learners, others) == (f'{namespace}/{topic}',) * 2
    rclpy.shutdown(context=context)


@pytest.mark.parametrize('path', sorted(SHIPPED.glob('*.launch.py')), ids=lambda path: path.name)
def test_a_shipped_node_knows_every_parameter_it_is_given(path, given):
    graph = load_graph(path)
    for process in graph.nodes(graph.read(given)):
        pytest.importorskip('rclpy')
        module = importlib.import_module(f'h2o_ros.nodes.{process.executable}')
        known = declared_parameters(module)
        for name, value in process.parameters.items():
            assert name in known, f'{process.label} has no parameter {name}'
            assert isinstance(value, type(known[name].default)), f'{process.label}: {name}'


def test_the_bus_is_that_of_the_driver_file_unless_an_argument_names_another(tmp_path):
    path = tmp_path / 'driver.yaml'
    path.write_text('interface: udp_multicast\nchannel: 239.74.163.9\nleft_node_id: 4\n')
    graph = load_graph(SHIPPED / 'record_teleop.launch.py')

    def driver_of(**words):
        processes = graph.nodes(graph.read({'operator': 'keyboard', **words}))
        return next(p for p in processes if p.executable == 'hardware_driver').parameters

    def bus_of(**words):
        return tuple(driver_of(**words)[name] for name in ('interface', 'channel'))

    assert bus_of(robot='wheel_legged') == ('socketcan', '')
    assert bus_of() == ('udp_multicast', '')
    filed = {'robot': 'wheel_legged', 'driver': str(path)}
    assert bus_of(**filed) == ('udp_multicast', '239.74.163.9')
    assert driver_of(**filed)['left_node_id'] == 4
    assert bus_of(**filed, interface='socketcan', channel='can1') == ('socketcan', 'can1')


@pytest.mark.parametrize(
    ('words', 'seconds'),
    [
        ({}, 60.0),
        ({'seconds': '5'}, 5.0),
        ({'operator': 'keyboard'}, 0.0),
        ({'operator': 'joystick', 'seconds': '5'}, 5.0),
    ],
)
def test_a_person_drives_until_told_to_end(words, seconds):
    graph = load_graph(SHIPPED / 'record_teleop.launch.py')
    processes = graph.nodes(graph.read(words))
    supervisor = next(p for p in processes if p.executable == 'supervisor')
    assert supervisor.parameters['seconds'] == seconds


@pytest.mark.parametrize('path', [SHIPPED / 'deploy_robot.launch.py'], ids=['deploy'])
def test_learning_without_a_checkpoint_starts_nothing(path, given):
    graph = load_graph(path)
    with pytest.raises(ConfigurationError, match='nowhere: there is no such checkpoint'):
        graph.nodes(graph.read(given | {'checkpoint': 'nowhere'}))


@pytest.mark.parametrize(
    ('file', 'words', 'complaint'),
    [
        ('train_sim', {'gap': 'gravity+wind'}, "gap 'gravity\\+wind': 'wind' is unknown"),
        ('train_sim', {'robot': 'nosuch'}, 'choose one of simulator, hard, nominal, standard'),
        ('train_sim', {'task': 'walker2d', 'robot': 'hard'}, 'choose one of simulator, standard'),
        ('train_sim', {'steps': '-5'}, 'argument steps: expected 0 or more, got -5$'),
        ('train_sim', {'environments': '0'}, 'argument environments: expected 1 or more'),
        ('train_sim', {'algorithm': 'magic'}, "algorithm 'magic' is unknown"),
        ('train_sim', {'bag': 'bags,/nowhere/bag'}, 'argument bag: /nowhere/bag is not there'),
        (
            'train_sim',
            {'resume': 'no.safetensors'},
            'argument resume: no.safetensors is not there',
        ),
        ('train_sim', {'robot': '/nowhere/robot.yaml'}, '/nowhere/robot.yaml'),
        ('train_sim', {'task': 'walker2d', 'robot': '/nowhere/robot.yaml'}, '/nowhere/robot.yaml'),
        ('record_demo', {'task': 'half_cheetah'}, 'half_cheetah: z, pitch, .*: no sources'),
        ('record_teleop', {'task': 'half_cheetah'}, 'train on it by train_sim.launch.py'),
        ('deploy_robot', {'task': 'half_cheetah'}, 'no sources'),
    ],
)
def test_what_a_task_gap_or_robot_cannot_be_starts_nothing(tmp_path, file, words, complaint):
    graph = load_graph(SHIPPED / f'{file}.launch.py')
    policy = tmp_path / 'policy.safetensors'
    if file == 'deploy_robot':
        task = load_task('half_cheetah')
        ones, zeros = np.ones(17), np.zeros(17)
        head = np.zeros((17, 12))
        Policy([head], [np.zeros(12)], np.ones(2), ones, zeros, task.contract()).save(policy)
        words = words | {'policy': str(policy)}
    with pytest.raises(ConfigurationError, match=complaint):
        graph.nodes(graph.read(words))


def test_a_wrong_value_is_refused_under_ros_too(monkeypatch):
    stand_in(monkeypatch)
    from h2o_ros.launching.ros import make_launch_description

    graph = Graph((Argument('seed', 0, 'Random seed'),), lambda arguments: [])
    opaque = make_launch_description(graph).entities[-1]
    context = Context({'seed': 'one', 'unrelated': '1'})
    with pytest.raises(ConfigurationError, match='argument seed: expected int'):
        opaque.function(context)
