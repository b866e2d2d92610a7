"""The real sets: MMRec's published splits have the sizes of the rule, and what was prepared is checked and trained."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from utils.cli import main
from utils.config import PROJECT
from utils.preparing.cleaning import Columns, Rules, clean, load
from utils.preparing.sources import open_table
from utils.preparing.splits import Split, split

DATA = PROJECT.parent / "shared" / "data"
COLUMNS = ["--user-col", "userID", "--item-col", "itemID"]

pytestmark = pytest.mark.skipif(
    not (DATA / "baby").exists(), reason="../shared/data is absent: the real data sets are not shipped"
)


def by_user(table: pd.DataFrame, user: str, part: str) -> list[list[int]]:
    """Users (U,) by number: interactions of training, validation and test."""
    return table.groupby([user, part]).size().unstack(fill_value=0).sort_index().to_numpy().tolist()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("baby", [118_551, 20_559, 21_682]),
        ("sports", [218_409, 37_899, 40_029]),
    ],
)
def test_each_user_has_the_sizes_of_the_published_split(connection, name, sizes):
    path = DATA / name / f"{name}.inter"
    published = by_user(pd.read_csv(path, sep="\t"), "userID", "x_label")
    counts = load(connection, open_table(connection, path), Columns("userID", "itemID"))
    clean(connection, Rules(k_core=5), 999, counts)
    assert counts.interactions == counts.rows == sum(sizes)  # they are a 5-core without duplicates
    for protocol, columns in (("mmrec", [0, 1, 2]), ("lattice", [0, 2, 1])):
        split(connection, Split(protocol))
        parts = connection.execute("SELECT u, part, count(*) AS n FROM labelled GROUP BY u, part").df()
        found = parts.pivot(index="u", columns="part", values="n").fillna(0).astype(int).sort_index()
        assert found.to_numpy()[:, columns].tolist() == published
        assert found.to_numpy()[:, columns].sum(0).tolist() == sizes


def test_a_set_with_features_is_prepared_checked_and_trained(prepare, tmp_path, capsys):
    features = {name: DATA / "lfm2k" / f"{name}_feat.npy" for name in ("text", "audio")}
    words = [f"{name}={path}" for name, path in features.items()]
    source = ["--interactions", DATA / "lfm2k" / "lfm2k.inter", *COLUMNS, "--k-core", "5"]
    found = prepare(*source, "--features", *words, name="lfm2k")
    assert f"python main.py -m TMFUN -d lfm2k data_path={tmp_path / 'data'}" in found.out
    raw = pd.read_csv(found.path / "i_id_mapping.csv", sep="\t").item_id.to_numpy()
    assert len(raw) < 1_425 == len(np.load(features["text"]))  # some are outside the core, so that rows move
    for name, path in features.items():
        assert (np.load(found.path / f"{name}_feat.npy") == np.load(path)[raw]).all()
        assert np.load(found.path / f"{name}_mask.npy").all()
    places = [f"{name}_path={tmp_path / name}" for name in ("data", "runs", "cache")]
    assert main(["check", "-d", "lfm2k", "--strict", f"data_path={tmp_path / 'data'}"]) == 0
    assert "text_feat.npy: rows are in the order of items" in capsys.readouterr().out
    assert main(["-m", "TMFUN", "-d", "lfm2k", "epochs=1", "train_batch_size=8192", *places]) == 0
    assert "best epoch 1 of 1" in capsys.readouterr().out
