"""Full ranking: every user's scores of all items, seen items masked, as ranks of held-out items or as lists.

Items are ordered by descending score, equal scores by ascending id. Two roads lead to the same hits:
`held_out_ranks` counts what ranks before each held-out item, cheap where users have few of them;
`topk_lists` and `hit_matrix` rank the items themselves, for the lists that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import is_not
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from common.graph import stable_topk
from common.products import numpy_products
from utils.errors import Diverged, UserError
from utils.evaluation.metrics import evaluate

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset

MASKED = -1e10
"""Score of a masked item, MMRec's; an item scored this low or lower is never recommended."""

BLOCK_SCORES = 2**26
"""Scores at a time at most, a quarter of a gigabyte, whatever eval_batch_size says: with a million items 67 users."""

FEW = 3
"""Up to this many relevant items per user, ranks take less time than lists (about 4 is even, on a CPU)."""


@dataclass(frozen=True)
class ItemSets:
    """Sets of items in CSR form: row r holds items[indptr[r]:indptr[r + 1]], ascending."""

    indptr: np.ndarray  # (R + 1,) int64
    items: np.ndarray  # (nnz,) int64

    @classmethod
    def from_pairs(cls, rows: np.ndarray, items: np.ndarray, n_rows: int) -> ItemSets:
        """From pairs (nnz,) in any order; a repeated pair counts once."""
        width = int(items.max(initial=0)) + 1
        rows, items = np.divmod(np.unique(rows.astype(np.int64) * width + items), width)
        return cls(np.append(0, np.bincount(rows, minlength=n_rows).cumsum()), items)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """(2, nnz) int64: position in `rows` (B,), ascending, and item, of every item of these rows."""
        starts, counts = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        ends = counts.cumsum()
        position = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(position)) - np.repeat(ends - counts, counts)
        return np.stack([position, self.items[np.repeat(starts, counts) + within]])


@dataclass(frozen=True)
class Truth(ItemSets):
    """What is relevant to the users of a split, a row for each, in order of first appearance."""

    users: np.ndarray  # (U,) int64, distinct

    @classmethod
    def from_split(cls, users: np.ndarray, items: np.ndarray) -> Truth:
        """From the interactions (n,) of a split."""
        distinct, first, inverse = np.unique(users, return_index=True, return_inverse=True)
        order = np.argsort(first)
        row = np.empty(len(order), dtype=np.int64)
        row[order] = np.arange(len(order))
        relevant = ItemSets.from_pairs(row[inverse], items, len(distinct))
        return cls(relevant.indptr, relevant.items, distinct[order])

    @property
    def n_relevant(self) -> np.ndarray:
        """Relevant items of each user (U,)."""
        return np.diff(self.indptr)


@dataclass(frozen=True)
class Lists:
    """Ranking lists: users (U,), items (U, K) int64 best first, scores (U, K) float32; item -1 where none is left."""

    users: np.ndarray
    items: np.ndarray
    scores: np.ndarray


def check_cutoffs(topk: Sequence[int], n_items: int) -> None:
    """Raises UserError for a cut-off that the number of items does not allow."""
    if max(topk) > n_items:
        raise UserError(f"topk asks for {max(topk)} items, but the data set has only {n_items}; lower topk")


