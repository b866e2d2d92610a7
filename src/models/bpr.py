"""BPR: matrix factorisation by Bayesian personalised ranking (Rendle et al., UAI 2009), as MMRec trains it.

Score p_u . q_i. Loss BPR + reg_weight * (|p| + |q+| + |q-|) / B with norms that are not squared.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.init import xavier_normal_initialization
from common.loss import BPRLoss, embedding_norm


class BPR(GeneralRecommender):
    settings = {"reg_weight": (float, "not negative")}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.reg_weight = config["reg_weight"]
        self.user_embedding = nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"])
        self.loss = BPRLoss()
        self.apply(xavier_normal_initialization)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.user_embedding.weight, self.item_embedding.weight

    def calculate_loss(self, interaction: Tensor) -> Tensor:
        users, items = self.forward()
        user = F.embedding(interaction[0], users)  # (B, d)
        positive, negative = F.embedding(interaction[1], items), F.embedding(interaction[2], items)
        ranking = self.loss((user * positive).sum(1), (user * negative).sum(1))
        return ranking + self.reg_weight * embedding_norm(user, positive, negative)
