"""Products by numpy's BLAS: the same numbers, of what is fit and large alone, and with one thread alone."""

from __future__ import annotations

import pytest
import torch
from threadpoolctl import threadpool_info
from torch.testing import assert_close

from common import products
from common.products import numpy_products


@pytest.fixture
def by_numpy(monkeypatch):
    """How often a product was handed to numpy."""
    handed = []
    from_numpy = torch.from_numpy
    monkeypatch.setattr(products.torch, "from_numpy", lambda x: handed.append(x.shape) or from_numpy(x))
    return handed


def matrix(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


USERS, ITEMS = matrix(512, 24), matrix(700, 24)


@pytest.mark.parametrize(
    "product",
    [
        lambda a, b: a @ b.T,
        lambda a, b: torch.matmul(a, b.T),
        lambda a, b: torch.mm(a, b.T),
        lambda a, b: a.mm(b.T.contiguous()),
        lambda a, b: a[::1].matmul(b.t()),
        lambda a, b: torch.nn.Parameter(a) @ b.T,
    ],
)
def test_large_products_are_numpys_and_the_same(product, by_numpy):
    expected = USERS.double() @ ITEMS.double().T
    with numpy_products():
        result = product(USERS, ITEMS)
    assert by_numpy == [(512, 700)]
    assert result.dtype == torch.float32 and not result.requires_grad
    assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)
    result.add_(1)  # scores are masked in place


def test_views_with_gaps_are_what_they_show(by_numpy):
    every_second = matrix(1024, 24)[::2]
    with numpy_products():
        result = every_second @ ITEMS.T
    assert by_numpy == [(512, 700)]
    assert_close(result, every_second.contiguous() @ ITEMS.T)


@pytest.mark.parametrize(
    "a, b",
    [
        (USERS[:8], ITEMS[:8].T),
        (USERS.double(), ITEMS.double().T),
        (USERS.half(), ITEMS.half().T),
        (USERS.expand(2, 512, 24), ITEMS.T),
        (USERS, ITEMS[0]),
        (USERS.to_sparse(), ITEMS.T),
    ],
    ids=["small", "double", "half", "batch", "vector", "sparse"],
)
def test_all_others_are_torchs(a, b, by_numpy):
    expected = a @ b
    with numpy_products():
        assert torch.equal(a @ b, expected)
    assert by_numpy == []


def test_what_torch_refuses_it_refuses():
    with numpy_products(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        USERS @ ITEMS


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_has_one_thread_inside_and_what_it_had_outside():
    before = blas_threads()
    with pytest.raises(KeyError), numpy_products():
        assert blas_threads() == {1}
        raise KeyError
    assert blas_threads() == before


def test_with_more_threads_torch_multiplies(by_numpy, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with numpy_products():
        assert not (torch.nn.Parameter(USERS) @ ITEMS.T).requires_grad
    assert by_numpy == []


def test_outside_all_is_as_before(by_numpy):
    with numpy_products():
        pass
    assert (torch.nn.Parameter(USERS) @ ITEMS.T).requires_grad
    assert by_numpy == []
