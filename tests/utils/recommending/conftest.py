"""A store of trained trials."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from trained import COLD, N_ITEMS, QUICK

from utils.experiments.sweep import run_all


@pytest.fixture(scope="session")
def data_path(tmp_path_factory) -> str:
    """A data set `tiny` with two modalities, titles for all items but the last, and user 60 in no split but test."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["userID\titemID\tx_label", "39\t39\t0", f"{COLD}\t3\t2"]
    for user in range(60):
        items = rng.choice(40, size=8, replace=False)
        lines += [f"{user}\t{item}\t{label}" for item, label in zip(items, [0] * 6 + [1, 2], strict=True)]
    (folder / "tiny.inter").write_text("\n".join(lines) + "\n")
    for name, width in (("image", 12), ("text", 6)):
        np.save(folder / f"{name}_feat.npy", rng.standard_normal((N_ITEMS, width), dtype=np.float32))
    titles = [f"thing {item} " + "very " * 20 * (item % 2) for item in range(N_ITEMS - 1)]
    (folder / "item_titles.json").write_text(json.dumps([*titles, None]))
    return str(folder.parent)


@pytest.fixture(scope="session")
def trained(data_path, tmp_path_factory) -> dict[str, str]:
    """Settings of places; the store there has TMFUN, FREEDOM and, at four settings, BPR."""
    root = tmp_path_factory.mktemp("work")
    places = {"data_path": data_path, "runs_path": str(root / "runs"), "cache_path": str(root / "cache")}
    run_all(["TMFUN"], ["tiny"], overrides=QUICK | places)
    run_all(["BPR"], ["tiny"], overrides=QUICK | places | {"seed": [1, 2], "reg_weight": [0.1, 0.01]})
    return places


@pytest.fixture
def places(trained, tmp_path) -> dict[str, str]:
    """The same with a copy of the store, to be spoilt."""
    shutil.copytree(trained["runs_path"], tmp_path / "runs")
    return trained | {"runs_path": str(tmp_path / "runs")}
