"""MiniLM from a folder: sentence-transformers' vectors, the same to the bit in any batch."""

from __future__ import annotations

import pickle
import shutil
import socket

import numpy as np
import pytest
import torch

from utils.media.encoders import load_encoder
from utils.media.extraction import extract
from utils.media.media_store import Entry

WORDS = "red steel tent for two, a bicycle lamp and a long rope of nylon".split()
TEXTS = [" ".join(WORDS[: 1 + i % len(WORDS)] * (1 + i // 9)) + f" {i}" for i in range(40)]


@pytest.fixture(scope="module")
def encoder(minilm):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("asks the network"))
        return load_encoder("text", str(minilm), torch.device("cpu"), 8)


def encode(encoder, texts):
    return encoder.encode([encoder.prepare(text.encode()) for text in texts])


def test_vectors_are_those_of_the_package(encoder):
    assert encoder.width() == 384
    expected = encoder.model.encode(TEXTS, batch_size=8)
    made = np.concatenate([encode(encoder, TEXTS[start : start + 8]) for start in range(0, 40, 8)])
    assert np.abs(made - expected).max() < 1e-5
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


def test_a_vector_is_the_same_in_any_batch_and_place(encoder):
    sizes = encoder.sizes([text.encode() for text in TEXTS])
    same = [text for text, size in zip(TEXTS, sizes, strict=True) if size == sizes[0]][:8]
    together = encode(encoder, same)
    for place, text in enumerate(same):
        assert encode(encoder, [text]).tobytes() == together[place : place + 1].tobytes()


def test_stopped_and_resumed_the_vectors_are_the_same_to_the_bit(encoder, media, vectors):
    media.put([Entry("text", item, text.encode()) for item, text in enumerate(TEXTS)])
    extract(media, vectors, "text", "whole", encoder)

    def stop(n):
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            extract(media, vectors, "text", "stopped", encoder, stop)
    extract(media, vectors, "text", "stopped", encoder)
    whole, stopped = (
        {r.item: r.vector.tobytes() for r in vectors.records("text", key)} for key in ("whole", "stopped")
    )
    assert whole == stopped and len(whole) == 40


def test_the_identity_is_that_of_the_model_not_of_its_place(encoder, minilm, tmp_path):
    shutil.copytree(minilm, tmp_path / "copy")
    again = load_encoder("text", str(tmp_path / "copy"), torch.device("cpu"), 16)
    assert again.identity() == encoder.identity()
    with torch.no_grad():
        next(again.model.parameters()).mul_(1.001)
    assert type(again)("x", again.model, torch.device("cpu"), 16).identity() != encoder.identity()


def test_weights_in_a_pickle_that_runs_code_are_refused(minilm, tmp_path, fails):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "owned"), "w")

    shutil.copytree(minilm, tmp_path / "evil")
    (tmp_path / "evil" / "model.safetensors").unlink()
    (tmp_path / "evil" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    fails(load_encoder, "cannot load the folder", "text", str(tmp_path / "evil"), torch.device("cpu"), 8)
    assert not (tmp_path / "owned").exists()
