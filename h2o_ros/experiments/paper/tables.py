"""Results as Markdown, beside the paper's; what was not run is said to be missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from h2o_ros.experiments.core.results import Results, Row
from h2o_ros.experiments.paper.catalogue import Experiment
from h2o_ros.experiments.paper.published_results import Number
from h2o_ros.experiments.sweep.run_config import Cell, canonical

MISSING, NOTHING = 'missing', ''


def markdown(experiment: Experiment, results: Results, steps: int) -> str:
    """Return a table: each line of the paper's, with ours of runs of so many steps under it."""
    labels = len(experiment.lines[0][0])
    head = (*experiment.head[:labels], 'Run by', *experiment.head[labels:])
    table = [head, ('---',) * len(head)]
    episodes: set[int] = set()
    for names, entries in experiment.lines:
        if any(entry.paper for entry in entries):
            table.append((*names, 'paper', *(_paper(entry.paper) for entry in entries)))
        finals = [final_rows(entry.cell, results, steps) for entry in entries]
        episodes |= {row.episodes for rows in finals for row in rows}
        table.append((*names, 'here', *map(spread, finals)))
    lines = ['| ' + ' | '.join(line) + ' |' for line in table]
    return '\n'.join([f'### {experiment.title}\n', *lines, '', _legend(episodes, steps), ''])


def final_rows(cell: Cell, results: Results, steps: int) -> list[Row]:
    """Return the evaluations of a cell's last policies, one a seed."""
    return [results.final(run) for run in results.of_cell(canonical(cell), steps)]


def spread(rows: Sequence[Row]) -> str:
    """Return mean and sample deviation of the returns over seeds, and the number of seeds."""
    returns = np.array([row.return_mean for row in rows])
    if len(returns) == 0:
        return MISSING
    if len(returns) == 1:
        return f'{returns[0]:.0f} (1)'
    return f'{returns.mean():.0f} ± {returns.std(ddof=1):.0f} ({len(returns)})'


def _paper(number: Number | None) -> str:
    return NOTHING if number is None else f'{number[0]:.0f} ± {number[1]:.0f}'


def _legend(episodes: set[int], steps: int) -> str:
    if not episodes:
        return f'Here: no run of {steps:,} steps yet.'
    return (
        f'Here: {steps:,} steps; return of the last policy over '
        f'{" or ".join(map(str, sorted(episodes)))} episodes on the unchanged model, mean ± '
        'sample standard deviation over seeds (how many).'
    )


def replace_section(page: str, name: str, text: str) -> str:
    """Put a text between the marks of its name, at the end of the page where it is new."""
    begin, end = f'<!-- {name} -->', f'<!-- end {name} -->'
    block = f'{begin}\n{text.rstrip()}\n{end}'
    if begin in page and end in page:
        head, rest = page.split(begin, 1)
        return head + block + rest.split(end, 1)[1]
    return f'{page.rstrip()}\n\n{block}\n'
