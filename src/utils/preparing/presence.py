"""Which items have a modality: a mask, and a list of those that have it not, with the reason."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from utils.preparing.engine import Connection

NOT_FINITE = "numbers that are not finite"


def write_presence(connection: Connection, folder: Path, name: str, missing: Mapping[int, str]) -> None:
    """Write <name>_mask.npy (I,) bool, True: present, and <name>_missing.csv, from the items without and why.

    Raises OSError.
    """
    raw = [raw for (raw,) in connection.execute("SELECT raw FROM items ORDER BY id").fetchall()]
    mask = np.ones(len(raw), dtype=bool)
    mask[list(missing)] = False
    np.save(folder / f"{name}_mask.npy", mask)
    with open(folder / missing_name(name), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["itemID", "rawID", "reason"])
        writer.writerows((item, raw[item], reason) for item, reason in sorted(missing.items()))


def missing_name(modality: str) -> str:
    return f"{modality}_missing.csv"


def feature_files(modality: str) -> list[str]:
    """Names of all that is written for a modality with features."""
    return [f"{modality}_feat.npy", f"{modality}_mask.npy", missing_name(modality)]
