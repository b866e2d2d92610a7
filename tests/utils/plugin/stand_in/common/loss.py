"""MMRec's losses, by its published contract: shapes [], [1] and [1]."""

import torch


class BPRLoss(torch.nn.Module):
    def forward(self, pos_score, neg_score):
        return (1e-10 + (pos_score - neg_score).sigmoid()).log().mean().neg()


class EmbLoss(torch.nn.Module):
    def forward(self, *embeddings):
        return torch.stack([e.norm() for e in embeddings]).sum().div(len(embeddings[-1])).view(1)


class L2Loss(torch.nn.Module):
    def forward(self, *embeddings):
        return torch.stack([e.pow(2).sum() * 0.5 for e in embeddings]).sum().view(1)
