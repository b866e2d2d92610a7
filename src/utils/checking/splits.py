"""What is wrong between rows that are right by themselves: ids, duplicates, splits and times."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from utils.checking.findings import Findings, counted, lines_of, some
from utils.checking.table import Rows
from utils.data.interactions import SPLITS

COLD_SHARE = 0.05  # of held-out rows, from which on cold items are no detail
FEW_USERS = 100  # to rank for: with fewer, one hit moves a recall by a percent
MANY_UNUSED = 0.5  # of ids
FILTER = "filter_out_cod_start_users"


def check_rows(file: str, rows: Rows, settings: Any, card: Mapping[str, Any], findings: Findings) -> None:
    """All of them; `card` is that of the data set, or empty."""
    check_ids(file, rows, settings.columns, findings)
    check_duplicates(file, rows, findings)
    check_overlap(file, rows, findings)
    if all(rows.of(label).any() for label in range(len(SPLITS))):
        check_cold_users(file, rows, settings[FILTER], findings)
        check_cold_items(file, rows, findings)
        check_sizes(file, rows, settings["topk"] or [], findings)
        check_times(file, rows, card, findings)
    elif rows.trusted["labels"]:
        check_present(file, rows, settings.columns[2], findings)


def check_present(file: str, rows: Rows, label_field: str, findings: Findings) -> None:
    counts = np.bincount(rows.labels, minlength=len(SPLITS))
    found = ", ".join(f"{n:,} of {name}" for name, n in zip(SPLITS, counts, strict=True))
    for label in np.flatnonzero(counts == 0):
        findings.error(
            file,
            f"no {SPLITS[label]} rows, found {found}",
            f"move a part of the interactions there ({label_field} {label})",
        )


def starts_at_one(ids: np.ndarray) -> bool:
    """Whether ids count from 1 and leave none out."""
    return ids.min() == 1 and len(np.unique(ids)) == ids.max()


def check_ids(file: str, rows: Rows, columns: tuple[str, ...], findings: Findings) -> None:
    """Ids that nobody has. Where ids count from 1 that is one, and every row of features is off by one."""
    parts = ((columns[0], "users", rows.users), (columns[1], "items", rows.items))
    for name, kind, ids in parts:
        used = np.bincount(ids) > 0
        unused = np.flatnonzero(~used)
        if not len(unused) or not rows.trusted[kind]:
            continue
        what = f"{counted(len(unused), 'id')} of {name} in no split, of 0 to {len(used) - 1}: {some(unused)}"
        if starts_at_one(ids):
            rows_too = "; row 0 of features is that of item 0" if kind == "items" else ""
            findings.warning(file, f"{name} counts from 1, not from 0", f"subtract 1 from every id{rows_too}")
        elif len(unused) > MANY_UNUSED * len(used):
            findings.warning(
                file, f"{what}; the ids were not re-indexed", "re-index, and features along with them"
            )
        elif kind == "items":
            findings.warning(
                file,
                what,
                "they are ranked and never right: re-index, and features along with them, unless it is meant so",
            )
        else:
            findings.note(file, f"{what}; embeddings that are never trained")


def _keys(rows: Rows) -> np.ndarray:
    """Of user-item pairs (n,), below 2^63 as the reader's limits on ids make sure."""
    return rows.users * rows.n_items + rows.items


def check_duplicates(file: str, rows: Rows, findings: Findings) -> None:
    keys = _keys(rows) * len(SPLITS) + rows.labels
    _, first = np.unique(keys, return_index=True)
    again = np.ones(len(keys), dtype=bool)
    again[first] = False
    if not again.any():
        return
    for label, split in enumerate(SPLITS):
        lines = rows.lines[again & rows.of(label)]
        if len(lines):
            what = f"{counted(len(lines), f'{split} row')} stand there already, with the same user, item and split"
            findings.warning(
                lines_of(file, lines),
                what.replace("row stand", "row stands"),
                "remove them: they are merged here, and counted twice by other programs",
            )


def check_overlap(file: str, rows: Rows, findings: Findings) -> None:
    keys = _keys(rows)
    parts = [np.unique(keys[rows.of(label)]) for label in range(len(SPLITS))]
    for first, second in combinations(range(len(SPLITS)), 2):
        shared = np.intersect1d(parts[first], parts[second], assume_unique=True)
        if not len(shared):
            continue
        lines = np.sort(rows.lines[rows.of(second) & np.isin(keys, shared)])
        why = (
            "masked in the ranking, they can never be hit" if first == 0 else "chosen on what is then tested"
        )
        findings.error(
            lines_of(file, lines),
            f"{counted(len(shared), 'user-item pair')} of {SPLITS[second]} in {SPLITS[first]} too: {why}",
            f"remove them from one of the two, from {SPLITS[second]} where they were repeated purchases",
        )


