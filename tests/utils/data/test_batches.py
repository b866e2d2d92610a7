"""Training batches: what an epoch holds, the law of the negatives, seeds, and what a model may do to them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from toys import BASE, ToyConfig, ToyDataset

from utils.data.batches import NegativeSampler, NeighbourSampler, TrainDataLoader

N_USERS, N_ITEMS = 20, 30  # of which items 25 and up are never in training
PAIRS = [
    (user, int(item))
    for user in range(N_USERS)
    for item in np.random.default_rng(user).permutation(25)[: 1 + user % 9]
]


def loader(pairs=PAIRS, n_users=N_USERS, n_items=N_ITEMS, **settings) -> TrainDataLoader:
    return TrainDataLoader(ToyConfig(BASE | settings), ToyDataset(n_users, n_items, pairs))


def pairs_of(epoch: torch.Tensor) -> list[tuple[int, ...]]:
    return list(map(tuple, epoch[:2].T.tolist()))


# ---------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("negatives", [True, False])
@pytest.mark.parametrize("size", [1, 7, len(PAIRS) - 1, len(PAIRS), len(PAIRS) + 1, 2048])
def test_every_training_pair_is_in_an_epoch_once(size, negatives):
    data = loader(train_batch_size=size, use_neg_sampling=negatives)
    for _ in range(3):
        assert sorted(pairs_of(torch.cat(list(data), dim=1))) == sorted(PAIRS)


def test_every_epoch_has_another_order_and_other_negatives():
    data = loader()
    epochs = [torch.cat(list(data), dim=1) for _ in range(5)]
    assert len({tuple(pairs_of(epoch)) for epoch in epochs} | {tuple(PAIRS)}) == 6
    negatives = [dict(zip(pairs_of(epoch), epoch[2].tolist(), strict=True)) for epoch in epochs]
    assert all(one != other for one, other in zip(negatives, negatives[1:], strict=False))


@pytest.mark.parametrize(("negatives", "rows"), [(True, 3), (False, 2)])
@pytest.mark.parametrize(
    ("size", "expected"), [(1, [1] * 7), (3, [3, 3, 1]), (4, [4, 3]), (7, [7]), (8, [7]), (2048, [7])]
)
def test_batches_are_int64_and_the_last_may_be_short(size, expected, negatives, rows):
    data = loader(PAIRS[:7], train_batch_size=size, use_neg_sampling=negatives)
    batches = list(data)
    assert [batch.shape for batch in batches] == [(rows, n) for n in expected]
    assert {batch.dtype for batch in batches} == {torch.int64}
    assert all(batch.is_contiguous() and batch.device == BASE["device"] for batch in batches)
    assert len(data) == len(batches)


def test_a_data_set_in_files_gives_batches_too(folder):
    data = TrainDataLoader(ToyConfig(BASE), folder.load())
    (batch,) = data
    assert sorted(pairs_of(batch)) == [(0, 0), (0, 1), (1, 1), (2, 2)]
    assert set(batch[2].tolist()) <= {0, 1, 2}  # item 3 is never in training
    assert data.inter_matrix().shape == (3, 4)


# -------------------------------------------------------------------------------------------------- negatives


def test_a_negative_is_an_item_of_training_that_the_user_does_not_have_there():
    data, trained = loader(), {item for _, item in PAIRS}
    for _ in range(30):
        for user, _, negative in torch.cat(list(data), dim=1).T.tolist():
            assert negative in trained and (user, negative) not in PAIRS


@pytest.mark.parametrize(("pool", "size"), [("train", 12), ("all", 14)])
def test_negatives_are_uniform_over_what_is_allowed_however_popular(pool, size):
    """Chi-square of each user's negatives within 5 standard deviations; of `train`, user 3 has one item to get."""
    owned = [[0], [0, 1, 2], [0, 5, 9, 11], list(range(11)), *[[1]] * 20]
    users, items = np.array([(user, item) for user, mine in enumerate(owned) for item in mine]).T
    n = 6_000
    asked = np.random.default_rng(0).permutation(np.repeat(np.arange(5), n))
    drawn = NegativeSampler(users, items, 14, pool).draw(asked, np.random.default_rng(1))
    for user in range(5):
        found, counts = np.unique(drawn[asked == user], return_counts=True)
        assert found.tolist() == sorted(set(range(size)) - set(owned[user]))
        expected, freedom = n / len(found), len(found) - 1
        assert ((counts - expected) ** 2 / expected).sum() <= freedom + 5 * (2 * freedom) ** 0.5


