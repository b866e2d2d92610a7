"""What the lists and the values per user of a board say beyond its metrics, where the data is still there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.evaluation.beyond_accuracy import beyond_accuracy
from utils.evaluation.groups import by_item_group, by_user_group
from utils.leaderboard.board import Board, Row, Run
from utils.leaderboard.loading import Data, load
from utils.leaderboard.words import join

Groups = dict[str, dict[str, tuple[float, int]]]
"""By model and label of a group: mean and size."""


@dataclass(frozen=True, eq=False)
class Insights:
    """By model: measures beyond accuracy, and means and sizes by group of users and of items."""

    beyond: dict[str, dict[str, float]] = field(default_factory=dict)
    users: Groups = field(default_factory=dict)
    items: Groups = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def insights(board: Board, places: Mapping[str, Any] | None = None) -> Insights:
    """What the lists and the values per user say, as far as they were kept and the data is still there."""
    found = Insights()
    loaded: dict[str, Data | UserError] = {}
    reasons: dict[str, list[str]] = {}
    first = board.first_run
    for row in board.rows:
        run = row.runs[0] if row.runs else first
        key = run.environment("data") + repr(run.settings["filter_out_cod_start_users"])
        if key not in loaded:
            loaded[key] = _load_or_why(run, places or {})
        try:
            _look_into(row, board.metric, loaded[key], found)
        except UserError as error:
            reasons.setdefault(str(error), []).append(row.model)
    found.notes.extend(f"No analysis of the lists of {join(who)}: {why}" for why, who in reasons.items())
    return found


def _load_or_why(run: Run, places: Mapping[str, Any]) -> Data | UserError:
    try:
        return load(run, places)
    except UserError as error:
        return error


def _look_into(row: Row, metric: str, data: Data | UserError, found: Insights) -> None:
    """Add what is known of a row. Raises UserError."""
    if isinstance(data, UserError):
        raise data
    k = int(metric.partition("@")[2])
    lists, truth = row.lists, data.evaluator.test_truth
    if row.has_per_user(metric):
        per_user = row.per_user
        found.users[row.model] = by_user_group(per_user.values[metric], data.n_train[per_user.users])
    if lists is None or not np.array_equal(lists.users, truth.users):
        raise UserError("they were not kept, or are of other users")
    found.items[row.model] = by_item_group(lists.items, truth, data.popularity, k)
    found.beyond[row.model] = beyond_accuracy(
        lists.items, data.popularity, data.dataset.n_users, k, data.features
    )


def group_labels(groups: Groups) -> list[str]:
    """Of all groups, as in the model that has most of them."""
    fullest = max(groups.values(), key=len, default={})
    return list(dict.fromkeys([*fullest, *(label for of_model in groups.values() for label in of_model)]))
