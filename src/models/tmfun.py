"""TMFUN: attention-guided multi-step fusion (Zhou et al., SIGIR 2023), a reconstruction.

"Attention-guided Multi-step Fusion: A Hierarchical Fusion Network for Multimodal Recommendation", DOI
10.1145/3539618.3591950. Its full text and code were not at hand: every component that the abstract names is
here, and what the abstract leaves open is fixed by a named setting. No figure of the paper is claimed;
docs/tmfun.md tells, component by component, what is known and what is chosen, and why the middle step and the
contrast are off in the YAML.

With P, Q the ID embeddings, m the modalities and A_m their normalised kNN graphs of items:

    interaction  g = LGC(A_hat, n_ui_layers) over the user-item graph, with edge dropout in training
    modality     h_m = A_m^n Z_m, Z_m = Q or W_m x_m + b_m            (modality feature graphs)
    early step   alpha = softmax_m(<W_q g, W_k h_m> / (sqrt(d) t) + log a_m) over the modalities that
                 the item has,  f = sum_m alpha_m h_m; the prior shares a_m by how often what A_m joins is
                 taken together
    middle step  h = A^n Q with A = sum_m a_m A_m (item feature graph),  c = (f + h) / 2; without it c = f
    late step    item = g + c,  user = g + w c_u, with c_u the same two steps over the means of h_m and of h
                 over the user's items; in training without the positive item, which would only find itself
    score        x_u . x_i + v r sum_{j of u} B_ji, B the cosines of items that share users, the nearest alone
                 (interaction item graph), r the ratio of the spread of the two; in ranking, not in training
    loss         BPR(x_u . x_i, x_u . x_j) + cl_weight * InfoNCE + reg_weight * squared norms / B

The file runs in an MMRec checkout as it is, beside `common/graph.py`.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.graph import (
    EdgeDropout,
    Mixture,
    SparseMatrix,
    agreement,
    co_occurrence_knn,
    hops,
    info_nce,
    knn_graph,
    modality_knn,
    propagate,
)
from common.loss import BPRLoss, L2Loss


class Sources(NamedTuple):
    """What n users or items are fused from."""

    interaction: Tensor  # (n, d) g
    modal: list[Tensor]  # M of (n, d), h_m
    similar: Tensor | None  # (n, d) h
    present: Tensor | None = None  # (M, n, 1) bool, which modalities each has; None: all

    def at(self, rows: Tensor) -> Sources:
        """Those of some rows (k,) alone: a step fuses what its batch contains, not the whole catalogue."""
        similar = None if self.similar is None else F.embedding(rows, self.similar)
        present = None if self.present is None else self.present[:, rows]
        return Sources(
            F.embedding(rows, self.interaction), [F.embedding(rows, h) for h in self.modal], similar, present
        )


class Fused(NamedTuple):
    """Their representations."""

    final: Tensor  # (n, d)
    content: Tensor  # (n, d) c
    attention: Tensor  # (M, n, heads) alpha_m, or (M, 1, 1) where it is fixed


class TMFUN(GeneralRecommender):
    settings = {
        "attention": ("dot", "prior", "equal"),
        "attention_temperature": (float, "positive"),
        "cl_pairs": list,
        "cl_symmetric": bool,
        "cl_temperature": (float, "positive"),
        "cl_weight": (float, "not negative"),
        "edge_dropout": (float, "in [0, 1)"),
        "fusion": ("mean", "norm", "concat"),
        "item_graph_weight": dict,
        "knn_k": (int, "positive"),
        "knn_weight": ("binary", "cosine"),
        "learn_item_graph": bool,
        "modality_input": ("id", "features"),
        "multi_step": bool,
        "n_heads": (int, "positive"),
        "n_item_layers": (int, "not negative"),
        "n_ui_layers": (int, "not negative"),
        "neighbour_k": (int, "positive"),
        "neighbour_weight": (float, "not negative"),
        "reg_weight": (float, "not negative"),
        "use_item_graph": bool,
        "use_modality_graphs": bool,
        "user_modality": bool,
        "user_modality_weight": float,
    }

    content_is_optional = True  # without any: item = g, user = g, no contrast

    @classmethod
    def needs_raw_features(cls, config) -> bool:
        return config["modality_input"] == "features"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.config = config
        d = config["embedding_size"]
        check(config)
        interactions = dataset.inter_matrix(form="coo").astype(np.float32)
        self.edges = EdgeDropout(interactions, config["edge_dropout"], getattr(self, "generator", None))
        self.full_graph = self.train_graph = self.edges.full.to(self.device)
        self.own_items = SparseMatrix.from_scipy(interactions).to(self.device)  # (U, I)
        self.means = self.own_items.with_values(row_shares(self.own_items))

        if config["neighbour_weight"] > 0:
            self.neighbours = Neighbours(interactions, self.own_items, config["neighbour_k"])

        nearest = modality_knn(self, config["knn_k"])
        self.modality_names = list(nearest)
        present = presence(self)
        self.present = None if present is None else present.to(self.device)
        self.modality_graphs = [
            knn_graph(knn, config["knn_weight"]).to(self.device) for knn in nearest.values()
        ]

        self.user_embedding = nn.Embedding(self.n_users, d)
        self.item_embedding = nn.Embedding(self.n_items, d)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)
        self.bpr, self.l2 = BPRLoss(), L2Loss()
        if nearest:
            agreements = [agreement(knn, interactions) for knn in nearest.values()]
            self._make_fusion(config, d, shares(self.modality_names, config["item_graph_weight"], agreements))

    def _make_fusion(self, config, d: int, modality_shares: list[float]) -> None:
        """The item feature graph, and the weights of attention and fusion."""
        learned = config["learn_item_graph"]
        prior = torch.tensor(modality_shares)
        self.prior_logits = nn.Parameter(prior.log()) if learned else prior.log().to(self.device)
        if config["use_item_graph"]:
            self.mixture = Mixture(self.modality_graphs)
            self.fixed_item_graph = None if learned else self.mixture(prior.to(self.device))
        if config["attention"] == "dot":
            self.query, self.key = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        if config["fusion"] == "concat" and config["use_item_graph"] and config["multi_step"]:
            self.merge = nn.Linear(2 * d, d)
        if config["modality_input"] == "features":
            raw = modality_features(self)
            self.raw = [raw[name].to(self.device) for name in self.modality_names]
            self.projections = nn.ModuleList(nn.Linear(x.shape[1], d) for x in self.raw)

    def pre_epoch_processing(self) -> None:
        self.train_graph = self.edges.sample().to(self.device)

    def forward(self) -> tuple[Tensor, Tensor]:
        users, items = self.sources()
        return self._users(users, items, self.means), self.fuse(items).final

    def sources(self) -> tuple[Tensor, Sources]:
        """g (U, d) of all users, and what all items are fused from: the propagation over every graph."""
        graph = self.train_graph if self.training else self.full_graph
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        user, item = propagate(graph, ego, self.config["n_ui_layers"]).split([self.n_users, self.n_items])
        modal = self._modal()
        return user, Sources(item, modal, self._similar(modal), self.present)

    def _users(self, g: Tensor, items: Sources, means: SparseMatrix) -> Tensor:
        """Representations (n, d) of users from their g (n, d) and `means` (n, I) over all items."""
        if not self.config["user_modality"] or not items.modal:
            return g
        return (
            g + self.config["user_modality_weight"] * self.fuse(self._user_sources(g, items, means)).content
        )

    def _user_sources(self, g: Tensor, items: Sources, means: SparseMatrix) -> Sources:
        """What those users' content is fused from: of each modality the mean over the items that have it."""
        modal = (
            items.modal if items.present is None else [h * has for h, has in zip(items.modal, items.present)]
        )
        modal = list((means @ torch.cat(modal, 1)).chunk(len(modal), 1))
        similar = items.similar
        if similar is not None:
            similar = self._mix(modal) if self._similar_is_a_mix() else means @ similar
        if items.present is None:
            return Sources(g, modal, similar)
        shares = (means @ items.present.squeeze(2).T.to(g.dtype)).T.unsqueeze(2)  # (M, n, 1) of their items
        modal = [h / share.clamp(min=torch.finfo(g.dtype).tiny) for h, share in zip(modal, shares)]
        return Sources(g, modal, similar, shares > 0)

    def means_without(self, users: Tensor, items: Tensor) -> SparseMatrix:
        """Means (B, I) over the items of users (B,) other than one of `items` (B,) each; empty where that is all."""
        own = self.own_items.take(users)
        others = (own.indices != items[own.rows]).to(torch.float32)
        own = own.with_values(others)
        return own.with_values(row_shares(own))

    def _modal(self) -> list[Tensor]:
        """h_m (I, d) of every modality."""
        n = self.config["n_item_layers"] if self.config["use_modality_graphs"] else 0
        if self.config["modality_input"] == "features":
            inputs = [project(x) for project, x in zip(self.projections, self.raw)]
        else:
            inputs = [self.item_embedding.weight] * len(self.modality_graphs)
        return [hops(graph, z, n) for graph, z in zip(self.modality_graphs, inputs)]

    def _similar(self, modal: list[Tensor]) -> Tensor | None:
        """h (I, d), the output of the item feature graph."""
        if not self.config["use_item_graph"] or not modal:
            return None
        if self._similar_is_a_mix():
            return self._mix(modal)
        return hops(self.item_graph(), self.item_embedding.weight, self.config["n_item_layers"])

    def _similar_is_a_mix(self) -> bool:
        """Whether A Q = sum_m a_m A_m Q = sum_m a_m h_m."""
        one_hop_of_ids = self.config["n_item_layers"] == 1 and self.config["modality_input"] == "id"
        return one_hop_of_ids and self.config["use_modality_graphs"]

    def _mix(self, modal: list[Tensor]) -> Tensor:
        """sum_m a_m h_m."""
        return sum(a * h for a, h in zip(self.prior_logits.softmax(0), modal))

    def item_graph(self) -> SparseMatrix:
        """The item feature graph A (I, I)."""
        if self.fixed_item_graph is None:
            return self.mixture(self.prior_logits.softmax(0))
        return self.fixed_item_graph

    def fuse(self, sources: Sources) -> Fused:
        """Early, middle and late step; without any modality the late one alone, of no content."""
        if not sources.modal:
            nothing = torch.zeros_like(sources.interaction)
            return Fused(sources.interaction, nothing, sources.interaction.new_zeros(0, 1, 1))
        modal = torch.stack(sources.modal)  # (M, n, d)
        attention = self._attend(sources.interaction, modal, sources.present)
        heads = modal.unflatten(2, (self.config["n_heads"], -1))  # (M, n, heads, d / heads)
        early = (attention.unsqueeze(-1) * heads).sum(0).flatten(1)  # (n, d)
        if not self.config["multi_step"]:
            return Fused(early, early, attention)
        content = early if sources.similar is None else self._merge(early, sources.similar)
        if self.config["fusion"] == "norm":
            content = F.normalize(content, dim=1)
        return Fused(sources.interaction + content, content, attention)

    def _merge(self, early: Tensor, similar: Tensor) -> Tensor:
        if self.config["fusion"] == "concat":
            return self.merge(torch.cat([early, similar], dim=1))
        return (early + similar) / 2

    def _attend(self, g: Tensor, modal: Tensor, present: Tensor | None) -> Tensor:
        """Weight of every modality (M, n, heads) for the rows g (n, d), or (M, 1, 1) where it is fixed.

        A modality that a row does not have, by `present` (M, n, 1), has no weight; rows without any have zeros.
        """
        scores = self._scores(g, modal)
        if present is None:
            return scores.softmax(0)
        scores = torch.where(present, scores, torch.full_like(scores, torch.finfo(scores.dtype).min))
        return scores.softmax(0) * present

    def _scores(self, g: Tensor, modal: Tensor) -> Tensor:
        """Of every modality (M, n, heads), or (M, 1, 1) where they are fixed."""
        if self.config["attention"] == "equal":
            return torch.zeros(len(modal), 1, 1, device=g.device)
        prior = self.prior_logits.log_softmax(0).view(-1, 1, 1)
        if self.config["attention"] == "prior":
            return prior
        n_heads = self.config["n_heads"]
        query = self.query(g).unflatten(1, (n_heads, -1))  # (n, heads, d / heads)
        key = self.key(modal).unflatten(2, (n_heads, -1))  # (M, n, heads, d / heads)
        scale = query.shape[-1] ** 0.5 * self.config["attention_temperature"]
        return (query * key).sum(-1) / scale + prior

    def modality_shares(self) -> dict[str, Tensor]:
        """alpha_m (I,) of every item by the name of the modality, its mean over the heads."""
        return self._shares(self.sources()[1])

    def user_modality_shares(self) -> dict[str, Tensor]:
        """alpha_m (U,) of every user, likewise."""
        g, items = self.sources()
        return self._shares(self._user_sources(g, items, self.means))

    def _shares(self, sources: Sources) -> dict[str, Tensor]:
        n = len(sources.interaction)
        return dict(zip(self.modality_names, self.fuse(sources).attention.mean(2).expand(-1, n)))

    def calculate_loss(self, interaction: Tensor) -> Tensor:
        users, items = self.sources()
        means = (
            self.means_without(interaction[0], interaction[1]) if self.config["user_modality"] else self.means
        )
        user = self._users(F.embedding(interaction[0], users), items, means)  # (B, d)
        present, place = torch.unique(interaction[1:3], return_inverse=True)  # distinct items (n,), (2, B)
        items = items.at(present)
        fused = self.fuse(items)
        positive, negative = F.embedding(place[0], fused.final), F.embedding(place[1], fused.final)
        loss = self.bpr((user * positive).sum(1), (user * negative).sum(1))
        if self.config["reg_weight"] > 0:
            penalty = self.l2(user, positive, negative).squeeze() / self.batch_size
            loss = loss + self.config["reg_weight"] * penalty
        if self.config["cl_weight"] > 0 and items.modal:
            loss = loss + self.config["cl_weight"] * self._contrast(items, fused, torch.unique(place[0]))
        return loss

    def _contrast(self, items: Sources, fused: Fused, rows: Tensor) -> Tensor:
        """InfoNCE between views of the batch's distinct positive items, its `rows` (n,), summed over `cl_pairs`."""
        views = []
        if "content-cf" in self.config["cl_pairs"]:
            views.append((fused.content, items.interaction, rows))
        if "modalities" in self.config["cl_pairs"]:
            for one, other in combinations(range(len(items.modal)), 2):
                views.append((items.modal[one], items.modal[other], having(rows, items.present, one, other)))
        total = torch.zeros((), device=rows.device)
        for one, other, at in views:
            if not len(at):
                continue
            one, other = F.embedding(at, one), F.embedding(at, other)
            loss = info_nce(one, other, self.config["cl_temperature"])
            if self.config["cl_symmetric"]:
                loss = (loss + info_nce(other, one, self.config["cl_temperature"])) / 2
            total = total + loss
        return total

    def full_sort_predict(self, interaction: list[Tensor]) -> Tensor:
        users, items = self.forward()  # written out because MMRec's base class does not bring it
        scores = users[interaction[0]] @ items.T
        weight = self.config["neighbour_weight"]
        if weight > 0:
            weight *= spread(users[self.neighbours.sample], items) / self.neighbours.spread
            self.neighbours.add_to(scores, interaction[0], weight)
        return scores