def test_negatives_do_not_depend_on_the_order_of_the_training_pairs():
    users, items = np.array(PAIRS).T
    asked = np.repeat(np.arange(N_USERS), 50)
    one = NegativeSampler(users, items, N_ITEMS).draw(asked, np.random.default_rng(0))
    other = NegativeSampler(users[::-1], items[::-1], N_ITEMS).draw(asked, np.random.default_rng(0))
    np.testing.assert_array_equal(one, other)


def test_ids_whose_product_exceeds_32_bits():
    users, items = np.array([70_000, 70_000, 3]), np.array([0, 69_999, 35_000])
    sampler = NegativeSampler(users, items, 70_000)
    drawn = sampler.draw(np.repeat(users[1:], 100), np.random.default_rng(0))
    assert set(drawn[:100].tolist()) == {35_000} and set(drawn[100:].tolist()) == {0, 69_999}


def test_a_user_who_has_all_items_of_training_is_an_error_that_names_it(fails):
    pairs = [(0, 0), (4, 2), (4, 0), (4, 7), (1, 7), (6, 7), (6, 0), (6, 2)]
    message = (
        "user 4 has all 3 items that negatives are drawn from, so it can get none (2 such users); drop them from "
        "the .inter file, or set negative_items=all"
    )
    fails(loader, message, pairs)
    for user, _, negative in torch.cat(list(loader(pairs, negative_items="all")), dim=1).T.tolist():
        assert (user, negative) not in pairs
    data = loader(pairs, use_neg_sampling=False)
    assert sorted(pairs_of(torch.cat(list(data), dim=1))) == sorted(pairs)


# ------------------------------------------------------------------------------------------------------ seeds


def epochs_of(data: TrainDataLoader) -> list[torch.Tensor]:
    return [torch.cat(list(data), dim=1) for _ in range(3)]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("negatives", [True, False])
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(negatives):
    first = epochs_of(loader(seed=5, use_neg_sampling=negatives))
    assert all(equal(first, epochs_of(loader(seed=5, use_neg_sampling=negatives))))
    assert not any(equal(first, epochs_of(loader(seed=6, use_neg_sampling=negatives))))


def test_the_batch_size_changes_neither_order_nor_negatives():
    assert all(equal(epochs_of(loader(train_batch_size=3)), epochs_of(loader(train_batch_size=2048))))


def test_an_epoch_that_a_model_leaves_early_does_not_change_the_next():
    data, other = loader(), loader()
    next(iter(data))
    list(other)
    assert all(equal(epochs_of(data), epochs_of(other)))


def test_batches_and_the_generators_of_others_leave_each_other_alone():
    def draws():
        return torch.rand(1).item(), np.random.rand(), random.random()

    results = []
    for seed in (0, 1):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        expected = draws()
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        results.append(epochs_of(loader()))
        assert draws() == expected
    assert all(equal(*results))


# ------------------------------------------------------------------------------------ the model's own to change


@pytest.mark.parametrize("negatives", [True, False])
@pytest.mark.parametrize("size", [1, 7, len(PAIRS), 2048])
def test_batches_may_be_written_into(size, negatives):
    settings = {"train_batch_size": size, "use_neg_sampling": negatives}
    expected, data = epochs_of(loader(**settings)), loader(**settings)
    for epoch in expected:
        for batch, whole in zip(data, epoch.split(size, dim=1), strict=True):
            assert torch.equal(batch, whole)
            batch.fill_(-1)
    assert sorted(zip(data.users.tolist(), data.items.tolist(), strict=True)) == sorted(PAIRS)


def test_batches_that_are_kept_stay_as_they_were():
    data = loader()
    kept = list(data)
    copies = [batch.clone() for batch in kept]
    list(data)
    assert all(equal(kept, copies))


# ----------------------------------------------------------------------------------------------- inter_matrix


