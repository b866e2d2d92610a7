"""From a store to rows: who wins, what counts, what is unfair, and lists from elsewhere."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pytest

from utils.data.dataset import Dataset
from utils.evaluation.beyond_accuracy import beyond_accuracy
from utils.evaluation.groups import by_item_group, by_user_group
from utils.evaluation.ranking import Evaluator
from utils.evaluation.significance import compare
from utils.experiments.leaderboard import add_foreign, insights, leaderboard, read_ranking
from utils.experiments.leaderboard_command import add_arguments, run
from utils.experiments.store import LISTS, PER_USER, Store

from .boards import LATER, Lab

R20 = "recall@20"


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    lab.data_set("tiny")
    return lab


def board(lab, **asked):
    return leaderboard(lab.store, **asked)[0]


def row_of(a_board, model):
    return next(row for row in a_board.rows if row.model == model)


def says(lines, *parts):
    """Whether one of the lines holds all the parts."""
    return any(all(part in line for part in parts) for line in lines)


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


def test_a_winner_with_fewer_seeds_stays_the_winner_and_is_told(lab):
    for seed in (1, 2):
        lab.trial("BPR", seed=seed, embedding_size=16, valid={R20: 0.2})
    lab.trial("BPR", embedding_size=32, valid={R20: 0.3})
    found = board(lab)
    assert found.rows[0].settings["embedding_size"] == 32
    assert says(found.warnings, "BPR: the settings that validation chose have 1 of 2 seeds")


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


def test_settings_that_are_not_the_defaults_are_named_the_varied_ones_first(lab):
    lab.trial("TMFUN", point={"n_ui_layers": 2}, learning_rate=0.01, valid={R20: 0.3})
    lab.trial("TMFUN", point={"n_ui_layers": 3}, learning_rate=0.01, valid={R20: 0.2})
    assert list(board(lab).rows[0].chosen.items()) == [("n_ui_layers", 2), ("learning_rate", 0.01)]


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


def test_insights_are_those_of_the_functions_for_each(lab):
    lab.trial("BPR")
    found = board(lab)
    seen = insights(found)
    config = lab.config("BPR", "tiny")
    data = Dataset.load(config)
    truth = Evaluator(config, data).test_truth
    popularity = np.bincount(data.train.items, minlength=data.n_items)
    lists = found.rows[0].lists
    features = {name: one.features().numpy() for name, one in data.modalities.items()}
    assert seen.notes == []
    assert seen.beyond["BPR"] == beyond_accuracy(lists.items, popularity, data.n_users, 20, features)
    assert seen.items["BPR"] == by_item_group(lists.items, truth, popularity, 20)
    users, values = found.rows[0].per_user
    counts = np.bincount(data.train.users, minlength=data.n_users)
    assert seen.users["BPR"] == by_user_group(values[R20], counts[users])


def test_insights_need_the_data_and_the_lists(lab):
    lab.trial("BPR")
    lab.trial("VBPR", kept=(PER_USER,))
    assert says(insights(board(lab)).notes, "lists of VBPR", "not kept")
    lab.data_set("tiny", seed=9)
    seen = insights(board(lab))
    assert seen.beyond == {} and says(seen.notes, "BPR", "VBPR", "not those the trials ran on")
    assert says(insights(board(lab), {"data_path": "/nowhere"}).notes, "/nowhere")


# Lists from elsewhere


def exported(a_board, model, path, **columns):
    """The stored lists of a model as a file."""
    lists = row_of(a_board, model).lists
    rows, places = np.nonzero(lists.items >= 0)
    table = pd.DataFrame({"userID": lists.users[rows], "itemID": lists.items[rows, places]})
    for name, of in columns.items():
        table[name] = of(lists, rows, places)
    table.to_csv(path, sep="\t", index=False)
    return table


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"rank": lambda lists, rows, places: places + 1},
        {"score": lambda lists, rows, places: lists.scores[rows, places]},
    ],
)
def test_stored_lists_as_foreign_ones_have_the_stored_metrics(lab, tmp_path, columns):
    lab.trial("BPR")
    found = board(lab)
    table = exported(found, "BPR", tmp_path / "lists.tsv", **columns)
    if columns:
        table.sample(frac=1, random_state=0).to_csv(tmp_path / "lists.tsv", sep="\t", index=False)
    added = row_of(add_foreign(found, "Elsewhere", tmp_path / "lists.tsv"), "Elsewhere")
    own = found.rows[0]
    assert {n: s.mean for n, s in added.test.items()} == {n: s.mean for n, s in own.test.items()}
    assert (
        (added.lists.items == own.lists.items).all() and added.valid == {} and added.seconds_per_epoch is None
    )


@pytest.mark.parametrize("masked", [False, True])
def test_foreign_lists_against_brute_force(lab, tmp_path, masked):
    lab.trial("BPR", mask_validation_at_test=masked)
    data = Dataset.load(lab.config("BPR", "tiny"))
    rng = np.random.default_rng(0)
    ranked = {user: rng.permutation(data.n_items)[:40].tolist() for user in range(0, data.n_users, 2)}
    lines = [f"{user},{item}" for user, items in ranked.items() for item in items]
    (tmp_path / "lists.csv").write_text("\n".join(["userID,itemID", *lines]))
    found = add_foreign(board(lab), "Random", tmp_path / "lists.csv")

    splits = [data.train, data.valid] if masked else [data.train]
    seen = {pair for split in splits for pair in zip(split.users.tolist(), split.items.tolist(), strict=True)}
    hits = 0
    for user, item in zip(data.test.users.tolist(), data.test.items.tolist(), strict=True):
        left = [one for one in ranked.get(user, []) if (user, one) not in seen]
        hits += item in left[:20]
    row = row_of(found, "Random")
    assert row.test[R20].mean == pytest.approx(hits / data.n_users)
    assert says(found.warnings, "Random", "40 of 80 test users have no list")
    assert says(found.warnings, "Random", "lines left out: items that the user has already")
    assert says(found.warnings, "Random", "lists hold fewer than 50 items")
    assert found.compared[0][0].n_users == 80 and found.published == []


def test_what_a_foreign_list_should_not_hold_is_left_out_and_counted(lab, tmp_path):
    lab.trial("BPR")
    found = board(lab)
    table = exported(found, "BPR", tmp_path / "lists.tsv")
    wrong = pd.DataFrame({"userID": [-1, 80, 0, 0], "itemID": [0, 0, 60, table["itemID"][0]]})
    pd.concat([table, wrong]).to_csv(tmp_path / "lists.tsv", sep="\t", index=False)
    more = add_foreign(found, "X", tmp_path / "lists.tsv")
    assert row_of(more, "X").test[R20].mean == found.rows[0].test[R20].mean
    assert says(more.warnings, "X: 3 lines left out: tiny has no such user or item")
    assert says(more.warnings, "X: 1 line left out: the item is in the user's list already")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no table"),
        ("userID\titemID\n", "holds no ranking"),
        ("user\titemID\n0\t1\n", "no column 'userID'; its header names user, itemID; did you mean 'user'?"),
        ("userID,item\n0,1\n", "no column 'itemID'"),
        ("userID,itemID\n0,1\n0,x\n", "line 3: itemID is 'x'; expected a whole number"),
        ("userID,itemID\n0,1.5\n", "line 2: itemID is '1.5'"),
        ("userID,itemID,score\n0,1,2\n0,2,\n", "line 3: score is"),
        ("userID,itemID,rank\n0,1,first\n", "line 2: rank is 'first'; expected a number"),
        ("userID,itemID\n900,1\n", "ranks nothing for any of the 80 test users"),
        ("userID,itemID\n0,1,2,3\n0,1\n", "no table"),
    ],
)
def test_files_that_are_no_ranking(lab, tmp_path, fails, text, message):
    lab.trial("BPR")
    (tmp_path / "bad.tsv").write_text(text)
    fails(add_foreign, message, board(lab), "X", tmp_path / "bad.tsv")


def test_foreign_lists_need_a_file_a_free_name_and_the_data(lab, tmp_path, fails):
    lab.trial("BPR")
    found = board(lab)
    fails(add_foreign, "cannot read", found, "X", tmp_path / "none.tsv")
    fails(add_foreign, "a row of that name already", found, "BPR", tmp_path / "none.tsv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    fails(read_ranking, "no table", tmp_path / "binary", "userID", "itemID")
    lab.data_set("tiny", seed=9)
    fails(add_foreign, "not those the trials ran on", found, "X", tmp_path / "none.tsv")


# The command


def command(lab, line, **overrides):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(line.split()), {"runs_path": str(lab.runs)} | overrides)


def test_the_command_prints_and_writes(lab, tmp_path, capsys):
    lab.trial("BPR")
    lab.trial("VBPR", quality=2)
    assert command(lab, "-d tiny --metric NDCG@10") == 0
    out = capsys.readouterr().out
    assert "VBPR" in out and "\033" not in out and "--html leaderboard.html" in out
    assert command(lab, f"--format csv --output {tmp_path}/a.csv --html {tmp_path}/a.html") == 0
    assert (tmp_path / "a.csv").read_text().startswith("data set,model,")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out == ""


def test_the_command_adds_foreign_lists(lab, tmp_path, capsys):
    lab.trial("BPR")
    exported(board(lab), "BPR", tmp_path / "lists.tsv")
    assert command(lab, f"-d tiny --add Other {tmp_path}/lists.tsv --format csv") == 0
    assert "tiny,Other,foreign list," in capsys.readouterr().out


def test_runs_path_counts_from_the_current_folder(lab, monkeypatch, capsys):
    lab.trial("BPR")
    monkeypatch.chdir(lab.runs.parent)
    assert command(lab, "--format csv", runs_path="runs") == 0


@pytest.mark.parametrize(
    ("line", "overrides", "message"),
    [
        ("-d none", {}, "data set 'none'"),
        ("", {"knn_k": 5}, "'knn_k' has no effect on a leaderboard"),
        ("", {"run_path": "x"}, "did you mean 'runs_path'?"),
        ("", {"runs_path": 5}, "runs_path expects a text"),
        ("--output {0}/none/a.csv", {}, "there is no folder"),
        ("--output {0}", {}, "it is a folder"),
        ("--output {0}/a --html {0}/a", {}, "both name"),
        ("--add X {0}/x.tsv", {}, "--add needs exactly one data set"),
        ("-d tiny --add X {0}/x.tsv", {}, "cannot read"),
        ("--metric MAP --html {0}/a", {}, "has no cut-off"),
    ],
)
def test_bad_input_touches_nothing(lab, tmp_path, fails, line, overrides, message):
    lab.data_set("other", seed=3)
    lab.trial("BPR", "tiny")
    lab.trial("BPR", "other")
    before = sorted(tmp_path.rglob("*"))
    fails(command, message, lab, line.format(tmp_path), **overrides)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_cannot_be_written_is_not_half_written(lab, tmp_path, fails, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    lab.trial("BPR")
    monkeypatch.setattr("utils.files.os.fsync", full)
    fails(command, "No space left on device", lab, f"--format csv --output {tmp_path}/a.csv")
    assert not list(tmp_path.glob("*a.csv*"))
