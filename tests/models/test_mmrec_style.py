"""A model file in MMRec's style, with every hook of its contract, runs unchanged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import common.registry
import utils.config.config
from utils.errors import UserError
from utils.quick_start import quick_start

SRC = Path(common.registry.__file__).resolve().parents[1]

MODEL = """\
import numpy as np
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender
from common.init import xavier_uniform_initialization
from common.loss import BPRLoss, EmbLoss, L2Loss

CALLS = []


class Theirs(GeneralRecommender):
    def __init__(self, config, dataset):
        super(Theirs, self).__init__(config, dataset)
        assert config["no_such_key"] is None and "no_such_key" not in config
        assert config["layers"] == [8, 8] and isinstance(config["reg"], float)
        self.reg = config["reg"]
        matrix = dataset.inter_matrix(form="coo").astype(np.float32)
        assert matrix.shape == (self.n_users, self.n_items) and matrix.row.dtype == np.int32
        assert dataset.inter_matrix(form="csr").nnz == matrix.nnz
        self.users = nn.Embedding(self.n_users, config["embedding_size"])
        self.items = nn.Embedding(self.n_items, config["embedding_size"])
        self.apply(xavier_uniform_initialization)
        self.image = nn.Embedding.from_pretrained(self.v_feat, freeze=False)
        self.text = nn.Embedding.from_pretrained(self.t_feat, freeze=True)
        self.project = nn.Linear(self.v_feat.shape[1] + self.t_feat.shape[1], config["embedding_size"])
        self.bpr, self.emb, self.l2 = BPRLoss(), EmbLoss(), L2Loss()
        self.result = None

    def pre_epoch_processing(self):
        CALLS.append("pre")

    def post_epoch_processing(self):
        CALLS.append("post")
        return "a line of the model"

    def forward(self):
        content = self.project(torch.cat([self.image.weight, self.text.weight], dim=1))
        self.result = torch.cat([self.users.weight, self.items.weight + content])
        return self.result

    def calculate_loss(self, interaction):
        CALLS.append(tuple(interaction.shape))
        interaction[1] += self.n_users
        interaction[2] += self.n_users
        x = self.forward()
        u, p, n = x[interaction[0]], x[interaction[1]], x[interaction[2]]
        return self.bpr((u * p).sum(1), (u * n).sum(1)), self.reg * self.emb(u, p, n), 1e-6 * self.l2(u)

    def full_sort_predict(self, interaction):
        user, mask = interaction[0], interaction[1]
        assert mask.shape[0] == 2 and mask.dtype == torch.int64
        users, items = torch.split(self.forward(), [self.n_users, self.n_items])
        return torch.matmul(users[user], items.transpose(0, 1))
"""
YAML = """\
embedding_size: 8
layers: [8, 8]
reg: [1e-5, 1e-2]
hyper_parameters: ["reg"]
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A source folder with that model alone, a data set beside it, and the settings that lead there."""
    src, data = tmp_path / "src", tmp_path / "data" / "toys"
    for folder in (src / "models", src / "configs" / "model", src / "configs" / "dataset", data):
        folder.mkdir(parents=True)
    (src / "models" / "theirs.py").write_text(MODEL)
    (src / "configs" / "model" / "Theirs.yaml").write_text(YAML)
    shutil.copy(SRC / "configs" / "overall.yaml", src / "configs")
    for module in (common.registry, utils.config.config):
        monkeypatch.setattr(module, "SRC", src)
    monkeypatch.syspath_prepend(str(src))
    rng = np.random.default_rng(0)
    rows = [
        f"{u}\t{i}\t{x}"
        for u in range(30)
        for i, x in zip(rng.permutation(20)[:6], [0, 0, 0, 0, 1, 2], strict=True)
    ]
    (data / "toys.inter").write_text("\n".join(["userID\titemID\tx_label", *rows, "0\t19\t0"]) + "\n")
    for name in ("image", "text"):
        np.save(data / f"{name}_feat.npy", rng.standard_normal((20, 5)))
    places = {"data_path": str(data.parent), "runs_path": str(tmp_path / "runs"), "cache_path": str(tmp_path)}
    return places | {"epochs": 2, "topk": [5, 20], "train_batch_size": 50, "gpu_id": 0}


def test_every_hook_of_a_model_in_mmrecs_style(theirs, capsys):
    sweep = quick_start(model="Theirs", dataset="toys", config_dict=theirs, save_model=True, mg=False)
    assert [trial.point for trial in sweep.trials] == [{"reg": 1e-5}, {"reg": 1e-2}]
    assert [epoch["note"] for epoch in sweep.trials[0].history] == ["a line of the model"] * 2
    assert "a line of the model" in capsys.readouterr().out
    import models.theirs

    n_batches = 3  # 121 training interactions, or 120 where the added one was there already
    per_epoch = [call if isinstance(call, str) else "batch" for call in models.theirs.CALLS[: n_batches + 2]]
    assert per_epoch == ["pre", *["batch"] * n_batches, "post"]
    assert all(call[0] == 3 for call in models.theirs.CALLS if isinstance(call, tuple))
    trainable, frozen = sweep.trials[0].trainable, sweep.trials[0].frozen
    assert (trainable, frozen) == (30 * 8 + 20 * 8 + 20 * 5 + 10 * 8 + 8, 20 * 5)


def test_mirror_gradient_is_refused(theirs):
    with pytest.raises(UserError, match="mg=True, MMRec's mirror gradient, is not supported"):
        quick_start("Theirs", "toys", theirs, mg=True)
