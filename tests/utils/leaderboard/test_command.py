"""The command `leaderboard`."""

from __future__ import annotations

import argparse

import pytest
from boards import board, exported

from utils.leaderboard.command import add_arguments, run


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


def test_beyond_adds_a_table_or_says_why_not(lab, tmp_path, capsys):
    lab.trial("BPR")
    assert command(lab, "--beyond") == 0
    assert "beyond accuracy\n" in capsys.readouterr().out
    assert command(lab, f"--html {tmp_path}/a.html") == 0
    assert "beyond accuracy\n" not in capsys.readouterr().out
    assert command(lab, "--beyond", data_path="/nowhere") == 0
    assert "No analysis of the lists of BPR" in capsys.readouterr().out
    assert command(lab, "--beyond --format csv", data_path="/nowhere") == 0
    assert capsys.readouterr().err.startswith("warning    No analysis of the lists of BPR")
