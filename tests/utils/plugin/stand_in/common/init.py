"""MMRec's initialisation for `model.apply`, by its published contract."""

from torch import nn


def xavier_normal_initialization(module):
    if isinstance(module, nn.Embedding | nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
