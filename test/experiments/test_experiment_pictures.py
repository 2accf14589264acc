"""Pictures of experiments: written whole or not at all, and one line where they cannot be."""

import numpy as np
import pytest
from grid_samples import DATASET, make_small, words
from matplotlib.figure import Figure

from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.__main__ import main
from h2o_ros.experiments.core.pictures import save_picture
from h2o_ros.experiments.paper.catalogue import own
from h2o_ros.experiments.wheel_legged.comparison import draw_comparison
from h2o_ros.experiments.wheel_legged.deployment_figures import draw_deployments, draw_recording
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions


def recording(steps=4):
    numbers, flags = np.zeros((steps, 4), np.float32), np.zeros(steps, bool)
    return Transitions(numbers, numbers[:, :2], numbers[:, 0], numbers, flags, flags)


DRAWN = {
    'comparison': lambda task, path: draw_comparison([], path),
    'deployments': lambda task, path: draw_deployments(task, [], 1.0, path),
    'recording': lambda task, path: draw_recording(task, recording(), path),
}


@pytest.mark.parametrize('name', DRAWN)
def test_a_picture_that_cannot_be_written_is_one_line(name, tmp_path):
    task, path = load_task('standing_still'), tmp_path / 'away' / 'picture.png'
    with pytest.raises(ConfigurationError, match=f'^{path}: cannot be written'):
        DRAWN[name](task, path)
    path.parent.mkdir()
    DRAWN[name](task, path)
    assert path.read_bytes().startswith(b'\x89PNG') and len(list(path.parent.iterdir())) == 1


def test_a_picture_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    def fail(figure, file, **options):
        file.write(b'half')
        raise MemoryError

    (tmp_path / 'picture.png').write_bytes(b'before')
    monkeypatch.setattr(Figure, 'savefig', fail)
    with pytest.raises(MemoryError):
        save_picture(Figure(), tmp_path / 'picture.png')
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b'before']


@pytest.mark.parametrize('place', ['runs/PICTURE', 'page/pictures'])
def test_a_grid_whose_picture_has_no_place_ends_with_one_line(
    place, tmp_path, monkeypatch, capsys
):
    small = make_small(tmp_path, monkeypatch)
    (tmp_path / 'page').mkdir()
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'page' / 'results.md').write_text('# Results\n')
    picture = own(small, ['sac'], [DATASET], ['gravity']).file + '.png'
    blocked = tmp_path / place.replace('PICTURE', picture)
    blocked.mkdir() if blocked.suffix else blocked.write_text('a file')
    page = ('--place', str(tmp_path / 'page' / 'results.md'))
    assert main(words(small, tmp_path / 'runs', *page, algorithms='sac')) == 2
    said = capsys.readouterr().err
    assert f'error: {blocked}' in said and 'Traceback' not in said
