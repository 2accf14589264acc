"""Tables beside the paper's numbers, figures, and their places in a page."""

import dataclasses
import re

import numpy as np
import pytest
from repository import ROOT
from result_samples import row

from h2o_ros.experiments.__main__ import main
from h2o_ros.experiments.core.results import Results, write_rows
from h2o_ros.experiments.paper import published_results
from h2o_ros.experiments.paper.catalogue import (
    NAMES,
    dataset_of,
    experiments,
    find_experiment,
    own,
)
from h2o_ros.experiments.paper.figures import colours_of, curves_figure, curves_of, lines_to_draw
from h2o_ros.experiments.paper.output import write_all
from h2o_ros.experiments.paper.tables import markdown, replace_section
from h2o_ros.experiments.sweep.folder import ResultsFolder
from h2o_ros.experiments.sweep.run import Settings
from h2o_ros.experiments.sweep.run_config import (
    Cell,
    canonical,
    configuration,
    digest_of_recipe,
    recipe,
)
from h2o_ros.experiments.sweep.sweep import Grid

REPLAY = 'halfcheetah-medium-replay-v2'


def known_runs(steps=200):
    """Return three seeds of H2O, one of SAC, and two of H2O-dr of other lengths."""
    h2o = Cell('h2o', 'half_cheetah', REPLAY, 'gravity')
    sac = Cell('sac', 'half_cheetah', '-', 'gravity')
    other = Cell('h2o_no_ratio', 'half_cheetah', REPLAY, 'gravity')
    rows = [
        row(seed, update, value * update / steps, h2o, steps)
        for seed, value in enumerate((6000, 6200, 6400))
        for update in (steps // 2, steps)
    ]
    rows.append(row(0, steps, 4000.4, sac, steps, digest='-'))
    rows += [row(seed, 2 * steps, 1.0, other, 2 * steps) for seed in range(2)]
    return rows


def of_what_ships(known):
    """Return an evaluation as one of the settings that ship."""
    shipped = digest_of_recipe(recipe(configuration(known.run.cell, known.steps)))
    return dataclasses.replace(known, recipe=shipped)


def test_table_2_by_hand():
    text = markdown(find_experiment('table2'), Results(known_runs()), 200)
    lines = text.splitlines()
    assert lines[0] == '### Table 2: ablations of H2O, HalfCheetah Medium Replay, Gravity'
    assert lines[2] == (
        '| Run by | H2O | H2O-a | H2O-dr | H2O-a-dr | H2O-reg | H2O-reg-dr | CQL | SAC |'
    )
    assert lines[4] == (
        '| paper | 6813 ± 289 | 6675 ± 179 | 4721 ± 196 | 5223 ± 198 | 6501 ± 147 | 5290 ± 356 '
        '| 5774 ± 214 | 4513 ± 513 |'
    )
    # (6000, 6200, 6400): mean 6200, squares 200² + 0 + 200² over 2
    assert lines[5] == (
        '| here | 6200 ± 200 (3) | missing | missing | missing | missing | missing | missing '
        '| 4000 (1) |'
    )
    assert lines[7].startswith('Here: 200 steps; return of the last policy over 10 episodes')
    longer = markdown(find_experiment('table2'), Results(known_runs()), 400)
    assert '| 1 ± 0 (2) |' in longer and '6200' not in longer
    nothing = markdown(find_experiment('table2'), Results(), 400)
    assert nothing.count('missing') == 8 and 'no run of 400 steps yet' in nothing


@pytest.mark.parametrize('name', ['table1', 'table4', 'table5', 'table6', 'table7'])
def test_labels_stand_before_their_columns(name):
    experiment = find_experiment(name)
    lines = markdown(experiment, Results(), 100).splitlines()[2:]
    assert {line.count('|') for line in lines if line} <= {lines[0].count('|'), 0}
    assert lines.index('| ' + ' | '.join(['---'] * (lines[0].count('|') - 1)) + ' |') == 1
    for labels, entries in experiment.lines:
        # every column's entry is of the algorithm, or the data set, that its head names
        heads = experiment.head[len(labels) :]
        for head, entry in zip(heads, entries, strict=True):
            names = {label for word, label in NAMES.items() if _is_of(entry.cell, word)}
            assert head in names and entry.paper


def _is_of(cell, word):
    return cell.algorithm == word or cell.dataset == dataset_of(cell.task, word)


def test_the_papers_numbers_agree_where_its_tables_overlap():
    one, four = published_results.TABLE_1, published_results.TABLE_4
    assert all(one[key] == four[key] for key in four if key[2] == 'h2o')
    for algorithm in ('h2o', 'cql', 'sac'):
        place = ('medium-replay', 'gravity', algorithm)
        assert one[place] == published_results.TABLE_2[algorithm]
    for level in ('medium', 'medium-replay', 'medium-expert'):
        assert one[level, 'gravity', 'h2o'] == published_results.TABLE_5[level, 'h2o']
    for gap in ('gravity', 'friction'):
        assert one['medium', gap, 'sac'] == published_results.TABLE_7[gap, 'sac']
    assert len(one) == 45 and len(four) == 18


def test_figures_are_drawn_of_what_there_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('H2O_DATASETS', str(tmp_path))
    file, page = tmp_path / 'known.csv', tmp_path / 'docs' / 'results.md'
    write_rows(map(of_what_ships, known_runs()), file)
    page.parent.mkdir()
    page.write_text('# Results\n\nBefore.\n\n<!-- table2 200 -->\nold\n<!-- end table2 200 -->\n')
    words = ['table2', 'figure7', 'figure6', '--show', '--steps', '200', '--known', str(file)]
    words += ['--output', str(tmp_path / 'runs'), '--place', str(page)]
    assert main(words) == 0
    assert 'figure6: nothing to draw yet' in capsys.readouterr().out
    text = page.read_text()
    assert 'old' not in text and 'Before.' in text and '6200 ± 200 (3)' in text
    assert '![Figure 7: learning curves, HalfCheetah](pictures/figure7_200.png)' in text
    for name in ('figure7_200.png', 'table2_200.png'):
        assert (page.parent / 'pictures' / name).stat().st_size > 10_000
    main(words)
    assert page.read_text() == text  # placed again, nothing is twice


def test_the_fewest_lines_that_show_every_run_are_drawn():
    table = find_experiment('table1')
    both = Results(known_runs())
    alone = Results([each for each in known_runs() if each.algorithm == 'sac'])
    replay = ('Medium Replay', 'Gravity')
    assert [labels for labels, _ in lines_to_draw(table, both, 200)] == [replay]
    # SAC reads no dataset: its runs stand in three lines, of which one shows them.
    assert [labels for labels, _ in lines_to_draw(table, alone, 200)] == [('Medium', 'Gravity')]
    assert lines_to_draw(table, Results(), 200) == []


def test_every_run_is_in_a_panel_and_every_colour_has_its_name():
    table = find_experiment('table1')
    cells = [
        Cell('h2o', 'half_cheetah', REPLAY, 'gravity'),
        Cell('darc', 'half_cheetah', 'halfcheetah-medium-v2', 'friction'),
        Cell('cql', 'half_cheetah', 'halfcheetah-medium-expert-v2', '-'),
        Cell('darc_plus', 'half_cheetah', 'halfcheetah-medium-expert-v2', 'joint_noise'),
        Cell('sac', 'half_cheetah', '-', 'joint_noise'),
        Cell('cql', 'half_cheetah', 'halfcheetah-medium-v2', '-'),
    ]
    rows = [row(0, update, 1.0 * update, cell, 200) for cell in cells for update in (100, 200)]
    figure = curves_figure(table, Results(rows), 200)
    panels = [axes for axes in figure.axes if axes.get_lines()]
    assert len(panels) == 3  # two columns, and one over nothing
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    drawn = {line.get_label() for axes in panels for line in axes.get_lines()}
    assert named == drawn == {'H2O', 'DARC', 'CQL', 'DARC+', 'SAC'}
    assert [axes.get_xlabel() for axes in panels] == ['thousand updates'] * 3


def test_an_algorithm_has_one_colour_in_every_picture():
    pictures = [
        find_experiment(name).head[labels:] for name, labels in (('table1', 2), ('table2', 1))
    ]
    pictures += [find_experiment('figure6').head[1:], ('h2o', 'sac', 'darc', 'mine')]
    seen = {}
    for names in pictures:
        colours = colours_of(names)
        assert len(set(colours)) == len(names)
        for name, colour in zip(names, colours, strict=True):
            name = {'h2o': 'H2O', 'sac': 'SAC', 'darc': 'DARC'}.get(name, name)
            if name in ('SAC', 'CQL', 'DARC', 'DARC+', 'H2O'):
                assert seen.setdefault(name, colour) == colour
    assert len(seen) == 5


def test_curves_are_taken_where_every_run_was_evaluated():
    cell = canonical(Cell('h2o', 'half_cheetah', REPLAY, 'gravity'))
    rows = [row(0, update, 1.0 * update, cell, 200) for update in (50, 100, 200)]
    rows += [row(1, update, 3.0 * update, cell, 200) for update in (100, 150, 200)]
    updates, returns = curves_of(cell, Results(rows), 200)
    np.testing.assert_array_equal(updates, [100, 200])
    np.testing.assert_array_equal(returns, [[100, 200], [300, 600]])


def test_a_section_is_replaced_or_added_at_the_end():
    page = replace_section('# Page\n', 'a 1', 'first\n')
    assert page == '# Page\n\n<!-- a 1 -->\nfirst\n<!-- end a 1 -->\n'
    page = replace_section(page + '\nafter\n', 'a 1', 'second')
    assert page == '# Page\n\n<!-- a 1 -->\nsecond\n<!-- end a 1 -->\n\nafter\n'


def test_the_list_names_every_experiment(capsys):
    assert main([]) == 0
    assert re.findall(r'(?m)^  (\S+)', capsys.readouterr().out) == [*experiments(), 'own', 'merge']


def test_the_committed_results_can_be_read():
    path = ROOT / 'docs' / 'results' / 'results.csv'
    if not path.exists():
        pytest.skip('no results are committed')
    assert len(Results.read(path)) > 0


def test_own_tables_of_other_options_have_other_files(tmp_path):
    made = [
        own('half_cheetah', ['h2o', 'sac'], ['demonstration'], ['gravity']),
        own('half_cheetah', ['h2o'], ['demonstration'], ['gravity']),
        own('half_cheetah', ['h2o'], ['demonstration'], ['gravity:1.5']),
        own('/tasks/mine.yaml', ['h2o'], ['demonstration'], ['gravity']),
    ]
    names = [experiment.file for experiment in made]
    assert names[0] == 'own__half_cheetah__h2o_sac__demonstration__gravity'
    assert len(set(names)) == 4 and not any('/' in name for name in names)
    settings, folder = Settings(steps=200), ResultsFolder(tmp_path)
    for experiment in made[:2]:
        write_all(experiment, Grid((), (0,), settings, folder))
    assert {path.name for path in tmp_path.glob('*.md')} == {f'{name}.md' for name in names[:2]}
    assert find_experiment('table1').file == 'table1'
