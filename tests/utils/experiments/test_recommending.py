"""From the best stored trial to lists: which trial, what it recommends, files, faults."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import utils.experiments.recommend_command as command_module
import utils.experiments.recommending as recommending
from utils.experiments.recommend_command import (
    add_export_arguments,
    add_recommend_arguments,
    export_command,
    recommend_command,
)
from utils.experiments.recommending import best_trial, load_trial, modality_shares, recommend, recommend_all
from utils.experiments.store import Store
from utils.experiments.sweep import run_all
from utils.experiments.trial import build

QUICK = {"epochs": 2, "embedding_size": 8, "train_batch_size": 128, "topk": [5, 20]}
N_USERS, N_ITEMS, COLD = 61, 40, 60


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> str:
    """A data set `tiny` with two modalities, titles for all items but the last, and user 60 in no split but test."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["userID\titemID\tx_label", "39\t39\t0", f"{COLD}\t3\t2"]
    for user in range(60):
        items = rng.choice(40, size=8, replace=False)
        lines += [f"{user}\t{item}\t{label}" for item, label in zip(items, [0] * 6 + [1, 2], strict=True)]
    (folder / "tiny.inter").write_text("\n".join(lines) + "\n")
    for name, width in (("image", 12), ("text", 6)):
        np.save(folder / f"{name}_feat.npy", rng.standard_normal((N_ITEMS, width), dtype=np.float32))
    titles = [f"thing {item} " + "very " * 20 * (item % 2) for item in range(N_ITEMS - 1)]
    (folder / "item_titles.json").write_text(json.dumps([*titles, None]))
    return str(folder.parent)


@pytest.fixture(scope="module")
def trained(data_path, tmp_path_factory) -> dict[str, str]:
    """Settings of places; the store there has TMFUN, FREEDOM and, at four settings, BPR."""
    root = tmp_path_factory.mktemp("work")
    places = {"data_path": data_path, "runs_path": str(root / "runs"), "cache_path": str(root / "cache")}
    run_all(["TMFUN"], ["tiny"], overrides=QUICK | places)
    run_all(["BPR"], ["tiny"], overrides=QUICK | places | {"seed": [1, 2], "reg_weight": [0.1, 0.01]})
    return places


@pytest.fixture
def places(trained, tmp_path) -> dict[str, str]:
    """The same with a copy of the store, to be spoilt."""
    shutil.copytree(trained["runs_path"], tmp_path / "runs")
    return trained | {"runs_path": str(tmp_path / "runs")}


def best(places, model="TMFUN"):
    return best_trial(Store(Path(places["runs_path"])), "tiny", model)


def load(places, model="TMFUN", **overrides):
    return load_trial(best(places, model), overrides)


def command(name: str, words: str, places: dict[str, str], **overrides) -> int:
    """As the program calls it; a store's trials know where their data is."""
    parser = argparse.ArgumentParser()
    add, run = {
        "recommend": (add_recommend_arguments, recommend_command),
        "export": (add_export_arguments, export_command),
    }[name]
    add(parser)
    return run(parser.parse_args(words.split()), {"runs_path": places["runs_path"]} | overrides)


def edit_metrics(stored, **changes) -> None:
    path = stored.folder / "metrics.json"
    content = json.loads(path.read_text())
    for name, value in changes.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(content))


def by_hand(loaded, user: int, k: int, keep_validation: bool) -> tuple[list[int], list[float]]:
    """The k best of all scores of a user, ties by id, that are not the user's own."""
    config, dataset, model, _ = loaded
    with torch.no_grad():
        scores = model.full_sort_predict([torch.tensor([user]), torch.empty(2, 0, dtype=torch.long)])[
            0
        ].tolist()
    splits = [dataset.train] if keep_validation else [dataset.train, dataset.valid]
    own = {item for split in splits for item in split.items[split.users == user].tolist()}
    items = sorted(set(range(dataset.n_items)) - own, key=lambda item: (-scores[item], item))[:k]
    return items, [scores[item] for item in items]


@pytest.mark.parametrize("model", ["TMFUN", "BPR"])
@pytest.mark.parametrize("keep_validation", [False, True])
def test_lists_are_the_best_of_all_scores_without_what_the_user_has(trained, model, keep_validation):
    loaded = load(trained, model)
    users = np.array([57, 3, COLD, 12])
    lists = recommend(*loaded[:3], users, 10, keep_validation)
    assert (lists.users == users).all() and lists.items.shape == (4, 10)
    for row, user in enumerate(users):
        items, scores = by_hand(loaded, user, 10, keep_validation)
        assert lists.items[row].tolist() == items
        assert lists.scores[row] == pytest.approx(scores, rel=1e-5)


