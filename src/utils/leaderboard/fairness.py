"""What makes a comparison of models unfair, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from utils.leaderboard.board import Row, Run
from utils.leaderboard.words import count, join

FAIR = {
    "mask_validation_at_test": "the test ranks other items",
    "filter_out_cod_start_users": "the test has other users",
    "valid_metric": "epochs and settings are chosen by other measures",
    "epochs": "some may train longer than others",
    "stopping_step": "some have more patience than others",
    "eval_step": "some are validated more often than others",
    "train_batch_size": "some take more steps per epoch than others",
    "embedding_size": "some have more room than others",
    "negative_items": "some learn from other negative items than others",
    "use_full_sampling": "some learn from other batches than others",
    "use_neighborhood_loss": "some learn from other batches than others",
}
"""Settings that the rows of a comparison should share, and what is unfair otherwise."""

TUNED = frozenset({"embedding_size", "train_batch_size"})
"""Those of them that are a choice where validation chose among several."""


def unfair(rows: Sequence[Row]) -> list[str]:
    """A sentence for everything that makes a comparison of the rows unfair."""
    rows = [row for row in rows if row.runs]
    tuned = {name for row in rows for name in row.varied}
    counts = {
        "settings tried": {row.model: f"{row.n_settings:,}" for row in rows},
        "seeds": {row.model: f"{len(row.runs)}" for row in rows},
    }
    found = [f"unequal {what}: {said}" for what, of in counts.items() for said in _unequal(of)]
    for name, why in FAIR.items():
        values = {row.model: f"{row.settings.get(name)}" for row in rows}
        if name not in tuned & TUNED:
            found += [f"{name} is {said}: {why}" for said in _unequal(values)]
    files = {row.model: row.runs[0].environment("data") for row in rows}
    found += [f"the files of the data differ: {said}" for said in _unequal(_numbered(files))]
    machines = {row.model: join(sorted({_machine(run) for run in row.runs})) for row in rows}
    found += [f"times do not compare: {said}" for said in _unequal(machines)]
    return found


def _unequal(values: Mapping[str, str]) -> list[str]:
    """In words, who has which value, unless all have the same; most frequent first.

    >>> _unequal({"BPR": "1", "TMFUN": "3", "VBPR": "3"})
    ['3 for TMFUN and VBPR, 1 for BPR']
    """
    if len(set(values.values())) < 2:
        return []
    groups: dict[str, list[str]] = {}
    for model, value in values.items():
        groups.setdefault(value, []).append(model)
    by_size = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [", ".join(f"{value} for {join(models)}" for value, models in by_size)]


def _numbered(values: Mapping[str, str]) -> dict[str, str]:
    """Digests as 'content 1', 'content 2', which read better."""
    numbers = {digest: f"content {i}" for i, digest in enumerate(dict.fromkeys(values.values()), start=1)}
    return {model: numbers[digest] for model, digest in values.items()}


def _machine(run: Run) -> str:
    device, threads = run.environment("device"), run.environment("torch_threads")
    return f"{device} with {count(int(threads), 'thread')}" if threads else device or "unknown"
