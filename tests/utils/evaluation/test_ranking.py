"""Ranking against plain Python: order, ties, masks, both roads to the hits, the cached forward, faults."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from utils.errors import Diverged, UserError
from utils.evaluation.ranking import (
    FEW,
    MASKED,
    Evaluator,
    ItemSets,
    Truth,
    check_cutoffs,
    forward_once,
    held_out_ranks,
    hit_matrix,
    hits_from_ranks,
    topk_lists,
)

N_USERS, N_ITEMS = 30, 12


def order(scores: list[float]) -> list[int]:
    """Items by descending score, then ascending id."""
    return sorted(range(len(scores)), key=lambda item: (-scores[item], item))


@st.composite
def score_matrices(draw):
    """Scores of few distinct values, so that most are tied."""
    shape = draw(st.integers(1, 8)), draw(st.integers(1, 15))
    extremes = [-math.inf, 0.5, math.inf, MASKED]
    values = draw(st.sampled_from([[0.0], [0.0, 1.0], [-1.0, -0.0, 0.0, 1.0, 2.0], extremes]))
    row = st.lists(st.sampled_from(values), min_size=shape[1], max_size=shape[1])
    return torch.tensor(draw(st.lists(row, min_size=shape[0], max_size=shape[0])))


@given(score_matrices(), st.data())
@settings(max_examples=100, deadline=None)
def test_lists_are_in_order(scores, data):
    k = data.draw(st.integers(1, scores.shape[1]))
    items, values = topk_lists(scores, k)
    assert items.tolist() == [order(row)[:k] for row in scores.tolist()]
    assert torch.equal(values, scores.gather(1, items))


@given(score_matrices(), st.data())
@settings(max_examples=100, deadline=None)
def test_both_roads_give_the_hits_of_plain_python(scores, data):
    n_users, n_items = scores.shape
    limit = data.draw(st.integers(1, n_items))
    some = st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)), min_size=1)
    rows, items = np.array(data.draw(some)).T
    truth = Truth.from_split(rows, items)
    held_out = truth.gather(np.arange(len(truth.users)))
    scores = scores[truth.users]

    ranks = held_out_ranks(scores, held_out, limit)
    expected = [order(scores[row].tolist()).index(item) for row, item in held_out.T]
    masked = scores[held_out[0], held_out[1]].numpy() <= MASKED
    np.testing.assert_array_equal(ranks, np.where(masked, limit, np.minimum(expected, limit)))

    best, values = topk_lists(scores, limit)
    by_search = hit_matrix(best.masked_fill(values <= MASKED, -1).numpy(), truth, n_items)
    np.testing.assert_array_equal(hits_from_ranks(held_out[0], ranks, len(scores), limit), by_search)


def test_many_distinct_scores():
    scores = torch.randn(50, 400, generator=torch.Generator().manual_seed(0))
    items, _ = topk_lists(scores, 20)
    assert items.tolist() == [order(row)[:20] for row in scores.tolist()]


def test_scores_that_differ_in_the_last_bit_are_not_tied():
    scores = torch.tensor([[1.0, 1.0 + 2**-23, 1.0]])
    assert topk_lists(scores, 3)[0].tolist() == [[1, 0, 2]]
    assert held_out_ranks(scores, np.array([[0, 0], [0, 2]]), 3).tolist() == [1, 2]


def test_users_with_many_held_out_items():
    scores = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    pairs = [(0, 7)] + [(1, item) for item in range(200)] + [(2, 0), (2, 199)]
    held_out = np.array(pairs).T
    expected = [order(scores[row].tolist()).index(item) for row, item in pairs]
    assert held_out_ranks(scores, held_out, 200).tolist() == expected


def test_memory_of_ranks_is_bounded_by_the_scores(monkeypatch):
    scores = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    held_out = np.array([(1, item) for item in range(50)] + [(3, item) for item in range(50)]).T
    largest, empty_like = [0], torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda x, **kw: largest.append(x.numel()) or empty_like(x, **kw))
    held_out_ranks(scores, held_out, 50)
    assert max(largest) == 2 * 50


def test_hits_do_not_leak_to_neighbouring_users():
    truth = Truth.from_split(np.array([0, 1, 2]), np.array([9, 0, 9]))
    lists = np.array([[-1, 8], [9, 1], [-1, -1]])  # with padding, whose key is the last item of the row above
    assert not hit_matrix(lists, truth, 10).any()
    assert hit_matrix(np.array([[8, 9], [0, -1], [-1, 9]]), truth, 10).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_truth_keeps_the_order_of_first_appearance():
    truth = Truth.from_split(np.array([7, 2, 7, 5, 2]), np.array([3, 9, 1, 0, 9]))
    assert truth.users.tolist() == [7, 2, 5]
    assert truth.n_relevant.tolist() == [2, 1, 1]  # a repeated pair counts once
    assert truth.gather(np.arange(3)).tolist() == [[0, 0, 1, 2], [1, 3, 9, 0]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9))), st.lists(st.integers(0, 6)))
@settings(deadline=None)
def test_gathered_sets(pairs, rows):
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    sets = ItemSets.from_pairs(users, items, 7)
    gathered = sets.gather(np.array(rows, dtype=np.int64))
    of_row = {row: sorted({item for user, item in pairs if user == row}) for row in rows}
    expected = [(position, item) for position, row in enumerate(rows) for item in of_row[row]]
    assert gathered.dtype == np.int64
    assert list(map(tuple, gathered.T.tolist())) == expected


def test_cutoff_beyond_the_items():
    check_cutoffs([5, 10], 10)
    with pytest.raises(UserError, match="topk asks for 20 items, but the data set has only 10; lower topk"):
        check_cutoffs([5, 20], 10)
    with pytest.raises(UserError, match="asks for 11 items, but .* only 10"):
        topk_lists(torch.zeros(1, 10), 11)


class Toy(nn.Module):
    """Embeddings with a score for everything, that counts its calls."""

    cache_forward = True

    def __init__(self, n_users: int = N_USERS, n_items: int = N_ITEMS):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.users = nn.Parameter(torch.randint(-2, 3, (n_users, 2), generator=generator).float())
        self.items = nn.Parameter(torch.randint(-2, 3, (n_items, 2), generator=generator).float())
        self.forwards, self.batches = 0, []

    def forward(self, scale: float | None = None, *, shift: float = 0.0):
        self.forwards += 1
        return self.users * (1.0 if scale is None else scale) + shift, self.items

    def full_sort_predict(self, interaction):
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append(interaction)
        users, items = self.forward()
        return users[interaction[0]] @ items.T


def dataset(per_user: int = 1, seed: int = 0) -> SimpleNamespace:
    """Random splits: everyone has some training items, most are in validation and test."""
    rng = np.random.default_rng(seed)
    splits = {}
    for name, n in (("train", 3 * N_USERS), ("valid", per_user * N_USERS), ("test", per_user * N_USERS)):
        splits[name] = SimpleNamespace(users=rng.integers(0, N_USERS, n), items=rng.integers(0, N_ITEMS, n))
    return SimpleNamespace(n_users=N_USERS, n_items=N_ITEMS, **splits)


def evaluator(data: SimpleNamespace, **settings) -> Evaluator:
    config = {
        "metrics": ["Recall", "NDCG"], "topk": [2, 5], "eval_batch_size": 7, "device": torch.device("cpu"),
        "mask_validation_at_test": False,
    }  # fmt: skip
    return Evaluator(config | settings, data)


def pairs(split: SimpleNamespace) -> set[tuple[int, int]]:
    return set(zip(split.users.tolist(), split.items.tolist(), strict=True))


def expected_lists(model: Toy, users: np.ndarray, masked: set[tuple[int, int]], k: int) -> list[list[int]]:
    """Plain Python: unseen items in order, then padding."""
    scores = (model.users @ model.items.T).tolist()
    lists = [[item for item in order(scores[user]) if (user, item) not in masked] for user in users]
    return [(items + [-1] * k)[:k] for items in lists]


def distinct(users: np.ndarray) -> list[int]:
    return list(dict.fromkeys(users.tolist()))


@pytest.mark.parametrize("mask_validation", [False, True])
def test_test_ranking(mask_validation):
    data, model = dataset(), Toy()
    values, lists = evaluator(data, mask_validation_at_test=mask_validation).test(model, N_ITEMS + 1)
    masked = pairs(data.train) | (pairs(data.valid) if mask_validation else set())
    assert lists.users.tolist() == distinct(data.test.users)
    assert lists.items.tolist() == expected_lists(model, lists.users, masked, N_ITEMS)
    for user, items, recall in zip(lists.users, lists.items, values["recall@5"], strict=True):
        relevant = {item for other, item in pairs(data.test) if other == user}
        assert recall == len(relevant & set(items[:5].tolist())) / len(relevant)


def test_masked_items_are_never_recommended():
    data, model = dataset(), Toy()
    users = np.append(data.train.users, np.zeros(N_ITEMS - 1, int))  # user 0 has seen all items but one
    data.train = SimpleNamespace(users=users, items=np.append(data.train.items, np.arange(1, N_ITEMS)))
    data.test = SimpleNamespace(users=np.array([0, 0, 3]), items=np.array([4, 5, 1]))
    _, lists = evaluator(data).test(model, N_ITEMS)
    for user, items in zip(lists.users, lists.items, strict=True):
        assert not {(user, item) for item in items.tolist()} & pairs(data.train)


def test_a_seen_relevant_item_is_no_hit_but_stays_relevant():
    data = dataset()
    data.train = SimpleNamespace(users=np.zeros(11, int), items=np.arange(11))
    data.test = data.valid = SimpleNamespace(users=np.array([0, 0]), items=np.array([3, 11]))
    judge = evaluator(data, metrics=["recall"], topk=[N_ITEMS])
    for values in judge.test(Toy(), 1)[0], judge.validate(Toy()):
        assert values["recall@12"].tolist() == [0.5]


@pytest.mark.parametrize("per_user", [1, 2 * FEW])
@pytest.mark.parametrize("seed", range(5))
def test_validation_and_test_measure_alike(seed, per_user):
    data, model = dataset(per_user, seed), Toy()
    data.test = data.valid
    judge = evaluator(data, metrics=["Recall", "NDCG", "MAP", "MRR"], topk=[1, 2, 5, 10])
    by_lists, _ = judge.test(model, 10)
    by_ranks = judge.validate(model)
    assert by_ranks.keys() == by_lists.keys()
    for name in by_ranks:
        np.testing.assert_array_equal(by_ranks[name], by_lists[name])


def test_validation_items_are_not_masked_in_validation():
    data, model = dataset(), Toy()
    unmasked, masked = (
        evaluator(data, mask_validation_at_test=flag).validate(model) for flag in (False, True)
    )
    np.testing.assert_array_equal(masked["recall@5"], unmasked["recall@5"])
    assert unmasked["recall@5"].any()


@pytest.mark.parametrize("block_size", [1, 4, N_USERS, 1000])
def test_block_size_changes_nothing(block_size):
    data = dataset()
    expected, lists = evaluator(data).test(Toy(), 6)
    actual, same_lists = evaluator(data, eval_batch_size=block_size).test(Toy(), 6)
    np.testing.assert_array_equal(actual["ndcg@5"], expected["ndcg@5"])
    np.testing.assert_array_equal(same_lists.items, lists.items)


def test_batches_are_those_of_the_contract():
    data, model = dataset(), Toy()
    evaluator(data).validate(model)
    users, rows, items = [], [], []
    for of_users, mask in model.batches:
        assert of_users.dtype == mask.dtype == torch.int64
        rows += (mask[0] + len(users)).tolist()
        items += mask[1].tolist()
        users += of_users.tolist()
    assert users == distinct(data.valid.users)
    assert {(users[row], item) for row, item in zip(rows, items, strict=True)} == {
        pair for pair in pairs(data.train) if pair[0] in users
    }
    assert [len(batch[0]) for batch in model.batches[:-1]] == [7] * (len(model.batches) - 1)


def test_forward_runs_once_per_evaluation_and_again_in_the_next():
    data, model = dataset(), Toy()
    judge = evaluator(data)
    before = judge.validate(model)["recall@5"]
    assert model.forwards == 1 < len(model.batches)
    with torch.no_grad():
        model.users.neg_()
    assert judge.validate(model)["recall@5"].tolist() != before.tolist()
    assert model.forwards == 2


def test_forward_runs_every_time_unless_a_model_allows_otherwise(monkeypatch):
    refusing, silent = Toy(), Toy()
    refusing.cache_forward = False
    evaluator(dataset()).validate(refusing)
    assert refusing.forwards == len(refusing.batches) > 1
    monkeypatch.delattr(Toy, "cache_forward")
    evaluator(dataset()).validate(silent)
    assert silent.forwards == refusing.forwards


def test_forward_once_tells_calls_apart():
    model = Toy()
    scale = torch.tensor(2.0)
    with forward_once(model):
        assert model.forward(scale)[0] is model.forward(scale)[0]
        assert torch.equal(model.forward(scale, shift=1.0)[0], model.users * 2 + 1)
        assert torch.equal(model.forward(torch.tensor(3.0))[0], model.users * 3)
        assert torch.equal(model()[0], model.users)  # through nn.Module.__call__ as well
    assert model.forwards == 4
    model.forward = forward = lambda *args, **kwargs: (args, kwargs)
    with forward_once(model):
        assert model.forward("shift", 1) == (("shift", 1), {})
        assert model.forward(shift=1) == ((), {"shift": 1})
    assert model.forward is forward


def test_forward_once_leaves_no_trace_even_after_an_error():
    model = Toy()
    with pytest.raises(KeyError), forward_once(model):
        model.forward()
        raise KeyError
    assert "forward" not in vars(model)
    model.full_sort_predict = lambda interaction: model.forward()[2]
    with pytest.raises(IndexError):
        evaluator(dataset()).validate(model)
    assert "forward" not in vars(model) and torch.is_grad_enabled()


def test_weights_are_untouched():
    model = Toy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluator(dataset()).test(model, 5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Given(nn.Module):
    """Scores (U, I) as they are given."""

    def __init__(self, scores: torch.Tensor):
        super().__init__()
        self.scores = scores

    def full_sort_predict(self, interaction):
        return self.scores[interaction[0]]


@pytest.mark.parametrize("measure", [lambda e, m: e.validate(m), lambda e, m: e.test(m, 5)])
def test_nan_scores(measure):
    data = dataset()
    data.test = data.valid
    scores = torch.zeros(N_USERS, N_ITEMS)
    user = distinct(data.valid.users)[8]
    scores[user, 3] = math.nan
    with pytest.raises(Diverged, match=f"Given gives user {user} and item 3 the score NaN; lower"):
        measure(evaluator(data), Given(scores))


def test_infinite_scores_are_ranked():
    data = dataset()
    scores = torch.zeros(N_USERS, N_ITEMS)
    scores[:, 2], scores[:, 3] = math.inf, -math.inf  # their sum is NaN, none of them is
    data.train = SimpleNamespace(users=np.array([0]), items=np.array([2]))
    _, lists = evaluator(data).test(Given(scores), N_ITEMS)
    expected = [2, *(item for item in range(N_ITEMS) if item not in (2, 3)), -1]
    for user, items in zip(lists.users, lists.items.tolist(), strict=True):
        assert user == 0 or items == expected


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.int32, torch.float64])
def test_other_types_of_scores(kind):
    model = Toy()
    scores = (model.users @ model.items.T).detach()
    expected, lists = evaluator(dataset()).test(model, 5)
    actual, same = evaluator(dataset()).test(Given(scores.to(kind)), 5)
    np.testing.assert_array_equal(same.items, lists.items)
    np.testing.assert_array_equal(actual["recall@5"], expected["recall@5"])


def test_one_row_for_all_users_is_masked_user_by_user():
    data, popularity = dataset(), torch.arange(N_ITEMS, dtype=torch.float32)
    model = Given(popularity)
    model.full_sort_predict = lambda interaction: popularity.expand(len(interaction[0]), -1)
    _, lists = evaluator(data).test(model, 5)
    scores = popularity.tolist()
    for user, items in zip(lists.users, lists.items.tolist(), strict=True):
        assert items == [item for item in order(scores) if (user, item) not in pairs(data.train)][:5]


def test_scores_of_a_wrong_shape():
    model = Given(torch.zeros(N_USERS, N_ITEMS + 1))
    with pytest.raises(UserError, match=r"Given.full_sort_predict must give .* \(7, 12\), .* got \(7, 13\)"):
        evaluator(dataset()).validate(model)


def test_cutoffs_are_checked_before_anything_is_ranked():
    with pytest.raises(UserError, match="topk asks for 20 items, but the data set has only 12"):
        evaluator(dataset(), topk=[5, 20])
