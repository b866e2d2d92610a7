"""Which package a name means, and what is said of names, folders and packages that are none."""

from __future__ import annotations

import sys

import pytest
import torch
from media_sets import WIDTH, HashEncoder

from utils.media.encoders import load_encoder, loading, parse_name, text_digest, weights_digest
from utils.media.packages import need

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("text", "sentence-transformers/all-MiniLM-L6-v2", ("sentence-transformers", None)),
        ("text", "intfloat/e5-small", ("sentence-transformers", None)),
        ("text", "open_clip:ViT-B-32@openai", ("open_clip", "ViT-B-32@openai")),
        ("image", "open_clip:ViT-B-32@openai", ("open_clip", "ViT-B-32@openai")),
        ("image", "timm/resnet50.a1_in1k", ("timm", None)),
        ("image", "timm:someone/resnet", ("timm", "someone/resnet")),
    ],
)
def test_names(kind, name, expected):
    assert parse_name(kind, name) == (expected[0], expected[1] or name)


@pytest.mark.parametrize(
    ("kind", "files", "package"),
    [
        ("text", ["modules.json", "config.json"], "sentence-transformers"),
        ("text", ["config.json"], "sentence-transformers"),
        ("text", ["open_clip_config.json"], "open_clip"),
        ("image", ["open_clip_config.json"], "open_clip"),
        ("image", ["config.json"], "timm"),
    ],
)
def test_folders(tmp_path, kind, files, package):
    for name in files:
        (tmp_path / name).touch()
    assert parse_name(kind, str(tmp_path)) == (package, str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("image", "resnet50", "--image resnet50: expected a folder, timm/NAME, or PACKAGE:NAME with one of"),
        ("image", "sentence-transformers/clip", "sentence-transformers has no encoder of images here"),
        (
            "text",
            "timm/resnet50",
            "timm has no encoder of texts here; expected a model of sentence-transformers",
        ),
        ("text", "openclip:x", "no package 'openclip'; did you mean 'open_clip'?"),
        ("text", "/not/there", "there is no such folder"),
        ("text", "./model", "there is no such folder"),
        ("image", "~/model", "there is no such folder"),
        ("text", "a/b/c", "there is no such folder"),
    ],
)
def test_what_is_no_name(fails, kind, name, message):
    fails(parse_name, message, kind, name)


def test_a_folder_without_a_model(tmp_path, fails):
    fails(parse_name, "holds no model; expected a folder with one of modules.json", "text", str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "name", "module", "package"),
    [
        ("text", "sentence-transformers/x", "sentence_transformers", "sentence-transformers"),
        ("image", "timm/x", "timm", "timm"),
        ("text", "open_clip:x", "open_clip", "open_clip_torch"),
    ],
)
def test_a_package_that_is_missing(fails, monkeypatch, kind, name, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("utils.media.text_encoders.make_torchvision_importable", lambda: None)
    monkeypatch.setattr("utils.media.image_encoders.make_torchvision_importable", lambda: None)
    message = (
        f"needs the package {package}, which is not installed; pip install -c requirements.txt '.[features]'"
    )
    fails(load_encoder, message, kind, name, CPU, 4)


def test_a_package_that_lacks_another_one(fails, monkeypatch, tmp_path):
    (tmp_path / "lacking_package.py").write_text("import a_package_that_is_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    fails(
        need,
        "lacking_package cannot be imported: No module named 'a_package_that_is_nowhere'",
        "lacking_package",
    )


def test_what_goes_wrong_in_a_package_is_one_line(fails, tmp_path):
    def broken():
        raise RuntimeError("first\nsecond " + "x" * 1000)

    fails(loading, "cannot load the folder", "text", str(tmp_path), broken)
    fails(
        loading,
        "without a network name a folder with the model: RuntimeError: first second",
        "text",
        "a/b",
        broken,
    )


def test_a_batch_is_filled_up_and_the_width_found():
    encoder = HashEncoder(5)
    assert encoder.width() == WIDTH
    alone, among = encoder.encode([b"a"]), encoder.encode([b"b", b"a", b"c"])
    assert alone.shape == (1, WIDTH) and (among[1] == alone[0]).all()


def test_digests_tell_weights_and_settings_apart():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    before = weights_digest(model)
    assert weights_digest(model) == before
    with torch.no_grad():
        model[1].running_mean[0] += 1e-6
    assert weights_digest(model) != before
    assert weights_digest(model.half()) != before
    assert text_digest({"a": 1, "b": 2}) == text_digest({"b": 2, "a": 1}) != text_digest({"a": 1})
