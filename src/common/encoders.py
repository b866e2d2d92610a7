"""Encoders that model files build on, under MMRec's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.batches import TrainDataLoader


class LightGCN_Encoder(GeneralRecommender):
    """LightGCN (He et al., SIGIR 2020) as a part of other models: ids in, embeddings out.

    `embedding_dict` has the weights user_emb (U, d) and item_emb (I, d). Layers: `n_layers`, 3 where that is None.
    While `drop_flag` is set every `forward` drops a random share of the graph's entries, between none and
    `drop_ratio` of them, and scales the others up.
    """

    settings: ClassVar[dict[str, Any]] = {}  # it needs no features, which are then not read

    def __init__(self, config: Config, dataset: TrainDataLoader):
        super().__init__(config, dataset)
        self.latent_size = config["embedding_size"]
        self.n_layers = 3 if config["n_layers"] is None else config["n_layers"]
        self.drop_flag, self.drop_ratio = True, 1.0
        sizes = {"user_emb": self.n_users, "item_emb": self.n_items}
        self.embedding_dict = nn.ParameterDict(
            {name: nn.init.xavier_uniform_(torch.empty(n, self.latent_size)) for name, n in sizes.items()}
        )
        self.sparse_norm_adj = adjacency(dataset.inter_matrix("coo")).to(self.device)

    def forward(self, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d) of the users inputs[0] and the items inputs[1], each (B,)."""
        users, items = self._propagate(self._dropped() if self.drop_flag else self.sparse_norm_adj)
        return users[inputs[0]], items[inputs[1]]

    @torch.no_grad()
    def get_embedding(self) -> tuple[Tensor, Tensor]:
        """All users (U, d) and items (I, d) on the whole graph, without gradients."""
        return self._propagate(self.sparse_norm_adj)

    def _propagate(self, graph: Tensor) -> tuple[Tensor, Tensor]:
        layers = [torch.cat([self.embedding_dict["user_emb"], self.embedding_dict["item_emb"]])]
        for _ in range(self.n_layers):
            layers.append(torch.sparse.mm(graph, layers[-1]))
        return torch.stack(layers).mean(0).split([self.n_users, self.n_items])

    def _dropped(self) -> Tensor:
        graph = self.sparse_norm_adj.coalesce()
        rate = np.random.random() * self.drop_ratio
        kept = torch.rand(graph.values().shape[0]).to(self.device) >= rate
        values = graph.values()[kept] / (1 - rate)
        return torch.sparse_coo_tensor(
            graph.indices()[:, kept], values, graph.shape, is_coalesced=True, check_invariants=False
        )


def adjacency(interactions: sp.spmatrix) -> Tensor:
    """D^-1/2 A D^-1/2 of the user-item graph of `interactions` (U, I), users first, as MMRec's models have it.

    A is binary, D counts neighbours and adds 1e-7; a sparse COO tensor (U+I, U+I) in float32.
    """
    ones = sp.csr_matrix(interactions, dtype=np.float64, copy=True)
    ones.data[:] = 1  # a repeated interaction is one edge
    graph = sp.bmat([[None, ones], [ones.T, None]], format="csr")
    scale = sp.diags(1 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel() + 1e-7))
    graph = sp.coo_matrix(scale @ graph @ scale)
    places = torch.from_numpy(np.stack([graph.row, graph.col]).astype(np.int64))
    values = torch.from_numpy(graph.data.astype(np.float32))
    return torch.sparse_coo_tensor(places, values, graph.shape, check_invariants=False).coalesce()
