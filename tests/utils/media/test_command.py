"""`media` and `features` from the command line, with an encoder that needs no package."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from filelock import FileLock
from media_sets import WIDTH, HashEncoder, content, picture, write_interactions, write_items

from utils import cli

N = 12
TEXT, IMAGE = ["--text", "sentence-transformers/toy"], ["--image", "timm/toy"]


@pytest.fixture
def toys(tmp_path):
    """A prepared data set of 12 items: texts 1 and 2 empty, 3 in no line, images 4 broken, 5 gone, 6 outside."""
    folder = tmp_path / "data" / "toys"
    (folder / "images").mkdir(parents=True)
    write_interactions(folder, 20, N)
    for item in range(N):
        (folder / "images" / f"{item}.png").write_bytes(picture(item))
    (folder / "images" / "4.png").write_bytes(picture(4, "JPEG", (200, 200))[:-3000])
    (folder / "images" / "5.png").unlink()
    (tmp_path / "secret.png").write_bytes(picture(99))
    rows = [(i, "", "" if i in (1, 2) else f"text {i}", f"{i}.png") for i in range(N) if i != 3]
    rows[5] = (6, "", "text 6", "../../../secret.png")
    write_items(folder, rows)
    return folder


@pytest.fixture
def loaded(monkeypatch):
    """The encoders that the command loads, HashEncoders; `seed` is theirs."""

    def load(kind, name, device, rows):
        load.encoders.append(HashEncoder(rows, kind, load.seed))
        return load.encoders[-1]

    load.encoders, load.seed = [], 0
    monkeypatch.setattr("utils.media.command.load_encoder", load)
    return load


@pytest.fixture
def call(toys, tmp_path, capsys):
    """Status and what is printed, errors included, of a command on the data set."""

    def run(command, *words):
        places = [f"data_path={tmp_path / 'data'}", f"cache_path={tmp_path / 'cache'}"]
        status = cli.main([command, "-d", "toys", *words, *places])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def arrays(folder, name):
    return tuple(np.load(folder / f"{name}_{part}.npy", allow_pickle=False) for part in ("feat", "mask"))


def vectors_of(folder):
    return content(folder)["features.lmdb vector"]


def missing(folder):
    with open(folder / "media_missing.csv", newline="") as file:
        return [(int(row["itemID"]), row["kind"], row["reason"]) for row in csv.DictReader(file)]


def test_media_and_then_features(toys, call, loaded):
    status, out = call("media")
    assert status == 0
    assert "11 texts, 11 images looked at, 24 new or changed" in out
    assert "text       9 of 12 items have a text" in out and "image      9 of 12 items have an image" in out
    assert not list(toys.glob("*.npy")) and not (toys / "features.lmdb").exists()

    status, out = call("features", *TEXT, *IMAGE, "--batch-size", "4")
    assert status == 0 and "0 new or changed" in out
    assert (
        "image      8 of 12 items have a vector" in out
        and "warning    image: broken image: 1 items: 4" in out
    )
    for name, absent in (("text", [1, 2, 3]), ("image", [3, 4, 5, 6])):
        features, mask = arrays(toys, name)
        assert features.shape == (N, WIDTH) and features.dtype == np.float32 and mask.dtype == bool
        assert np.flatnonzero(~mask).tolist() == absent == np.flatnonzero(~features.any(1)).tolist()
    one = HashEncoder(4)
    assert (arrays(toys, "text")[0][7] == one.encode([b"text 7"])[0]).all()
    assert missing(toys) == [
        (1, "text", "empty text"),
        (2, "text", "empty text"),
        (3, "text", "no line in the table"),
        (3, "image", "no line in the table"),
        (4, "image", "broken image"),
        (5, "image", "file not there"),
        (6, "image", "outside the data set's folder and that of --images"),
    ]
    report = json.loads((toys / "media_report.json").read_text())
    assert report["kinds"]["image"]["missing"] == 4
    assert report["files"]["text_feat.npy"]["about"]["name"] == "hash"


def test_the_card_of_the_data_tells_of_new_features(toys, call, loaded, monkeypatch):
    told = []
    monkeypatch.setattr("utils.media.command.refresh_card", told.append)
    assert call("features", *TEXT)[0] == 0
    assert told == [toys]


def test_what_is_there_is_not_made_again(toys, call, loaded):
    call("features", *TEXT, *IMAGE)
    before, files = vectors_of(toys), {path.name: path.read_bytes() for path in toys.glob("*.npy")}
    status, out = call("features", *TEXT, *IMAGE)
    assert status == 0 and "0 encoded now, 9 were there already" in out
    assert all(len(encoder.batches) == 1 for encoder in loaded.encoders[2:])  # the one that finds the width
    assert vectors_of(toys) == before
    assert {path.name: path.read_bytes() for path in toys.glob("*.npy")} == files


def test_a_later_media_keeps_what_decoding_has_found_and_says_what_is_new(toys, call, loaded):
    call("features", *TEXT, *IMAGE)
    text = (toys / "items.csv").read_text()
    (toys / "items.csv").write_text(text.replace("text 7", "another"))
    assert call("media")[0] == 0
    assert (4, "image", "broken image") in missing(toys) and (7, "text", "not encoded yet") in missing(toys)
    assert "text_feat.npy" in json.loads((toys / "media_report.json").read_text())["files"]
    call("features", *IMAGE)
    assert (7, "text", "not encoded yet") in missing(toys)
    call("features", *TEXT)
    assert (7, "text", "not encoded yet") not in missing(toys)


def test_another_encoder_takes_the_place_of_the_first_or_stands_beside_it(toys, call, loaded):
    call("features", *TEXT)
    first = arrays(toys, "text")[0]
    loaded.seed = 1
    assert call("features", *TEXT, "--output-names", "text:other")[0] == 0
    assert (arrays(toys, "text")[0] == first).all() and (arrays(toys, "other")[0][0] != first[0]).all()
    call("features", *TEXT)
    assert (arrays(toys, "text")[0] == arrays(toys, "other")[0]).all()
    loaded.seed = 0
    assert "0 encoded now" in call("features", *TEXT)[1]
    assert (arrays(toys, "text")[0] == first).all()


def test_texts_from_a_list_and_images_from_another_folder(toys, call, loaded, tmp_path):
    shutil.move(toys / "images", tmp_path / "pictures")
    (tmp_path / "texts.json").write_text(json.dumps(["a", None] + ["b"] * (N - 2)))
    status, _ = call(
        "features",
        *TEXT,
        *IMAGE,
        "--texts",
        str(tmp_path / "texts.json"),
        "--images",
        str(tmp_path / "pictures"),
    )
    assert status == 0
    features, mask = arrays(toys, "text")
    assert np.flatnonzero(~mask).tolist() == [1] and (features[2] == features[3]).all()
    assert np.flatnonzero(~arrays(toys, "image")[1]).tolist() == [3, 4, 5, 6]


def test_a_table_elsewhere_and_later_none(toys, call, loaded, tmp_path):
    shutil.move(toys / "items.csv", tmp_path / "table.csv")
    assert call("features", *TEXT, "--items", str(tmp_path / "table.csv"))[0] == 0
    assert call("features", *TEXT)[0] == 0  # from the store


def test_a_data_set_that_has_become_smaller(toys, call, loaded):
    call("features", *TEXT)
    lines = [line for line in (toys / "toys.inter").read_text().splitlines()]
    kept = [line for line in lines[1:] if int(line.split("\t")[1]) < 9]
    (toys / "toys.inter").write_text("\n".join([lines[0], *kept, "0\t8\t0"]) + "\n")
    (toys / "items.csv").unlink()
    assert call("features", *TEXT)[0] == 0
    assert arrays(toys, "text")[0].shape == (9, WIDTH)


def test_a_file_that_came_from_elsewhere_stays_unless_forced(toys, call, loaded):
    np.save(toys / "text_feat.npy", np.ones((N, 2)))
    status, out = call("features", *TEXT)
    assert status == 2 and "was not made by this command; --output-names KIND:NAME writes beside it" in out
    assert (np.load(toys / "text_feat.npy") == 1).all() and not loaded.encoders
    assert call("features", *TEXT, "--force")[0] == 0
    assert arrays(toys, "text")[0].shape == (N, WIDTH)


def test_nothing_of_a_kind(toys, call, loaded):
    write_items(toys, [(i, "", "words", "http://example.org/x.jpg") for i in range(N)])
    status, out = call("features", *IMAGE)
    assert (
        status == 2 and "has an image (12 items: an address; nothing is downloaded); --images FOLDER" in out
    )
    (toys / "items.csv").write_text("itemID,image\n0,0.png\n")
    shutil.rmtree(toys / "images")
    (toys / "media.lmdb").unlink()
    assert "no item of 'toys' has a text (the table has no column for texts)" in call("features", *TEXT)[1]


def test_no_image_that_can_be_decoded(toys, call, loaded):
    write_items(toys, [(4, "", "", "4.png")])
    status, out = call("features", *IMAGE)
    assert status == 2 and "no image of 'toys' could be encoded, so image_feat.npy is not written" in out
    assert not (toys / "image_feat.npy").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "features needs --text MODEL, --image MODEL or both; for one --text sentence-transformers/"),
        (["--image", "resnet50"], "--image resnet50: expected a folder, timm/NAME"),
        ([*TEXT, "--device", "abacus"], "--device abacus cannot be used"),
        ([*TEXT, "--output-names", "image:x"], "--output-names image:x: expected text:NAME"),
        ([*TEXT, "--output-names", "text:../x"], "a name has no slash and no leading dot"),
        ([*TEXT, *IMAGE, "--output-names", "text:x", "image:x"], "gives texts and images one name, x"),
        ([*TEXT, "--images", "nowhere"], "--images: nowhere is no folder; name the one"),
        ([*TEXT, "--items", "nowhere.csv"], "cannot read nowhere.csv"),
        ([*TEXT, "--texts", "nowhere.json"], "cannot read nowhere.json"),
        ([*TEXT, "--batch-size", "0"], "--batch-size"),
        ([*TEXT, "knn_k=5"], "knn_k has no effect here"),
        ([*TEXT, "inter_file_name=nothing.inter"], "has no interactions at"),
    ],
)
def test_what_is_wrong_is_a_line_and_status_2(call, loaded, words, message):
    status, out = call("features", *words)
    assert status == 2 and message in out
    assert len([line for line in out.splitlines() if "error" in line]) == 1


def test_no_table_and_no_store(toys, call, loaded):
    (toys / "items.csv").unlink()
    status, out = call("media")
    assert status == 2 and "`python main.py prepare` makes it, --items FILE names another" in out


def test_a_data_set_that_another_command_works_on(toys, call, loaded):
    with FileLock(toys / ".media.lock"):
        status, out = call("media")
    assert status == 2 and "another command works on the media of 'toys'" in out


def test_a_full_disk_at_the_end(toys, call, loaded, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("utils.media.command.export", full)
        status, out = call("features", *TEXT)
    assert (
        status == 2 and "No space left on device; the vectors are kept, and the same command goes on" in out
    )
    assert "0 encoded now" in call("features", *TEXT)[1]
