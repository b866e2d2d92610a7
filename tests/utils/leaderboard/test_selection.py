"""From a store to rows: who wins, and what counts."""

from __future__ import annotations

import shutil

import pytest
from boards import LATER, R20, board, row_of, says

from utils.experiments.store import Store
from utils.leaderboard.selection import leaderboard


def test_validation_chooses_where_the_test_says_otherwise(lab):
    lab.trial("BPR", embedding_size=16, valid={R20: 0.5}, test={R20: 0.1})
    lab.trial("BPR", embedding_size=32, valid={R20: 0.4}, test={R20: 0.9})
    (row,) = board(lab).rows
    assert row.settings["embedding_size"] == 16 and row.test[R20] == (0.1, None)
    assert row.chosen["embedding_size"] == 16 and row.varied == ["embedding_size"]
    assert (row.n_settings, row.n_runs) == (2, 2)


def test_mean_and_standard_deviation_over_seeds(lab):
    for seed, value in ((3, 0.1), (1, 0.2), (2, 0.3)):
        lab.trial("BPR", seed=seed, test={R20: value}, valid={R20: value / 2}, cost=float(seed))
    (row,) = board(lab).rows
    assert row.test[R20] == pytest.approx((0.2, 0.1)) and row.valid[R20] == pytest.approx((0.1, 0.05))
    assert [run.settings["seed"] for run in row.runs] == [1, 2, 3] and row.best_epochs == [15, 18, 21]
    assert row.seconds_per_epoch == pytest.approx(2.25) and row.peak_memory_mb == pytest.approx(180)
    assert row.seconds_training == pytest.approx((20 * 1.25 + 23 * 2.25 + 26 * 3.25) / 3)


def test_rows_are_in_the_order_of_the_metric_asked_for(lab):
    lab.trial("BPR", test={R20: 0.1, "ndcg@10": 0.9})
    lab.trial("VBPR", test={R20: 0.2, "ndcg@10": 0.8})
    assert [row.model for row in board(lab).rows] == ["VBPR", "BPR"]
    assert [row.model for row in board(lab, metric="NDCG@10").rows] == ["BPR", "VBPR"]


def test_places_and_speed_make_no_other_settings(lab):
    lab.trial("BPR", seed=1, eval_batch_size=64, threads=1)
    lab.trial("BPR", seed=2, eval_batch_size=128, threads=2)
    (row,) = board(lab).rows
    assert row.n_settings == 1 and len(row.runs) == 2 and row.chosen == {}


def test_only_the_latest_code_of_a_model_counts(lab):
    lab.trial("BPR", environment={"code": "old"}, valid={R20: 0.9})
    lab.trial("BPR", date=LATER, embedding_size=16, valid={R20: 0.1})
    lab.trial("VBPR")
    found = board(lab)
    assert row_of(found, "BPR").settings["embedding_size"] == 16
    assert says(found.warnings, "1 trial of BPR left out", "other code")


def test_only_the_latest_content_of_the_data_counts(lab):
    lab.trial("BPR", environment={"data": "before"})
    lab.trial("VBPR", environment={"data": "before"})
    lab.trial("VBPR", date=LATER)
    found = board(lab)
    assert [row.model for row in found.rows] == ["VBPR"]
    assert says(found.warnings, "2 trials on tiny left out (BPR and VBPR)", "other content")
    assert "BPR has no trial on the latest data" in found.warnings


def test_validation_does_not_choose_how_the_test_is_measured(lab):
    lab.trial("BPR", date=LATER, mask_validation_at_test=True)
    lab.trial("BPR", valid={R20: 1.0})
    lab.trial("VBPR")
    found = board(lab)
    assert row_of(found, "BPR").settings["mask_validation_at_test"] and row_of(found, "BPR").n_settings == 1
    assert says(found.warnings, "1 trial of BPR left out", "are not as in the latest")
    assert says(found.warnings, "mask_validation_at_test is True for BPR, False for VBPR")


def test_other_modalities_are_other_files_and_no_other_content(lab):
    lab.trial("VBPR", modalities=["image"])
    lab.trial("LATTICE", date=LATER)
    found = board(lab)
    assert len(found.rows) == 2 and not says(found.warnings, "left out")
    assert says(found.warnings, "the files of the data differ")


def test_a_winner_with_fewer_seeds_stays_the_winner_and_is_told(lab):
    for seed in (1, 2):
        lab.trial("BPR", seed=seed, embedding_size=16, valid={R20: 0.2})
    lab.trial("BPR", embedding_size=32, valid={R20: 0.3})
    found = board(lab)
    assert found.rows[0].settings["embedding_size"] == 32
    assert says(found.warnings, "BPR: the settings that validation chose have 1 of 2 seeds")


