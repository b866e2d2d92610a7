"""A small folder of configurations and a small data set for the tests of this folder."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest

from utils.config import PROJECT, Config
from utils.errors import UserError

TOY = {"knn_k": int, "reg_weight": float, "fusion": ("mean", "norm"), "pairs": list}
TOY_YAML = """\
knn_k: 10
reg_weight: 1e-5
fusion: mean
pairs: [a]
grid:
  reg_weight: [0, 1e-5, 1e-3]
  knn_k: [5, 10]
"""


@pytest.fixture
def configs(tmp_path):
    """A folder of configurations with the shipped overall.yaml, a model Toy and a data set toys."""
    folder = tmp_path / "configs"
    for name, text in (("model/Toy", TOY_YAML), ("dataset/toys", "inter_file_name: toys.inter\n")):
        (folder / name).parent.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(text)
    shutil.copy(PROJECT / "src" / "configs" / "overall.yaml", folder)
    return folder


@pytest.fixture
def toy(configs):
    """`Config("Toy", "toys", ...)` from that folder; `toy.write` replaces a file."""

    def make(overrides=None, settings=TOY, origin="command line", dataset="toys", model="Toy", **kwargs):
        return Config(model, dataset, overrides, origin, configs, settings, **kwargs)

    make.yaml = TOY_YAML
    make.write = lambda name, text: (configs / f"{name}.yaml").write_text(text)
    return make


@pytest.fixture
def logged():
    """The lines that the program logs, as a list that grows."""
    log, lines = logging.getLogger("benchmark"), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    level, handlers = log.level, list(log.handlers)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lines
    log.handlers[:] = handlers  # one that the program added in between set the level too, and is added again
    log.setLevel(level)


@pytest.fixture
def fails():
    """Whether a call ends in a UserError of one line that contains the message."""

    def check(call, message, *args, **kwargs):
        with pytest.raises(UserError) as caught:
            call(*args, **kwargs)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    return check


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
