"""The neighbour dictionaries that some of MMRec's models read, computed from the training interactions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

NEIGHBOURS = 200
"""At most this many per row, as MMRec's script keeps of users."""

BLOCK = 1024
"""Rows at a time, so that memory does not grow with the square of their number."""


def co_occurrence(own: sp.spmatrix, most: int = NEIGHBOURS) -> dict[int, list[list]]:
    """For every row of `own` (N, M) the rows it shares columns with, as {row: [[rows], [numbers shared]]}.

    Those that share most come first, of equal ones the lower row; itself left out.

    >>> co_occurrence(sp.csr_matrix([[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]))
    {0: [[1, 2], [2.0, 1.0]], 1: [[0, 2], [2.0, 1.0]], 2: [[0, 1], [1.0, 1.0]], 3: [[], []]}
    """
    own = sp.csr_matrix(own, dtype=np.float32)
    own.sum_duplicates()
    own.data[:] = 1
    columns = own.T.tocsr()
    found = {}
    for start in range(0, own.shape[0], BLOCK):
        block = sp.csr_matrix(own[start : start + BLOCK] @ columns)
        block.sort_indices()
        for row in range(block.shape[0]):
            part = slice(block.indptr[row], block.indptr[row + 1])
            others, counts = block.indices[part], block.data[part]
            kept = others != start + row
            others, counts = others[kept], counts[kept]
            order = np.argsort(-counts, kind="stable")[:most]
            found[start + row] = [others[order].tolist(), counts[order].tolist()]
    return found


def write_graph(path: Path, own: sp.spmatrix) -> None:
    """`co_occurrence` as the pickled array that model files load."""
    np.save(path, co_occurrence(own), allow_pickle=True)
