"""What a run prints: the first block, a line per epoch, the last block, and the table of a comparison."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from common.abstract_recommender import AbstractRecommender
from common.trainer import Epoch
from utils.config.settings import STUDY
from utils.experiments.store import TrialResult

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset
    from utils.experiments.jobs import Job, Outcome
    from utils.experiments.sweep import Sweep

PHASES = ("build", "training", "test")
TABLE_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


class _AboveProgressBar(logging.StreamHandler):
    """Lines to stdout that do not tear a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()


def log_to_terminal() -> None:
    """Send the program's log to stdout, once, whatever the caller's own logging does."""
    log = logging.getLogger("benchmark")
    if not any(isinstance(handler, _AboveProgressBar) for handler in log.handlers):
        handler = _AboveProgressBar()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


def trial_line(config: Config, point: dict[str, Any], number: int, total: int) -> str:
    """Headline of a trial: model, data set, and its place in the grid."""
    place = f"   trial {number} of {total}   {assignments(point)}".rstrip() if total > 1 else ""
    return f"\n== {config['model']} on {config['dataset']}{place}"


def outcome_line(job: Job, outcome: Outcome, new: bool, best: bool) -> str:
    """How a trial of a sweep ended, in one line."""
    who = f"{job.config['model']} on {job.config['dataset']} {assignments(job.point)}".rstrip()
    if not isinstance(outcome, TrialResult):
        return f"{who}: {'pruned' if outcome.kind == 'pruned' else 'failed'}, {outcome.message}"
    metric = job.config["valid_metric"].lower()
    spent = f"in {duration(sum(outcome.seconds[p] for p in PHASES))}" if new else "finished before"
    return f"{who}: valid {metric} {outcome.valid[metric]:.4f}{', best so far' if best else ''}, {spent}"


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(7.6), duration(400), duration(9000)
    ('8 s', '7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def assignments(point: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in point.items())


def first_block(config: Config, dataset: Dataset, model: AbstractRecommender) -> list[str]:
    """Data set, modalities, device, model, weights, and every setting with its origin."""
    trainable, frozen = model.parameter_counts()
    masked = "training and validation" if config["mask_validation_at_test"] else "training"
    warnings = [*config.warnings, *dataset.warnings]
    if model.content_is_optional and not dataset.modalities:
        warnings.append(
            f"'{dataset.name}' has no modality: {config['model']} learns from interactions alone, and its settings "
            f"of content have no effect"
        )
    lines = [*dataset.describe(), *(f"warning: {warning}" for warning in warnings)]
    lines += [
        f"device     {config['device']}, {torch.get_num_threads()} threads",
        f"model      {config['model']}: {trainable:,} trainable weights, {frozen:,} frozen",
        f"protocol   full ranking, {masked} items masked at test, best epoch by validation {config['valid_metric']}",
        "settings",
    ]
    by_origin: dict[str, list[str]] = {}
    for name, value in config.final_config_dict.items():
        if name not in ("model", "dataset", "device"):
            by_origin.setdefault(config.origin(name), []).append(f"{name}={_shown(value)}")
    return lines + [line for origin, pairs in by_origin.items() for line in _wrapped(origin, pairs)]


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) and not value.strip() else str(value)


def _wrapped(origin: str, pairs: Sequence[str], width: int = 108) -> list[str]:
    """`pairs` under their origin, in lines of bounded width."""
    label, indent = f"  {origin}:", " " * 24
    lines, line = ([], label.ljust(24)) if len(label) < 24 else ([label], indent)
    for pair in pairs:
        if len(line) + len(pair) > width:
            lines.append(line.rstrip())
            line = indent
        line += pair + "  "
    return [*lines, line.rstrip()]


def epoch_line(epoch: Epoch, valid_metric: str) -> str:
    """One epoch: loss, validation metric, seconds."""
    line = f"epoch {epoch.epoch:4}   loss {epoch.loss:9.5f}   train {epoch.train_seconds:6.2f} s"
    if epoch.valid:
        line += f"   valid {valid_metric} {epoch.valid[valid_metric]:.4f} in {epoch.valid_seconds:5.2f} s"
    return line + ("   best so far" if epoch.best else "") + (f"   {epoch.note}" if epoch.note else "")


