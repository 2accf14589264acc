"""The report layer: lines, files, pictures and folders, against numbers worked out by hand."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from h2o_ros.errors import ConfigurationError
from h2o_ros.locks import FileLock, HeldError
from h2o_ros.report.evaluation import EpisodeFigures, evaluations_from_series
from h2o_ros.report.output import FolderLock, prepare_output_folder
from h2o_ros.report.picture import (
    GapSample,
    RunFigures,
    _draw_learning,
    density_level,
    draw_run,
    pick_state_fields,
    pick_time_fields,
)
from h2o_ros.report.progress import Progress, ProgressLine, format_progress
from h2o_ros.report.run import RunReport
from h2o_ros.report.scalars import ScalarWriter, read_progress
from h2o_ros.report.summary import RunSummary, format_summary, next_command, write_summary
from h2o_ros.report.text import format_duration, format_size
from h2o_ros.task import load_task


def evaluation(
    update, returns, lengths, mean_abs_x=(), mean_abs_action=(), mean_x_dot=(), survived=None
):
    """Make figures; where it is not said, those survived that took 1,000 steps."""
    lengths = np.array(lengths)
    survived = lengths >= 1000 if survived is None else np.array(survived)
    return EpisodeFigures(
        update, np.array(returns), lengths, survived, np.array(mean_abs_x),
        np.array(mean_abs_action), np.array(mean_x_dot),
    )  # fmt: skip


def realistic_run(task_name, fall=False, seed=0):
    """Numbers as a run leaves them: correlated states, a gap that grows off the data."""
    task = load_task(task_name)
    rng = np.random.default_rng(seed)
    width = len(task.observation)
    evaluations = []
    for update in range(5000, 120001, 5000):
        share = 1.0 / (1.0 + math.exp(-(update - 45000) / 12000))
        stands = rng.random(10) < share
        lengths = np.where(stands, task.horizon, rng.integers(80, task.horizon // 2, 10))
        returns = lengths * (task.largest_reward - rng.gamma(2.0, 0.5, 10))
        evaluations.append(evaluation(update, returns, lengths, survived=stands))
    real = rng.normal(0, 1, (20000, width)) * ([0.05, 0.5, 0.2, 0.2][:width])
    real[:, 1] -= 4.0 * real[:, 0]
    simulated = rng.normal(0, 1, (4000, width)) * ([0.12, 0.9, 0.5, 0.4][:width])
    simulated[:, 1] -= 3.0 * simulated[:, 0]
    u = 0.4 + 25.0 * simulated[:, 0] ** 2 + 0.5 * simulated[:, 1] ** 2
    gap = GapSample(simulated, u * rng.lognormal(0.0, 0.3, len(u)))
    time = np.arange(task.horizon) * task.period
    episodes = []
    for number in range(10):
        noise = np.cumsum(rng.normal(0, 1, (task.horizon, width)), axis=0)
        noise -= np.linspace(0, 1, task.horizon)[:, None] * noise[-1]
        decay = rng.uniform(-0.1, 0.1) * np.exp(-time / 0.4)
        rows = noise * ([2e-4, 2e-3, 4e-3, 1e-3][:width])
        rows[:, 0] += decay + 0.012 * np.sin(2 * np.pi * (0.8 * time + rng.random()))
        if fall and number in (0, 4):
            rows = rows[: 700 + 900 * number]
            rows[-60:, 0] += np.linspace(0, 0.5, 60) ** 2 * 2
        episodes.append(rows)
    title = f'h2o on {task_name}, seed 0, 120,000 updates'
    return RunFigures(title, task, evaluations, gap, real, episodes)


# ---------------------------------------------------------------------------- text and progress


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.4, '0 s'), (59.6, '1 min 00 s'), (185, '3 min 05 s'), (7800, '2 h 10 min')],
)
def test_durations_read_in_two_units(seconds, text):
    assert format_duration(seconds) == text


def test_an_unknown_duration_is_a_question_mark():
    assert format_duration(math.inf) == format_duration(math.nan) == format_duration(-1) == '?'


@pytest.mark.parametrize(
    ('size', 'text'),
    [(0, '0 B'), (999, '999 B'), (1000, '1.0 kB'), (123456, '123 kB'), (2.5e9, '2.5 GB')],
)
def test_sizes_read_in_powers_of_a_thousand(size, text):
    assert format_size(int(size)) == text


def test_the_progress_line_names_step_rate_time_return_and_u():
    line = format_progress(Progress(38400, 120000, 812.4, 100.0, 171204.3, 9, 10, 2.314))
    assert line == (
        ' 32%  update 38,400/120,000  812/s  1 min 40 s left  '
        'virtual robot: return 171,204, 9 of 10 survived  u 2.31 nats'
    )


def test_what_is_unknown_is_left_out_and_100_percent_is_said_at_the_end_only():
    assert format_progress(Progress(119999, 120000)) == ' 99%  update 119,999/120,000'
    assert format_progress(Progress(5, 5)).startswith('100%')


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_elsewhere_than_on_a_terminal_a_plain_line_comes_every_few_seconds():
    stream, now = io.StringIO(), [0.0]
    line = ProgressLine(stream, every=5.0, clock=lambda: now[0])
    for update in range(11):
        now[0] = float(update)
        line.show(Progress(update, 10))
    line.close()
    shown = [text.split()[2] for text in stream.getvalue().splitlines()]
    assert shown == ['0/10', '5/10', '10/10']
    assert '\r' not in stream.getvalue()


def test_the_newest_state_is_drawn_at_the_end():
    stream = io.StringIO()
    line = ProgressLine(stream, every=5.0, clock=lambda: 0.0)
    line.show(Progress(1, 10))
    line.show(Progress(10, 10))
    line.close()
    line.close()
    assert [text.split()[2] for text in stream.getvalue().splitlines()] == ['1/10', '10/10']


def test_on_a_terminal_one_line_is_rewritten_and_never_wraps(monkeypatch):
    monkeypatch.setenv('COLUMNS', '30')
    stream, now = Terminal(), [0.0]
    line = ProgressLine(stream, clock=lambda: now[0])
    line.show(Progress(1, 120000, 800.0, 100.0))
    now[0] = 1.0
    line.show(Progress(2, 120000, 800.0, 100.0))
    line.message('checkpoint written')
    line.close()
    first, second, rest = stream.getvalue().split('\r')[1:]
    assert all(len(part.removesuffix('\x1b[K')) == 29 for part in (first, second))
    assert rest == '\x1b[Kcheckpoint written\n'


# ------------------------------------------------------------------------------------- scalars


def tensorboard_scalars(folder):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    reader = accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return {
        tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()['scalars']
    }


def test_scalars_reach_the_csv_and_tensorboard(tmp_path):
    with contextlib.closing(ScalarWriter(tmp_path)) as writer:
        writer.add(10, {'a/b': 0.5, 'c': -2.0})
        writer.add(20, {'a/b': 1.5})
        writer.add_each(20, 'episode', [3.0, 4.0])
    series = read_progress(tmp_path / 'progress.csv')
    assert (tmp_path / 'progress.csv').read_text().splitlines()[:2] == [
        'step,name,value', '10,a/b,0.5',
    ]  # fmt: skip
    np.testing.assert_array_equal(series['a/b'], [[10, 20], [0.5, 1.5]])
    np.testing.assert_array_equal(series['episode'], [[20, 20], [3.0, 4.0]])
    assert tensorboard_scalars(tmp_path) == {'a/b': [(10, 0.5), (20, 1.5)], 'c': [(10, -2.0)]}


def test_a_resumed_run_replaces_what_the_run_before_said_from_there_on(tmp_path):
    with contextlib.closing(ScalarWriter(tmp_path)) as writer:
        for step in (10, 20, 30):
            writer.add(step, {'a': float(step)})
    with (tmp_path / 'progress.csv').open('a') as file:
        file.write('40,a')  # a row torn by the end of the process
    with contextlib.closing(ScalarWriter(tmp_path, first_step=20)) as writer:
        writer.add(20, {'a': -1.0})
    np.testing.assert_array_equal(
        read_progress(tmp_path / 'progress.csv')['a'], [[10, 20], [10.0, -1.0]]
    )
    assert tensorboard_scalars(tmp_path)['a'] == [(10, 10.0), (20, -1.0)]


def test_a_foreign_progress_file_is_refused_by_line(tmp_path):
    (tmp_path / 'progress.csv').write_text('step,name,value\n1,a,2\nhello\n')
    with pytest.raises(ConfigurationError, match=r'progress\.csv: line 3: expected step,name'):
        read_progress(tmp_path / 'progress.csv')


def test_rows_are_on_the_disk_before_the_writer_is_closed(tmp_path):
    writer = ScalarWriter(tmp_path)
    writer.add(1, {'a': 2.0})
    assert read_progress(tmp_path / 'progress.csv')['a'][1] == [2.0]
    writer.close()


def test_the_report_does_not_bring_torch_or_ros():
    code = (
        'import sys, tempfile, h2o_ros.report.run as run\n'
        'run.ScalarWriter(tempfile.mkdtemp()).close()\n'
        'print([m for m in ("torch", "rclpy", "matplotlib.pyplot") if m in sys.modules])'
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


# ------------------------------------------------------------------------------------- picture


def pixels(path):
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.parametrize(('task', 'fall'), [('standing_still', False), ('moving_straight', True)])
def test_the_picture_is_1600_pixels_wide_and_shows_every_panel(tmp_path, task, fall):
    picture = pixels(draw_run(realistic_run(task, fall), tmp_path / 'run.png'))
    empty = pixels(draw_run(RunFigures('x', load_task(task)), tmp_path / 'empty.png'))
    assert picture.shape[:2] == empty.shape[:2] == (640, 1600)
    for left in (0, 533, 1066):
        panel, blank = (p[60:, left : left + 533, :3] for p in (picture, empty))
        assert (panel < 0.9).any(axis=2).mean() > 5 * (blank < 0.9).any(axis=2).mean() > 0


@pytest.mark.parametrize('missing', ['evaluations', 'gap', 'real_observation', 'final_episodes'])
def test_the_picture_is_drawn_without_any_one_of_its_parts(tmp_path, missing):
    figures = realistic_run('standing_still')
    empty = {'gap': None, 'real_observation': np.zeros((0, 4))}.get(missing, ())
    assert draw_run(RunFigures(**{**vars(figures), missing: empty}), tmp_path / 'a.png').exists()


@pytest.mark.parametrize(
    ('update', 'shown', 'label'), [(200, 200, 'updates'), (20000, 20, 'updates (thousands)')]
)
def test_few_updates_are_not_counted_in_thousands(update, shown, label):
    of_one = evaluation(update, [5.0], [3])
    returns, survival = Figure().subplots(2, 1)
    _draw_learning(returns, survival, RunFigures('x', load_task('standing_still'), [of_one]))
    assert survival.get_xlabel() == label
    assert list(survival.lines[0].get_xdata()) == [shown]


@pytest.mark.filterwarnings('error')
def test_the_smallest_run_is_drawn_without_a_warning(tmp_path):
    task = load_task('standing_still')
    padded = np.full((1, 6, 4), np.nan)
    padded[0, 0] = 0.0
    small, gap = [evaluation(100, [5.0], [3])], GapSample(np.zeros((1, 4)), np.ones(1))
    figures = RunFigures('small', task, small, gap, np.zeros((1, 4)), padded)
    assert draw_run(figures, tmp_path / 'a.png').exists()


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('returns', [[-300.0, -250.0], [-300.0, 4000.0], [0.0, 0.0]])
def test_a_run_of_many_joints_and_no_best_return_is_drawn(tmp_path, returns):
    task, generator = load_task('half_cheetah'), np.random.default_rng(0)
    real = generator.normal(size=(500, 17))
    gap = GapSample(real[:200], np.abs(real[:200, 8]))
    learned = [evaluation(100, returns, [1000, 1000])]
    figures = RunFigures('runs', task, learned, gap, real, [real, real[:90]])
    assert draw_run(figures, tmp_path / 'a.png').exists()


def test_the_panels_follow_the_task():
    assert pick_state_fields(load_task('half_cheetah')) == (8, 1)  # x_dot, pitch
    assert pick_time_fields(load_task('walker2d')) == (1, 8)
    assert pick_state_fields(load_task('moving_straight')) == (0, 1)
    assert pick_time_fields(load_task('standing_still')) == (0, 2)  # theta, x
    assert pick_time_fields(load_task('moving_straight')) == (0, 2)  # theta, x_dot


def test_the_line_around_the_data_holds_the_share_asked_for():
    counts = np.array([[50.0, 30.0], [15.0, 5.0]])
    assert density_level(counts, 0.75) == 30.0
    assert density_level(counts, 0.95) == 15.0


# --------------------------------------------------------------------------- summary and output


def summary(folder, updates=120000, **changes):
    values = {
        'folder': folder, 'task': load_task('standing_still'), 'algorithm': 'h2o', 'seed': 3,
        'updates': updates, 'updates_total': 120000, 'simulated_steps': 121000, 'duration': 185.0,
        'evaluation': evaluation(
            120000, [170000.0, 90000.0], [6000, 5999], [0.2, 0.4], [0.5, 0.7], survived=[1, 0]
        ),
        'mean_u': 2.5, 'dynamics_ratio': math.nan, 'files': (),
        'next_command': 'h2o export-onnx policy.safetensors',
    }  # fmt: skip
    return RunSummary(**{**values, **changes})


def test_the_summary_gives_the_figures_and_ends_with_what_to_run_next(tmp_path):
    lines = format_summary(summary(tmp_path)).splitlines()
    assert lines[0] == (
        'h2o on standing_still, seed 3: finished after 120,000 of 120,000 updates '
        'and 121,000 simulated steps in 3 min 05 s'
    )
    assert lines[1] == (
        'virtual robot, policy of update 120,000: 1 of 2 episodes survived 30 s, '
        'mean return 130,000 of 180,000 possible'
    )
    assert lines[2] == 'mean |x| 0.3 m, mean |torque| 0.6 N·m, mean u 2.5 nats'
    assert lines[-1] == 'next: h2o export-onnx policy.safetensors'


def test_a_task_without_a_best_return_and_with_many_actions_is_summed_up(tmp_path):
    run = evaluation(120000, [4000.0, 5000.0], [1000, 1000], [], [0.5, 0.7], [4.1, 5.1])
    cheetah = summary(tmp_path, task=load_task('half_cheetah'), evaluation=run)
    lines = format_summary(cheetah).splitlines()
    assert lines[1].endswith('2 of 2 episodes survived 50 s, mean return 4,500')
    assert lines[2] == 'mean |action| 0.6, mean x_dot 4.6 m/s, mean u 2.5 nats'


def test_where_x_is_not_observed_the_speed_tells_how_it_fared(tmp_path):
    driven = evaluation(100, [5.0, 6.0], [4000, 4000], [], [0.5, 0.7], [0.21, 0.17])
    moving = summary(tmp_path, task=load_task('moving_straight'), evaluation=driven)
    assert 'mean |torque| 0.6 N·m, mean x_dot 0.19 m/s, mean u' in format_summary(moving)
    write_summary(moving)
    content = json.loads((tmp_path / 'summary.json').read_text())
    assert content['mean_x_dot'] == pytest.approx(0.19)
    assert content['mean_abs_x'] is None


def test_a_run_stopped_before_its_first_evaluation_says_so(tmp_path):
    text = format_summary(summary(tmp_path, updates=500, evaluation=None, mean_u=math.nan))
    assert 'stopped after 500 of' in text
    assert 'no evaluation finished' in text


def test_every_file_is_named_with_its_size_and_purpose(tmp_path):
    (tmp_path / 'policy.safetensors').write_bytes(b'x' * 1234)
    files = [(tmp_path / 'policy.safetensors', 'the policy'), (tmp_path / 'gone', 'nothing')]
    text = write_summary(summary(tmp_path, files=files))
    assert text == (tmp_path / 'summary.txt').read_text()
    content = json.loads((tmp_path / 'summary.json').read_text())
    assert content['files'][0]['bytes'] == 1234
    assert (content['survived'], content['mean_return']) == (1, 130000.0)
    assert content['mean_dynamics_ratio'] is None
    rows = [line.split(maxsplit=3) for line in text.splitlines() if line.startswith('  ')]
    assert [row[2] for row in rows] == ['policy.safetensors', 'summary.json', 'summary.txt']
    assert rows[0] == ['1.2', 'kB', 'policy.safetensors', 'the policy']
    for row in rows:
        assert ' '.join(row[:2]) == format_size((tmp_path / row[2]).stat().st_size)


def test_the_next_command_is_deploy_export_resume_or_start(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    checkpoint, policy = tmp_path / 'my run' / 'checkpoint', tmp_path / 'policy.safetensors'
    deploy = 'h2o launch deploy_robot.launch.py'
    assert next_command(True, checkpoint, policy) == f'{deploy} policy:={policy}'
    other = {'task': 'moving_straight', 'seed': 3}
    for launched in (True, False):
        assert next_command(True, checkpoint, policy, other, launched) == (
            f'{deploy} task:=moving_straight policy:={policy}'
        )
    assert next_command(True, checkpoint, policy, on_robot=False) == (
        f'h2o export-onnx {policy} {tmp_path / "policy.onnx"}'
    )
    assert next_command(False, checkpoint, policy) == (
        f"h2o launch train_sim.launch.py resume:='{checkpoint}'"
    )
    assert next_command(False, checkpoint, policy, {'task': 'moving_straight'}).endswith(
        ' task:=moving_straight'
    )
    assert next_command(False, None, policy) == 'h2o launch train_sim.launch.py'
    ros2 = tmp_path / 'ros2'
    ros2.touch(mode=0o755)
    assert next_command(False, None, None) == 'ros2 launch h2o_ros train_sim.launch.py'


def test_an_output_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = prepare_output_folder('runs/a')
    assert folder == tmp_path / 'runs' / 'a'
    assert list(folder.iterdir()) == []
    assert prepare_output_folder(folder) == folder


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        with pytest.raises(ConfigurationError, match=r'/file is a file; choose another'):
            prepare_output_folder(path)


def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(ConfigurationError, match=r'^output folder /proc/h2o: cannot be written'):
        prepare_output_folder('/proc/h2o')


def test_a_disk_without_room_is_refused_before_the_run(tmp_path):
    with pytest.raises(ConfigurationError, match=r'free on its disk, a run needs 1000000000 GB'):
        prepare_output_folder(tmp_path, minimum_free=10**18)


def test_a_folder_in_use_names_the_process_and_is_free_when_that_ends(tmp_path):
    code = (
        'import sys\nfrom h2o_ros.report.output import FolderLock\n'
        'lock = FolderLock(sys.argv[1])\nprint("held", flush=True)\nsys.stdin.read()'
    )
    command = [sys.executable, '-c', code, str(tmp_path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline() == 'held\n'
        with pytest.raises(
            ConfigurationError, match=rf'in use by another run \(process {other.pid}\)'
        ):
            FolderLock(tmp_path)
        other.kill()
        other.wait()
    lock = FolderLock(tmp_path)
    with pytest.raises(
        ConfigurationError, match=rf'in use by another run \(process {os.getpid()}'
    ):
        FolderLock(tmp_path)
    lock.close()
    lock.close()
    FolderLock(tmp_path).close()


def test_a_folder_whose_lock_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / '.lock').mkdir()
    with pytest.raises(ConfigurationError, match=r'cannot be locked \(Is a directory\)'):
        FolderLock(tmp_path)


@contextlib.contextmanager
def as_user(number):
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to be two users')
def test_a_lock_for_everyone_is_taken_by_one_user_after_another():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)  # as the system's folder for temporary files
        path = Path(folder) / 'lock'
        with as_user(65534):
            FileLock(path, everyone=True).close()
        with as_user(65533):
            lock = FileLock(path, everyone=True)
        for user in (65534, 65533, 0):
            with as_user(user), pytest.raises(HeldError, match=f'process {os.getpid()}'):
                FileLock(path, everyone=True)
        lock.close()
        path.chmod(0o600)
        with as_user(65533), pytest.raises(PermissionError):
            FileLock(path, everyone=True)


def test_a_lock_follows_no_link_and_believes_no_text(tmp_path):
    target = tmp_path / 'target'
    target.write_text('mine')
    (tmp_path / 'link').symlink_to(target)
    with pytest.raises(OSError, match='symbolic links'):
        FileLock(tmp_path / 'link', everyone=True)
    assert target.read_text() == 'mine'
    lock = FileLock(target)
    target.write_text('error: all is lost')
    with pytest.raises(HeldError, match='process unknown'):
        FileLock(target)
    lock.close()


def test_figures_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r'lengths: expected one value an episode \(2\), got 1'):
        evaluation(0, [1.0, 2.0], [1])


# --------------------------------------------------------------------------------- a whole run


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def report(folder, first_update=0):
    task, clock = load_task('standing_still'), Clock()
    run = RunReport(folder, task, 'h2o', 0, 200, stream=io.StringIO(), clock=clock)
    run.begin(first_update, folder / 'checkpoint.safetensors' if first_update else '')
    return run, clock


def finish(run, update):
    return run.finish(update, 250, None, np.zeros((0, 0)), [])


def test_rate_and_time_left_follow_the_clock(tmp_path):
    run, clock = report(tmp_path)
    assert run.status_due()
    clock.now = 30.0  # it was compiled
    run.status(1, {'mean_u': 2.0})
    assert np.isnan((run.updates_per_second, run.seconds_left)).all()
    clock.now = 32.0
    run.status(101, {'mean_u': 2.0})
    assert (run.updates_per_second, run.seconds_left) == (50.0, 99 / 50.0)
    assert not run.status_due()
    clock.now = 33.0
    assert run.status_due()
    run.status(111, {'mean_u': 2.0})
    assert run.updates_per_second == 10.0
    assert run.seconds_left == pytest.approx(89 / (110 / 3.0))


def test_the_end_says_that_the_final_policy_is_evaluated_and_shows_no_older_figures(tmp_path):
    stream, clock = io.StringIO(), Clock()
    run = RunReport(
        tmp_path, load_task('standing_still'), 'h2o', 0, 200, stream=stream, clock=clock
    )
    run.begin(0)
    run.evaluation(evaluation(100, [10.0], [6000]))
    run.status(100, {})
    run.status(200, {})  # waits to be drawn
    run.evaluating()
    said = stream.getvalue().splitlines()
    assert 'virtual robot: return 10, 1 of 1 survived' in said[0]
    assert said[1:] == ['100%  update 200/200', 'evaluating the final policy']


def test_a_resumed_run_shows_the_evaluations_from_before(tmp_path):
    first, clock = report(tmp_path)
    (tmp_path / 'checkpoint.safetensors').touch()
    clock.now = 1.0
    first.status(100, {'mean_u': 2.0, 'entropy': math.nan})
    first.evaluation(evaluation(50, [10.0, 20.0], [6000, 1], mean_abs_action=[1.0, 2.0]))
    first.evaluation(evaluation(100, [1.0], [1]))
    text = finish(first, 100)
    assert 'stopped after 100 of 200' in text
    assert text.splitlines()[-1].endswith(f'resume:={tmp_path}/checkpoint.safetensors')
    second, clock = report(tmp_path, first_update=100)
    last = second.last_evaluation
    assert (last.update, last.survived.tolist()) == (50, [1, 0])
    np.testing.assert_array_equal(last.mean_abs_action, [1.0, 2.0])
    clock.now = 1.0
    second.status(200, {'mean_u': 3.0})
    text = finish(second, 200)
    assert 'finished after 200' in text
    assert text.count('tensorboard --logdir') == 2
    series = read_progress(tmp_path / 'progress.csv')
    np.testing.assert_array_equal(series['evaluation/survived'], [[50], [0.5]])
    np.testing.assert_array_equal(series['learner/mean_u'], [[200], [3.0]])


def test_an_episode_that_fails_in_its_last_step_did_not_survive(tmp_path):
    first, clock = report(tmp_path)
    (tmp_path / 'checkpoint.safetensors').touch()
    clock.now = 1.0
    first.status(100, {'mean_u': 2.0})
    first.evaluation(evaluation(50, [10.0, 20.0], [6000, 6000], survived=[True, False]))
    assert '1 of 2 survived' in format_progress(first._progress(100))
    assert '1 of 2 episodes survived 30 s' in finish(first, 100)
    assert json.loads((tmp_path / 'summary.json').read_text())['survived'] == 1
    second, _ = report(tmp_path, first_update=100)
    assert second.last_evaluation.survived.tolist() == [1, 0]
    second._lock.close()
    # older files tell the lengths alone
    path = tmp_path / 'progress.csv'
    rows = path.read_text().splitlines(keepends=True)
    path.write_text(''.join(row for row in rows if 'survived' not in row))
    third, _ = report(tmp_path, first_update=100)
    assert third.last_evaluation.survived.tolist() == [1, 1]


def test_a_checkpoint_from_elsewhere_does_not_go_on_with_the_rows_of_this_folder(
    tmp_path, monkeypatch
):
    for place, kept in (('.', 1), ('elsewhere', 0), ('earlier-1', 0)):
        folder = tmp_path / place.replace('.', 'here') / 'run'
        (folder / place).mkdir(parents=True)
        run, _ = report(folder)
        run.evaluation(evaluation(50, [10.0], [6000]))
        finish(run, 100)
        run = RunReport(folder, load_task('standing_still'), 'h2o', 0, 200, stream=io.StringIO())
        monkeypatch.chdir(folder)
        run.begin(100, f'{place}/checkpoint.safetensors')
        assert (run.last_evaluation is not None) == kept
        assert (folder / 'summary.json').exists() == kept
        finish(run, 200)


def test_a_full_disk_is_one_line(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = ScalarWriter(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        with pytest.raises(ConfigurationError, match='make room') as caught:
            for step in range(10_000):
                writer.add(step, {'learner/mean_u': 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        writer.close()
    assert str(tmp_path / 'progress.csv') in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_fresh_run_moves_the_files_of_an_earlier_one_aside(tmp_path):
    for name in ('notes.txt', 'policy.onnx'):
        (tmp_path / name).write_text('mine')
    for update in (10, 20, 30):
        run, clock = report(tmp_path)
        clock.now = 1.0
        run.evaluation(evaluation(update, [1.0], [1], mean_x_dot=[0.25]))
        (tmp_path / 'policy.safetensors').write_text(str(update))
        finish(run, update)
        said = 'files of an earlier run were moved to' in run._line._stream.getvalue()
        assert said == (update > 10)
    kept = [tmp_path / 'earlier-1', tmp_path / 'earlier-2', tmp_path]
    for folder, update in zip(kept, (10, 20, 30), strict=True):
        assert (folder / 'policy.safetensors').read_text() == str(update)
        series = read_progress(folder / 'progress.csv')
        np.testing.assert_array_equal(series['evaluation/mean_x_dot'], [[update], [0.25]])
        np.testing.assert_array_equal(series['episode/mean_x_dot'], [[update], [0.25]])
        assert json.loads((folder / 'summary.json').read_text())['updates'] == update
        assert len(list(folder.glob('events.out.tfevents.*'))) == 1
        assert (folder / 'notes.txt').exists() == (folder / 'policy.onnx').exists()
        assert (folder / 'notes.txt').exists() == (folder is tmp_path)
    assert not (tmp_path / 'earlier-3').exists()


def test_the_report_holds_its_folder_until_it_is_finished(tmp_path):
    first, _ = report(tmp_path)
    with pytest.raises(ConfigurationError, match='in use by another run'):
        report(tmp_path)
    finish(first, 0)
    report(tmp_path)


def test_numbers_before_the_beginning_are_refused(tmp_path):
    run = RunReport(tmp_path, load_task('standing_still'), 'h2o', 0, 200, stream=io.StringIO())
    with pytest.raises(ValueError, match=r'expected begin\(\)'):
        run.evaluation(evaluation(0, [1.0], [1]))


def test_a_run_that_began_in_an_older_version_keeps_its_evaluations():
    """Its first evaluation tells the lengths alone, its second who survived, too."""
    updates = np.array([100.0, 100.0, 200.0, 200.0])
    series = {
        'episode/returns': (updates, np.arange(4.0)),
        'episode/lengths': (updates, np.array([1000.0, 7.0, 1000.0, 1000.0])),
        'episode/survived': (updates[2:], np.array([1.0, 0.0])),
    }
    older, newer = evaluations_from_series(series, horizon=1000)
    assert older.survived.tolist() == [1, 0]
    assert newer.survived.tolist() == [1, 0]


@pytest.mark.parametrize('rows', [1, 3, 5])
def test_a_run_whose_evaluation_was_torn_goes_on_without_it(tmp_path, rows):
    first, _ = report(tmp_path)
    (tmp_path / 'checkpoint.safetensors').touch()
    first.evaluation(evaluation(40, [1.0, 2.0], [10, 20]))
    first.evaluation(evaluation(50, [10.0, 20.0], [6000, 1]))
    finish(first, 50)
    path = tmp_path / 'progress.csv'
    lines = path.read_text().splitlines(keepends=True)
    torn = [n for n, line in enumerate(lines) if line.startswith('50,episode/')][0] + rows
    path.write_text(''.join(lines[:torn]))
    second, _ = report(tmp_path, first_update=100)
    assert second.last_evaluation.update == 40
    second._lock.close()