class Neighbours:
    """What every item has in common with those that a user took: sums of cosines of co-occurrence.

    interactions (U, I), once as own_items on the device of the scores.
    """

    SAMPLE = 2048
    """Users whose sums give the spread of all: each so-many-th."""

    def __init__(self, interactions: sp.spmatrix, own_items: SparseMatrix, k: int):
        device = own_items.values.device
        knn = co_occurrence_knn(interactions, k)
        self.own_items = own_items
        self.ids = torch.from_numpy(knn.neighbours.clip(min=0)).long().to(device)  # (I, k)
        self.cosine = torch.from_numpy(knn.cosine).to(device)  # (I, k), 0 where there is no neighbour
        n_users = own_items.shape[0]
        self.sample = torch.arange(0, n_users, -(-n_users // self.SAMPLE), device=device)
        squares = 0.0
        for users in self.sample.split(256):
            sums = torch.zeros(len(users), own_items.shape[1], device=device)
            self.add_to(sums, users, torch.ones((), device=device))
            squares += float(sums.square().sum())
        self.spread = max(squares / (len(self.sample) * own_items.shape[1]), 1e-12) ** 0.5

    def add_to(self, scores: Tensor, users: Tensor, weight: Tensor) -> None:
        """Add the weighted sums of the users (B,) to their scores (B, I) of all items."""
        own = self.own_items.take(users)
        places = own.rows.unsqueeze(1) * scores.shape[1] + F.embedding(own.indices, self.ids)  # (entries, k)
        values = weight * F.embedding(own.indices, self.cosine)
        scores.view(-1).index_add_(0, places.flatten(), values.flatten())


def spread(users: Tensor, items: Tensor) -> Tensor:
    """Root mean square of all products of users (n, d) and items (I, d), without making them."""
    return ((users.T @ users) * (items.T @ items)).sum().clamp(min=0).div(len(users) * len(items)).sqrt()


PAIRS = ("content-cf", "modalities")


def check(config) -> None:
    """Raises ValueError for settings that are right by themselves and cannot work."""
    unknown = [pair for pair in config["cl_pairs"] if pair not in PAIRS]
    if unknown:
        raise ValueError(f"cl_pairs names '{unknown[0]}'; expected some of {', '.join(PAIRS)}")
    if config["n_heads"] < 1 or config["embedding_size"] % config["n_heads"]:
        raise ValueError(
            f"n_heads {config['n_heads']} does not divide embedding_size {config['embedding_size']}"
        )
    if config["cl_weight"] > 0 and not config["cl_pairs"]:
        raise ValueError(f"cl_weight {config['cl_weight']} has no effect without cl_pairs; set it to 0")
    if config["use_item_graph"] and not config["multi_step"]:
        raise ValueError(
            "use_item_graph belongs to the middle step, which multi_step=False leaves out; turn one off"
        )
    if config["fusion"] == "concat" and not config["use_item_graph"]:
        raise ValueError("fusion=concat merges with the item graph; it needs use_item_graph=True")
    if config["fusion"] == "norm" and not config["multi_step"]:
        raise ValueError(
            "fusion=norm is of the steps that multi_step=False leaves out; use fusion=mean with it"
        )


def shares(names: list[str], weights: dict[str, float], agreements: list[float]) -> list[float]:
    """Shares a_m of the modalities, summing to 1: those of `weights`, which need not name all.

    The others split what it leaves of 1 by the squares of `agreements`, those of each modality's graph with the
    training interactions; none counts as less than a tenth of the best, and all alike where all are 0. `weights` may
    name what this data set does not have. Raises ValueError for what looks misspelt.
    """
    for name, value in weights.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"item_graph_weight {weights} gives {name} {value!r}; expected a number")
        meant = get_close_matches(str(name), [other for other in names if other not in weights], cutoff=0.75)
        if name not in names and meant:
            raise ValueError(
                f"item_graph_weight {weights} names '{name}', not here; did you mean '{meant[0]}'?"
            )
    named = {name: weights[name] for name in names if name in weights}
    best = max(agreements) or 1.0
    merits = {name: max(x / best, 0.1) ** 2 for name, x in zip(names, agreements) if name not in named}
    rest = 1 - sum(named.values())
    split = {name: rest * merit / sum(merits.values()) for name, merit in merits.items()}
    values = [{**named, **split}[name] for name in names]
    if min(values) <= 0:
        raise ValueError(
            f"item_graph_weight {weights} gives the modalities {names} the weights {values}, and each must be "
            f"positive; name every modality of the data set there, or leave a rest of 1 to those it does not name"
        )
    return [value / sum(values) for value in values]


def having(rows: Tensor, present: Tensor | None, one: int, other: int) -> Tensor:
    """Those of the rows (n,) that have both modalities, by `present` (M, N, 1)."""
    return rows if present is None else rows[(present[one] & present[other])[rows, 0]]


def presence(model: nn.Module) -> Tensor | None:
    """Which modalities each item has (M, I, 1) bool; None where each has all, as everywhere in MMRec."""
    masks = [getattr(m, "present", None) for m in (getattr(model, "modalities", None) or {}).values()]
    if all(mask is None for mask in masks):
        return None
    ones = torch.ones(model.n_items, dtype=torch.bool)
    return torch.stack([ones if mask is None else torch.from_numpy(mask) for mask in masks]).unsqueeze(2)


def row_shares(matrix: SparseMatrix) -> Tensor:
    """The values (E,) of a non-negative matrix by the sum of their row; of an empty row 0."""
    sums = torch.zeros(matrix.shape[0], device=matrix.values.device).index_add(0, matrix.rows, matrix.values)
    return matrix.values / sums.clamp(min=torch.finfo(sums.dtype).tiny)[matrix.rows]


def modality_features(model: nn.Module) -> dict[str, Tensor]:
    """Raw features by modality; MMRec's base class has v_feat and t_feat instead of modalities."""
    modalities = getattr(model, "modalities", None)
    if modalities is not None:
        return {name: modality.features() for name, modality in modalities.items()}
    return {name: x for name, x in (("image", model.v_feat), ("text", model.t_feat)) if x is not None}
