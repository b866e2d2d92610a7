"""ContentBPR: matrix factorisation in which an item is its ID embedding plus its projected content."""

import torch
from torch import nn

from common.abstract_recommender import GeneralRecommender
from common.init import xavier_normal_initialization
from common.loss import BPRLoss, EmbLoss


class ContentBPR(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.reg_weight = config["reg_weight"]
        self.user_embedding = nn.Embedding(self.n_users, d)
        self.item_embedding = nn.Embedding(self.n_items, d)
        self.content = torch.cat([x for x in (self.v_feat, self.t_feat) if x is not None], dim=1)
        self.project = nn.Linear(self.content.shape[1], d)
        self.bpr, self.norms = BPRLoss(), EmbLoss()
        self.apply(xavier_normal_initialization)

    def forward(self):
        items = self.item_embedding.weight + self.project(self.content)
        return self.user_embedding.weight, items  # (U, d), (I, d)

    def calculate_loss(self, interaction):
        users, items = self.forward()
        user, positive, negative = users[interaction[0]], items[interaction[1]], items[interaction[2]]
        ranking = self.bpr((user * positive).sum(1), (user * negative).sum(1))
        return ranking + self.reg_weight * self.norms(user, positive, negative)

    def full_sort_predict(self, interaction):
        users, items = self.forward()
        return users[interaction[0]] @ items.T