def test_with_validation_kept_they_are_the_lists_of_the_test(trained):
    stored = best(trained)
    tested = stored.lists()
    lists = recommend(*load(trained)[:3], tested.users, 40, keep_validation=True)
    assert (lists.items == tested.items).all() and (lists.scores == tested.scores).all()


def test_a_list_ends_where_nothing_new_is_left(trained):
    loaded = load(trained)
    lists = recommend(*loaded[:3], np.array([0, COLD]), 1000)
    assert lists.items.shape == (2, N_ITEMS)
    assert (lists.items[0] == -1).sum() == 7 and (lists.items[1] >= 0).all()


def test_lists_of_all_users_come_in_blocks_from_one_forward_pass(trained, monkeypatch):
    loaded = load(trained, eval_batch_size=7)
    calls = []
    forward = type(loaded.model).forward
    monkeypatch.setattr(type(loaded.model), "forward", lambda self: calls.append(1) or forward(self))
    monkeypatch.setattr(recommending, "BLOCK", 20)
    blocks = list(recommend_all(*loaded[:3], 10))
    assert [len(block.users) for block in blocks] == [20, 20, 20, 1] and len(calls) == 1
    together = recommend(*loaded[:3], np.arange(N_USERS), 10)
    for name in ("users", "items"):
        assert (np.concatenate([getattr(b, name) for b in blocks]) == getattr(together, name)).all()


def test_unknown_users_and_empty_lists_are_errors(trained, fails):
    loaded = load(trained)
    for user in (-1, N_USERS):
        fails(
            recommend,
            f"'tiny' has no user {user}; expected ids from 0 to 60",
            *loaded[:3],
            np.array([0, user]),
            5,
        )
    fails(recommend, "-k is 0; expected", *loaded[:3], np.array([0]), 0)


def test_shares_of_the_modalities_sum_to_1(trained):
    shares = modality_shares(load(trained).model)
    assert list(shares) == ["image", "text"] and shares["image"].shape == (N_ITEMS,)
    assert torch.allclose(sum(shares.values()), torch.ones(N_ITEMS))
    assert len(shares["image"].unique()) > 1


def test_several_heads_count_by_their_mean(trained):
    config, dataset, *_ = load(trained)
    config["n_heads"] = 2
    model, _ = build(config, dataset)
    torch.nn.init.normal_(model.query.weight)
    shares = modality_shares(model)
    attention = model.fuse(model.sources()[1]).attention
    assert attention.shape == (2, N_ITEMS, 2) and not torch.allclose(attention[..., 0], attention[..., 1])
    assert torch.allclose(shares["text"], (attention[1, :, 0] + attention[1, :, 1]) / 2)


@pytest.mark.parametrize(("attention", "expected"), [("prior", (0.3, 0.7)), ("equal", (0.5, 0.5))])
def test_fixed_attention_is_the_same_for_all_items(trained, tmp_path, attention, expected):
    places = trained | {"runs_path": str(tmp_path)}
    weights = {
        "item_graph_weight": {"image": 0.3, "text": 0.7},
        "attention": attention,
        "learn_item_graph": False,
    }
    run_all(["TMFUN"], ["tiny"], overrides=QUICK | places | weights)
    for share, value in zip(modality_shares(load(places).model).values(), expected, strict=True):
        assert torch.allclose(share, torch.full((N_ITEMS,), value))


def test_a_model_without_attention_has_no_shares(trained):
    assert modality_shares(load(trained, "BPR").model) is None


def test_validation_chooses_the_settings_by_their_mean_and_the_seed_by_itself(places):
    values = {(0.1, 1): 0.5, (0.1, 2): 0.4, (0.01, 1): 0.7, (0.01, 2): 0.1}
    for stored in Store(Path(places["runs_path"])).trials(None, ["BPR"]):
        value = values[stored.settings["reg_weight"], stored.settings["seed"]]
        edit_metrics(stored, valid={"recall@20": value}, test={"recall@20": 1 - value})
    chosen = best(places, "BPR").settings
    assert (chosen["reg_weight"], chosen["seed"]) == (0.1, 1)


@pytest.mark.parametrize("what", ["code", "data"])
def test_trials_of_older_code_or_other_data_are_not_chosen(places, what):
    older, *_ = Store(Path(places["runs_path"])).trials(None, ["BPR"])
    edit_metrics(older, valid={"recall@20": 1.0}, environment={what: "0", "date": "2001-01-01 00:00:00"})
    assert best(places, "BPR").folder != older.folder


