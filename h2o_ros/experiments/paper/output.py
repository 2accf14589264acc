"""Files of a sweep for people: the table as text and Markdown, a picture as PNG."""

from __future__ import annotations

from pathlib import Path

from h2o_ros.algorithms.files.tensor_file import write_atomically
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core.results import write_text
from h2o_ros.experiments.paper import figures
from h2o_ros.experiments.paper.catalogue import Experiment
from h2o_ros.experiments.paper.tables import markdown, replace_section
from h2o_ros.experiments.sweep.sweep import Grid


def write_all(experiment: Experiment, grid: Grid, page: str = '') -> None:
    """Write and print the table, draw the figure, and say where they are.

    page: a Markdown page that exists; they go between marks of the experiment and its steps.
    """
    steps, folder, results = grid.settings.steps, grid.folder.path, grid.results()
    text = markdown(experiment, results, steps)
    path = folder / f'{experiment.file}.md'
    write_text(path, text)
    print(f'\n{text}\nwritten: {path}')
    picture = folder / f'{experiment.file}.png'
    drawn = figures.draw(experiment, results, grid, picture)
    print(f'written: {picture}' if drawn else f'{experiment.name}: nothing to draw yet')
    if page:
        _place(experiment, steps, text, picture if drawn else None, Path(page))


def _place(
    experiment: Experiment, steps: int, text: str, picture: Path | None, page: Path
) -> None:
    name = f'{experiment.file} {steps}'
    if picture is not None:
        place = page.parent / 'pictures' / f'{experiment.file}_{steps}.png'
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise ConfigurationError(
                f'{place.parent}: cannot be made ({err.strerror}); give --place another page'
            ) from err
        write_atomically(place, picture.read_bytes(), ConfigurationError)
        text += f'\n![{experiment.title}](pictures/{place.name})\n'
    try:
        before = page.read_text(encoding='utf-8')
    except OSError as err:
        raise ConfigurationError(
            f'{page}: cannot be read ({err.strerror}); check the path'
        ) from err
    write_text(page, replace_section(before, name, text))
    print(f'placed: {page}, {name}')
