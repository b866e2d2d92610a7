"""The commands `recommend` and `export`: what they print, their files, faults."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from trained import COLD, N_ITEMS, N_USERS, QUICK, best, by_hand, edit_metrics, load

from utils.experiments.sweep import run_all
from utils.recommending import files
from utils.recommending import lists as lists_module
from utils.recommending.command import (
    add_export_arguments,
    add_recommend_arguments,
    export_command,
    recommend_command,
)
from utils.recommending.lists import recommend


def command(name: str, words: str, places: dict[str, str], **overrides) -> int:
    """As the program calls it; a store's trials know where their data is."""
    parser = argparse.ArgumentParser()
    add, run = {
        "recommend": (add_recommend_arguments, recommend_command),
        "export": (add_export_arguments, export_command),
    }[name]
    add(parser)
    return run(parser.parse_args(words.split()), {"runs_path": places["runs_path"]} | overrides)


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
    monkeypatch.setattr(lists_module, "BLOCK", 25)
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

    monkeypatch.setitem(files.WRITERS, ".tsv", full)
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
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    output = tmp_path / "lists.parquet"
    fails(command, "the extra [parquet]", "export", f"-m TMFUN -d tiny --output {output}", trained)
