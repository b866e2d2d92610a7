"""A store for the tests of the leaderboard: trials that never trained, of scores with a planted quality."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from common.registry import get_model
from utils.config import Config
from utils.data.dataset import Dataset
from utils.evaluation.ranking import Evaluator
from utils.experiments.store import FORMAT, LISTS, METRICS, PER_USER, SETTINGS, Store, settings_yaml
from utils.experiments.trial import LIST_LENGTH
from utils.files import write_json, write_npz
from utils.leaderboard.board import Board, Row, Stat
from utils.leaderboard.selection import leaderboard

R20 = "recall@20"
LATER = "2026-03-01 09:00:00"
"""After the date that a trial has unless told otherwise."""


class Fixed(nn.Module):
    """A model whose scores (U, I) are known."""

    def __init__(self, scores: np.ndarray):
        super().__init__()
        self.scores = torch.from_numpy(scores)

    def full_sort_predict(self, interaction: list[torch.Tensor]) -> torch.Tensor:
        return self.scores[interaction[0]].clone()


class Lab:
    """A folder with data sets and a store, that trials are put into."""

    def __init__(self, root: Path):
        self.data, self.runs = root / "data", root / "runs"
        self.store = Store(self.runs)
        self._loaded: dict[str, Dataset] = {}

    def data_set(self, name: str, n_users: int = 80, n_items: int = 60, seed: int = 0) -> None:
        """Interactions of 6 to 29 items per user, popular ones more often, and two modalities."""
        rng = np.random.default_rng(seed)
        folder = self.data / name
        folder.mkdir(parents=True, exist_ok=True)
        lines, weights = ["userID\titemID\tx_label"], 1 / np.arange(3, n_items + 3)
        for user in range(n_users):
            items = rng.choice(n_items, rng.integers(6, 30), replace=False, p=weights / weights.sum())
            labels = [1, 2, *[0] * (len(items) - 2)]
            lines += [f"{user}\t{item}\t{label}" for item, label in zip(items, labels, strict=True)]
        lines.append(f"{n_users - 1}\t{n_items - 1}\t0")
        (folder / f"{name}.inter").write_text("\n".join(dict.fromkeys(lines)) + "\n")
        for modality, width in (("image", 8), ("text", 5)):
            np.save(folder / f"{modality}_feat.npy", rng.standard_normal((n_items, width), dtype=np.float32))
        self._loaded.clear()

    def config(self, model: str, dataset: str, **settings: Any) -> Config:
        places = {"data_path": str(self.data), "runs_path": str(self.runs), "use_gpu": False}
        return Config(model, dataset, places | settings, model_settings=get_model(model).settings)

    def trial(
        self,
        model: str,
        dataset: str = "tiny",
        quality: float = 1.0,
        seed: int = 1,
        date: str = "2026-02-01 09:00:00",
        valid: Mapping[str, float] | None = None,
        test: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
        point: Mapping[str, Any] | None = None,
        kept: tuple[str, ...] = (PER_USER, LISTS),
        cost: float = 1.0,
        **settings: Any,
    ) -> Path:
        """The folder of a finished trial; `valid`, `test` and `environment` stand above what was computed."""
        point = dict(point or {}) | {"seed": seed}
        config = self.config(model, dataset, **settings, **point)
        key = dataset + repr(settings)
        if key not in self._loaded:
            self._loaded[key] = Dataset.load(config)
        data = self._loaded[key]
        name = _name(model, config.final_config_dict, date)
        folder = self.runs / dataset / model / name
        folder.mkdir(parents=True)
        scores = planted(data, quality, seed)
        evaluator = Evaluator(config, data)
        measured = {n: float(v.mean()) for n, v in evaluator.validate(Fixed(scores)).items()} | dict(
            valid or {}
        )
        per_user, lists = evaluator.test(Fixed(scores), LIST_LENGTH)
        history = epochs(measured, peak=12 + 3 * seed, cost=cost)
        content = {
            "format": FORMAT, "model": model, "dataset": dataset, "trial": name, "point": point,
            "best_epoch": 12 + 3 * seed, "valid": measured,
            "test": {n: float(v.mean()) for n, v in per_user.items()} | dict(test or {}),
            "trainable": int(1000 * cost), "frozen": 10,
            "seconds": {"build": 0.1, "test": 0.2, "train_epoch": cost, "valid_epoch": 0.25,
                        "training": len(history) * (cost + 0.25)},
            "peak_memory_mb": 100.0 + 40 * cost, "history": history,
            "environment": {"data": data.digest(), "code": f"code of {model}", "date": date, "device": "cpu",
                            "torch_threads": "1"} | dict(environment or {}),
        }  # fmt: skip
        write_json(folder / METRICS, content)
        (folder / SETTINGS).write_text(settings_yaml(config))
        if PER_USER in kept:
            write_npz(folder / PER_USER, users=lists.users, **per_user)
        if LISTS in kept:
            write_npz(folder / LISTS, users=lists.users, items=lists.items, scores=lists.scores)
        return folder

    def failure(
        self,
        model: str,
        dataset: str,
        kind: str,
        point: Mapping[str, Any],
        date: str = LATER,
        **settings: Any,
    ) -> None:
        folder = self.runs / dataset / model / _name(kind, point, settings)
        folder.mkdir(parents=True)
        (folder / SETTINGS).write_text(settings_yaml(self.config(model, dataset, **settings, **point)))
        write_json(
            folder / "failure.json",
            {"format": FORMAT, "model": model, "dataset": dataset, "trial": folder.name, "point": dict(point),
             "kind": kind, "message": "why", "date": date},
        )  # fmt: skip


def _name(*parts: object) -> str:
    return f"{zlib.crc32(repr(parts).encode()):012x}"


def planted(data: Dataset, quality: float, seed: int) -> np.ndarray:
    """Scores (U, I) of noise, with the held-out items `quality` above it."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((data.n_users, data.n_items), dtype=np.float32)
    for split in (data.valid, data.test):
        scores[split.users, split.items] += np.float32(quality)
    return scores


def epochs(best: Mapping[str, float], peak: int, cost: float) -> list[dict[str, Any]]:
    """A history that rises to the metrics of its best epoch and falls a little for five more."""
    shape = [1 - np.exp(-4 * e / peak) - 0.01 * (e != peak) for e in range(1, peak + 6)]
    return [
        {"epoch": e, "loss": 1 / e, "train_seconds": cost, "valid_seconds": 0.25, "learning_rate": 0.001,
         "valid": {name: value * height / shape[peak - 1] for name, value in best.items()},
         "best": e == peak, "note": ""}
        for e, height in enumerate(shape, start=1)
    ]  # fmt: skip


def exported(a_board, model, path, **columns):
    """The stored lists of a model as a file."""
    lists = row_of(a_board, model).lists
    rows, places = np.nonzero(lists.items >= 0)
    table = pd.DataFrame({"userID": lists.users[rows], "itemID": lists.items[rows, places]})
    for name, of in columns.items():
        table[name] = of(lists, rows, places)
    table.to_csv(path, sep="\t", index=False)
    return table


def board(lab, **asked):
    return leaderboard(lab.store, **asked)[0]


def row_of(a_board, model):
    return next(row for row in a_board.rows if row.model == model)


def says(lines, *parts):
    """Whether one of the lines holds all the parts."""
    return any(all(part in line for part in parts) for line in lines)


def foreign(name, **test):
    return Row("tiny", name, {m: Stat(v) for m, v in test.items()}, lambda: None, lambda: None)


def made(*rows, metric="recall@20"):
    return Board("tiny", metric, list(rows), [])
