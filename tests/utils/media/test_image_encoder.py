"""A small timm model with random weights, from a folder."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import torch
from media_sets import picture

from utils.media.encoders import load_encoder
from utils.media.packages import make_torchvision_importable

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the model."""
    make_torchvision_importable()
    timm = pytest.importorskip(
        "timm", reason="timm is not installed (extra [features])", exc_type=ImportError
    )
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=10)
    folder = tmp_path_factory.mktemp("model")
    timm.models.save_for_hf(model, folder)
    return folder


def encode(encoder, contents):
    return encoder.encode([encoder.prepare(content) for content in contents])


def test_vectors_do_not_depend_on_the_batch(folder):
    encoder = load_encoder("image", str(folder), CPU, 4)
    vectors = encode(encoder, [picture(1), picture(2, size=(90, 30)), picture(3, "JPEG")])
    assert vectors.shape == (3, encoder.width()) and vectors.dtype == np.float32
    assert encode(encoder, [picture(3, "JPEG")]).tobytes() == vectors[2:].tobytes()
    assert (vectors[0] != vectors[1]).any()


def test_the_vectors_are_those_of_timm(folder):
    import timm
    from PIL import Image

    encoder = load_encoder("image", str(folder), CPU, 1)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(50, 70, 3), dtype=np.uint8))
    image.save(folder / "picture.png")
    with torch.inference_mode():
        expected = model(transform(image)[None]).numpy()
    assert np.abs(encode(encoder, [(folder / "picture.png").read_bytes()]) - expected).max() < 1e-5


def test_weights_in_a_pickle_that_runs_code_are_refused(folder, tmp_path, fails):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "owned"), "w")

    shutil.copytree(folder, tmp_path / "evil")
    for path in [*(tmp_path / "evil").glob("*.safetensors"), *(tmp_path / "evil").glob("*.bin")]:
        path.unlink()
    (tmp_path / "evil" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    fails(load_encoder, "cannot load the folder", "image", str(tmp_path / "evil"), CPU, 4)
    assert not (tmp_path / "owned").exists()
