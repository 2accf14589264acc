"""Figure 3: where in the simulator an algorithm sees the dynamics gap, while it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from h2o_ros.experiments.core.pictures import save_picture
from h2o_ros.experiments.core.results import Results
from h2o_ros.experiments.paper.catalogue import Experiment
from h2o_ros.experiments.sweep import gap_samples
from h2o_ros.experiments.sweep.run_config import canonical
from h2o_ros.experiments.sweep.sweep import Grid

COLOURS = {'u': '#D55E00', 'q': '#0072B2'}
LABELS = {'u': 'dynamics gap u (nats)', 'q': 'Q(s, a)'}


def draw_gap(experiment: Experiment, results: Results, grid: Grid, path: Path) -> bool:
    """Draw u and Q over the velocity, a column a stage; False where there are no samples.

    All seeds of this folder's runs are drawn; samples are not in a results file.
    """
    cell = canonical(experiment.lines[0][1][0].cell)
    runs = results.of_cell(cell, grid.settings.steps)
    files = [grid.folder.samples_of(run.cell, run.seed) for run in runs]
    found = [gap_samples.read(file) for file in files]
    samples = np.concatenate([gap_samples.read(Path()), *found])
    if not len(samples):
        return False
    column = {name: samples[:, i] for i, name in enumerate(gap_samples.COLUMNS)}
    stages = np.unique(column['update'])
    figure = Figure(figsize=(3.4 * len(stages) + 0.6, 5.6), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(stages), sharex=True, sharey='row', squeeze=False)
    for across, stage in enumerate(stages):
        chosen = column['update'] == stage
        for down, name in enumerate(COLOURS):
            axes = panels[down, across]
            axes.scatter(
                column['x_dot'][chosen], column[name][chosen], s=4, alpha=0.35, linewidths=0,
                color=COLOURS[name],
            )  # fmt: skip
            axes.grid(alpha=0.3)
        panels[0, across].set_title(f'after {stage:,.0f} updates', fontsize=10)
    for down, name in enumerate(COLOURS):
        panels[down, 0].set_ylabel(LABELS[name])
    figure.supxlabel('velocity along x (m/s)')
    figure.suptitle(experiment.title)
    save_picture(figure, path)
    return True
