"""FREEDOM: frozen item graph and denoised user-item graph (Zhou and Shen, MM 2023), as MMRec trains it.

h = S^n Q over the frozen graph S = w S_image + (1 - w) S_text of unweighted kNN graphs; [u; i] propagated over
a user-item graph that keeps int(E (1 - dropout)) edges, drawn anew each epoch with preference to low degrees;
item = i + h. Loss BPR(u . item) + reg_weight * sum_m BPR(u . (T_m x_m)) with trained raw features. Evaluation
uses all edges. With reg_weight 0 the features have no effect: they are not made, and the model runs from kNN
graphs alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.features import ProjectedFeatures, distinct
from common.graph import EdgeDropout, Mixture, hops, knn_graph, modality_knn, propagate
from common.loss import bpr


def modality_weights(names: list[str], image_weight: float) -> list[float]:
    """image_weight for the image modality (else the first but text), equal shares of the rest for the others."""
    if len(names) == 1:
        return [1.0]
    image = "image" if "image" in names else next(name for name in names if name != "text")
    return [image_weight if name == image else (1 - image_weight) / (len(names) - 1) for name in names]


class FREEDOM(GeneralRecommender):
    settings = {
        "dropout": (float, "in [0, 1)"),
        "knn_k": (int, "positive"),
        "mm_image_weight": (float, "in [0, 1]"),
        "n_mm_layers": (int, "not negative"),
        "n_ui_layers": (int, "not negative"),
        "reg_weight": (float, "not negative"),
    }

    @classmethod
    def needs_raw_features(cls, config) -> bool:
        return config["reg_weight"] > 0

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.n_mm_layers, self.n_ui_layers = config["n_mm_layers"], config["n_ui_layers"]
        self.reg_weight = config["reg_weight"]
        self.edges = EdgeDropout(dataset.inter_matrix(form="coo"), config["dropout"], self.generator)
        self.full_graph = self.train_graph = self.edges.full.to(self.device)
        graphs = {name: knn_graph(knn) for name, knn in modality_knn(self, config["knn_k"]).items()}
        weights = modality_weights(list(graphs), config["mm_image_weight"])
        self.item_graph = Mixture(list(graphs.values()))(weights).to(self.device)
        self.user_embedding = nn.Embedding(self.n_users, config["embedding_size"])
        self.item_embedding = nn.Embedding(self.n_items, config["embedding_size"])
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        sources = self.modalities.values() if self.reg_weight > 0 else ()
        self.contents = nn.ModuleList(
            ProjectedFeatures(m.features(), config["embedding_size"]) for m in sources
        )

    def pre_epoch_processing(self) -> None:
        self.train_graph = self.edges.sample().to(self.device)

    def forward(self) -> tuple[Tensor, Tensor]:
        similar = hops(self.item_graph, self.item_embedding.weight, self.n_mm_layers)
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        graph = self.train_graph if self.training else self.full_graph
        users, items = propagate(graph, ego, self.n_ui_layers).split([self.n_users, self.n_items])
        return users, items + similar

    def calculate_loss(self, interaction: Tensor) -> Tensor:
        users, items = self.forward()
        user = F.embedding(interaction[0], users)  # (B, d)
        positive, negative = F.embedding(interaction[1], items), F.embedding(interaction[2], items)
        loss = bpr((user * positive).sum(1), (user * negative).sum(1))
        if self.contents:
            present, (at_positive, at_negative) = distinct(interaction[1], interaction[2])
        for content in self.contents:
            latent = content(present)
            scores = ((user * F.embedding(at, latent)).sum(1) for at in (at_positive, at_negative))
            loss = loss + self.reg_weight * bpr(*scores)
        return loss
