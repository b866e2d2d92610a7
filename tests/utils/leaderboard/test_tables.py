"""What is in the cells."""

from __future__ import annotations

from boards import R20, Lab, foreign, made

from utils.leaderboard.selection import leaderboard
from utils.leaderboard.tables import settings_lines, table


def test_marks_follow_what_is_shown():
    board = made(*(foreign(n, **{R20: v}) for n, v in (("A", 0.20004), ("B", 0.2), ("C", 0.1), ("D", 0.05))))
    assert [row[1].mark for row in table(board).rows] == ["best", "best", "second", ""]
    assert [row[1].mark for row in table(made(foreign("A", **{R20: 0.2}))).rows] == [""]


def test_no_mark_is_worth_nothing():
    """Where all are equal nobody is best, and 0 is never second."""
    for values, marks in (((0.2, 0.2), ["", ""]), ((0.2, 0.0, 0.0), ["best", "", ""])):
        board = made(*(foreign(f"M{place}", **{R20: value}) for place, value in enumerate(values)))
        assert [row[1].mark for row in table(board).rows] == marks


def test_models_with_the_same_settings_share_a_line(lab):
    for model, size in (("BPR", 16), ("VBPR", 64), ("LightGCN", 16)):
        lab.trial(model, embedding_size=size)
    lines = settings_lines(leaderboard(lab.store)[0])
    assert sorted(lines) == ["BPR and LightGCN: embedding_size=16", "VBPR: defaults"]


def test_the_metric_asked_for_is_shown_beside_the_usual_ones():
    row = foreign("A", **{f"{name}@{k}": 0.1 for name in ("recall", "ndcg", "map") for k in (5, 10, 20)})
    assert table(made(row, metric="map@5")).header[1:6] == ["recall@10", R20, "ndcg@10", "ndcg@20", "map@5"]
    odd = foreign("A", **{"hit@3": 0.1, "mrr@3": 0.2})
    assert table(made(odd, metric="hit@3")).header[1:3] == ["hit@3", "mrr@3"]


def test_rows_with_several_validation_metrics_name_theirs(tmp_path):
    lab = Lab(tmp_path)
    lab.data_set("tiny")
    lab.trial("BPR", valid={R20: 0.5})
    lab.trial("VBPR", valid_metric="NDCG@20", valid={"ndcg@20": 0.25})
    whole = table(leaderboard(lab.store)[0])
    place = whole.header.index("validation")
    assert {row[0].text: row[place].text for row in whole.rows} == {
        "BPR": "recall@20 0.5000",
        "VBPR": "ndcg@20 0.2500",
    }