def last_block(config: Config, result: TrialResult, folder: Path) -> list[str]:
    """Metrics of the best validation epoch, on both splits, and where the files are."""
    seconds = result.seconds
    names = list(dict.fromkeys(name.split("@")[0] for name in result.valid))
    cutoffs = sorted({int(name.split("@")[1]) for name in result.valid})
    lines = [
        f"best epoch {result.best_epoch} of {len(result.history)}, by validation {config['valid_metric']}"
    ]
    lines.append(" " * 18 + "".join(f"{'@' + str(k):>9}" for k in cutoffs))
    for split, metrics in (("valid", result.valid), ("test", result.test)):
        for name in names:
            values = "".join(f"{metrics[f'{name}@{k}']:9.4f}" for k in cutoffs)
            lines.append(f"  {split:6}{name:10}{values}")
    lines.append(
        f"time       build {seconds['build']:.1f} s, training {seconds['training']:.1f} s "
        f"({seconds['train_epoch']:.2f} s + {seconds['valid_epoch']:.2f} s validation per epoch), "
        f"test {seconds['test']:.1f} s; "
        f"peak memory {result.peak_memory_mb:,.0f} MB"
        + (
            f", on the GPU {result.peak_gpu_memory_mb:,.0f} MB"
            if result.peak_gpu_memory_mb is not None
            else ""
        )
    )
    return [*lines, f"files      {folder}"]


def tables(sweeps: Sequence[Sweep]) -> list[str]:
    """Per data set a line per model: the setting chosen on validation, its validation and test metrics."""
    lines = []
    for dataset in dict.fromkeys(sweep.dataset for sweep in sweeps):
        of_dataset = [part for sweep in sweeps if sweep.dataset == dataset for part in sweep.by_study()]
        lines += ["", *_table(dataset, of_dataset)]
    return lines


def _table(dataset: str, sweeps: Sequence[Sweep]) -> list[str]:
    metrics = sorted({sweep.valid_metric for sweep in sweeps})
    shown = [name for name in TABLE_METRICS if all(name in t.test for s in sweeps for t in s.trials)]
    shown = shown or list(next((t.test for s in sweeps for t in s.trials), {}))[:4]
    header = [
        "model",
        f"valid {metrics[0]}" if len(metrics) == 1 else "valid",
        *(f"test {name}" for name in shown),
        "epoch",
        "s/epoch",
        "weights",
        "trials",
    ]
    best = {name: max((_mean(s.best, "test", name) for s in sweeps if s.best), default=0) for name in shown}
    rows = [_row(sweep, shown, best, several=len(metrics) > 1) for sweep in sweeps]
    title = f"{dataset}: test metrics of the setting chosen on validation; * best"
    lines = [title, *_aligned([header, *rows])]
    lines += [f"{s.model}: {assignments(_chosen(s))}" for s in sweeps if _chosen(s)]
    return lines + [
        f"{s.model} {'pruned' if f.kind == 'pruned' else 'failed'} at {assignments(f.point) or 'its settings'}: "
        f"{f.message}"
        for s in sweeps
        for f in s.failed
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right, a rule below the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = widths
    lines = [
        "  ".join([row[0].ljust(first), *(cell.rjust(w) for cell, w in zip(row[1:], others, strict=True))])
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _row(sweep: Sweep, shown: Sequence[str], best: dict[str, float], several: bool) -> list[str]:
    trials = sweep.best
    total = f"{len(sweep.trials) + len(sweep.failed)}"
    if not trials:
        return [sweep.model, "failed", *("-" for _ in shown), "-", "-", "-", total]
    values = [
        _value(trials, "test", name) + ("*" if _mean(trials, "test", name) == best[name] else " ")
        for name in shown
    ]
    per_epoch = fmean(t.seconds["train_epoch"] + t.seconds["valid_epoch"] for t in trials)
    epochs = "/".join(str(t.best_epoch) for t in trials)
    return [
        sweep.model,
        _value(trials, "valid", sweep.valid_metric) + (f" {sweep.valid_metric}" if several else ""),
        *values,
        epochs,
        f"{per_epoch:.2f}",
        f"{trials[0].trainable:,}",
        total,
    ]


def _chosen(sweep: Sweep) -> dict[str, Any]:
    """The grid settings of the winner; seeds are repetitions, not a choice, and studies are in the name."""
    point = sweep.best[0].point if sweep.best else {}
    return {name: value for name, value in point.items() if name not in ("seed", *STUDY)}


def _mean(trials: Sequence[TrialResult], split: str, metric: str) -> float:
    return fmean(getattr(trial, split)[metric] for trial in trials)


def _value(trials: Sequence[TrialResult], split: str, metric: str) -> str:
    """Mean, with the standard deviation where there are several seeds."""
    text = f"{_mean(trials, split, metric):.4f}"
    return text if len(trials) == 1 else f"{text} ± {stdev(getattr(t, split)[metric] for t in trials):.4f}"
