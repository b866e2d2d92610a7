"""BM3: bootstrapped multimodal model, without negatives (Zhou et al., WWW 2023), as MMRec trains it.

[u; i] propagated as LightGCN; item = i + Q; t_m = T_m x_m with trained raw features. A target is a
representation after dropout, without gradient. With C(a, b) = 1 - mean cos(a, b) and g a linear predictor:
loss = C(g u, i') + C(g i, u') + cl_weight * sum_m [C(g t_m, i') + C(g t_m, t_m')]
       + reg_weight * (|U| + |I|) / n_items, norms of the full matrices.
Score g(u) . g(i).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.features import ProjectedFeatures, distinct
from common.graph import normalised_adjacency, propagate
from common.loss import embedding_norm


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(a, b, dim=1).mean()


class BM3(GeneralRecommender):
    needs_negatives = False
    settings = {
        "n_layers": (int, "not negative"),
        "dropout": (float, "in [0, 1)"),
        "reg_weight": (float, "not negative"),
        "cl_weight": (float, "not negative"),
    }

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.n_layers, self.dropout = config["n_layers"], config["dropout"]
        self.reg_weight, self.cl_weight = config["reg_weight"], config["cl_weight"]
        self.graph = normalised_adjacency(dataset.inter_matrix(form="coo")).to(self.device)
        self.user_embedding = nn.Embedding(self.n_users, d)
        self.item_embedding = nn.Embedding(self.n_items, d)
        self.predictor = nn.Linear(d, d)
        self.contents = nn.ModuleList(ProjectedFeatures(m.features(), d) for m in self.modalities.values())
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        for linear in (self.predictor, *(content.linear for content in self.contents)):
            nn.init.xavier_normal_(linear.weight)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Users and items (U, d), (I, d) before the predictor."""
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        users, items = propagate(self.graph, ego, self.n_layers).split([self.n_users, self.n_items])
        return users, items + self.item_embedding.weight

    def forward(self) -> tuple[Tensor, Tensor]:
        users, items = self.embeddings()
        return self.predictor(users), self.predictor(items)

    def _target(self, x: Tensor) -> Tensor:
        """x after dropout, without gradient; also in evaluation mode, where only a loss could ask for it."""
        if self.dropout == 0:
            return x.detach()
        kept = torch.empty_like(x).bernoulli_(1 - self.dropout, generator=self.generator)
        return x.detach() * kept / (1 - self.dropout)

    def calculate_loss(self, interaction: Tensor) -> Tensor:
        all_users, all_items = self.embeddings()
        # One dropout mask per user or item of the batch, however often it occurs there.
        users, (at_user,) = distinct(interaction[0])
        items, (at_item,) = distinct(interaction[1])
        user, item = F.embedding(users, all_users), F.embedding(items, all_items)
        user_target, item_target = self._target(user)[at_user], self._target(item)[at_item]  # (B, d)
        loss = _distance(self.predictor(user)[at_user], item_target)
        loss = loss + _distance(self.predictor(item)[at_item], user_target)
        for content in self.contents:
            latent = content(items)
            online = self.predictor(latent)[at_item]
            pull = _distance(online, item_target) + _distance(online, self._target(latent)[at_item])
            loss = loss + self.cl_weight * pull
        return loss + self.reg_weight * embedding_norm(all_users, all_items)
