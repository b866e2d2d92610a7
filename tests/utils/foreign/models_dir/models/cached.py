"""Cached: scores with what the last training batch left, as several of MMRec's models do."""

import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender
from common.loss import BPRLoss


class Cached(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users = nn.Embedding(self.n_users, config["embedding_size"])
        self.items = nn.Embedding(self.n_items, config["embedding_size"])
        self.noise = config["noise"]
        self.result, self.layers, self.view, self.alias = None, [], None, None

    def forward(self):
        noise = torch.nn.functional.dropout(self.items.weight, 0.5, self.training)
        self.alias = self.items.weight  # one more name of a parameter, from now on
        self.result = torch.cat([self.users.weight, noise])
        self.layers = [self.users.weight * 2, noise]
        self.view = self.users.weight.data[:3]
        return self.result

    def calculate_loss(self, interaction):
        x = self.forward()
        u, p, n = x[interaction[0]], x[interaction[1] + self.n_users], x[interaction[2] + self.n_users]
        return BPRLoss()((u * p).sum(1), (u * n).sum(1))

    def full_sort_predict(self, interaction):
        assert torch.equal(self.view, self.users.weight[:3])
        scores = self.layers[0][interaction[0]] @ self.result[self.n_users :].T
        return scores + self.noise * torch.rand_like(scores) if self.noise else scores