def topk_lists(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Items (B, k) int64 and scores (B, k) of the first k of each row of scores (B, I). Raises UserError."""
    check_cutoffs([k], scores.shape[1])
    values, items = stable_topk(scores, k)
    return items, values


def held_out_ranks(scores: Tensor, held_out: np.ndarray, limit: int) -> np.ndarray:
    """0-based rank (n,) int64 of each held-out item (2, n), row ascending and item, in scores (B, I).

    Ranks below `limit` are exact; all others are known to be `limit` or more and come as `limit`.
    Memory stays within a copy of the scores, however many items a row holds out.
    """
    rows = held_out[0]
    turn = np.arange(len(rows)) - np.searchsorted(rows, rows)  # how many of its row came before
    ranks = np.empty(len(rows), dtype=np.int64)
    for chosen in np.split(np.argsort(turn, kind="stable"), np.bincount(turn).cumsum()[:-1]):
        row, item = torch.from_numpy(held_out[:, chosen]).to(scores.device)
        block = scores if len(row) == len(scores) else scores[row]  # the first turn is every row, as a rule
        ranks[chosen] = _ranks(block, item, limit).cpu().numpy()
    return ranks


def _ranks(scores: Tensor, items: Tensor, limit: int) -> Tensor:
    """Rank (B,) of one item per row of scores (B, I), at most `limit`."""
    score = scores.gather(1, items[:, None])
    higher = torch.empty_like(scores, dtype=torch.float32)  # 0 or 1: floats sum many times faster than bools
    ranks = torch.gt(scores, score, out=higher).sum(dim=1).long()
    ranks[score.squeeze(1) <= MASKED] = limit
    near = (ranks < limit).nonzero().squeeze(1)  # few, as a rule: only here do equal scores matter
    lower_id = torch.arange(scores.shape[1], device=scores.device) < items[near, None]
    ranks[near] += ((scores[near] == score[near]) & lower_id).sum(dim=1)
    return ranks.clamp_(max=limit)


def hits_from_ranks(rows: np.ndarray, ranks: np.ndarray, n_rows: int, k: int) -> np.ndarray:
    """Hit matrix (n_rows, k) from the row and 0-based rank of each held-out item."""
    hits = np.zeros((n_rows, k), dtype=bool)
    inside = ranks < k
    hits[rows[inside], ranks[inside]] = True
    return hits


def hit_matrix(topk_items: np.ndarray, truth: Truth, n_items: int) -> np.ndarray:
    """Hit matrix (U, K) of the lists (U, K) of truth.users, by a search in sorted keys of user and item."""
    rows = np.repeat(np.arange(len(truth.users)), truth.n_relevant)
    relevant = rows * n_items + truth.items
    keys = np.arange(len(truth.users))[:, None] * n_items + topk_items
    place = np.searchsorted(relevant, keys)
    return (relevant[np.minimum(place, len(relevant) - 1)] == keys) & (topk_items >= 0)


@contextmanager
def forward_once(model: nn.Module) -> Iterator[None]:
    """Inside, `model.forward` called again with the very same arguments gives its last result again.

    Only for models with `cache_forward`; such a model must not write to that result.
    """
    if not getattr(model, "cache_forward", False):
        yield
        return
    forward, own = model.forward, "forward" in vars(model)
    last_call = result = None

    def once(*args: object, **kwargs: object) -> object:
        nonlocal last_call, result
        call = [len(args), *args, *kwargs, *kwargs.values()]
        if last_call is None or len(call) != len(last_call) or any(map(is_not, call, last_call)):
            last_call, result = call, forward(*args, **kwargs)
        return result

    model.forward = once  # on the instance, in front of the method of the class
    try:
        yield
    finally:
        if own:
            model.forward = forward
        else:
            del model.forward


def checked(scores: Tensor, users: np.ndarray, n_items: int, model: str) -> Tensor:
    """The scores as a tensor that can be masked in place: contiguous, of a type that holds MASKED.

    Raises UserError for a wrong shape, Diverged for NaN.
    """
    if scores.shape != (len(users), n_items):
        raise UserError(
            f"{model}.full_sort_predict must give scores of shape {(len(users), n_items)}, users x items, "
            f"got {tuple(scores.shape)}"
        )
    suspects = scores.sum(dim=1).isnan().nonzero()  # one cheap pass; inf - inf is a suspect too
    for row in suspects.squeeze(1).tolist():
        if scores[row].isnan().any():
            item = int(scores[row].isnan().nonzero()[0])
            raise Diverged(
                f"{model} gives user {users[row]} and item {item} the score NaN; lower learning_rate or "
                f"check the features of the items"
            )
    return (scores if scores.dtype in (torch.float32, torch.float64) else scores.double()).contiguous()


class Evaluator:
    """Ranks the users of validation and test under one configuration, and measures the rankings.

    Training items are masked in both splits, validation items too in the test if `mask_validation_at_test`.
    """

    def __init__(self, config: Config, dataset: Dataset):
        check_cutoffs(config["topk"], dataset.n_items)
        self.metrics, self.topk = config["metrics"], config["topk"]
        self.n_items, self.device = dataset.n_items, config["device"]
        self.block_size = max(1, min(config["eval_batch_size"], BLOCK_SCORES // self.n_items))
        train, valid, test = dataset.train, dataset.valid, dataset.test
        self.valid_truth, self.test_truth = (Truth.from_split(s.users, s.items) for s in (valid, test))
        self.seen = self.seen_at_test = ItemSets.from_pairs(train.users, train.items, dataset.n_users)
        if config["mask_validation_at_test"]:
            users, items = np.append(train.users, valid.users), np.append(train.items, valid.items)
            self.seen_at_test = ItemSets.from_pairs(users, items, dataset.n_users)

    def validate(self, model: nn.Module) -> dict[str, np.ndarray]:
        """Metrics (U,) per validation user, by names such as 'recall@20'."""
        hits = self.hits(model, self.valid_truth, self.seen)
        return evaluate(hits, self.valid_truth.n_relevant, self.metrics, self.topk)

    def test(self, model: nn.Module, length: int) -> tuple[dict[str, np.ndarray], Lists]:
        """Metrics (U,) per test user, and lists of `length` items: more if topk wants more, at most all."""
        length = min(max(length, *self.topk), self.n_items)
        lists = self.recommend(model, self.test_truth.users, self.seen_at_test, length)
        hits = hit_matrix(lists.items, self.test_truth, self.n_items)
        return evaluate(hits, self.test_truth.n_relevant, self.metrics, self.topk), lists

    def hits(self, model: nn.Module, truth: Truth, seen: ItemSets) -> np.ndarray:
        """Hit matrix (U, max(topk)), without ranking all items where users have few relevant ones."""
        k = max(self.topk)
        if len(truth.items) > FEW * len(truth.users):
            return hit_matrix(self.recommend(model, truth.users, seen, k).items, truth, self.n_items)

        hits = np.zeros((len(truth.users), k), dtype=bool)

        def mark(rows: slice, scores: Tensor) -> None:
            relevant = truth.gather(np.arange(rows.start, rows.stop))
            hits[rows] = hits_from_ranks(relevant[0], held_out_ranks(scores, relevant, k), len(scores), k)

        self._for_each_block(mark, model, truth.users, seen)
        return hits

    def recommend(self, model: nn.Module, users: np.ndarray, seen: ItemSets, length: int) -> Lists:
        """The first `length` items of each of the users (U,) without those in `seen`."""
        shape = len(users), length
        lists = Lists(users, np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32))

        def keep(rows: slice, scores: Tensor) -> None:
            items, values = topk_lists(scores, length)
            lists.items[rows] = items.masked_fill(values <= MASKED, -1).cpu()
            lists.scores[rows] = values.cpu()

        self._for_each_block(keep, model, users, seen)
        return lists

    def _for_each_block(
        self, act: Callable[[slice, Tensor], None], model: nn.Module, users: np.ndarray, seen: ItemSets
    ) -> None:
        """act(rows, scores (B, I)) on block after block of users (U,).

        Not an iterator: its caller would run without autograd, and leave the model changed if it failed.
        Results belong into arrays made before the first block: small ones made between the blocks would keep
        the memory of one block's scores from serving the next.
        """
        model.eval()
        with numpy_products(), forward_once(model):
            for start in range(0, len(users), self.block_size):
                rows = slice(start, min(start + self.block_size, len(users)))
                act(rows, self._scores(model, users[rows], seen))

    def _scores(self, model: nn.Module, users: np.ndarray, seen: ItemSets) -> Tensor:
        """Scores (B, I) of all items for users (B,), MASKED where seen."""
        mask = torch.from_numpy(seen.gather(users)).to(self.device)
        scores = model.full_sort_predict([torch.from_numpy(users).to(self.device), mask])
        scores = checked(scores, users, self.n_items, type(model).__name__)
        scores[mask[0], mask[1]] = MASKED
        return scores
