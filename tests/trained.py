"""Trained trials for the tests of recommending: how they are found, loaded, changed, and checked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from utils.experiments.store import Store
from utils.recommending.loading import best_trial, load_trial

QUICK = {"epochs": 2, "embedding_size": 8, "train_batch_size": 128, "topk": [5, 20]}
N_USERS, N_ITEMS, COLD = 61, 40, 60


def best(places, model="TMFUN"):
    return best_trial(Store(Path(places["runs_path"])), "tiny", model)


def load(places, model="TMFUN", **overrides):
    return load_trial(best(places, model), overrides)


def edit_metrics(stored, **changes) -> None:
    path = stored.folder / "metrics.json"
    content = json.loads(path.read_text())
    for name, value in changes.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(content))


def by_hand(loaded, user: int, k: int, keep_validation: bool) -> tuple[list[int], list[float]]:
    """The k best of all scores of a user, ties by id, that are not the user's own."""
    config, dataset, model, _ = loaded
    with torch.no_grad():
        scores = model.full_sort_predict([torch.tensor([user]), torch.empty(2, 0, dtype=torch.long)])[
            0
        ].tolist()
    splits = [dataset.train] if keep_validation else [dataset.train, dataset.valid]
    own = {item for split in splits for item in split.items[split.users == user].tolist()}
    items = sorted(set(range(dataset.n_items)) - own, key=lambda item: (-scores[item], item))[:k]
    return items, [scores[item] for item in items]
