"""The forms of a leaderboard, read back."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from boards import R20, Lab, foreign, made

from utils.leaderboard.formats import FORMATS, as_csv, as_latex, as_markdown, terminal
from utils.leaderboard.selection import leaderboard

AWKWARD = r"A_B & 50%#{x}~^\$|*<b>"


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """`baby`, with seeds, a grid and published figures, and `tiny`."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.data_set("baby")
    lab.data_set("tiny", seed=2)
    for seed in (1, 2, 3):
        lab.trial("BPR", "baby", 0.5, seed, test={R20: 0.1 * seed})
        lab.trial("VBPR", "baby", 1.0, seed, point={"embedding_size": 64}, test={R20: 0.3 + 0.1 * seed})
    lab.trial("VBPR", "baby", 0.1, 1, point={"embedding_size": 32}, valid={R20: 0.0})
    lab.failure("VBPR", "baby", "diverged", {"embedding_size": 8})
    lab.trial("BPR", "tiny")
    return leaderboard(lab.store)


def test_csv_has_every_value_in_full(boards):
    lines = list(csv.DictReader(io.StringIO(as_csv(boards))))
    ours = [line for line in lines if not line["source"].startswith("published")]
    assert [(line["data set"], line["model"]) for line in ours] == [
        ("baby", "VBPR"),
        ("baby", "BPR"),
        ("tiny", "BPR"),
    ]
    rows = [row for board in boards for row in board.rows]
    for line, row in zip(ours, rows, strict=True):
        for metric, stat in row.test.items():
            assert float(line[metric]) == stat.mean
            assert line[f"{metric} sd"] == ("" if stat.sd is None else repr(stat.sd))
        assert float(line["validation"]) == row.valid[R20].mean and int(line["parameters"]) == row.trainable
        assert json.loads(line["settings"]) == row.chosen
    assert (ours[0]["seeds"], ours[0]["settings tried"], ours[0]["runs"], ours[0]["failed"]) == (
        "3",
        "2",
        "5",
        "1",
    )
    others = [line for line in lines if line["source"] == "published: MMRec README"]
    assert {line["model"]: line[R20] for line in others} == {"VBPR": "0.0663", "BPR": "0.0575"}


def test_markdown_reads_back(boards):
    text = as_markdown(boards)
    lines = [line for line in text.split("### tiny")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in cells}) == 1 and set(cells[1]) == {"---", "---:"}
    by_model = [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    assert by_model[0][R20] == "**0.5000 ± 0.1000**" and by_model[1][R20] == "<u>0.2000 ± 0.1000</u>"
    assert by_model[0]["settings"] == r"embedding\_size=64" and by_model[1]["settings"] == "defaults"
    assert by_model[0]["runs"] == "5, 1 failed" and by_model[0]["tried"] == "2"
    assert by_model[2]["model"] == "VBPR (published)" and by_model[2]["settings"] == "MMRec README"
    assert "- VBPR is ahead of BPR by" in text and "- unequal settings tried: 1 for BPR, 2 for VBPR" in text


def test_latex_reads_back(boards):
    text = as_latex(boards)
    assert text.startswith("%") and r"\usepackage{booktabs}" in text.splitlines()[0]
    for command in (r"\toprule", r"\bottomrule", r"\begin{tabular}", r"\end{tabular}", r"\end{table*}"):
        assert text.count(command) == 2
    columns = re.search(r"\\begin\{tabular\}\{(l r*)\}".replace(" ", ""), text)[1]
    rows = [
        re.split(r"(?<!\\)&", line) for line in text.splitlines() if line.endswith(r" \\") and "&" in line
    ]
    assert {len(row) for row in rows} == {len(columns)}
    assert rows[1][0].strip() == "VBPR" and rows[1][2].strip() == r"\textbf{0.5000 $\pm$ 0.1000}"
    assert rows[2][2].strip() == r"\underline{0.2000 $\pm$ 0.1000}"
    assert r"VBPR (MMRec README) &" in text and r"embedding\_size=64" in text


def test_special_characters_cannot_break_latex_or_markdown():
    board = made(foreign(AWKWARD, **{R20: 0.2}), foreign("B", **{R20: 0.1}))
    latex = as_latex([board])
    assert (
        r"A\_B \& 50\%\#\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}\$\textbar{}*\textless{}b\textgreater{}"
        in latex
    )
    markdown = as_markdown([board])
    (line,) = [line for line in markdown.splitlines() if line.startswith("| A")]
    assert len(re.split(r"(?<!\\)\|", line)) == len(re.split(r"\|", markdown.splitlines()[2]))
    assert r"\<b\>" in line
    (_, record) = list(csv.reader(io.StringIO(as_csv([made(foreign(AWKWARD, **{R20: 0.2}))]))))
    assert record[1] == AWKWARD


def test_terminal_marks_with_signs_or_styles(boards):
    plain, styled = terminal(boards), terminal(boards, styled=True)
    assert "0.5000 ± 0.1000*" in plain and "0.2000 ± 0.1000+" in plain and "* best, + second" in plain
    assert "\033[1m0.5000 ± 0.1000\033[0m" in styled and "\033[4m0.2000 ± 0.1000\033[0m" in styled
    assert "\033" not in plain and "*" not in styled and "best in bold, second underlined" in styled
    for text in (plain, re.sub(r"\033\[\dm", "", styled)):
        header, _, first, second = text.splitlines()[1:5]
        assert len(header) == len(first) == len(second) or text == plain
    assert "published, of the same protocol" in plain and "VBPR: MMRec README" in plain
    assert "  VBPR is ahead of BPR" in plain and "  unequal settings tried" in plain


def test_a_foreign_list_has_no_validation_and_no_cost(boards):
    for text in (form([made(foreign("A", **{R20: np.float64(0.2)}))], {}) for form in FORMATS.values()):
        assert "A" in text and "None" not in text and "nan" not in text
