"""All checks of a data set, from the folder to the program's own loader. Nothing is written into any folder of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.checking.features import check_features, check_mask, check_order
from utils.checking.findings import SEVERITIES, Findings, counted
from utils.checking.folder import (
    CARD,
    check_files,
    check_paths,
    check_titles,
    check_yamls,
    find_folder,
    modality_files,
    read_card,
    report_yaml,
)
from utils.checking.graphs import check_graph
from utils.checking.settings import DataSettings, check_overrides
from utils.checking.splits import check_rows
from utils.checking.table import Rows, read_table
from utils.config import SRC
from utils.errors import UserError


@dataclass(frozen=True)
class Report:
    """What was found in a data set, and what it is where that could be read."""

    dataset: str
    findings: Findings
    facts: tuple[str, ...] = ()

    def failed(self, strict: bool = False) -> bool:
        """Whether there are errors, or with `strict` warnings."""
        return bool(self.findings.count("error") or (strict and self.findings.count("warning")))

    def lines(self) -> list[str]:
        """The worst first, and a summary."""
        counts = [counted(self.findings.count(severity), severity) for severity in SEVERITIES]
        lines = [line for finding in self.findings.by_severity() for line in finding.lines()]
        summary = f"{'':9}= {', '.join(counts)}; {'; '.join(self.facts) or 'not readable'}"
        return [f"check      {self.dataset}", *lines, summary]


def check_dataset(
    dataset: str, overrides: Mapping[str, Any] | None = None, configs: Path | None = None
) -> Report:
    """Everything that can make numbers wrong. Raises UserError for overrides that are no settings of data."""
    findings = Findings()
    check_overrides(overrides or {})
    try:
        settings = DataSettings(dataset, overrides or {}, configs or SRC / "configs")
    except UserError as error:
        report_yaml(f"dataset/{dataset}.yaml", error, findings)
        return Report(dataset, findings)
    if Path(dataset).name != dataset or dataset in (".", ".."):
        findings.error(
            dataset, "it is no name of a folder in data_path", "give the name alone, and data_path=..."
        )
        return Report(dataset, findings)
    return _check(settings, findings)


def _check(settings: DataSettings, findings: Findings) -> Report:
    name = settings["dataset"]
    inside = check_paths(settings, settings.folder, findings)
    folder = find_folder(settings, findings) if inside else None
    if folder is None:
        if settings.folder.is_dir():
            check_yamls(settings, settings.folder, findings)
            check_files(settings, settings.folder, findings)
        return Report(name, findings)
    check_files(settings, folder, findings)
    check_yamls(settings, folder, findings)
    card = read_card(folder, findings)
    path = folder / settings.inter_name
    rows = read_table(path, settings.columns, settings["field_separator"], findings)
    facts = []
    if rows is not None:
        check_rows(path.name, rows, settings, card, findings)
        facts.append(f"{rows.n_users:,} users, {rows.n_items:,} items, {len(rows.users):,} interactions")
        if rows.trusted["items"]:
            check_titles(settings, folder, rows.n_items, findings)
    modalities = check_modalities(settings, folder, rows, findings)
    facts.append(f"modalities {', '.join(modalities)}" if modalities else "no modality")
    if not findings.count("error"):
        check_loading(settings, card, findings)
    return Report(name, findings, tuple(facts))


def check_modalities(
    settings: DataSettings, folder: Path, rows: Rows | None, findings: Findings
) -> list[str]:
    """Features, then the graphs of each; returns their names."""
    files = modality_files(settings, folder, findings)
    for features_file, graphs in files.values():
        features = check_features(features_file, rows, findings) if features_file.is_file() else None
        if features is not None and rows is not None and len(features.usable) == rows.n_items:
            check_order(features_file.name, features, rows, findings)
        for k, path in sorted(graphs.items()):
            if path.is_file():
                check_graph(
                    path, k, rows if rows is None or rows.trusted["items"] else None, features, findings
                )
    _check_lone_masks(folder, files, rows, findings)
    return list(files)


def _check_lone_masks(folder: Path, files: Mapping[str, Any], rows: Rows | None, findings: Findings) -> None:
    for path in sorted(folder.glob("*_mask.npy")):
        features = folder / f"{path.name.removesuffix('_mask.npy')}_feat.npy"
        if not features.is_file():
            findings.warning(
                path.name, f"a mask without {features.name}", "remove it, or put the features there"
            )
            check_mask(path, rows.n_items if rows is not None else None, findings)


def check_loading(settings: DataSettings, card: Mapping[str, Any], findings: Findings) -> None:
    """The program's own reading, values of features included, so that this check and training never disagree.

    What it keeps goes to a temporary folder. What an earlier run has kept of these files is read from a copy, and
    has to say the same.
    """
    from utils.data.dataset import Dataset  # with torch, which faults above need not wait for

    cache = settings.path("cache_path")
    with tempfile.TemporaryDirectory(prefix="check-") as scratch:
        try:
            settings["cache_path"] = str(Path(scratch) / "new")
            dataset = Dataset.load(settings)
            for modality in dataset.modalities.values():
                if modality.has_features:
                    modality.features()
        except UserError as error:
            findings.refusal(settings["dataset"], error)
            return
        finally:
            settings["cache_path"] = str(cache)
        _check_cache(settings, cache, Path(scratch) / "old", dataset, findings)
    if card.get("hash", dataset.interactions_digest) != dataset.interactions_digest:
        findings.warning(
            CARD, "stale: it describes other interactions than those in the folder", "prepare the data again"
        )


def _check_cache(settings: DataSettings, cache: Path, copy: Path, dataset: Any, findings: Findings) -> None:
    """The kept interactions: named after the content of the file, so wrong only where someone has changed them."""
    stem = Path(settings.inter_name).stem
    kept = [
        path
        for path in cache.glob("*")
        if path.name.startswith(f"{stem}-") and path.suffix in (".npy", ".json")
    ]
    if not kept:
        return
    copy.mkdir()
    for path in kept:
        shutil.copy(path, copy)
    before = settings["cache_path"]
    settings["cache_path"] = str(copy)
    try:
        same = type(dataset).load(settings).interactions_digest == dataset.interactions_digest
    except (UserError, ValueError, IndexError):
        same = False
    finally:
        settings["cache_path"] = before
    if not same:
        findings.error(
            f"{cache}/{stem}-*",
            f"the cache of {settings.inter_name} holds other interactions than the file",
            "remove these files; they are made anew",
        )