def test_an_empty_store_and_a_missing_trial_say_what_there_is(places, tmp_path, fails):
    train = "train one with: python main.py -m TMFUN -d tiny"
    fails(best, "has none; " + train, places | {"runs_path": str(tmp_path / "nothing")})
    store = Store(Path(places["runs_path"]))
    fails(best_trial, "no finished trial of VBPR on tiny", store, "tiny", "VBPR")
    fails(best_trial, "which has BPR on tiny, TMFUN on tiny; train one with", store, "tiny", "VBPR")
    fails(best_trial, "did you mean 'tiny'?", store, "tinny", "TMFUN")


def test_what_the_trial_fixes_cannot_be_overridden(trained, fails):
    fails(load, "embedding_size is fixed by the trial in", trained, embedding_size=16)
    fails(load, "did you mean 'data_path'?", trained, datapath="x")


def test_the_data_may_lie_elsewhere_if_it_is_the_same(trained, tmp_path, monkeypatch, fails):
    shutil.copytree(Path(trained["data_path"]) / "tiny", tmp_path / "elsewhere" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert load(trained, data_path="elsewhere").config.path("data_path") == tmp_path / "elsewhere"
    with open(tmp_path / "elsewhere" / "tiny" / "tiny.inter", "a") as file:
        file.write("0\t39\t0\n")
    fails(load, "are not those that", trained, data_path="elsewhere")


def test_changed_code_is_an_error_where_weights_do_not_fit_and_a_warning_where_they_do(places, capsys, fails):
    stored = best(places)
    edit_metrics(stored, environment={"code": "0"})
    assert command("recommend", "-m TMFUN -d tiny --users 1", places) == 0
    assert "warning    the code of TMFUN has changed" in capsys.readouterr().out
    weights = stored.weights()
    torch.save(weights | {"more": torch.zeros(1)}, stored.folder / "best.pt")
    fails(load, "do not fit TMFUN, whose code has changed since (Unexpected key(s)", places)


def test_a_trial_without_weights_cannot_recommend(trained, tmp_path, fails):
    places = trained | {"runs_path": str(tmp_path / "runs")}
    run_all(["TMFUN"], ["tiny"], overrides=QUICK | places | {"save_model": False})
    output = tmp_path / "lists.tsv"
    fails(command, "save_model=True", "export", f"-m TMFUN -d tiny --output {output}", places)
    assert not output.exists()


def test_recommend_prints_the_trial_and_a_table_per_user(trained, capsys):
    assert command("recommend", f"-m TMFUN -d tiny --users 12,{COLD} 12 -k 3", trained) == 0
    lines = capsys.readouterr().out.splitlines()
    stored = best(trained)
    assert lines[0].startswith(f"trial      {stored.folder}, seed 999")
    assert lines[1].endswith(f"valid recall@20 {stored.result.valid['recall@20']:.4f}")
    assert "no training items" in lines[2] and str(COLD) in lines[2]
    assert lines.count("user 12") == lines.count(f"user {COLD}") == 1
    start = lines.index("user 12")
    assert lines[start + 1].split() == ["rank", "itemID", "score", "image", "text", "title"]
    items, _ = by_hand(load(trained), 12, 3, False)
    rows = [line.split() for line in lines[start + 2 : start + 5]]
    assert [(row[0], int(row[1])) for row in rows] == list(zip("123", items, strict=True))
    for row, item in zip(rows, items, strict=True):
        assert float(row[3]) + float(row[4]) == pytest.approx(1, abs=1e-3)
        assert row[5:7] == ([] if item == N_ITEMS - 1 else ["thing", str(item)])
    assert max(map(len, lines[start:])) < 110


def test_recommend_without_titles_and_shares(trained, tmp_path, capsys):
    shutil.copytree(Path(trained["data_path"]) / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "item_titles.json").unlink()
    assert command("recommend", "-m BPR -d tiny --users 3", trained, data_path=str(tmp_path)) == 0
    assert re.search(r"^rank +itemID +score$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(("suffix", "read"), [(".json", pd.read_json), (".csv", pd.read_csv)])
def test_recommend_writes_what_it_would_print(trained, tmp_path, suffix, read):
    output = tmp_path / f"lists{suffix}"
    assert command("recommend", f"-m TMFUN -d tiny --users 12,5 -k 4 --output {output}", trained) == 0
    table = read(output)
    columns = ["userID", "itemID", "rank", "score", "share_image", "share_text", "title"]
    assert list(table) == columns and table["userID"].tolist() == [12] * 4 + [5] * 4
    assert table["rank"].tolist() == [1, 2, 3, 4] * 2
    assert table["itemID"].tolist() == [i for u in (12, 5) for i in by_hand(load(trained), u, 4, False)[0]]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".json", ".parquet"])
