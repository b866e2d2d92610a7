"""Kinds, ranges and messages of single values; the schema against overall.yaml."""

from __future__ import annotations

import math
from numbers import Real
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from utils.config.settings import (
    FRAMEWORK,
    GROUPS,
    Setting,
    describe,
    includes_list,
    kind_of,
    read_value,
)
from utils.errors import UserError

CONFIGS = Path(__file__).resolve().parents[3] / "src" / "configs"


def read(kind, value, allowed="any"):
    return read_value(Setting("knn_k", kind, "", allowed), value, "command line")


def test_overall_yaml_and_the_schema_name_the_same_settings_in_the_same_groups():
    overall = yaml.safe_load((CONFIGS / "overall.yaml").read_text())
    assert list(overall) == list(FRAMEWORK)


def test_no_setting_is_declared_twice_and_each_has_its_line():
    names = [setting.name for group in GROUPS.values() for setting in group]
    assert len(names) == len(set(names))
    assert all(FRAMEWORK[name].help for name in names)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 3, 3),
        (int, np.int64(3), 3),
        (float, 1, 1.0),
        (float, np.float32(0.5), 0.5),
        (Real, 1, 1),
        (Real, 0.5, 0.5),
        (bool, False, False),
        (str, "x", "x"),
        (str, Path("a") / "b", str(Path("a") / "b")),
        (list, (1, "a"), [1, "a"]),
        (list[int], range(3), [0, 1, 2]),
        (list[float], [1, 50], [1.0, 50.0]),
        (dict, {"image": 0.1}, {"image": 0.1}),
        (int | None, None, None),
        (float | dict | None, 2, 2.0),
        (float | dict | None, {"max_norm": 1}, {"max_norm": 1}),
        (("binary", "cosine"), "cosine", "cosine"),
        (("adam", "sgd"), "Adam", "adam"),
        (object, [1, {}], [1, {}]),
    ],
)
def test_a_value_that_fits_comes_in_the_type_of_the_setting(kind, value, expected):
    got = read(kind, value)
    assert got == expected and type(got) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "1O", "knn_k expects a whole number, got '1O' (command line)"),
        (int, 1.0, "knn_k expects a whole number, got 1.0 (command line)"),
        (int, True, "knn_k expects a whole number, got True (command line)"),
        (int, None, "knn_k expects a whole number, got nothing (command line)"),
        (float, False, "knn_k expects a number, got False (command line)"),
        (float, "1e-4", "knn_k expects a number, got '1e-4' (command line); write it without quotes"),
        (float, "__import__('os')", 'knn_k expects a number, got "__import__(\'os\')" (command line)'),
        (float, math.nan, "knn_k expects a number, got nan (command line)"),
        (float, math.inf, "knn_k expects a number, got inf (command line)"),
        (float, 10**400, f"knn_k expects a number, got {10**400} (command line)"),
        (Real, True, "knn_k expects a number, got True (command line)"),
        (bool, 1, "knn_k expects true or false, got 1 (command line)"),
        (str, 3, "knn_k expects a text, got 3 (command line)"),
        (list, "ab", "knn_k expects a list, got 'ab' (command line)"),
        (list[int], [5, "x"], "knn_k expects a list of whole numbers, got [5, 'x'] (command line)"),
        (list[str], [5], "knn_k expects a list of texts, got [5] (command line)"),
        (dict, [], "knn_k expects a mapping, got [] (command line); to sweep over it, name the setting under "
         "`hyper_parameters:` or put the list under `grid:`"),
        (int | None, "x", "knn_k expects a whole number or nothing, got 'x' (command line)"),
        (("binary", "cosine"), "cosin", "knn_k expects one of binary, cosine, got 'cosin' (command line); "
         "did you mean 'cosine'?"),
        (("dot", "equal"), False, "knn_k expects one of dot, equal, got False (command line)"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_one_clear_line(kind, value, message):
    with pytest.raises(UserError) as caught:
        read(kind, value)
    assert str(caught.value) == message


@pytest.mark.parametrize(("allowed", "good", "bad"), [("positive", 1e-9, 0), ("not negative", 0, -1e-9)])
def test_ranges_hold_for_numbers_and_for_each_number_of_a_list(allowed, good, bad):
    assert read(float, good, allowed) == good
    assert read(list[float], [good, 1], allowed) == [good, 1.0]
    for kind, value in ((float, bad), (list[float], [1, bad])):
        with pytest.raises(UserError, match=rf"^knn_k must be {allowed}, got .* \(command line\)$"):
            read(kind, value, allowed)


@pytest.mark.parametrize(
    "name", ["epochs", "train_batch_size", "eval_batch_size", "embedding_size", "eval_step"]
)
def test_counts_must_be_positive(name):
    assert FRAMEWORK[name].kind is int and FRAMEWORK[name].range == "positive"


@given(st.integers(-(10**300), 10**300))
def test_an_int_is_a_float_where_one_is_wanted(value):
    got = read(float, value)
    assert got == float(value) and isinstance(got, float)


@given(st.booleans() | st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_reading_gives_a_value_of_the_kind_or_a_user_error(value):
    for kind in (int, float, bool, str, list):
        try:
            got = read(kind, value)
        except UserError:
            continue
        assert type(got) is kind


def test_kinds_in_words():
    assert describe(float | dict | None) == "a number or a mapping or nothing"
    assert describe(list[float]) == "a list of numbers"


def test_which_kinds_take_a_list_as_one_value():
    assert includes_list(list) and includes_list(list[int]) and includes_list(list[str] | dict | None)
    assert not includes_list(int) and not includes_list(("a", "b")) and not includes_list(float | None)


def test_kinds_of_undeclared_settings_follow_their_values():
    assert kind_of([True, False]) is bool
    assert kind_of([0, 0.1]) is Real
    assert kind_of(["add"]) is str
    assert kind_of([[64, 64]]) is list
    assert kind_of([1, "a"]) is object and kind_of([None]) is object and kind_of([]) is object
