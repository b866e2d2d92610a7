"""After training: the best trial of a model, loaded again, and what it recommends to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.abstract_recommender import AbstractRecommender
from common.registry import get_model
from utils.config import Config
from utils.data.batches import TrainDataLoader
from utils.data.dataset import Dataset
from utils.errors import UserError, did_you_mean
from utils.evaluation.ranking import Evaluator, ItemSets, Lists, forward_once
from utils.experiments.leaderboard import leaderboard
from utils.experiments.store import SETTINGS, Store, StoredTrial
from utils.experiments.trial import build

CHANGEABLE = ("data_path", "cache_path", "use_gpu", "gpu_id", "eval_batch_size")
"""Settings of a stored trial that may be others when it is loaded: where the data is and what computes."""

BLOCK = 4096
"""Users whose lists are held at a time where there are lists for all of them."""


class Loaded(NamedTuple):
    """A trained model, ready to recommend, and what it was built from."""

    config: Config
    dataset: Dataset
    model: AbstractRecommender
    batches: TrainDataLoader


def best_trial(store: Store, dataset: str, model: str) -> StoredTrial:
    """The trial that validation chooses: of the leaderboard's settings for the model, the best seed.

    Raises UserError where the store has no finished trial of the model on the data set.
    """
    trials = store.trials([dataset], [model])
    if not trials:
        raise UserError(_no_trial(store, dataset, model))
    newest = max(trials, key=lambda trial: trial.result.environment.get("date", ""))
    (board,) = leaderboard(store, [dataset], [model], newest.settings["valid_metric"])
    (row,) = board.rows
    return max(row.runs, key=lambda run: run.result.valid[row.valid_metric]).trial


def _no_trial(store: Store, dataset: str, model: str) -> str:
    """What is missing, what there is instead, and how to come by it."""
    found = sorted({(trial.result.dataset, trial.result.model) for trial in store.trials()})
    names = ", ".join(f"{model} on {dataset}" for dataset, model in found[:8]) + ", ..." * (len(found) > 8)
    hint = did_you_mean(dataset, {dataset for dataset, _ in found} - {dataset})
    advice = f"; train one with: python main.py -m {model} -d {dataset}, or set runs_path=... to where it is"
    return f"no finished trial of {model} on {dataset} in {store.root}, which has {names or 'none'}{hint or advice}"


def load_trial(stored: StoredTrial, overrides: Mapping[str, Any] | None = None) -> Loaded:
    """The model of a trial with its best weights, on its data; `overrides` may change CHANGEABLE settings.

    A relative data_path or cache_path of the trial counts from the project root. Raises UserError for data or
    code that have changed since.
    """
    weights = stored.weights()
    config = _config(stored, overrides or {})
    dataset = Dataset.load(config)
    if dataset.digest() != stored.result.environment.get("data"):
        raise UserError(
            f"the files of '{dataset.name}' in {config.path('data_path')} are not those that {stored.folder} was "
            f"trained on; set data_path=... to those, or train again on these"
        )
    model, batches = build(config, dataset)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split()).partition(": ")[2][:160]
        raise UserError(
            f"the weights in {stored.folder} do not fit {config['model']}, whose code has changed since "
            f"({reason}); train it again, or go back to the code of then"
        ) from error
    model.eval()
    return Loaded(config, dataset, model, batches)


def _config(stored: StoredTrial, overrides: Mapping[str, Any]) -> Config:
    """The configuration of a trial. Raises UserError for overrides that would make it another trial."""
    for name in overrides:
        if name not in CHANGEABLE:
            raise UserError(
                f"{name} is fixed by the trial in {stored.folder}; leave it out (only {', '.join(CHANGEABLE)} can "
                f"be others now){did_you_mean(name, CHANGEABLE)}"
            )
    here = {  # a path given now starts where the user is; those of the trial, in a YAML, at the project root
        name: str(Path.cwd() / Path(value).expanduser()) if name.endswith("_path") else value
        for name, value in overrides.items()
    }
    name, dataset = stored.result.model, stored.result.dataset
    settings, origin = stored.settings | here, str(stored.folder / SETTINGS)
    return Config(name, dataset, settings, origin, model_settings=get_model(name).settings)


def recommend(
    config: Config, dataset: Dataset, model: AbstractRecommender, users: np.ndarray, k: int,
    keep_validation: bool = False,
) -> Lists:  # fmt: skip
    """The k best items of the users (U,), without those of training and of validation; at most all items.

    What a user has is not recommended again; `keep_validation` lets validation items in, as the test of MMRec's
    protocol does. Items of the test stay in either way. Raises UserError for an unknown user or k below 1.
    """
    return _recommender(config, dataset, model, k, keep_validation)(users)


def recommend_all(
    config: Config, dataset: Dataset, model: AbstractRecommender, k: int, keep_validation: bool = False
) -> Iterator[Lists]:
    """The lists of all users, in blocks of BLOCK of them, ascending; see `recommend`."""
    lists = _recommender(config, dataset, model, k, keep_validation)
    with forward_once(model):
        for start in range(0, dataset.n_users, BLOCK):
            yield lists(np.arange(start, min(start + BLOCK, dataset.n_users)))


def _recommender(
    config: Config, dataset: Dataset, model: AbstractRecommender, k: int, keep_validation: bool
) -> Callable[[np.ndarray], Lists]:
    if k < 1:
        raise UserError(f"-k is {k}; expected the number of items per user, 1 or more")
    evaluator, known = Evaluator(config, dataset), known_items(dataset, keep_validation)

    def lists(users: np.ndarray) -> Lists:
        unknown = users[(users < 0) | (users >= dataset.n_users)]
        if len(unknown):
            raise UserError(
                f"'{dataset.name}' has no user {unknown[0]}; expected ids from 0 to {dataset.n_users - 1}"
            )
        return evaluator.recommend(model, users, known, min(k, dataset.n_items))

    return lists


def known_items(dataset: Dataset, keep_validation: bool = False) -> ItemSets:
    """What is not recommended to each user: items of training, and of validation unless `keep_validation`."""
    splits = [dataset.train] if keep_validation else [dataset.train, dataset.valid]
    users, items = (np.concatenate([getattr(split, name) for split in splits]) for name in ("users", "items"))
    return ItemSets.from_pairs(users, items, dataset.n_users)


def modality_shares(model: AbstractRecommender) -> dict[str, Tensor] | None:
    """How much each modality counted for every item (I,), on the CPU; None where the model does not say."""
    model.eval()
    with torch.no_grad():
        shares = model.modality_shares()
    return None if shares is None else {name: share.cpu() for name, share in shares.items()}
