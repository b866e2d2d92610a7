"""LightGCN: embeddings propagated over the user-item graph (He et al., SIGIR 2020), as MMRec trains it.

[u; i] = mean of A_hat^l [P; Q] over l = 0..n_layers (eqs. 7, 8). Loss BPR + reg_weight * embedding norms of
layer 0, not squared.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.graph import normalised_adjacency, propagate
from common.init import xavier_uniform_initialization
from common.loss import BPRLoss, embedding_norm


class LightGCN(GeneralRecommender):
    settings = {"n_layers": (int, "not negative"), "reg_weight": (float, "not negative")}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.n_layers, self.reg_weight = config["n_layers"], config["reg_weight"]
        self.graph = normalised_adjacency(dataset.inter_matrix(form="coo")).to(self.device)
        self.user_embedding = nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"])
        self.loss = BPRLoss()
        self.apply(xavier_uniform_initialization)

    def forward(self) -> tuple[Tensor, Tensor]:
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight])  # (U + I, d)
        return propagate(self.graph, ego, self.n_layers).split([self.n_users, self.n_items])

    def calculate_loss(self, interaction: Tensor) -> Tensor:
        users, items = self.forward()
        user = F.embedding(interaction[0], users)  # (B, d)
        positive, negative = F.embedding(interaction[1], items), F.embedding(interaction[2], items)
        ranking = self.loss((user * positive).sum(1), (user * negative).sum(1))
        ego = self.user_embedding(interaction[0]), *map(self.item_embedding, interaction[1:3])
        return ranking + self.reg_weight * embedding_norm(*ego)