@pytest.mark.parametrize("form", ["coo", "csr"])
def test_inter_matrix_has_a_one_for_each_training_pair(form):
    matrix = loader().inter_matrix(form)
    assert (matrix.format, matrix.shape, matrix.dtype) == (form, (N_USERS, N_ITEMS), np.float64)
    expected = np.zeros((N_USERS, N_ITEMS))
    expected[tuple(zip(*PAIRS, strict=True))] = 1
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert matrix.nnz == len(PAIRS)


def test_inter_matrix_is_coo_in_file_order_where_no_form_is_asked():
    matrix = loader().inter_matrix()
    assert (matrix.format, list(zip(matrix.row, matrix.col, strict=True))) == ("coo", PAIRS)


@pytest.mark.parametrize("form", ["coo", "csr"])
def test_inter_matrix_is_the_callers_own(form):
    data = loader()
    matrix = data.inter_matrix(form)
    for part in ("row", "col", "data") if form == "coo" else ("indices", "data"):
        getattr(matrix, part)[:] = 0
    assert data.inter_matrix(form).sum() == len(PAIRS)
    assert sorted(pairs_of(torch.cat(list(data), dim=1))) == sorted(PAIRS)


@pytest.mark.parametrize("form", ["csc", "COO", "", None])
def test_other_forms_are_an_error(form):
    with pytest.raises(ValueError, match=f"inter_matrix gives the forms 'coo' and 'csr', not '{form}'"):
        loader().inter_matrix(form)


# ---------------------------------------------------------------------------------------------------- MMRec's flags


def neighbours(pairs=PAIRS) -> dict[int, set[int]]:
    """Of every item those that share a user with it."""
    of_user = {u: {i for v, i in pairs if v == u} for u, _ in pairs}
    items = {i for _, i in pairs}
    return {i: set().union(*(own for own in of_user.values() if i in own)) - {i} for i in items}


def test_full_sampling_gives_every_user_of_training_once():
    data = loader([(0, 1), (0, 2), (3, 1), (5, 0), (7, 1)], train_batch_size=3, use_full_sampling=True)
    for _ in range(3):
        batches = list(data)
        assert [batch.shape for batch in batches] == [(3,), (1,)] and len(data) == 2
        assert sorted(torch.cat(batches).tolist()) == [0, 3, 5, 7]
    assert len({tuple(torch.cat(list(data)).tolist()) for _ in range(20)}) > 1


def test_neighbourhood_batches_add_an_item_near_the_positive_and_one_that_is_not():
    data, near = loader(use_neighborhood_loss=True), neighbours()
    items = set(near)
    drawn: dict[int, set[int]] = {}
    for _ in range(30):
        epoch = torch.cat(list(data), dim=1)
        assert epoch.shape[0] == 5
        for _, positive, _, neighbour, other in epoch.T.tolist():
            if neighbour == other == 0:
                assert not near[positive] or len(near[positive]) > 0.8 * len(items)
                continue
            assert neighbour in near[positive] and other in items - near[positive]
            drawn.setdefault(positive, set()).add(neighbour)
    assert all(drawn[item] == near[item] for item in drawn if len(near[item]) < 4)


def test_neighbours_do_not_change_the_other_rows_of_the_first_epoch():
    plain, more = (torch.cat(list(loader(use_neighborhood_loss=flag)), dim=1) for flag in (False, True))
    assert torch.equal(plain, more[:3])


def test_an_item_without_neighbours_or_with_too_many_gets_zeros():
    alone = NeighbourSampler(loader([(0, 0), (1, 1), (1, 2), (1, 3)]).inter_matrix())
    assert alone.draw(np.array([0]), np.random.default_rng(0)).tolist() == [[0], [0]]
    everything = loader([(0, item) for item in range(10)], use_neg_sampling=False)
    crowd = NeighbourSampler(everything.inter_matrix())  # 9 of 10 are near
    assert crowd.draw(np.arange(10), np.random.default_rng(0)).sum() == 0


@pytest.mark.parametrize("flag", ["use_full_sampling", "use_neighborhood_loss"])
def test_these_epochs_go_on_from_a_state_too(flag):
    data, again = loader(**{flag: True}), loader(**{flag: True})
    list(data)
    again.load_state_dict(data.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(data, again, strict=True))