def test_a_lucky_seed_does_not_beat_the_mean_of_five(lab):
    for seed, value in enumerate((0.1100, 0.1094, 0.1096, 0.1095, 0.1095), start=1):
        lab.trial("BPR", seed=seed, embedding_size=16, valid={R20: value})
    lab.trial("BPR", seed=1, embedding_size=32, valid={R20: 0.1098})
    found = board(lab)
    assert found.rows[0].settings["embedding_size"] == 16 and len(found.rows[0].runs) == 5
    assert says(
        found.warnings, "1 setting of fewer seeds had a better validation recall@20, up to 0.1098 for 0.1096"
    )


def test_several_valid_metrics_of_one_model(lab):
    lab.trial("BPR", valid_metric="NDCG@20", valid={R20: 0.9, "ndcg@20": 0.1})
    lab.trial("BPR", date=LATER, embedding_size=16, valid={R20: 0.8, "ndcg@20": 0.7})
    found = board(lab)
    assert found.rows[0].valid_metric == R20 and found.rows[0].settings["valid_metric"] == "NDCG@20"
    assert says(found.warnings, "BPR was run with several valid_metric; recall@20, the latest, chose")


def test_failed_and_pruned_trials_are_counted(lab):
    lab.trial("BPR", date="2026-02-01", environment={"code": "old"})
    lab.trial("BPR", date="2026-02-03", embedding_size=16)
    lab.failure("BPR", "tiny", "diverged", {"learning_rate": 9, "seed": 1})
    lab.failure("BPR", "tiny", "pruned", {"learning_rate": 1, "seed": 1})
    lab.failure("BPR", "tiny", "pruned", {"learning_rate": 1, "seed": 2})
    lab.failure("BPR", "tiny", "error", {}, date="2026-01-31")
    lab.failure("VBPR", "tiny", "diverged", {"seed": 1})
    found = board(lab)
    (row,) = found.rows
    assert (row.n_failed, row.n_settings, row.n_runs) == (1, 2, 4)
    assert "VBPR has no finished trial: diverged, 1 in all" in found.warnings


def test_failures_are_told_apart_by_their_settings(lab):
    lab.trial("TMFUN", reg_weight=0.1, embedding_size=16)
    lab.failure("TMFUN", "tiny", "error", {}, missing_rate=0.5)
    lab.failure("TMFUN", "tiny", "pruned", {"reg_weight": 0.1}, embedding_size=64)
    lab.failure("TMFUN", "tiny", "pruned", {"reg_weight": 0.1}, embedding_size=16)
    (row,) = board(lab).rows
    assert (row.n_failed, row.n_settings) == (0, 2)


def test_settings_that_are_not_the_defaults_are_named_the_varied_ones_first(lab):
    lab.trial("TMFUN", point={"n_ui_layers": 2}, learning_rate=0.01, valid={R20: 0.3})
    lab.trial("TMFUN", point={"n_ui_layers": 3}, learning_rate=0.01, valid={R20: 0.2})
    assert list(board(lab).rows[0].chosen.items()) == [("n_ui_layers", 2), ("learning_rate", 0.01)]


def test_a_model_without_the_metric_is_last(lab):
    lab.trial("BPR", topk=[20], test={R20: 0.9})
    lab.trial("VBPR")
    found = board(lab, metric="recall@10")
    assert [row.model for row in found.rows] == ["VBPR", "BPR"]
    assert "BPR was run without recall@10" in found.warnings


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"datasets": ["tinny"]}, "data set 'tinny'"),
        ({"datasets": ["tinny"]}, "did you mean 'tiny'?"),
        ({"models": ["bpr"]}, "the model 'bpr'"),
        ({"models": ["bpr"]}, "there are BPR, VBPR; did you mean 'BPR'?"),
        ({"datasets": ["other"], "models": ["VBPR"]}, "no finished trial of the model 'VBPR'"),
        ({"datasets": ["tiny", "other"], "models": ["VBPR"]}, "no finished trial of VBPR on other"),
        ({"metric": "recal@20"}, "did you mean 'recall'?"),
        ({"metric": "recall"}, "write it as recall@20"),
        ({"metric": "recall@7"}, "recall@7 was not measured on other; there are recall@5"),
    ],
)
def test_what_is_not_in_the_store(lab, fails, asked, message):
    lab.data_set("other", seed=3)
    lab.trial("BPR", "tiny")
    lab.trial("VBPR", "tiny")
    lab.trial("BPR", "other")
    fails(leaderboard, message, lab.store, **asked)


def test_an_empty_store(tmp_path, fails):
    fails(leaderboard, f"no finished trial in {tmp_path}", Store(tmp_path))


def test_unknown_defaults_are_told(lab):
    lab.trial("BPR", embedding_size=16)
    shutil.rmtree(lab.data)
    found = board(lab)
    assert found.rows[0].chosen == {}
    assert says(found.warnings, "BPR: which settings are not the defaults is unknown", str(lab.data))
