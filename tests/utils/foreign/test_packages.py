"""Stand-ins for packages, against what they stand for written as loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from utils.foreign.packages import scatter, scatter_max, scatter_min, scatter_softmax, sparsesvd, stand_ins

INDEX = torch.tensor([0, 2, 2, 0, 2])
SRC = torch.tensor([[1.0, -1], [2, 5], [4, 3], [3, 3], [-2, 0]])
REDUCE = {
    "sum": torch.sum,
    "add": torch.sum,
    "mean": torch.mean,
    "mul": torch.prod,
    "max": torch.amax,
    "min": torch.amin,
}


@pytest.mark.parametrize("reduce", REDUCE)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scatter(reduce, dim):
    src = SRC if dim == 0 else SRC.T.contiguous()
    found = scatter(src, INDEX, dim=dim, dim_size=4, reduce=reduce)
    found = found if dim == 0 else found.T
    for place in (0, 2):
        assert torch.allclose(found[place], REDUCE[reduce](SRC[place == INDEX], dim=0))
    assert (found[[1, 3]] == (1 if reduce == "mul" else 0)).all()
    assert scatter(src, INDEX, dim=dim, reduce=reduce).shape[dim] == 3


def test_scatter_is_differentiable_and_adds_into_out():
    src = SRC.clone().requires_grad_()
    out = scatter(src, INDEX, 0, torch.ones(3, 2))
    assert out[1].tolist() == [1, 1] and out[0].tolist() == [5, 3]
    out.sum().backward()
    assert (src.grad == 1).all()
    with pytest.raises(ValueError, match="into `out` is there for sums, not for 'max'"):
        scatter(SRC, INDEX, 0, torch.ones(3, 2), reduce="max")
    with pytest.raises(ValueError, match="not 'median'"):
        scatter(SRC, INDEX, 0, reduce="median")


def test_places_of_extremes_and_softmax():
    values, places = scatter_max(SRC, INDEX, dim=0)
    assert values.tolist() == [[3, 3], [0, 0], [4, 5]] and places.tolist() == [[3, 3], [5, 5], [2, 1]]
    assert scatter_min(SRC[:, 0], INDEX)[1].tolist() == [0, 5, 4]
    soft = scatter_softmax(SRC, INDEX, dim=0)
    for place in (0, 2):
        assert torch.allclose(soft[place == INDEX], SRC[place == INDEX].softmax(0))
    assert scatter(torch.empty(0), torch.empty(0, dtype=torch.long)).shape == (0,)


def test_sparsesvd():
    matrix = sp.random(30, 20, density=0.4, random_state=1, format="csc")
    left, values, right = sparsesvd(matrix, 3)
    assert left.shape == (3, 30) and right.shape == (3, 20)
    assert np.allclose(values, np.linalg.svd(matrix.toarray(), compute_uv=False)[:3])
    assert np.allclose(left @ matrix, values[:, None] * right)
    assert (sparsesvd(matrix, 3)[0] == left).all()


def test_each_call_gives_modules_of_its_own():
    assert stand_ins()["torch_scatter"] is not stand_ins()["torch_scatter"]
    assert stand_ins()["torch_scatter"].scatter_add(torch.ones(2), torch.tensor([1, 1])).tolist() == [0, 2]
