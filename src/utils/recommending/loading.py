"""The best trial of a model, loaded again with its weights and its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from common.abstract_recommender import AbstractRecommender
from common.state import Attributes
from utils.config import Config
from utils.data.batches import TrainDataLoader
from utils.data.dataset import Dataset
from utils.errors import UserError, did_you_mean
from utils.experiments.building import build, seed_everything
from utils.experiments.reopening import reopen
from utils.experiments.store import Store, StoredTrial
from utils.leaderboard.selection import leaderboard

CHANGEABLE = ("data_path", "cache_path", "models_dir", "use_gpu", "gpu_id", "eval_batch_size")
"""Settings of a stored trial that may be others when it is loaded: where the data is and what computes."""


class Loaded(NamedTuple):
    """A trained model, ready to recommend, and what it was built from."""

    config: Config
    dataset: Dataset
    model: AbstractRecommender
    batches: TrainDataLoader


def best_trial(store: Store, dataset: str, model: str) -> StoredTrial:
    """The trial that validation chooses: of the leaderboard's settings for the model, the best seed.

    Of trials on the content as it is alone: how it is changed is no choice. Raises UserError where the store has
    none of the model on the data set.
    """
    trials = store.trials([dataset], [model])
    if not trials:
        raise UserError(_no_trial(store, dataset, model))
    newest = max(trials, key=lambda trial: trial.result.environment.get("date", ""))
    (board,) = leaderboard(store, [dataset], [model], newest.settings["valid_metric"])
    row = next((row for row in board.rows if row.model == model), None)
    if row is None:
        raise UserError(
            f"every finished trial of {model} on {dataset} in {store.root} changed the content of its items "
            f"({', '.join(sorted(row.model for row in board.rows))}); train one without, or set runs_path=..."
        )
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
    _check_names(stored, overrides or {})
    weights = stored.weights()
    config, dataset = reopen(stored, overrides or {})
    model, batches = build(config, dataset)
    try:
        Attributes(model).restore(stored.attributes())
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split()).partition(": ")[2][:160]
        raise UserError(
            f"the weights in {stored.folder} do not fit {config['model']}, whose code has changed since "
            f"({reason}); train it again, or go back to the code of then"
        ) from error
    model.eval()
    seed_everything(config["seed"])  # as before the test, for a model that draws while it scores
    return Loaded(config, dataset, model, batches)


def _check_names(stored: StoredTrial, overrides: Mapping[str, Any]) -> None:
    """Raises UserError for overrides that would make it another trial."""
    for name in overrides:
        if name not in CHANGEABLE:
            raise UserError(
                f"{name} is fixed by the trial in {stored.folder}; leave it out (only {', '.join(CHANGEABLE)} can "
                f"be others now){did_you_mean(name, CHANGEABLE)}"
            )
