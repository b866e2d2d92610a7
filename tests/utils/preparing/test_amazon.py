"""Amazon's files of 2014: reviews, meta data as Python literals, and image features as a stream of bytes."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pytest

from utils.preparing import amazon

ITEMS = [f"B{n:09}" for n in range(8)]


def review(user, item, **more):
    return json.dumps(
        {"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": 1370000000, **more}
    )


@pytest.fixture
def reviews(tmp_path):
    lines = [
        review(f"A{u}", item, reviewText='a "text"', helpful=[0, 1]) for u in range(6) for item in ITEMS[:6]
    ]
    return write_lines(tmp_path / "reviews_X_5.json.gz", lines)


def write_lines(path, lines):
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def meta_line(asin, **more):
    return repr({"asin": asin, **more})


def features(path, records, cut=0):
    data = b"".join(asin.encode() + np.asarray(row, "<f4").tobytes() for asin, row in records)
    path.write_bytes(data[: len(data) - cut])
    return path


def items_of(folder):
    with open(folder / "items.csv", newline="") as file:
        return {row["rawID"]: row for row in csv.DictReader(file)}


def test_reviews(prepare, reviews):
    found = prepare("--reviews", reviews, kind="amazon")
    assert list(found.inter) == ["userID", "itemID", "x_label", "rating", "timestamp"]
    assert len(found.inter) == 36 and set(found.inter.timestamp) == {1370000000}
    assert (found.path / "i_id_mapping.csv").read_text().splitlines()[:2] == [
        "asin\titemID",
        f"{ITEMS[0]}\t0",
    ]
    assert (found.path / "u_id_mapping.csv").read_text().splitlines()[:2] == ["user_id\tuserID", "A0\t0"]


def test_patterns_in_file_names_are_names(prepare, reviews):
    path = reviews.rename(reviews.with_name("[reviews]*.json.gz"))
    assert len(prepare("--reviews", path, kind="amazon").inter) == 36


def test_five_is_the_core_unless_another_is_given(prepare, tmp_path):
    lines = [review(f"A{u}", item) for u in range(6) for item in ITEMS[:6]] + [review("B", ITEMS[7])]
    path = write_lines(tmp_path / "r.json.gz", lines)
    assert prepare("--reviews", path, kind="amazon").card["rows"]["outside_core"] == 1
    assert prepare("--reviews", path, "--k-core", 0, kind="amazon", name="all").card["items"] == 7


def test_lines_that_are_no_json_are_counted(prepare, tmp_path):
    lines = [review(f"A{u}", item) for u in range(6) for item in ITEMS[:6]]
    path = write_lines(tmp_path / "r.json.gz", [*lines[:5], '{"reviewerID": "A', "nothing", *lines[5:]])
    found = prepare("--reviews", path, kind="amazon")
    assert "38 read, 2 unreadable lines left out, 36 kept" in found.out
    assert (
        found.card["rows"]["unreadable"] == 2
        and "| unreadable lines left out | 2 |" in (found.path / "card.md").read_text()
    )


def test_reviews_that_are_none(refused, tmp_path):
    page = write_lines(tmp_path / "r.json.gz", ["<html>", "<p>not found</p>"])
    assert "has no row that could be read, of 2; expected rows with reviewerID" in refused(
        "--reviews", page, kind="amazon"
    )
    wrong = write_lines(tmp_path / "w.json.gz", [review("A", "B", overall="good")])
    assert "column 'overall' has no rating in 1 rows" in refused("--reviews", wrong, kind="amazon")
    assert "expected a number: download the file again" in refused("--reviews", wrong, kind="amazon")
    short = tmp_path / "s.json.gz"
    short.write_bytes(gzip.compress(b"".join(review(f"A{n}", "B").encode() for n in range(999)))[:-50])
    assert "s.json.gz" in refused("--reviews", short, kind="amazon")


def test_meta_data_makes_titles_and_texts_in_the_order_of_mmrec(prepare, reviews, tmp_path):
    lines = [
        meta_line(ITEMS[0], title="Tent,\n big", brand="Ghost", categories=[["Sports", "Tents"], ["Other"]],
                  description="It's \"dry\"", imUrl="http://x/1.jpg", price=9.99, related={"also_bought": [ITEMS[1]]}),
        json.dumps({"asin": ITEMS[1], "title": "Björn é", "description": ["a", "b"], "imUrl": "/etc/hostname"}),
        meta_line("NOTHERE000", title="x"),
        "{'asin': 'NOTHERE001', broken and nobody's",
        f"{{'asin': '{ITEMS[2]}', 'title': open('/etc/passwd')}}",
        f"{{'asin': '{ITEMS[3]}', 'title': " + "[" * 5000 + "]" * 5000 + "}",
        f"{{'asin': '{ITEMS[4]}', 'title': '" + "x" * 2**21 + "'}",
        meta_line(ITEMS[0], title="again"),
        "",
    ]  # fmt: skip
    found = prepare("--reviews", reviews, "--meta", write_lines(tmp_path / "m.json.gz", lines), kind="amazon")
    items = items_of(found.path)
    assert list(items) == ITEMS[:6]
    assert items[ITEMS[0]] == {
        "itemID": "0", "rawID": ITEMS[0], "title": "Tent, big", "image": "http://x/1.jpg",
        "text": "Tent, big Ghost Sports Tents It's \"dry\"",
    }  # fmt: skip
    assert (items[ITEMS[1]]["title"], items[ITEMS[1]]["text"]) == ("Björn é", "Björn é a b")
    assert not any(items[item]["title"] for item in ITEMS[2:6])
    table = found.card["item_table"]
    assert (table["titles"], table["images"], table["repeated"], table["unreadable"]) == (2, 1, 1, 3)
    card = (found.path / "card.md").read_text()
    assert "1 further lines of an item left out; 3 lines could not be read" in card


def test_meta_data_that_is_none(refused, reviews, tmp_path):
    other = write_lines(tmp_path / "m.json.gz", [meta_line("NOTHERE000", title="x")])
    assert "describes no item of the reviews" in refused("--reviews", reviews, "--meta", other, kind="amazon")
    page = write_lines(tmp_path / "p.json.gz", ["<html>"])
    assert "does not begin with an item, found '<html>'" in refused(
        "--reviews", reviews, "--meta", page, kind="amazon"
    )


def test_image_features_are_rows_with_a_mask(prepare, reviews, tmp_path, monkeypatch):
    monkeypatch.setattr(amazon, "RECORDS", 3)  # several blocks
    rows = np.random.default_rng(0).random((6, 4096), dtype=np.float32)
    bad = rows[5].copy()
    bad[7] = np.nan
    records = [(ITEMS[3], rows[3]), ("NOTHERE000", rows[0]), (ITEMS[1], rows[1]), (ITEMS[0], rows[0])]
    records += [(ITEMS[0], rows[5]), (ITEMS[2], rows[1]), (ITEMS[5], bad)]
    path = features(tmp_path / "image_features_X.b", records)
    found = prepare("--reviews", reviews, "--image-features", path, kind="amazon")
    written, mask = (np.load(found.path / f"image_{name}.npy") for name in ("feat", "mask"))
    assert written.shape == (6, 4096) and written.dtype == np.float32
    assert mask.tolist() == [True, True, True, True, False, False]
    assert (written[[0, 1, 3]] == rows[[0, 1, 3]]).all() and (written[2] == rows[1]).all()
    assert not written[~mask].any()
    assert (found.path / "image_missing.csv").read_text().splitlines() == [
        "itemID,rawID,reason",
        f"4,{ITEMS[4]},no record in image_features_X.b",
        f"5,{ITEMS[5]},numbers that are not finite",
    ]
    assert (
        "| image | 4,096 | float32 | 2 (`image_missing.csv`) | 0 | 1 |"
        in (found.path / "card.md").read_text()
    )
    modality = found.card["modalities"]["image"]
    assert {key: modality[key] for key in ("dimensions", "missing", "zero", "duplicated")} == {
        "dimensions": 4096, "missing": 2, "zero": 0, "duplicated": 1,
    }  # fmt: skip
    norms = np.linalg.norm(rows[[0, 1, 1, 3]].astype(float), axis=1)
    assert modality["norm"] == pytest.approx(
        {"min": norms.min(), "median": np.median(norms), "max": norms.max()}
    )
    said = "image: 4 of 6 items from image_features_X.b, 7 records read, 1 of an item that had one already, 1 not"
    assert said in found.out


def test_image_features_that_end_too_early(refused, reviews, tmp_path):
    rows = [(item, np.ones(4096)) for item in ITEMS[:3]]
    path = features(tmp_path / "f.b", rows, cut=100)
    expected = "ends amid record 3, which begins at byte 32,788; expected 16,394 bytes each"
    assert expected in refused("--reviews", reviews, "--image-features", path, kind="amazon")
    packed = tmp_path / "p.b"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert expected in refused("--reviews", reviews, "--image-features", packed, kind="amazon")
    other = features(tmp_path / "o.b", [("NOTHERE000", np.ones(4096))])
    assert "features of no item" in refused("--reviews", reviews, "--image-features", other, kind="amazon")
