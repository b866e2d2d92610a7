"""Published figures of models on MMRec's data, from configs/published.yaml, which says where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.config import SRC
from utils.config.yaml_reader import read_mapping
from utils.errors import UserError
from utils.evaluation.metrics import parse_metric

PUBLISHED = SRC / "configs" / "published.yaml"

PROTOCOL = {"mask_validation_at_test": False, "filter_out_cod_start_users": True}
"""The settings under which the published figures were measured."""

CONTENT = {"modalities": None, "modality_ablation": "none", "modality_noise": 0.0, "modality_shuffle": "none"}
"""And those under which a model that reads content had the data set's own, whole."""


@dataclass(frozen=True)
class PublishedFigure:
    """What one source says of a model on a data set: test metrics by names such as 'recall@20'."""

    model: str
    source: str
    metrics: dict[str, float]


def published(
    dataset: str, models: Sequence[str] | None = None, path: Path = PUBLISHED
) -> list[PublishedFigure]:
    """The figures for a data set, of all models or of some, in the order of the file; none for one not in it.

    Raises UserError for an entry of the data set that is not as it should be.

    >>> published("baby", ["BM3"])[0].metrics["recall@20"]
    0.0883
    """
    by_model = read_mapping(path, path.name).get(dataset, {})
    where = f"{path.name}, {dataset}"
    if not isinstance(by_model, dict):
        raise UserError(f"{where}: expected names of models, each with a list of figures; found {by_model!r}")
    figures = [figure for model, entries in by_model.items() for figure in _of_model(model, entries, where)]
    return [figure for figure in figures if models is None or figure.model in models]


def comparable(settings: Mapping[str, Any]) -> bool:
    """Whether a run with these settings was measured as the published figures were.

    >>> protocol = {"mask_validation_at_test": False, "filter_out_cod_start_users": True}
    >>> content = {"modalities": {"image": "other.npy"}, "modality_noise": 0.0}
    >>> comparable({**protocol, **content, "is_multimodal_model": True})
    False
    >>> comparable({**protocol, **content, "is_multimodal_model": False})
    True
    """
    expected = PROTOCOL | (CONTENT if settings["is_multimodal_model"] else {})
    # Runs of before one of these settings have none of it.
    return all(settings.get(name, value) == value for name, value in expected.items())


def _of_model(model: str, entries: Any, where: str) -> list[PublishedFigure]:
    where = f"{where}, {model}"
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{where}: expected a list of figures, each with its source; found {entries!r}")
    return [_figure(model, entry, where) for entry in entries]


def _figure(model: str, entry: Any, where: str) -> PublishedFigure:
    """The entry {source: text, recall@20: 0.0883, ...}, checked."""
    source = entry.get("source") if isinstance(entry, dict) else None
    if not isinstance(source, str):
        raise UserError(f"{where}: every figure needs a source and metrics; found {entry!r}")
    metrics = {name: value for name, value in entry.items() if name != "source"}
    if not metrics:
        raise UserError(f"{where}: '{source}' gives no metric; add one such as recall@20, or leave it out")
    for name, value in metrics.items():
        _check(name, value, f"{where}, '{source}'")
    return PublishedFigure(model, source, metrics)


def _check(name: Any, value: Any, where: str) -> None:
    try:
        parse_metric(str(name))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if not isinstance(value, float) or not 0 <= value <= 1:
        raise UserError(f"{where}: {name} must be a share such as 0.0883, from 0 to 1; found {value!r}")