def test_export_writes_the_lists_of_all_users(trained, tmp_path, monkeypatch, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    read = {".json": pd.read_json, ".parquet": pd.read_parquet}.get(
        suffix, lambda path: pd.read_csv(path, sep="," if suffix == ".csv" else "\t")
    )
    monkeypatch.setattr(recommending, "BLOCK", 25)
    output = tmp_path / f"lists{suffix}"
    output.write_text("of before")
    assert command("export", f"-m TMFUN -d tiny --output {output}", trained) == 0
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    table = read(output)
    assert list(table) == ["userID", "itemID", "rank", "score", "title"]
    lists = recommend(*load(trained)[:3], np.arange(N_USERS), 50)
    rows, places = np.nonzero(lists.items >= 0)
    assert (table["userID"] == rows).all() and (table["rank"] == places + 1).all()
    assert (table["itemID"] == lists.items[rows, places]).all()
    assert (table["score"].to_numpy(np.float32) == lists.scores[rows, places]).all()
    assert (table["title"].isna() == (table["itemID"] == N_ITEMS - 1)).all()
    assert table["title"][0].startswith(f"thing {table['itemID'][0]}")


def test_export_names_its_file_itself(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command("export", "-m BPR -d tiny -k 2", trained) == 0
    assert len(pd.read_csv("BPR-tiny-top2.tsv", sep="\t")) == 2 * N_USERS
    assert "written    BPR-tiny-top2.tsv, 122 lines" in capsys.readouterr().out


def test_export_keeps_validation_items_if_it_is_told_to(trained, tmp_path):
    dataset = load(trained).dataset
    pairs = set(zip(dataset.valid.users.tolist(), dataset.valid.items.tolist(), strict=True))
    for flag, found in (("", 0), ("--keep-validation", len(pairs))):
        assert command("export", f"-m TMFUN -d tiny {flag} --output {tmp_path / 'lists.tsv'}", trained) == 0
        table = pd.read_csv(tmp_path / "lists.tsv", sep="\t")
        assert len(pairs & set(zip(table["userID"], table["itemID"], strict=True))) == found


def test_a_file_that_cannot_be_written_keeps_what_was_there(trained, tmp_path, monkeypatch, fails):
    output = tmp_path / "lists.tsv"
    output.write_text("of before")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(command_module.WRITERS, ".tsv", full)
    fails(command, "cannot write", "export", f"-m TMFUN -d tiny --output {output}", trained)
    assert output.read_text() == "of before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--users 1,x", "--users: 'x' is no user id; expected whole numbers such as 12,57"),
        (f"--users {10**20}", "is no user id"),
        ("--users ,", "--users names nobody"),
        ("--users 99", "'tiny' has no user 99; expected ids from 0 to 60"),
        ("--users 1 -k 0", "-k is 0; expected the number of items per user, 1 or more"),
        ("--users 1 --output lists.tvs", "expected one of .tsv, .csv, .json, .parquet; did you mean '.tsv'?"),
        ("--users 1 --output lists", "--output lists: the format follows the suffix"),
        ("--users 1 --output none/lists.tsv", "there is no folder none"),
    ],
)
def test_what_is_wrong_with_a_command_is_one_line(trained, fails, words, message):
    fails(command, message, "recommend", f"-m TMFUN -d tiny {words}", trained)


def test_unknown_models_data_sets_and_settings_are_errors(trained, fails):
    fails(command, "did you mean 'TMFUN'?", "export", "-m TMFUNN -d tiny", trained)
    fails(command, "did you mean 'tiny'?", "export", "-m TMFUN -d tinny", trained)
    fails(command, "knn_k is fixed by the trial", "export", "-m TMFUN -d tiny", trained, knn_k=3)


def test_parquet_without_pyarrow_names_the_extra(trained, tmp_path, monkeypatch, fails):
    monkeypatch.setattr(command_module.importlib.util, "find_spec", lambda name: None)
    output = tmp_path / "lists.parquet"
    fails(command, "the extra [parquet]", "export", f"-m TMFUN -d tiny --output {output}", trained)
