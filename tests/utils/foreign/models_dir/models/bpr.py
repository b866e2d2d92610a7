"""
####
# BPR: a model of a name that this project has too.
####
"""

import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class BPR(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users, self.items = nn.Embedding(self.n_users, 4), nn.Embedding(self.n_items, 4)

    def calculate_loss(self, interaction):
        return self.users(interaction[0]).square().mean() + self.items(interaction[1]).square().mean()

    def full_sort_predict(self, interaction):
        return self.users(interaction[0]) @ self.items.weight.T
