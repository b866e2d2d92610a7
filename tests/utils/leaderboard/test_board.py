"""What a board says of its rows: sensitivity, significance, published figures."""

from __future__ import annotations

import numpy as np
import pytest
from boards import R20, board, row_of, says

from utils.evaluation.significance import compare
from utils.experiments.store import LISTS, PER_USER
from utils.leaderboard.selection import leaderboard


def test_sensitivity_keeps_the_other_settings_at_their_best(lab):
    values = {(2, 0.0): 0.3, (2, 0.1): 0.5, (3, 0.0): 0.45, (3, 0.1): 0.4, (4, 0.1): 0.2}
    for (layers, weight), value in values.items():
        lab.trial("TMFUN", point={"n_ui_layers": layers, "cl_weight": weight}, valid={R20: value})
    curves = board(lab).rows[0].sensitivity()
    assert {n: [(v, s.mean) for v, s in curve] for n, curve in curves.items()} == {
        "n_ui_layers": [(2, 0.5), (3, 0.4), (4, 0.2)],
        "cl_weight": [(0.0, 0.3), (0.1, 0.5)],
    }


def test_significance_is_over_values_per_user_averaged_over_seeds(lab):
    for seed in (1, 2):
        lab.trial("BPR", quality=0.5, seed=seed)
        lab.trial("VBPR", quality=1.5, seed=seed)
    found = board(lab)
    values = {}
    for row in found.rows:
        kept = [run.trial.per_user() for run in row.runs]
        assert (kept[0][0] == kept[1][0]).all()
        values[row.model] = np.mean([one[R20] for _, one in kept], axis=0)
    (mine,), notes = found.compared
    (expected,) = compare(values, "VBPR")
    assert notes == [] and (mine.difference, mine.p_t, mine.n_users) == pytest.approx(
        (expected.difference, expected.p_t, expected.n_users)
    )
    assert found.sentences()[0].startswith("VBPR is ahead of BPR by ")
    assert row_of(found, "BPR").per_user.values[R20].mean() == pytest.approx(
        row_of(found, "BPR").test[R20].mean
    )


def test_models_that_cannot_be_compared_are_left_out_with_a_note(lab):
    lab.trial("VBPR", quality=2)
    lab.trial("BPR", kept=(LISTS,))
    folder = lab.trial("LATTICE")
    np.savez(folder / PER_USER, users=np.arange(3), **{R20: np.zeros(3)})
    comparisons, notes = board(lab).compared
    assert comparisons == []
    assert says(notes, "BPR is left out", "no values per user") and says(
        notes, "LATTICE", "its users are not those"
    )


def test_no_tests_without_values_of_the_first(lab):
    lab.trial("VBPR", quality=2, kept=())
    lab.trial("BPR")
    assert board(lab).sentences() == ["no significance tests: VBPR has no values per user"]


def test_published_figures_stand_beside_runs_of_the_same_protocol_only(lab):
    lab.data_set("baby", seed=1)
    lab.trial("BPR", "baby")
    lab.trial("VBPR", "baby", mask_validation_at_test=True)
    lab.trial("BPR", "tiny")
    baby, tiny = leaderboard(lab.store)
    assert {figure.model for figure in baby.published} == {"BPR"} and tiny.published == []
