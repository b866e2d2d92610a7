"""VBPR: matrix factorisation with a content part (He and McAuley, AAAI 2016), as MMRec trains it.

s(u, i) = P_u[:d] . q_i + P_u[d:] . (W x_i + b), x_i the raw features of all modalities side by side, frozen.
Loss BPR + reg_weight * embedding norms, not squared, of P_u and of [q_i ; W x_i + b]. The paper's item, user
and visual biases and its squared penalties are left out, as in MMRec.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.features import ProjectedFeatures, distinct, side_by_side
from common.loss import BPRLoss, embedding_norm


class VBPR(GeneralRecommender):
    settings = {"reg_weight": (float, "not negative")}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.reg_weight = config["reg_weight"]
        self.user_embedding = nn.Embedding(self.n_users, 2 * d)
        self.item_embedding = nn.Embedding(self.n_items, d)
        # Text before image: the order of MMRec's rows of W.
        names = sorted(self.modalities, key=lambda name: name != "text")
        raw = side_by_side([self.modalities[name] for name in names])
        self.content = ProjectedFeatures(raw, d, trainable=False)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        nn.init.xavier_normal_(self.content.linear.weight)
        nn.init.zeros_(self.content.linear.bias)
        self.loss = BPRLoss()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users (U, 2d) and items (I, 2d)."""
        return self.user_embedding.weight, torch.cat([self.item_embedding.weight, self.content()], dim=1)

    def calculate_loss(self, interaction: Tensor) -> Tensor:
        user = self.user_embedding(interaction[0])  # (B, 2d)
        items, (at_positive, at_negative) = distinct(interaction[1], interaction[2])
        item = torch.cat([self.item_embedding(items), self.content(items)], dim=1)
        positive, negative = F.embedding(at_positive, item), F.embedding(at_negative, item)  # (B, 2d)
        ranking = self.loss((user * positive).sum(1), (user * negative).sum(1))
        return ranking + self.reg_weight * embedding_norm(user, positive, negative)
