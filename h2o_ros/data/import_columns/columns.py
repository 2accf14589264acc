"""Recordings in columns (text, CSV, HDF5) become bags that load_bags reads with the same task.

A task says which messages its fields come from; here the columns go back into such messages.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np

from h2o_ros.data.datasets.hdf5 import open_hdf5
from h2o_ros.data.import_columns.encode import write_columns
from h2o_ros.errors import BagError, exit_code_of
from h2o_ros.task import Task, load_task

START = 1_000_000_000  # ns, stamp of the first row; zero would read as a stamp never set
BREAK = 1_000_000_000  # ns, pause behind a row that is marked done
LONGEST = 1e9  # s, of a recording; more does not fit into stamps
IGNORED = '-'
ENCODING = 'utf-8-sig'  # a mark at the start, as of a spreadsheet's text, is no part of it
COLUMN = re.compile(r'^([\w-]+)(?:=([^\[\]]+)(?:\[(\d+)\])?)?$')


def import_recording(
    file: str | Path,
    columns: list[str],
    task: Task,
    output: str | Path,
    rate: float | None = None,
    dataset: str | None = None,
    delimiter: str | None = None,
) -> int:
    """Write the bag `output` from a file of columns; returns the number of rows.

    columns: what each column holds, in order: fields of the task, `time` in s, `done` (nonzero
    where the time line breaks behind the row), or `-` for a column to leave out. In HDF5 without
    `dataset`, NAME, NAME=DATASET or NAME=DATASET[COLUMN]. rate: rows per second, by default the
    task's.
    """
    path = Path(file)
    if not path.is_file():
        raise BagError(f'{path}: there is no such file; check the path')
    names = [entry.split('=')[0] for entry in columns]
    check_columns(names, task)
    if path.suffix.lower() in ('.h5', '.hdf5', '.hdf'):
        table = read_hdf5(path, columns, dataset)
    else:
        table = read_text(path, names, delimiter)
    for name, values in table.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise BagError(
                f'{path}: column {name} is {values[wrong[0]]} in row {wrong[0]} '
                f'({len(wrong)} such in all); cut these rows out'
            )
    stamps = time_line(table, rate or task.rate, path)
    write_columns(
        output, table, stamps, task, {'recording': path.name, 'columns': ' '.join(names)}
    )
    return len(stamps)


def check_columns(names: list[str], task: Task) -> None:
    """Refuse columns that the task does not know, and a list that lacks a field."""
    needed = [*task.observation_names, *task.action_names]
    known = [*needed, 'time', 'done', IGNORED]
    for name in names:
        if name not in known:
            raise BagError(
                f'columns: {name!r} is unknown to task {task.name}; choose from '
                f'{", ".join(known)} ({IGNORED} leaves a column out)'
            )
        if name != IGNORED and names.count(name) > 1:
            raise BagError(f'columns: {name!r} is named twice; use {IGNORED} for one of them')
    missing = [name for name in needed if name not in names]
    if missing:
        raise BagError(
            f'columns: {", ".join(missing)} missing; task {task.name} needs {", ".join(needed)}'
        )


def read_text(path: Path, names: list[str], delimiter: str | None) -> dict[str, np.ndarray]:
    """Read text in columns; one line of titles at the top is passed over."""
    try:
        with path.open(encoding=ENCODING) as lines:
            first = next((line for line in lines if line.strip() and line[0] != '#'), '')
        if not first:
            raise BagError(f'{path}: holds no rows; record it again')
        if delimiter is None and ',' in first:
            delimiter = ','
        titles = _is_title(first, delimiter)
        with path.open(encoding=ENCODING) as lines:
            rows = (line for line in lines if line.strip() and line[0] != '#')
            if titles:
                next(rows)
            values = np.loadtxt(rows, delimiter=delimiter, ndmin=2)
    except (ValueError, UnicodeDecodeError) as err:
        raise BagError(
            f'{path}: not columns of numbers ({err}); check file and delimiter'
        ) from err
    if not len(values):
        raise BagError(f'{path}: holds no rows; record it again')
    return _name_columns(values, names, path)


def _is_title(line: str, delimiter: str | None) -> bool:
    try:
        [float(word) for word in line.split(delimiter)]
    except ValueError:
        return True
    return False


def _name_columns(values: np.ndarray, names: list[str], where: Path) -> dict[str, np.ndarray]:
    if values.ndim != 2 or values.shape[1] != len(names):
        shape = f'{values.shape[1]} columns' if values.ndim == 2 else f'shape {values.shape}'
        raise BagError(
            f'{where}: has {shape}, the list names {len(names)} ({", ".join(names)}); name each '
            f'column in order, {IGNORED} for one to leave out'
        )
    return {
        name: np.asarray(values[:, index], np.float64)
        for index, name in enumerate(names)
        if name != IGNORED
    }


def read_hdf5(path: Path, columns: list[str], dataset: str | None) -> dict[str, np.ndarray]:
    """Read one two-dimensional dataset, or one dataset a column."""
    with open_hdf5(path) as file:
        if dataset is not None:
            values = _dataset(file, dataset, path)
            return _name_columns(values, [entry.split('=')[0] for entry in columns], path)
        table = {}
        for entry in columns:
            match = COLUMN.match(entry)
            if not match:
                raise BagError(
                    f'columns: {entry!r}: expected NAME=DATASET or NAME=DATASET[COLUMN]'
                )
            if match[1] == IGNORED:
                continue
            values = _dataset(file, match[2] or match[1], path)
            if match[3] and values.ndim == 2 and int(match[3]) < values.shape[1]:
                values = values[:, int(match[3])]
            if values.ndim != 1:
                raise BagError(
                    f'{path}: dataset {entry} has shape {values.shape}; give one of its '
                    'columns as NAME=DATASET[COLUMN]'
                )
            table[match[1]] = np.asarray(values, np.float64)
    lengths = {name: len(values) for name, values in table.items()}
    if len(set(lengths.values())) != 1:
        raise BagError(f'{path}: datasets differ in length ({lengths}); choose others')
    return table


def _dataset(file, name: str, path: Path) -> np.ndarray:
    import h5py

    found: list[str] = []
    file.visititems(
        lambda key, item: found.append(key) if isinstance(item, h5py.Dataset) else None
    )
    if name.strip('/') not in found:
        raise BagError(f'{path}: has no dataset {name!r}; it holds {", ".join(found) or "none"}')
    kind = file[name].dtype
    if kind.kind not in 'biuf':
        raise BagError(f'{path}: dataset {name} holds {kind}, expected numbers; choose another')
    values = file[name][()]
    if not np.size(values):
        raise BagError(f'{path}: dataset {name} holds no rows; record it again')
    return values


def time_line(table: dict[str, np.ndarray], rate: float, where: Path) -> np.ndarray:
    """Return the rows' stamps in ns, (N,) int64; behind a row marked done follows a pause."""
    count = len(next(iter(table.values())))
    if 'time' in table:
        seconds = table['time'] - table['time'][0]
        if (np.diff(seconds) <= 0).any():
            row = int(np.flatnonzero(np.diff(seconds) <= 0)[0]) + 1
            raise BagError(
                f'{where}: column time does not grow in row {row}; split the file there'
            )
        if seconds[-1] > LONGEST:
            raise BagError(
                f'{where}: column time goes on for {seconds[-1]:.3g} s; give it in seconds'
            )
        stamps = np.rint(seconds * 1e9).astype(np.int64)
    else:
        stamps = np.rint(np.arange(count) * (1e9 / rate)).astype(np.int64)
    ends = np.zeros(count, np.int64)
    if 'done' in table:
        ends[1:] = table['done'][:-1] != 0
    return START + stamps + BREAK * np.cumsum(ends)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `h2o import-recording`."""
    parser.description = 'Turn a recording in text or HDF5 columns into a bag.'
    parser.add_argument('file', help='text, CSV or HDF5 file')
    parser.add_argument(
        '--columns', required=True, help='comma-separated: fields of the task, time, done, or -'
    )
    parser.add_argument('--task', required=True, help='a task of config/tasks, or a YAML file')
    parser.add_argument('--output', required=True, help='folder of the new bag')
    parser.add_argument('--rate', type=float, help='rows per second; default the rate of the task')
    parser.add_argument('--dataset', help='HDF5: name of the dataset that holds all columns')
    parser.add_argument(
        '--delimiter', help='text: what separates columns; default , or white space'
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out `h2o import-recording`; returns the exit code."""
    task = load_task(arguments.task)
    if arguments.rate is not None and not arguments.rate > 0:
        raise BagError(f'--rate: expected more than 0 Hz, got {arguments.rate}')
    columns = [name.strip() for name in arguments.columns.split(',')]
    rows = import_recording(
        arguments.file,
        columns,
        task,
        arguments.output,
        arguments.rate,
        arguments.dataset,
        arguments.delimiter,
    )
    print(f'{arguments.output}: {rows} rows of {arguments.file} as a bag for task {task.name}')
    print(f'next: h2o launch train_sim.launch.py task:={arguments.task} bag:={arguments.output}')
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run `h2o import-recording`, or `python -m h2o_ros.data.import_columns.columns`."""
    parser = argparse.ArgumentParser(prog='h2o import-recording')
    add_arguments(parser)
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: run(options))


if __name__ == '__main__':
    sys.exit(main())
