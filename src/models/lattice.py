"""LATTICE: latent item graphs mined from modalities (Zhang et al., MM 2021), as MMRec trains it.

Item graph G = (1 - lambda) N(sum_m w_m K(T_m x_m)) + lambda sum_m w_m S_m, with S_m the normalised cosine kNN
graph of the raw features, K the un-normalised one of the projected features, N the same normalisation after
the mix and w = softmax(modal_weight). h = G^n Q; user = u, item = i + h / |h| where [u; i] are propagated over
D^-1 (A + I). Loss BPR + reg_weight * squared norms of the final embeddings.

G is built with gradient in the first batch of an epoch and stays fixed for the rest. MMRec's figures come from
a torch whose zero_grad() left zeros, so that Adam's momentum moved the graph's parameters in the other batches
too: `zero_grad: zeros` in the YAML keeps that. With lambda 1 the projections have no effect: they are not made,
and the model runs from kNN graphs alone.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.features import ProjectedFeatures
from common.graph import (
    Mixture,
    SparseMatrix,
    hops,
    item_knn,
    knn_graph,
    modality_knn,
    normalised_adjacency,
    propagate,
    symmetric_normalise,
)
from common.loss import bpr, squared_norm


class LATTICE(GeneralRecommender):
    settings = {
        "cf_model": ("lightgcn", "mf"),
        "feat_embed_dim": (int, "positive"),
        "knn_k": (int, "positive"),
        "lambda_coeff": (float, "in [0, 1]"),
        "n_layers": (int, "not negative"),
        "n_ui_layers": (int, "not negative"),
        "reg_weight": (float, "not negative"),
    }

    @classmethod
    def needs_raw_features(cls, config) -> bool:
        return config["lambda_coeff"] < 1

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.reg_weight, self.kept = config["reg_weight"], config["lambda_coeff"]
        self.knn_k, self.n_item_layers = config["knn_k"], config["n_layers"]
        self.n_ui_layers = config["n_ui_layers"] if config["cf_model"] == "lightgcn" else 0
        interactions = dataset.inter_matrix(form="coo")
        self.user_item = normalised_adjacency(interactions, self_loops=True).to(self.device)
        graphs = [knn_graph(knn, "cosine") for knn in modality_knn(self, self.knn_k).values()]
        self.original = Mixture([graph.to(self.device) for graph in graphs])
        self.user_embedding = nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"])
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        self.modal_weight = nn.Parameter(torch.full((len(graphs),), 1 / len(graphs)))
        sources = self.modalities.values() if self.kept < 1 else ()
        self.projections = nn.ModuleList(
            ProjectedFeatures(m.features(), config["feat_embed_dim"]) for m in sources
        )
        self.nearest = [
            NearestItems(p, self.knn_k, m.linked) for p, m in zip(self.projections, sources, strict=True)
        ]
        self._graph: SparseMatrix | None = None  # of the current epoch, without gradient

    def pre_epoch_processing(self) -> None:
        self._graph = None

    def item_graph(self) -> SparseMatrix:
        """G (I, I), differentiable in modal_weight, the projections and the raw features."""
        weight = self.modal_weight.softmax(0)
        original = self.original(weight)
        if self.kept >= 1:
            return original
        parts = [nearest() for nearest in self.nearest]
        rows, cols = (torch.cat([part[j] for part in parts]) for j in (0, 1))
        mixed = torch.cat([w * cosine for w, (_, _, cosine) in zip(weight, parts, strict=True)])
        learned = symmetric_normalise(rows, cols, mixed, self.n_items)
        rows, cols = torch.cat([rows, original.rows]), torch.cat([cols, original.indices])
        values = torch.cat([(1 - self.kept) * learned, self.kept * original.values])
        return SparseMatrix.from_coo(rows, cols, values, original.shape)

    def _epoch_graph(self) -> SparseMatrix:
        if self._graph is not None:
            return self._graph
        graph = self.item_graph()
        self._graph = graph.with_values(graph.values.detach())
        return graph

    def forward(self) -> tuple[Tensor, Tensor]:
        graph = self._epoch_graph() if self.training else self.item_graph()
        similar = hops(graph, self.item_embedding.weight, self.n_item_layers)
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        users, items = propagate(self.user_item, ego, self.n_ui_layers).split([self.n_users, self.n_items])
        return users, items + F.normalize(similar, dim=1)

    def calculate_loss(self, interaction: Tensor) -> Tensor:
        users, items = self.forward()
        user = F.embedding(interaction[0], users)  # (B, d)
        positive, negative = F.embedding(interaction[1], items), F.embedding(interaction[2], items)
        ranking = bpr((user * positive).sum(1), (user * negative).sum(1))
        return ranking + self.reg_weight * squared_norm(self.batch_size, user, positive, negative)


class NearestItems:
    """The kNN edges of projected features, which are searched for anew when the projections have changed.

    Validation at the end of an epoch and the first batch of the next see the same weights, and so the same edges.
    """

    def __init__(self, projection: ProjectedFeatures, k: int, linked: np.ndarray | None):
        """linked (I,) bool: the items that may have neighbours; None: all."""
        self.projection, self.k, self.linked = projection, k, linked
        self._seen: Tensor | None = None  # the projections that the edges are of
        self._edges: tuple[Tensor, Tensor] | None = None

    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, columns, and cosines with gradient, (E,) each."""
        x = self.projection()  # (I, f)
        if self._seen is None or not torch.equal(self._seen, x):
            rows, cols, _ = item_knn(x.detach().cpu(), self.k, among=self.linked).edges()
            self._seen, self._edges = x.detach(), (rows.to(x.device), cols.to(x.device))
        rows, cols = self._edges
        unit = F.normalize(x, dim=1)
        return rows, cols, (F.embedding(rows, unit) * F.embedding(cols, unit)).sum(1)
