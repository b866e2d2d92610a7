"""The numbers of a data card: of the interactions in the database, and of the feature files of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from utils.data.discovery import FEATURES_NAME
from utils.data.features import FeatureFile, read_mask, to_float32
from utils.data.interactions import SPLITS
from utils.preparing.engine import CHUNK, Connection, one
from utils.preparing.presence import missing_name


def describe_interactions(connection: Connection, label: str) -> dict[str, Any]:
    """Counts, degrees, splits, times and cold ids of `labelled`, with `label` as the SQL of a row's split."""
    n_users, n_items, n = connection.execute(
        "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM items), (SELECT count(*) FROM labelled)"
    ).fetchone()
    return {
        "users": n_users,
        "items": n_items,
        "interactions": n,
        "density": n / (n_users * n_items),
        "sparsity": 1 - n / (n_users * n_items),
        "per_user": _degrees(connection, "u"),
        "per_item": _degrees(connection, "i"),
        "splits": _splits(connection, label),
        "cold": _cold(connection, label),
        "time": _span(connection, "true"),
    }


def histogram(connection: Connection, column: str) -> np.ndarray:
    """Degrees and how many ids have each (2, n), of the users `u` or the items `i`."""
    rows = connection.execute(
        f"SELECT n, count(*) FROM (SELECT count(*) AS n FROM labelled GROUP BY {column}) GROUP BY n ORDER BY n"
    ).fetchall()
    return np.array(rows, dtype=np.int64).T


def digest(connection: Connection, label: str) -> str:
    """The hash that a loaded `Dataset` has of these interactions, without having them in memory."""
    hashed = hashlib.blake2b(digest_size=16)
    sizes = [0, 0, 0]
    for column in ("u", "i"):
        for part in range(len(SPLITS)):
            for values in _column(connection, column, label, part):
                hashed.update(np.ascontiguousarray(values, dtype=np.int64))
                sizes[part] += len(values) if column == "u" else 0
    hashed.update(repr(tuple(sizes)).encode())
    return hashed.hexdigest()


def describe_modalities(folder: Path, n_items: int) -> dict[str, dict[str, Any]]:
    """Of each <modality>_feat.npy: dimensions, type, and how many rows are missing, all-zero or equal to another.

    Missing is what <modality>_mask.npy (bool per item, True: present) marks, or a row that is not finite. Norms are
    those of the other rows. `listed` is the file that lists the missing, if it is there. One pass over the features.
    Raises UserError.
    """
    found = {}
    for path in sorted(folder.glob("*_feat.npy")):
        match = FEATURES_NAME.fullmatch(path.name)
        if match:
            mask = folder / f"{match['name']}_mask.npy"
            present = read_mask(mask, n_items) if mask.is_file() else np.ones(n_items, dtype=bool)
            listed = missing_name(match["name"])
            found[match["name"]] = _describe_rows(FeatureFile.open(path, n_items), present) | {
                "listed": listed if (folder / listed).is_file() else None
            }
    return found


def _describe_rows(file: FeatureFile, mask: np.ndarray) -> dict[str, Any]:
    """Of features (I, F), with the mask (I,) bool of the items that have them."""
    met: set[bytes] = set()
    hashed = hashlib.blake2b(f"{file.dtype.str} {file.shape}".encode(), digest_size=16)
    norms, repeated, not_finite = np.zeros(len(mask)), 0, 0
    present = mask.copy()
    for start, raw in file.blocks():
        hashed.update(np.ascontiguousarray(raw))
        rows = to_float32(raw) + 0.0  # -0.0 and 0.0 are one number
        finite = np.isfinite(rows).all(1)
        here = slice(start, start + len(rows))
        not_finite += int((mask[here] & ~finite).sum())
        present[here] &= finite
        for row in rows[present[here]]:
            key = hashlib.blake2b(row, digest_size=16).digest()
            repeated += key in met
            met.add(key)
        with np.errstate(invalid="ignore", over="ignore"):
            norms[here] = np.linalg.norm(rows.astype(np.float64), axis=1)
    norms = norms[present]
    low, middle, high = (float(np.quantile(norms, q)) if len(norms) else 0.0 for q in (0, 0.5, 1))
    return {
        "dimensions": file.shape[1],
        "type": str(file.dtype),
        "missing": int((~present).sum()),
        "not_finite": not_finite,
        "zero": int((norms == 0).sum()),
        "duplicated": repeated,
        "norm": {"min": low, "median": middle, "max": high},
        "hash": hashed.hexdigest(),
    }


def _degrees(connection: Connection, column: str) -> dict[str, float]:
    degrees, counts = histogram(connection, column)
    ids = counts.sum()
    ends = counts.cumsum()
    middle = [
        int(degrees[np.searchsorted(ends, place, side="right")]) for place in ((ids - 1) // 2, ids // 2)
    ]
    interactions = degrees * counts  # of all ids with this degree
    lorenz = np.concatenate([[0], interactions.cumsum()]) / interactions.sum()
    gini = 1 - float((counts * (lorenz[1:] + lorenz[:-1])).sum() / ids)
    return {
        "mean": float(interactions.sum() / ids),
        "median": sum(middle) / 2,
        "min": int(degrees[0]),
        "max": int(degrees[-1]),
        "gini": gini,
    }


def _splits(connection: Connection, label: str) -> dict[str, dict[str, Any]]:
    found = {}
    for part, name in enumerate(SPLITS):
        n, users, items = connection.execute(
            f"SELECT count(*), count(DISTINCT u), count(DISTINCT i) FROM labelled WHERE {label} = {part}"
        ).fetchone()
        found[name] = {
            "interactions": n,
            "users": users,
            "items": items,
            "time": _span(connection, f"{label} = {part}"),
        }
    return found


def _cold(connection: Connection, label: str) -> dict[str, int]:
    """Users and items that validation or test have and training has not."""
    return {
        name: one(
            connection,
            f"SELECT count(*) FROM (SELECT {column} FROM labelled GROUP BY {column} HAVING min({label}) > 0)",
        )
        for name, column in (("users", "u"), ("items", "i"))
    }


def _span(connection: Connection, condition: str) -> dict[str, Any] | None:
    """First and last time, as seconds since 1970 and as dates; None without times."""
    first, last, *dates = connection.execute(
        "SELECT min(time), max(time), strftime(to_timestamp(min(time)), '%Y-%m-%d'), "
        f"strftime(to_timestamp(max(time)), '%Y-%m-%d') FROM labelled WHERE {condition}"
    ).fetchone()
    if first is None:
        return None
    return {"first": first, "last": last, "first_date": dates[0], "last_date": dates[1]}


def _column(connection: Connection, column: str, label: str, part: int) -> Iterator[np.ndarray]:
    connection.execute(f"SELECT {column} FROM ordered WHERE {label} = {part}")
    while len(frame := connection.fetch_df_chunk(CHUNK)):
        yield frame[column].to_numpy()
