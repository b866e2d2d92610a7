"""What makes a comparison unfair."""

from __future__ import annotations

import pytest
from boards import R20, board, says


def test_equal_conditions_need_no_warning(lab):
    lab.trial("BPR")
    lab.trial("VBPR")
    assert board(lab).warnings == []


@pytest.mark.parametrize(
    ("one", "other", "parts"),
    [
        ({"seed": 1}, {"seed": 1, "mask_validation_at_test": True},
         ["mask_validation_at_test is False for BPR, True for VBPR: the test ranks other items"]),
        ({}, {"filter_out_cod_start_users": False}, ["filter_out_cod_start_users is True for BPR, False for VBPR"]),
        ({}, {"valid_metric": "NDCG@20"}, ["valid_metric is Recall@20 for BPR, NDCG@20 for VBPR"]),
        ({"epochs": 5}, {}, ["epochs is 5 for BPR, 1000 for VBPR"]),
        ({}, {"stopping_step": 3}, ["stopping_step is 20 for BPR, 3 for VBPR"]),
        ({}, {"train_batch_size": 64}, ["train_batch_size is 2048 for BPR, 64 for VBPR"]),
        ({}, {"environment": {"torch_threads": "2"}}, ["times do not compare: cpu with 1 thread for BPR, cpu with 2"]),
    ],
)  # fmt: skip
def test_what_makes_a_comparison_unfair(lab, one, other, parts):
    lab.trial("BPR", **one)
    lab.trial("VBPR", **other)
    (warning,) = board(lab).warnings
    assert all(part in warning for part in parts) or pytest.fail(warning)


def test_unequal_seeds_and_tuning(lab):
    for seed in (1, 2):
        lab.trial("BPR", seed=seed)
    lab.trial("VBPR", embedding_size=16)
    lab.trial("VBPR", embedding_size=64)
    lab.trial("LATTICE", seed=1)
    warnings = board(lab).warnings
    assert says(warnings, "unequal settings tried: 1 for BPR and LATTICE, 2 for VBPR")
    assert says(warnings, "unequal seeds: 1 for LATTICE and VBPR, 2 for BPR")


def test_a_tuned_setting_of_training_is_not_unfair(lab):
    for size in (64, 128):
        lab.trial("BPR", train_batch_size=size)
        lab.trial("VBPR", train_batch_size=size, valid={R20: size / 1000})
    assert not says(board(lab).warnings, "train_batch_size")


def test_a_model_that_was_also_run_shorter_does_not_hide_that_it_trained_longer(lab):
    lab.trial("BPR", epochs=3)
    lab.trial("VBPR", epochs=3, valid={R20: 0.1})
    lab.trial("VBPR", epochs=30, valid={R20: 0.2})
    assert says(board(lab).warnings, "epochs is", "30 for VBPR", "3 for BPR", "some may train longer")


def test_seeds_on_other_machines_do_not_compare(lab):
    lab.trial("BPR", seed=1)
    lab.trial("BPR", seed=2, environment={"torch_threads": "2"})
    lab.trial("VBPR", seed=1)
    assert says(
        board(lab).warnings, "times do not compare", "cpu with 1 thread and cpu with 2 threads for BPR"
    )
