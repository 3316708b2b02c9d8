"""The pictures: which are made, and what the numbers behind them are."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font

from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.reports import letters, plot_style, plots
from nasrun.reports.plots import write_plots
from nasrun.storage.records import TrialRecord

ALL = ["incumbent", "accuracy_parameters", "learning_curves", "origins"]


def drawn(paths):
    return [path.stem for path in paths]


def test_a_search_gives_all_four(search, space, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = write_plots(tmp_path, search(60), space, Objective())
    assert drawn(paths) == ALL
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(f"{name}.png" for name in ALL)


def test_a_loss_is_drawn_too(search, space, tmp_path):
    assert drawn(write_plots(tmp_path, search(12, metric="val_loss"), space, Objective("val_loss", "min"))) == ALL


def test_pictures_without_data_are_not_made(search, space, ok, tmp_path):
    assert write_plots(tmp_path, {}, space, Objective()) == []
    failed = {0: TrialRecord(Trial(0, Proposal((1,))), [Measurement(0, 0, "failed", error="no")])}
    assert write_plots(tmp_path, failed, space, Objective()) == []
    bare = {0: TrialRecord(Trial(0, Proposal((1,))), [ok(0, 0.5)])}
    assert drawn(write_plots(tmp_path, bare, space, Objective())) == ["incumbent"]
    no_history = search(12, epochs=0)
    assert "learning_curves" not in drawn(write_plots(tmp_path, no_history, space, Objective()))


def test_equal_trials_and_sizes_are_drawn(ok, space, tmp_path):
    records = {
        n: TrialRecord(Trial(n, Proposal((n,), parent=0 if n else None)), [ok(n, 0.5, length=2, parameters=1000.0)])
        for n in range(9)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(write_plots(tmp_path, records, space, Objective())) == ALL


def test_the_line_of_the_best_never_falls(search, space, tmp_path):
    figure = plots.draw_plots(tmp_path, search(60), space, Objective(), {})["incumbent"]
    (line,) = figure.axes[0].lines
    best = line.get_ydata()
    values = [100 * r.mean("val_accuracy") for r in search(60).values() if r.status == "ok"]
    assert (np.diff(best) >= 0).all()
    assert best[0] == values[0]
    assert best[-1] == max(values)
    assert figure.axes[0].get_ylabel() == "Validation accuracy (%)"


def test_failed_trials_are_marked(search, space, tmp_path):
    figure = plots.draw_plots(tmp_path, search(60), space, Objective(), {})["incumbent"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"{sum(r.status == 'failed' for r in search(60).values())} failed" in labels


def test_the_front_holds_what_no_smaller_network_matches():
    sizes = np.array([10.0, 20, 20, 30, 40, 50])
    scores = np.array([1.0, 3, 4, 4, 2, 5])
    assert plots.pareto(sizes, scores).tolist() == [0, 2, 5]


@pytest.mark.parametrize(("mode", "sign"), [("max", 1.0), ("min", -1.0)])
def test_a_few_bad_trials_do_not_set_the_scale(mode, sign):
    values = sign * np.concatenate([np.linspace(90, 94, 30), [10.0, 10.0]])
    axes = Figure().add_subplot()
    inside = plot_style.clip(axes, np.arange(32), values, Objective("x", mode))
    assert inside.tolist() == [True] * 30 + [False] * 2
    low, high = axes.get_ylim()
    assert high - low < 6
    assert len(axes.collections[0].get_offsets()) == 2


def test_gains_are_children_less_parents(ok, space, tmp_path):
    records = [
        TrialRecord(Trial(0, Proposal((0,))), [ok(0, 0.5)]),
        TrialRecord(Trial(1, Proposal((1,), parent=0, origin="swap")), [ok(1, 0.75)]),
        TrialRecord(Trial(2, Proposal((2,), parent=0, origin="swap", reuse_of=1)), [ok(2, 0.75)]),
        TrialRecord(Trial(3, Proposal((3,), parent=1, origin="add_layer")), [ok(3, 0.625)]),
    ]
    found = {record.trial.number: record for record in records}
    axes = plots.draw_plots(tmp_path, found, space, Objective(), {})["origins"].axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["add layer", "swap"]
    assert [text.get_text() for text in axes.texts] == ["0 % of 1 better", "100 % of 1 better"]
    offsets = np.concatenate([c.get_offsets() for c in axes.collections if len(c.get_offsets())])
    assert sorted(offsets[:, 0]) == [-12.5, 25.0]


def test_curves_are_means_over_the_repeats(ok):
    pair = [ok(0, 0.5, length=2), ok(0, 0.75, repeat=1, length=3)]
    record = TrialRecord(Trial(0, Proposal((0,))), pair)
    assert plot_style.learning_curve(record, "val_accuracy") == {1: 0.25, 2: 0.5, 3: 0.75}


def test_no_global_state_and_nothing_heavy_before_the_first_picture():
    code = (
        "import sys; import nasrun.reports.plot_style as plot_style\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figure, axes = plot_style.new_figure('a', 'b')\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_letters_that_the_usual_font_lacks_come_from_another_or_are_boxes_in_silence(tmp_path):
    """Class names in any script, as on the axes of the confusion matrix."""
    usual = get_font(findfont(letters.USUAL))
    stix = next(entry for entry in fontManager.ttflist if entry.name == "STIXGeneral")
    there = next(code for code in get_font(stix.fname).get_charmap() if not usual.get_char_index(code))

    def width(text, family=None):
        figure = Figure()
        drawn = figure.text(0.1, 0.5, text, fontfamily=family)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plot_style.save_figure(figure, tmp_path / "plots" / "letters.png")
        return drawn, (tmp_path / "plots" / "letters.png").read_bytes()

    drawn, picture = width(f"cat {chr(there)}")
    assert drawn.get_fontfamily()[0] == letters.USUAL
    assert len(drawn.get_fontfamily()) == 2
    assert picture == width(f"cat {chr(there)}", drawn.get_fontfamily())[1]
    boxed, _ = width(f"cat {chr(0x10FFFD)}")  # a private code, which no font has
    assert boxed.get_fontfamily() != drawn.get_fontfamily()
