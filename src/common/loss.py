"""Losses under the field's names: functions first, and MMRec's classes of the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BPRLoss", "EmbLoss", "L2Loss", "bpr", "embedding_norm", "squared_norm"]


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking (Rendle et al. 2009): mean of -log sigmoid(positive - negative); scores (B,)."""
    return -F.logsigmoid(positive - negative).mean()


def embedding_norm(*embeddings: Tensor) -> Tensor:
    """MMRec's embedding regularisation: sum of the Frobenius norms, NOT squared, over the rows of the last."""
    return sum(torch.linalg.vector_norm(e) for e in embeddings) / embeddings[-1].shape[0]


def squared_norm(batch_size: int, *embeddings: Tensor) -> Tensor:
    """Half the squared Frobenius norms over the configured batch size (also for the shorter last batch)."""
    return sum(e.square().sum() for e in embeddings) / (2 * batch_size)


class BPRLoss(nn.Module):
    """-log(gamma + sigmoid(positive - negative)), as MMRec trains: differs from `bpr` below -20 only."""

    def __init__(self, gamma: float = 1e-10):
        super().__init__()
        self.gamma = gamma

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        return -torch.log(self.gamma + torch.sigmoid(positive - negative)).mean()


class EmbLoss(nn.Module):
    """`embedding_norm` as a module; shape [1], as MMRec's model files expect. Other norms by `norm`."""

    def __init__(self, norm: float = 2):
        super().__init__()
        self.norm = norm

    def forward(self, *embeddings: Tensor) -> Tensor:
        total = sum(torch.linalg.vector_norm(e, ord=self.norm) for e in embeddings)
        return (total / embeddings[-1].shape[0]).reshape(1)


class L2Loss(nn.Module):
    """Half the squared norms, not divided by anything; shape [1], as MMRec's model files expect."""

    def forward(self, *embeddings: Tensor) -> Tensor:
        return (sum(e.square().sum() for e in embeddings) / 2).reshape(1)