def check_cold_users(file: str, rows: Rows, dropped: bool, findings: Findings) -> None:
    """Users who are held out and never trained; with the filter on they are dropped by the program."""
    trained = np.zeros(rows.n_users, dtype=bool)
    trained[rows.users[rows.of(0)]] = True
    cold = ~trained[rows.users] & ~rows.of(0)
    if not cold.any():
        return
    users, lines = np.unique(rows.users[cold]), rows.lines[cold]
    fate = "they are left out of the ranking" if dropped else "they are ranked by what was never trained"
    findings.warning(
        lines_of(file, lines),
        f"{counted(len(users), 'user')} without training rows, {some(users)}, with {counted(len(lines), 'row')} held "
        f"out: {fate}",
        "give them a training row, or remove them; say in a table which of the two was done",
    )
    for label in (1, 2):
        if dropped and not (rows.of(label) & ~cold).any():
            findings.error(
                file, f"no {SPLITS[label]} rows are left without those users", f"set {FILTER}=False"
            )


def check_cold_items(file: str, rows: Rows, findings: Findings) -> None:
    trained = np.zeros(rows.n_items, dtype=bool)
    trained[rows.items[rows.of(0)]] = True
    cold = ~trained[rows.items] & ~rows.of(0)
    if not cold.any():
        return
    items, lines = np.unique(rows.items[cold]), rows.lines[cold]
    share = len(lines) / (~rows.of(0)).sum()
    what = (
        f"{counted(len(items), 'item')} held out and never trained, {some(items)}: {100 * share:.2g} % of the rows to "
        f"be predicted"
    )
    if share < COLD_SHARE:
        findings.note(file, what)
    else:
        findings.warning(
            lines_of(file, lines),
            what,
            "models without content cannot hit them: split so that training has each item",
        )


def check_sizes(file: str, rows: Rows, topk: list[int], findings: Findings) -> None:
    """Whether there is enough to tell models apart, and somebody to rank for."""
    trained = np.unique(rows.users[rows.of(0)])
    for label in (1, 2):
        ranked = np.unique(rows.users[rows.of(label)])
        if len(ranked) < FEW_USERS:
            findings.warning(
                file,
                f"only {counted(len(ranked), 'user')} in {SPLITS[label]}: one hit more moves a recall by up to "
                f"{100 / len(ranked):.2g} %",
                f"expected {FEW_USERS} users or more; report several seeds and confidence intervals",
            )
        idle = len(np.setdiff1d(trained, ranked, assume_unique=True))
        if idle > len(trained) / 2:
            what = f"{idle:,} of {len(trained):,} trained users have nothing to predict in {SPLITS[label]}"
            findings.note(file, what)
    if topk and rows.n_items <= max(topk):
        findings.warning(
            file,
            f"{counted(rows.n_items, 'item')} and lists of {max(topk)}: they hold every item",
            f"lower topk below {rows.n_items}",
        )


def check_times(file: str, rows: Rows, card: Mapping[str, Any], findings: Findings) -> None:
    """Training later than test, where the data card says that time has split them."""
    if rows.times is None:
        return
    bad = ~np.isfinite(rows.times)
    if bad.any():
        findings.warning(
            lines_of(file, rows.lines[bad]),
            f"{counted(int(bad.sum()), 'time')} are no numbers",
            "write seconds since 1970",
        )
        return
    split = card.get("split")
    protocol = split.get("name") if isinstance(split, Mapping) else None
    if protocol == "global-time":
        late = rows.of(0) & (rows.times > rows.times[~rows.of(0)].min())
        if late.any():
            findings.warning(
                lines_of(file, rows.lines[late]),
                f"{counted(int(late.sum()), 'training row')} later than the first row held out, while card.json says "
                f"that the split is global-time: training has seen the future",
                "prepare the data again, or change what the card says",
            )
    elif protocol is None:
        _note_future(file, rows, findings)


def _note_future(file: str, rows: Rows, findings: Findings) -> None:
    latest = np.full(rows.n_users, -np.inf)
    np.maximum.at(latest, rows.users[rows.of(0)], rows.times[rows.of(0)])
    test = rows.of(2)
    share = (rows.times[test] < latest[rows.users[test]]).mean()
    if share > 0:
        findings.note(
            file, f"{100 * share:.2g} % of the test rows are earlier than their user's last training row: the split "
            f"is not by time"
        )  # fmt: skip
