"""What the command line understands, what it passes on, and what it says about the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import pytest

from utils import cli
from utils.config import PROJECT
from utils.config.settings import FRAMEWORK
from utils.errors import UserError


@pytest.fixture
def calls(monkeypatch):
    """The arguments of every run_all, which runs nothing."""
    seen: list[tuple] = []
    sweep = types.ModuleType("utils.experiments.sweep")
    sweep.run_all = lambda *arguments: seen.append(arguments) or []
    sweep.How = dict
    monkeypatch.setitem(sys.modules, "utils.experiments.sweep", sweep)
    return seen


def test_a_run(calls):
    assert cli.main(["-m", "TMFUN", "-d", "sports"]) == 0
    *request, how, recipe = calls[0]
    assert request == [["TMFUN"], ["sports"], {}, False, "command line"]
    assert how["workers"] == 1 and recipe is None


@pytest.mark.parametrize(
    "line",
    [
        "-m BPR VBPR -d baby sports knn_k=20 --grid",
        "-m BPR VBPR knn_k=20 -d baby sports --grid",
        "knn_k=20 --grid -m BPR VBPR --dataset baby sports",
        "--grid --model BPR VBPR -d baby --knn_k=20 -d sports",
        "--model=BPR -m VBPR -d baby sports baby --grid --knn_k=20",
    ],
)
def test_settings_may_stand_anywhere_and_names_are_distinct(calls, line):
    assert cli.main(line.split()) == 0
    assert calls[0][:5] == (["BPR", "VBPR"], ["baby", "sports"], {"knn_k": 20}, True, "command line")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("learning_rate=1e-5", 1e-5),
        ("seed=[1,2,3]", [1, 2, 3]),
        ("--topk=[[5,10],[20]]", [[5, 10], [20]]),
        ("use_gpu=false", False),
        ("learner=adam", "adam"),
        ("data_path=../a=b", "../a=b"),
        ("clip_grad_norm=null", None),
        ("clip_grad_norm=", None),
        ("field_separator=,", ","),
        ('field_separator="\\t"', "\t"),
        ("item_graph_weight={image: .1, text: .9}", {"image": 0.1, "text": 0.9}),
    ],
)
def test_values_are_read_as_yaml(calls, word, value):
    assert cli.main(["-m", "BPR", "-d", "baby", word]) == 0
    assert list(calls[0][2].values()) == [value]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "-m BPR -d baby --knn_k 20",
            "unknown option '--knn_k'; a setting is written knn_k=20, without spaces",
        ),
        (
            "-m BPR -d baby -knn_k=20",
            "unknown option '-knn_k=20'; a setting is written knn_k=20, without spaces",
        ),
        (
            "-m BPR -d baby --epochs --grid",
            "unknown option '--epochs'; a setting is written epochs=..., without",
        ),
        (
            "word -m BPR -d baby",
            "unexpected word 'word'; models stand behind -m, data sets behind -d, and a setting",
        ),
        ("-m BPR -d baby k=1 --k=2", "k is given twice, k=1 and --k=2 (command line); keep one"),
        (
            "-m BPR -d baby seed=[1, 2]",
            "'seed=[1,' ends too early or is no YAML; put it in quotes where it contains",
        ),
        ("-m", "argument -m/--model: expected at least one argument; usage: python main.py -m MODEL"),
        ("-m BPR", "no data set given; add -d with one or more of baby, "),
        ("-d baby", "no model given; add -m with one or more of BM3, BPR"),
    ],
)
def test_what_it_does_not_understand_is_one_line_and_status_2(calls, capsys, line, message):
    assert cli.main(line.split()) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith(f"error: {message}") and not calls


def test_without_a_model_it_shows_its_usage(calls, capsys):
    assert cli.main([]) == 2
    assert "usage: python main.py -m MODEL ... -d DATA_SET ..." in capsys.readouterr().err


def test_errors_of_the_run_and_the_users_stop(monkeypatch, calls, capsys):
    sweep = sys.modules["utils.experiments.sweep"]
    monkeypatch.setattr(sweep, "run_all", _raise(UserError("bad data")))
    assert cli.main(["-m", "BPR", "-d", "baby"]) == 2
    assert capsys.readouterr().err == "error: bad data\n"
    monkeypatch.setattr(sweep, "run_all", _raise(KeyboardInterrupt()))
    assert cli.main(["-m", "BPR", "-d", "baby"]) == 130
    monkeypatch.setattr(sweep, "run_all", _raise(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):  # only a user's error loses its traceback
        cli.main(["-m", "BPR", "-d", "baby"])


def _raise(error):
    def run(*arguments):
        raise error

    return run


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_setting_with_its_default(capsys, flag):
    assert cli.main(["-m", "BPR", flag]) == 0
    text = capsys.readouterr().out
    for setting in FRAMEWORK.values():
        assert f"  {setting.name}=" in text and setting.help in text
    assert "train_batch_size=2048" in text and "clip_grad_norm=null" in text and "seed=[1,2,3]" in text
    assert "learner=adam" in text and "(one of adam, sgd, adagrad, rmsprop)" in text
    assert max(map(len, text.splitlines())) <= 140


def test_help_does_not_wait_for_torch():
    code = "import sys; from utils.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT / "src", capture_output=True, timeout=60)
    assert run.returncode == 0


@pytest.mark.parametrize("flag", ["--help", "--list-models"])
def test_a_reader_that_has_seen_enough_is_no_error(flag):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "main.py", flag]
    run = subprocess.run(command, cwd=PROJECT, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert run.returncode == 141 and run.stderr == b""


def test_list_models(monkeypatch, capsys):
    registry = types.ModuleType("common.registry")
    registry.describe_models = lambda models_dir: f"BPR  ids only, beside {models_dir}"
    monkeypatch.setitem(sys.modules, "common.registry", registry)
    assert cli.main(["--list-models"]) == 0
    assert capsys.readouterr().out == "BPR  ids only, beside None\n"


@pytest.mark.parametrize("command", ["leaderboard", "recommend", "export"])
def test_help_of_a_command_is_aligned_and_names_its_settings(capsys, command):
    assert cli.main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: python main.py {command} ") and max(map(len, lines)) <= 110
    listed = [line for line in lines[lines.index("options:") :] if line.startswith("  ")]
    assert all(line[:30].strip() == "" or line[29] == " " for line in listed)
    for name in ("runs_path", "data_path", "cache_path"):
        assert f"  {name}=..." in "\n".join(lines) and FRAMEWORK[name].help in "\n".join(lines)
