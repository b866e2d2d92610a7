"""Every model's training loss once more, from its formulas, with dense matrices and plain loops.

`REFERENCES[name](weights, batch, world)` takes the model's weights by their names in its state, a batch (3, B)
or (2, B), and the world around: train matrix R (U, I), features by modality, settings, the edges kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass
class World:
    """What a loss depends on beside weights and batch."""

    r: Tensor  # (U, I) of all training interactions
    kept: Tensor  # (U, I) of those that edge dropout kept
    features: dict[str, Tensor]
    config: Any
    drop: Callable[[Tensor], Tensor] = lambda x: x


def bipartite(r: Tensor) -> Tensor:
    n_users, n_items = r.shape
    return torch.cat(
        [torch.cat([torch.zeros(n_users, n_users), r], 1), torch.cat([r.T, torch.zeros(n_items, n_items)], 1)]
    )


def a_hat(r: Tensor) -> Tensor:
    a = bipartite(r)
    scale = a.sum(1).clamp_min(1e-12).rsqrt() * (a.sum(1) > 0)
    return scale[:, None] * a * scale


def layer_mean(matrix: Tensor, x: Tensor, n_layers: int) -> Tensor:
    return sum(torch.linalg.matrix_power(matrix, layer) @ x for layer in range(n_layers + 1)) / (n_layers + 1)


def top_cosines(x: Tensor, k: int) -> Tensor:
    """Dense (I, I): the k largest cosines of every row, the others 0."""
    unit = F.normalize(x, dim=1)
    cosine = unit @ unit.T
    keep = torch.zeros_like(cosine).scatter(1, cosine.topk(k, dim=1).indices, 1.0)
    return cosine * keep


def by_row_sums(s: Tensor) -> Tensor:
    scale = s.sum(1).rsqrt()
    return scale[:, None] * s * scale


def binary_graph(x: Tensor, k: int) -> Tensor:
    return by_row_sums((top_cosines(x, k) != 0).float())


def split(world: World, x: Tensor) -> tuple[Tensor, Tensor]:
    return x[: len(world.r)], x[len(world.r) :]


def ego(w: Weights) -> Tensor:
    return torch.cat([w["user_embedding.weight"], w["item_embedding.weight"]])


def rank(users: Tensor, items: Tensor, batch: Tensor) -> Tensor:
    u, p, n = users[batch[0]], items[batch[1]], items[batch[2]]
    return -F.logsigmoid((u * p).sum(1) - (u * n).sum(1)).mean()


def norms(*xs: Tensor) -> Tensor:
    return sum(x.square().sum().sqrt() for x in xs) / len(xs[-1])


def squares(batch_size: int, *xs: Tensor) -> Tensor:
    return sum(x.square().sum() for x in xs) / 2 / batch_size


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def bpr(w: Weights, batch: Tensor, world: World) -> Tensor:
    p, q = w["user_embedding.weight"], w["item_embedding.weight"]
    return rank(p, q, batch) + world.config["reg_weight"] * norms(p[batch[0]], q[batch[1]], q[batch[2]])


def lightgcn(w: Weights, batch: Tensor, world: World) -> Tensor:
    users, items = split(world, layer_mean(a_hat(world.r), ego(w), world.config["n_layers"]))
    p, q = w["user_embedding.weight"], w["item_embedding.weight"]
    return rank(users, items, batch) + world.config["reg_weight"] * norms(
        p[batch[0]], q[batch[1]], q[batch[2]]
    )


def vbpr(w: Weights, batch: Tensor, world: World) -> Tensor:
    raw = torch.cat([world.features["text"], world.features["image"]], 1)
    users = w["user_embedding.weight"]
    items = torch.cat([w["item_embedding.weight"], linear(w, "content.linear", raw)], 1)
    reg = norms(users[batch[0]], items[batch[1]], items[batch[2]])
    return rank(users, items, batch) + world.config["reg_weight"] * reg


def lattice(w: Weights, batch: Tensor, world: World) -> Tensor:
    c = world.config
    a = bipartite(world.r) + torch.eye(sum(world.r.shape))
    users, items = split(world, layer_mean(a / a.sum(1, keepdim=True), ego(w), c["n_ui_layers"]))
    weight = torch.softmax(w["modal_weight"], 0)
    raw = list(world.features.values())
    original = sum(weight[m] * by_row_sums(top_cosines(x, c["knn_k"])) for m, x in enumerate(raw))
    projected = [linear(w, f"projections.{m}.linear", w[f"projections.{m}.raw"]) for m in range(len(raw))]
    learned = by_row_sums(sum(weight[m] * top_cosines(x, c["knn_k"]) for m, x in enumerate(projected)))
    graph = (1 - c["lambda_coeff"]) * learned + c["lambda_coeff"] * original
    similar = torch.linalg.matrix_power(graph, c["n_layers"]) @ w["item_embedding.weight"]
    items = items + F.normalize(similar, dim=1)
    reg = squares(c["train_batch_size"], users[batch[0]], items[batch[1]], items[batch[2]])
    return rank(users, items, batch) + c["reg_weight"] * reg


def bm3(w: Weights, batch: Tensor, world: World) -> Tensor:
    c = world.config
    users, items = split(world, layer_mean(a_hat(world.r), ego(w), c["n_layers"]))
    items = items + w["item_embedding.weight"]

    def far(online: Tensor, target: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(linear(w, "predictor", online), target.detach(), dim=1).mean()

    u, i = users[batch[0]], items[batch[1]]
    loss = far(u, i) + far(i, u)
    for m in range(len(world.features)):
        latent = linear(w, f"contents.{m}.linear", w[f"contents.{m}.raw"])[batch[1]]
        loss = loss + c["cl_weight"] * (far(latent, i) + far(latent, latent))
    return loss + c["reg_weight"] * norms(users, items)


def freedom(w: Weights, batch: Tensor, world: World) -> Tensor:
    c = world.config
    weights = {"image": c["mm_image_weight"], "text": 1 - c["mm_image_weight"]}
    graph = sum(weights[m] * binary_graph(x, c["knn_k"]) for m, x in world.features.items())
    users, items = split(world, layer_mean(a_hat(world.kept), ego(w), c["n_ui_layers"]))
    items = items + torch.linalg.matrix_power(graph, c["n_mm_layers"]) @ w["item_embedding.weight"]
    loss = rank(users, items, batch)
    for m in range(len(world.features)):
        latent = linear(w, f"contents.{m}.linear", w[f"contents.{m}.raw"])
        loss = loss + c["reg_weight"] * rank(users, latent, batch)
    return loss


def tmfun(w: Weights, batch: Tensor, world: World) -> Tensor:
    c = world.config
    q, scale = w["item_embedding.weight"], c["embedding_size"] ** 0.5 * c["attention_temperature"]
    graphs = [binary_graph(x, c["knn_k"]) for x in world.features.values()]
    counts = world.r.sum(0)
    cosines = (world.r.T @ world.r) / (counts[:, None] * counts).clamp(min=1).sqrt()
    joined = [(graph > 0) & ~torch.eye(len(graph), dtype=torch.bool) for graph in graphs]
    merits = torch.stack([cosines[edges].mean() ** 2 for edges in joined])
    prior = merits / merits.sum()
    mixed = sum(p * graph for p, graph in zip(prior, graphs, strict=True))
    users, g = split(world, layer_mean(a_hat(world.kept), ego(w), c["n_ui_layers"]))

    def contents(interaction: Tensor, h: list[Tensor], similar: Tensor) -> Tensor:
        logits = [(linear(w, "query", interaction) * linear(w, "key", x)).sum(1) / scale for x in h]
        alpha = torch.softmax(torch.stack(logits) + prior.log()[:, None], 0)
        early = sum(a[:, None] * x for a, x in zip(alpha, h, strict=True))
        return (early + similar) / 2

    h, similar = [graph @ q for graph in graphs], mixed @ q
    content = contents(g, h, similar)
    others = world.r[batch[0]].clone()  # the items of each triple's user, but for the triple's own
    others[torch.arange(len(others)), batch[1]] = 0
    means = others / others.sum(1, keepdim=True).clamp(min=1)
    x = users[batch[0]]
    x = x + c["user_modality_weight"] * contents(x, [means @ part for part in h], means @ similar)
    items = g + content
    margin = (x * items[batch[1]]).sum(1) - (x * items[batch[2]]).sum(1)
    present = batch[1].unique()
    view, other = F.normalize(content[present], dim=1), F.normalize(g[present], dim=1)
    contrast = F.cross_entropy(view @ other.T / c["cl_temperature"], torch.arange(len(present)))
    return -F.logsigmoid(margin).mean() + c["cl_weight"] * contrast


REFERENCES = {
    "BPR": bpr, "LightGCN": lightgcn, "VBPR": vbpr, "LATTICE": lattice, "BM3": bm3, "FREEDOM": freedom, "TMFUN": tmfun,
}  # fmt: skip
