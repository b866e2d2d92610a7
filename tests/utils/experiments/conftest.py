"""A data set small enough to train on within milliseconds."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """A data set `tiny` of 60 users and 40 items, with features of both modalities, and empty folders."""
    root = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    folder = root / "data" / "tiny"
    folder.mkdir(parents=True)
    lines = ["userID\titemID\tx_label"]
    for user in range(60):
        items = rng.choice(40, size=8, replace=False)
        lines += [f"{user}\t{item}\t{label}" for item, label in zip(items, [0] * 6 + [1, 2], strict=True)]
    (folder / "tiny.inter").write_text("\n".join(lines) + "\n39\t39\t0\n")
    np.save(folder / "image_feat.npy", rng.standard_normal((40, 12), dtype=np.float32))
    np.save(folder / "text_feat.npy", rng.standard_normal((40, 6), dtype=np.float32))
    return {
        "data_path": str(root / "data"),
        "runs_path": str(root / "runs"),
        "cache_path": str(root / "cache"),
    }
