"""Sparse products against scipy, kNN against plain Python, normalisations and edge dropout by their laws."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.testing import assert_close

from common import graph as g
from common.encoders import adjacency


def random_sparse(seed: int, shape: tuple[int, int], density: float = 0.2) -> sp.csr_matrix:
    return sp.random(
        *shape, density=density, random_state=np.random.default_rng(seed), dtype=np.float32, format="csr"
    )


def interactions(seed: int = 0, n_users: int = 30, n_items: int = 20) -> sp.coo_matrix:
    dense = np.random.default_rng(seed).random((n_users, n_items)) < 0.2
    return sp.coo_matrix(dense.astype(np.float32))


# ------------------------------------------------------------------------------------------ sparse products


@pytest.mark.parametrize("seed", range(5))
def test_product_and_gradients_equal_dense_ones(seed):
    matrix = random_sparse(seed, (17, 11))
    sparse = g.SparseMatrix.from_scipy(matrix)
    values = sparse.values.clone().requires_grad_()
    dense = torch.from_numpy(matrix.toarray()).requires_grad_()
    x = torch.randn(11, 3, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    upstream = torch.randn(17, 3)
    (sparse.with_values(values) @ x).backward(upstream)
    (dense @ y).backward(upstream)
    assert_close(sparse @ x, dense @ x)
    assert_close(x.grad, y.grad)
    coo = matrix.tocoo()
    assert_close(values.grad, dense.grad[torch.from_numpy(coo.row).long(), torch.from_numpy(coo.col).long()])


def test_product_gradcheck():
    matrix = g.SparseMatrix.from_scipy(random_sparse(1, (6, 5), 0.5))
    values = matrix.values.double().requires_grad_()
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda v, x: matrix.with_values(v) @ x, (values, x))


def test_torch_csr_path_of_cuda_gives_the_same(monkeypatch):
    """The product used on CUDA, run here on the CPU by a tensor that says it is there."""
    matrix = random_sparse(3, (9, 7))
    sparse = g.SparseMatrix.from_scipy(matrix)
    x = torch.randn(7, 4)
    expected = sparse.product(x)

    class OnCuda(torch.Tensor):
        is_cuda = True

    csr = g.csr_product(sparse.indptr, sparse.indices, sparse.values, x.as_subclass(OnCuda))
    assert_close(csr.as_subclass(torch.Tensor), expected)


def test_from_coo_sorts_rows_adds_repeats_and_is_differentiable():
    rows, cols = torch.tensor([2, 0, 2, 2]), torch.tensor([1, 0, 1, 0])
    values = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    matrix = g.SparseMatrix.from_coo(rows, cols, values, (4, 2))
    result = matrix @ torch.eye(2)
    assert_close(result, torch.tensor([[2.0, 0], [0, 0], [4, 4], [0, 0]]))
    result[2].sum().backward()
    assert values.grad.tolist() == [1, 0, 1, 1]


def test_empty_matrix_gives_zeros():
    empty = g.SparseMatrix.from_scipy(sp.csr_matrix((3, 2), dtype=np.float32))
    x = torch.ones(2, 5, requires_grad=True)
    result = empty @ x
    result.sum().backward()
    assert not result.any() and not x.grad.any()


def test_products_repeat_bit_for_bit():
    matrix = g.SparseMatrix.from_scipy(random_sparse(0, (300, 200)))
    x = torch.randn(200, 64)
    assert all(torch.equal(matrix @ x, matrix @ x) for _ in range(5))


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_propagation_equals_its_dense_form_and_gradient(n_layers):
    matrix = random_sparse(5, (12, 12))
    graph, dense = g.SparseMatrix.from_scipy(matrix), torch.from_numpy(matrix.toarray())
    x = torch.randn(12, 3, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    upstream = torch.randn(12, 3)
    result = g.propagate(graph, x, n_layers)
    expected = sum(torch.linalg.matrix_power(dense, layer) @ y for layer in range(n_layers + 1)) / (
        n_layers + 1
    )
    assert_close(result, expected)
    result.backward(upstream)
    expected.backward(upstream)
    assert_close(x.grad, y.grad)
    assert_close(g.hops(graph, x, n_layers), torch.linalg.matrix_power(dense, n_layers) @ y)


def test_propagation_refuses_a_learned_graph():
    graph = g.SparseMatrix.from_scipy(random_sparse(0, (3, 3)))
    learned = graph.with_values(graph.values.clone().requires_grad_())
    with pytest.raises(ValueError, match="constant graph"):
        g.propagate(learned, torch.randn(3, 1), 2)


@pytest.mark.parametrize("overlap", [0.1, 0.9])
def test_mixture_is_the_weighted_sum(overlap):
    one, two = random_sparse(1, (8, 8), overlap), random_sparse(2, (8, 8), overlap)
    weights = torch.tensor([0.3, 0.7], requires_grad=True)
    mixed = g.Mixture([g.SparseMatrix.from_scipy(one), g.SparseMatrix.from_scipy(two)])(weights)
    assert_close(mixed.to_scipy().toarray(), (0.3 * one + 0.7 * two).toarray())
    assert mixed.values.numel() == (one + two).nnz
    (mixed @ torch.eye(8)).sum().backward()
    assert_close(weights.grad, torch.tensor([one.sum(), two.sum()]))


# -------------------------------------------------------------------------------------------- user-item graph


def test_normalised_adjacency_by_its_laws():
    r = interactions()
    n_users, degree = r.shape[0], np.r_[np.asarray(r.sum(1)).ravel(), np.asarray(r.sum(0)).ravel()]
    a = g.normalised_adjacency(r).to_scipy().toarray()
    assert_close(a, a.T)
    assert not a.diagonal().any() and not a[:n_users, :n_users].any()
    expected = r.toarray() / np.sqrt(np.outer(degree[:n_users], degree[n_users:])).clip(1e-9)
    assert_close(a[:n_users, n_users:], expected.astype(np.float32))
    assert_close(a @ np.sqrt(degree).astype(np.float32), np.sqrt(degree).astype(np.float32))


def test_adjacency_with_self_loops_takes_row_means():
    r = interactions()
    a = g.normalised_adjacency(r, self_loops=True).to_scipy().toarray()
    degree = np.r_[np.asarray(r.sum(1)).ravel(), np.asarray(r.sum(0)).ravel()]
    assert_close(a.sum(1), np.ones(len(a), dtype=np.float32))
    assert_close(a.diagonal(), (1 / (degree + 1)).astype(np.float32))


def test_isolated_nodes_have_empty_rows_or_their_loop_alone():
    r = sp.coo_matrix(([1.0], ([0], [0])), shape=(2, 2))
    assert g.normalised_adjacency(r).to_scipy().toarray()[[1, 3]].sum() == 0
    assert g.normalised_adjacency(r, self_loops=True).to_scipy().toarray()[1].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("n_edges", "rate", "kept"), [(100, 0.8, 19), (10, 0.9, 0), (44, 0.8, 8), (118_551, 0.8, 23_710)]
)
def test_edges_kept_are_counted_in_floating_point(n_edges, rate, kept):
    edges = sp.coo_matrix(
        (np.ones(n_edges), (np.arange(n_edges), np.arange(n_edges) % 7)), shape=(n_edges, 7)
    )
    assert g.EdgeDropout(edges, rate).n_kept == kept


def test_edge_dropout_keeps_a_subset_and_normalises_by_its_degrees():
    r = interactions()
    dropout = g.EdgeDropout(r, 0.5, torch.Generator().manual_seed(0))
    sampled = dropout.sample().to_scipy().toarray()
    pattern = sampled > 0
    assert pattern.sum() == 2 * dropout.n_kept
    assert not (pattern & ~(dropout.full.to_scipy().toarray() > 0)).any()
    degree = pattern.sum(1)
    rows, cols = np.nonzero(pattern)
    assert_close(sampled[pattern], (1 / np.sqrt(degree[rows] * degree[cols])).astype(np.float32))
    assert (dropout.sample().to_scipy() != dropout.sample().to_scipy()).nnz > 0
    again = g.EdgeDropout(r, 0.5, torch.Generator().manual_seed(0)).sample().to_scipy().toarray()
    assert (again == sampled).all()


def test_no_dropout_is_the_full_graph_and_full_dropout_an_empty_one():
    assert g.EdgeDropout(interactions(), 0.0).sample() is not None
    dropout = g.EdgeDropout(interactions(), 0.0)
    assert dropout.sample() is dropout.full
    assert g.EdgeDropout(interactions(), 0.999).sample().values.numel() == 0


def test_an_edge_is_drawn_first_in_proportion_to_its_weight():
    r = sp.coo_matrix((np.ones(6), ([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 3])), shape=(3, 4))
    dropout = g.EdgeDropout(r, 1 - 1.5 / 6, torch.Generator().manual_seed(1))
    assert dropout.n_kept == 1
    drawn = np.zeros((3, 4))
    for _ in range(20_000):
        sample = dropout.sample()
        drawn[sample.rows[0], sample.indices[0] - 3] += 1
    weights = dropout.weights.numpy()
    assert np.abs(drawn[r.row, r.col] / 20_000 - weights / weights.sum()).max() < 0.01


# ------------------------------------------------------------------------------------------------- item kNN


def plain_knn(x: np.ndarray, k: int) -> list[list[int]]:
    """The definition, item by item, in double precision."""
    x = x.astype(np.float64)
    norms = np.linalg.norm(x, axis=1)
    rows = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i and norms[j] > 0] if norms[i] > 0 else []
        cosine = {j: round(float(x[i] @ x[j] / norms[i] / norms[j]), 5) for j in others}
        rows.append([i, *sorted(others, key=lambda j: (-cosine[j], j))][:k])
    return rows


def neighbours(knn: g.ItemKNN) -> list[list[int]]:
    return [[int(j) for j in row if j >= 0] for row in knn.neighbours]


@pytest.mark.parametrize("block", [None, 1, 37])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_knn_with_duplicates_and_zero_rows_equals_the_definition(k, block):
    x = torch.randn(120, 16, generator=torch.Generator().manual_seed(0))
    x[[5, 9]] = 0.0
    x[20:23] = x[3]
    x[40:70] = x[7]  # more copies than neighbours: a block of missing images with one mean vector
    knn = g.item_knn(x, k, block)
    assert neighbours(knn) == plain_knn(x.numpy(), k)
    assert (knn.cosine[knn.neighbours < 0] == 0).all() and (np.diff(knn.cosine, axis=1) <= 0).all()


grids = hnp.arrays(np.int8, st.tuples(st.integers(1, 14), st.integers(1, 3)), elements=st.integers(-2, 2))


@settings(max_examples=150, deadline=None)
@given(grids, st.integers(1, 6))
def test_knn_on_small_integer_vectors_full_of_ties(x, k):
    knn = g.item_knn(torch.from_numpy(x.astype(np.float32)), k)
    norms = np.linalg.norm(x.astype(float), axis=1)
    for i, row in enumerate(neighbours(knn)):
        assert row[0] == i and len(set(row)) == len(row)
        expected = plain_knn(x, k)[i]
        cosine = [x[i] @ x[j].astype(float) / max(norms[i] * norms[j], 1e-9) for j in row]
        wanted = [x[i] @ x[j].astype(float) / max(norms[i] * norms[j], 1e-9) for j in expected]
        assert_close(np.array(cosine[1:]), np.array(wanted[1:]), atol=1e-5, rtol=0)
    assert knn.neighbours.shape == (len(x), k)


def test_identical_rows_tie_exactly_wherever_they_stand():
    x = torch.randn(500, 33, generator=torch.Generator().manual_seed(3)).abs()
    x[100:400:3] = x[100]
    knn = g.item_knn(x, 10, block=64)
    assert knn.neighbours[100].tolist() == list(range(100, 130, 3))
    assert knn.neighbours[397].tolist() == [397, *range(100, 127, 3)]


@pytest.mark.parametrize("values", [(-1, 1), (0, 2), (0, 1)])
def test_codes_of_few_values_are_told_apart(values):
    """Floats that differ in their high bits alone; of 200,000 rows of 64 such no two are the same."""
    places = np.random.default_rng(1).integers(0, 2, (200_000, 64))
    group, first = g._distinct_rows(torch.from_numpy(np.array(values, dtype=np.float32)[places]))
    assert len(first) == len(places) == len(np.unique(group))
    six = np.array(
        [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [-1, -1, 1], [1, 1, -1], [-1, 1, -1]], dtype=np.float32
    )
    assert g.item_knn(torch.from_numpy(six), 6).neighbours[:, 0].tolist() == list(range(6))


def test_binary_graph_rows_sum_to_one_and_zero_rows_keep_their_loop():
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    graph = g.knn_graph(g.item_knn(x, 5)).to_scipy().toarray()
    assert_close(graph.sum(1), np.ones(40, dtype=np.float32))
    assert_close(np.unique(graph), np.array([0, 0.2], dtype=np.float32))
    x[3] = 0.0
    graph = g.knn_graph(g.item_knn(x, 5)).to_scipy().toarray()
    assert graph[3, 3] == 1 and graph[3].sum() == 1 and graph[:, 3].sum() == 1


def test_cosine_graph_is_normalised_by_row_sums_on_both_sides():
    knn = g.item_knn(torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), 4)
    dense = np.zeros((30, 30), dtype=np.float32)
    np.put_along_axis(dense, knn.neighbours.astype(int), knn.cosine, 1)
    scale = 1 / np.sqrt(dense.sum(1))
    assert_close(g.knn_graph(knn, "cosine").to_scipy().toarray(), dense * scale[:, None] * scale)


def test_rows_without_a_positive_sum_are_dropped_by_the_normalisation():
    rows, cols, values = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([4.0, -3.0, 1.0])
    assert g.symmetric_normalise(rows, cols, values, 2).tolist() == [1.0, 0.0, 0.0]


def test_modality_knn_falls_back_on_the_features_of_mmrecs_base_class():
    class Theirs(torch.nn.Module):
        v_feat, t_feat = None, torch.randn(6, 3)

    knn = g.modality_knn(Theirs(), 2)
    assert list(knn) == ["text"] and knn["text"].k == 2


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.integers(0, 3)),
    st.integers(1, 9),
)
def test_stable_topk_orders_ties_by_column(values, k):
    k = min(k, values.shape[1])
    top, columns = g.stable_topk(torch.from_numpy(values.astype(np.float32)), k)
    for row, found, ids in zip(values, top.tolist(), columns.tolist(), strict=True):
        expected = sorted(range(len(row)), key=lambda j: (-row[j], j))[:k]
        assert ids == expected and found == [row[j] for j in expected]


# ------------------------------------------------------------------------------------------------- contrast


@pytest.mark.parametrize("temperature", [0.001, 0.02, 0.2, 1.0, 50.0])
@pytest.mark.parametrize("opposite", [False, True])
def test_info_nce_and_its_gradients_are_those_of_the_formula(temperature, opposite):
    draw = torch.Generator().manual_seed(3)
    one = torch.randn(30, 8, generator=draw, dtype=torch.float64)
    other = -one if opposite else torch.randn(30, 8, generator=draw, dtype=torch.float64)
    results = []
    for dtype, loss in ((torch.float64, _plain_info_nce), (torch.float32, g.info_nce)):
        views = [view.detach().to(dtype, copy=True).requires_grad_() for view in (one, other)]
        value = 3 * loss(*views, temperature)
        value.backward()
        results.append([value.detach().double(), *(view.grad.double() for view in views)])
    for exact, ours in zip(*results, strict=True):
        assert_close(ours, exact, rtol=2e-5, atol=2e-5 * float(exact.abs().max()) + 1e-12)


def _plain_info_nce(anchors, positives, temperature):
    cosine = F.cosine_similarity(anchors[:, None], positives[None], dim=2) / temperature
    return F.cross_entropy(cosine, torch.arange(len(cosine)))


def test_info_nce_oracles():
    assert_close(g.info_nce(torch.randn(1, 5), torch.randn(1, 5), 0.2), torch.tensor(0.0), atol=1e-6, rtol=0)
    same = torch.ones(6, 3)
    assert g.info_nce(same, same, 0.2).item() == pytest.approx(math.log(6), abs=1e-6)
    eye = torch.eye(4)
    assert g.info_nce(eye, eye, 0.2).item() == pytest.approx(math.log(1 + 3 * math.exp(-5)), abs=1e-6)
    assert g.info_nce(eye, 7 * eye, 0.2).item() == pytest.approx(0.0200123, abs=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9))
def test_items_that_share_users_are_found_as_by_counting(seed, k, block):
    r = (np.random.default_rng(seed).random((12, 8)) < 0.3).astype(np.float32)
    knn = g.co_occurrence_knn(sp.coo_matrix(r), k, block)
    shared = r.T @ r
    n = np.diag(shared)
    for item in range(8):
        others = [j for j in range(8) if j != item and shared[item, j] > 0]
        squares = {j: Fraction(int(shared[item, j]) ** 2, int(n[item] * n[j])) for j in others}
        cosine = {j: math.sqrt(square) for j, square in squares.items()}
        expected = sorted(others, key=lambda j: (-squares[j], j))[:k]
        found = knn.neighbours[item][knn.neighbours[item] >= 0]
        assert list(found) == expected
        assert_close(
            torch.from_numpy(knn.cosine[item][: len(found)]), torch.tensor([cosine[j] for j in found]).float()
        )
        assert not knn.cosine[item][len(found) :].any()


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 9))
def test_agreement_is_the_mean_cosine_over_the_edges_between_two_items(seed, k, block):
    draw = np.random.default_rng(seed)
    r = (draw.random((12, 8)) < 0.3).astype(np.float32)
    knn = g.item_knn(torch.from_numpy(draw.standard_normal((8, 3)).astype(np.float32)), k)
    shared, n = r.T @ r, np.maximum(r.sum(0), 1)
    edges = [(i, j) for i, row in enumerate(knn.neighbours) for j in row if j >= 0 and j != i]
    cosines = [shared[i, j] / math.sqrt(n[i] * n[j]) for i, j in edges]
    expected = sum(cosines) / len(cosines) if edges else 0.0
    assert g.agreement(knn, sp.coo_matrix(3 * r), block) == pytest.approx(expected)


def test_what_counts_interactions_leaves_them_as_they_are():
    counts = sp.csr_matrix(np.array([[2.0, 3.0], [0.0, 1.0]]))
    g.co_occurrence_knn(counts, 1)
    g.agreement(g.co_occurrence_knn(counts, 1), counts)
    adjacency(counts)
    assert counts.data.tolist() == [2.0, 3.0, 1.0]


def test_rows_are_taken_in_order_and_as_often_as_named():
    matrix = sp.random(9, 7, 0.3, format="csr", dtype=np.float32, random_state=0)
    rows = torch.tensor([4, 4, 0, 8, 2])
    taken = g.SparseMatrix.from_scipy(matrix).take(rows)
    assert (taken.to_scipy() != matrix[rows.numpy()]).nnz == 0
    assert_close(
        taken.rows,
        torch.repeat_interleave(torch.arange(5), torch.from_numpy(np.diff(matrix[rows.numpy()].indptr))),
    )
    assert taken.take(torch.tensor([], dtype=torch.long)).shape == (0, 7)
