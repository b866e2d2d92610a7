"""Neighbours by what is shared, against counting pairs."""

from __future__ import annotations

import doctest

import numpy as np
import scipy.sparse as sp

from utils.foreign import graphs


def test_the_example():
    assert doctest.testmod(graphs).attempted == 1 and not doctest.testmod(graphs).failed


def test_neighbours_are_those_of_counting_pairs(monkeypatch, tmp_path):
    monkeypatch.setattr(graphs, "BLOCK", 7)
    own = sp.random(40, 12, density=0.25, random_state=3, format="coo")
    own.data[:] = 1
    twice = sp.coo_matrix((np.ones(2 * own.nnz), (np.tile(own.row, 2), np.tile(own.col, 2))), own.shape)
    shared = own.toarray() @ own.toarray().T
    for most in (3, 200):
        found = graphs.co_occurrence(twice, most)
        assert list(found) == list(range(40))
        for row, (others, counts) in found.items():
            order = [o for o in np.lexsort((np.arange(40), -shared[row])) if o != row and shared[row, o] > 0]
            assert others == order[:most] and counts == shared[row, order[:most]].tolist()
    graphs.write_graph(tmp_path / "users.npy", own)
    assert np.load(tmp_path / "users.npy", allow_pickle=True).item() == graphs.co_occurrence(own)
