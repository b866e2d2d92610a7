"""Shapes: takes the batches of whatever flags are set, and a file of the name of a class of another case."""

import torch.nn as nn

from common.abstract_recommender import GeneralRecommender

SHAPES = []


class Shapes(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users = nn.Embedding(self.n_users, 4)
        self.items = nn.Embedding(self.n_items, 4)

    def calculate_loss(self, interaction):
        SHAPES.append(tuple(interaction.shape))
        users = interaction if interaction.dim() == 1 else interaction[0]
        return self.users(users).square().mean().reshape(1)

    def full_sort_predict(self, interaction):
        return self.users(interaction[0]) @ self.items.weight.T
