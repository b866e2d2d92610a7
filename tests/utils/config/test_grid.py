"""Axes and their product."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.config.grid import Entry, axis_order, is_axis, points, read_axes, read_axis
from utils.config.settings import Setting
from utils.errors import UserError

KNN = Setting("knn_k", int, "")
TOPK = Setting("topk", list[int], "", "positive")
AXES = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.integers(), min_size=1, max_size=4, unique=True), max_size=4
)


@given(AXES)
def test_points_are_all_combinations_once_and_the_last_axis_is_fastest(axes):
    combinations = points(axes)
    assert len(combinations) == math.prod(map(len, axes.values()))
    assert len({tuple(point.values()) for point in combinations}) == len(combinations)
    for number, point in enumerate(combinations):
        assert list(point) == list(axes)
        for name in reversed(axes):  # the digits of `number` in the mixed radix of the axes' lengths
            number, digit = divmod(number, len(axes[name]))
            assert point[name] == axes[name][digit]


def test_no_axes_are_one_empty_point():
    assert points({}) == [{}]


@given(*[st.lists(st.sampled_from(["seed", "a", "b", "c", "d"]))] * 3)
def test_the_seed_is_slowest_and_every_name_comes_once_in_the_order_of_its_first_mention(
    hyper, grid, overrides
):
    order = axis_order(hyper, grid, overrides)
    mentioned = [*hyper, *grid, *overrides]
    assert order[0] == "seed" and set(order) == {"seed", *mentioned} and len(order) == len(set(order))
    assert order[1:] == sorted(order[1:], key=mentioned.index)


@pytest.mark.parametrize(
    ("setting", "value", "axis"),
    [
        (KNN, 10, False),
        (KNN, [10], True),
        (KNN, (10, 20), True),
        (KNN, range(3), True),
        (KNN, "10", False),
        (KNN, [], True),
        (TOPK, [5, 10], False),
        (TOPK, [[5], [10]], True),
        (TOPK, [[5], 10], False),
        (TOPK, [], False),
        (Setting("modalities", list[str] | dict | None, ""), ["image"], False),
        (Setting("modalities", list[str] | dict | None, ""), [["image"], ["image", "text"]], True),
        (Setting("item_graph_weight", dict, ""), [{"image": 0.1}, {"image": 0.2}], True),
    ],
)
def test_a_list_is_an_axis_unless_a_list_is_one_value_of_the_setting(setting, value, axis):
    assert is_axis(setting, value) is axis


def test_values_of_an_axis_are_read_one_by_one():
    axis = read_axis(Setting("lr", float, ""), Entry([1, 0.5], "command line"), [])
    assert axis.values == [1.0, 0.5] and isinstance(axis.values[0], float) and axis.origin == "command line"
    with pytest.raises(UserError, match=r"^knn_k expects a whole number, got 'x' \(model/TMFUN.yaml\)$"):
        read_axis(KNN, Entry([10, "x"], "model/TMFUN.yaml"), [])


def test_an_empty_axis_is_an_error():
    with pytest.raises(
        UserError, match=r"^knn_k has an empty list of values \(command line\); give it at least one$"
    ):
        read_axis(KNN, Entry([], "command line"), [])


def test_a_repeated_value_runs_once_and_is_told():
    warnings: list[str] = []
    assert read_axis(KNN, Entry([10, 20, 10], "command line"), warnings).values == [10, 20]
    assert warnings == ["knn_k lists 10 more than once (command line); it runs once"]


def test_axes_are_read_in_the_given_order_and_single_values_are_none():
    schema = {name: Setting(name, int, "") for name in "abc"}
    entries = {"a": Entry([1, 2], "x"), "b": Entry(3, "x"), "c": Entry([4, 5], "y")}
    axes = read_axes(schema, entries, ["c", "missing", "b", "a"], [])
    assert [(name, axis.values) for name, axis in axes.items()] == [("c", [4, 5]), ("a", [1, 2])]
