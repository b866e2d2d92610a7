"""Raw features of a modality and their linear map into the embedding space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from utils.data.modalities import Modality


class ProjectedFeatures(nn.Module):
    """W x_i + b for the raw features x (I, F) of a modality, trained with the model or frozen.

    MMRec trains the raw features of most models, which makes up most of their weights.
    """

    row_gradients = False
    """Whether the gradient of the raw features is a list of rows, for `common.adam`; the trainer says so."""

    before_reading: Callable[[Tensor], None] | None = None
    """What brings the raw features up to date, where an optimiser may be behind with them."""

    def __init__(self, features: Tensor, size: int, trainable: bool = True):
        super().__init__()
        if trainable:
            self.raw = nn.Parameter(features)
        else:
            self.register_buffer("raw", features, persistent=False)  # data and not learned: never saved
        self.linear = nn.Linear(features.shape[1], size)

    def forward(self, items: Tensor | None = None) -> Tensor:
        """Projections (n, size) of the items (n,), best given once each; of all items without."""
        if self.before_reading is not None:
            self.before_reading(self.raw)
        if items is None:
            return self.linear(self.raw)
        return self.linear(F.embedding(items, self.raw, sparse=self.row_gradients and self.raw.requires_grad))


def side_by_side(modalities: Sequence[Modality]) -> Tensor:
    """Raw features (I, F) of several modalities in one matrix, read into their places without a second copy."""
    widths = [modality.shape[1] for modality in modalities]
    raw = torch.empty(modalities[0].shape[0], sum(widths))
    for modality, columns in zip(modalities, raw.split(widths, dim=1), strict=True):
        modality.features(out=columns)
    return raw


def distinct(*ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The distinct ids of a batch, rising, and for each of the given (B,) its places among them."""
    unique, places = torch.unique(torch.cat(ids), return_inverse=True)
    return unique, places.split([len(i) for i in ids])
