"""
A model of nobody's that uses every corner of what MMRec offers its model files.
"""

import os
import random
from logging import Logger

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn
from models.common.loss import EmbLoss as EmbLossToo
from models.everything_parts import Tower
from sparsesvd import sparsesvd
from torch_scatter import scatter, scatter_add
from utils.their_helper import halve

from common.abstract_recommender import GeneralRecommender
from common.encoders import LightGCN_Encoder
from common.init import xavier_normal_initialization, xavier_uniform_initialization
from common.loss import BPRLoss, EmbLoss, L2Loss
from utils.utils import build_knn_normalized_graph, build_sim

SEEN = []


class Everything(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.config = config
        self._check_config(config)
        self._check_dataset(dataset)
        self._check_files(config, dataset)
        self._check_removed_names(dataset)

        size = config["embedding_size"]
        self.v_feat = self.v_feat / self.v_feat.norm()
        self.image = nn.Embedding.from_pretrained(self.v_feat, freeze=False)
        self.t_feat = nn.Parameter(self.t_feat)
        self.tower = Tower(self.v_feat.shape[1] + self.t_feat.shape[1], size).cuda()
        self.users = nn.Embedding(self.n_users, size)
        self.items = nn.Embedding(self.n_items, size)
        self.apply(xavier_normal_initialization)
        self.apply(xavier_uniform_initialization)
        self.encoder = LightGCN_Encoder(config, dataset)
        self.graph = build_knn_normalized_graph(build_sim(self.v_feat.detach()), 5, True, "sym").cuda()
        # on a GPU .to makes a plain tensor of it, which forward may replace
        self.result = nn.Parameter(torch.randn(self.n_users + self.n_items, size)).to(self.device)
        assert "result" not in dict(self.named_parameters())
        self.bpr, self.emb, self.l2 = BPRLoss(), EmbLoss(), L2Loss()
        assert EmbLossToo is EmbLoss
        self.epochs_begun = 0

    def _check_config(self, config):
        assert config["model"] == "Everything" and "model" in config
        assert config["nothing"] is None and "nothing" not in config
        assert config["sizes"] == [8, 8] and config["weight_size"] == [4]
        assert isinstance(config["reg"], float) and config["word"] == "add"
        assert config.final_config_dict["embedding_size"] == config["embedding_size"]
        config["made_up"] = 3
        assert config["made_up"] == 3 and "made_up=3" in str(config)
        assert self.USER_ID == "userID" and self.NEG_ITEM_ID == "neg__itemID"

    def _check_dataset(self, loader):
        dataset = loader.dataset
        assert isinstance(loader.logger, Logger) and loader.additional_dataset is None
        assert (dataset.user_num, dataset.item_num) == (self.n_users, self.n_items)
        assert len(dataset) == len(dataset.df) == dataset.inter_num == loader.pr_end
        assert list(dataset.df.columns) == [dataset.uid_field, dataset.iid_field] == ["userID", "itemID"]
        assert len(dataset[2:5]) == 3 and len(dataset.copy(dataset.df[:4])) == 4
        assert str(dataset).startswith(dataset.dataset_name)
        loader.pretrain_setup()
        coo = loader.inter_matrix(form="coo")
        assert coo.data.dtype == np.float64 and coo.row.dtype == np.int32
        assert loader.inter_matrix(form="csr").nnz <= coo.nnz == len(dataset)
        assert (loader.inter_matrix(value_field="itemID").data == coo.col).all()
        assert loader.batch_size == loader.step == self.batch_size and len(loader) == -(
            -coo.nnz // loader.step
        )
        assert loader.all_items != sorted(loader.all_items) and loader.all_items_set == set(coo.col)
        assert set(loader.all_uids) == loader.all_users_set and loader.all_item_len == len(loader.all_items)
        assert loader.history_items_per_u[coo.row[0]] >= {coo.col[0]}
        assert loader.history_users_per_i[coo.col[0]] >= {coo.row[0]}
        assert coo.row[0] not in loader.user_user_dict[coo.row[0]] and loader.item_item_dict
        assert 0 < loader.sparsity < 1 and not loader.use_full_sampling and loader.shuffle

    def _check_files(self, config, loader):
        folder = os.path.abspath(config["data_path"] + config["dataset"])
        SEEN.append(folder)
        users = np.load(os.path.join(folder, config["user_graph_dict_file"]), allow_pickle=True).item()
        items = np.load(os.path.join(folder, config["item_graph_dict_file"]), allow_pickle=True).item()
        assert list(users) == list(range(self.n_users)) and list(items) == list(range(self.n_items))
        neighbours, weights = users[0]
        assert len(neighbours) == len(weights) and set(neighbours) == loader.user_user_dict[0]
        raw = np.load(os.path.join(folder, config["vision_feature_file"]))
        assert np.allclose(raw, self.v_feat.numpy())
        with open(os.path.join(folder, config["inter_file_name"])) as file:
            assert file.readline().split() == ["userID", "itemID", "x_label"]
            assert {line.split()[2] for line in file} == {"0"}, "other splits are not here to be seen"
        cache = os.path.join(folder, "adj_10.pt")
        assert not os.path.exists(cache)
        torch.save(self.v_feat, cache)
        assert torch.equal(torch.load(cache), self.v_feat)

    def _check_removed_names(self, loader):
        assert np.float(1) == 1.0 and np.zeros(2, dtype=np.int).dtype == int and np.product([2, 3]) == 6
        matrix = sp.dok_matrix((2, 2), dtype=np.float32)
        matrix._update({(0, 1): 1.0})
        assert matrix[0, 1] == 1
        assert len(random.sample({3, 1, 2}, 2)) == 2 and len(random.sample(range(5), 3)) == 3
        assert torch.zeros(1).cuda().device == self.device
        sums = scatter_add(torch.ones(3), torch.tensor([0, 2, 2]), dim=0, dim_size=4)
        assert (
            sums.tolist()
            == [1, 0, 2, 0]
            == scatter(torch.ones(3), torch.tensor([0, 2, 2]), 0, None, 4).tolist()
        )
        _, values, _ = sparsesvd(loader.inter_matrix("csr").tocsc(), 2)
        assert values[0] > values[1] > 0 and halve(8) == 4

    def pre_epoch_processing(self):
        self.epochs_begun += 1
        self.kept_edges = torch.rand(3)

    def post_epoch_processing(self):
        return f"epoch {self.epochs_begun} of theirs"

    def forward(self):
        content = self.tower(torch.cat([self.image.weight, self.t_feat], dim=1))
        users, items = self.encoder.get_embedding()
        items = items + torch.sparse.mm(self.graph, content)
        self.result = torch.cat([self.users.weight + users, self.items.weight + items])
        return self.result

    def calculate_loss(self, interaction):
        import models.everything_parts as parts  # as it runs, too

        interaction[1:] += self.n_users
        result = self.forward()
        u, p, n = (result[ids] for ids in interaction)
        encoded, _ = self.encoder([interaction[0], interaction[1] - self.n_users])
        loss = self.bpr((u * p).sum(1), (u * n).sum(1)) + parts.TINY * encoded.sum()
        return loss, self.config["reg"] * self.emb(u, p, n), 1e-6 * self.l2(u)

    def full_sort_predict(self, interaction):
        users, items = torch.split(self.result, [self.n_users, self.n_items])
        assert interaction[1].shape[0] == 2
        return torch.matmul(users[interaction[0]], items.t())
