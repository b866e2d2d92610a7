"""Data sets: splits, sizes, users left out, the digest, and what is said where files are missing."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from utils.data import demo

SPLITS = ("train", "valid", "test")


def rows_of(dataset) -> list[list[tuple[int, int]]]:
    """Rows of training, validation and test."""
    splits = [getattr(dataset, name) for name in SPLITS]
    return [list(zip(split.users.tolist(), split.items.tolist(), strict=True)) for split in splits]


def sizes_of(dataset) -> tuple[int, ...]:
    return dataset.n_users, dataset.n_items, *(len(getattr(dataset, name)) for name in SPLITS)


def test_splits_are_by_label_in_file_order(folder):
    folder.rows([(2, 1, 1), (0, 3, 0), (1, 0, 2), (0, 1, 0), (2, 2, 0), (1, 3, 0), (0, 2, 2)])
    dataset = folder.load()
    assert rows_of(dataset) == [[(0, 3), (0, 1), (2, 2), (1, 3)], [(2, 1)], [(1, 0), (0, 2)]]
    for name in SPLITS:
        split = getattr(dataset, name)
        assert (split.users.dtype, split.items.dtype) == (np.int64, np.int64)
    assert (dataset.name, dataset.warnings, dataset.users_dropped) == ("tiny", [], 0)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_sizes_are_the_largest_ids_plus_one_of_any_split(folder, label):
    folder.rows([*folder.ROWS, (2, 9, label), (6, 1, label), (6, 2, 0)])
    dataset = folder.load()
    assert (dataset.n_users, dataset.n_items) == (7, 10)
    assert (dataset.get_user_num(), dataset.get_item_num()) == (7, 10)
    assert dataset.inter_num == len(folder.ROWS) + 3


def test_items_that_training_never_saw_and_ids_that_no_row_has_are_counted(folder):
    folder.features(values=np.ones((9, 2)))  # a row for each: the features are checked against the count
    folder.rows([*folder.ROWS, (1, 8, 2)])
    dataset = folder.load()
    assert (dataset.n_items, dataset.warnings) == (9, [])
    assert 8 in dataset.test.items and 8 not in dataset.train.items


def test_users_without_training_rows_are_dropped_with_a_warning(folder):
    folder.rows([*folder.ROWS, (4, 0, 1), (4, 1, 2), (3, 0, 2), (4, 2, 1)])
    dataset = folder.load()
    assert rows_of(dataset)[1:] == [[(0, 2), (1, 0)], [(2, 3), (1, 3)]]
    assert (dataset.n_users, dataset.users_dropped, dataset.inter_num) == (5, 2, 8)
    assert dataset.warnings == [
        "users without training interactions: 2 dropped from validation and test, with 4 rows; "
        "filter_out_cod_start_users=False keeps them"
    ]


def test_users_without_training_rows_are_kept_where_the_setting_says_so(folder):
    folder.rows([*folder.ROWS, (4, 0, 1), (3, 0, 2)])
    dataset = folder.load(filter_out_cod_start_users=False)
    assert rows_of(dataset)[1:] == [[(0, 2), (1, 0), (4, 0)], [(2, 3), (1, 3), (3, 0)]]
    assert (dataset.n_users, dataset.users_dropped, dataset.inter_num, dataset.warnings) == (5, 0, 10, [])


@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), max_size=30, unique=True
    ),
    drop=st.booleans(),
)
def test_dropping_against_plain_python(folder, rows, drop):
    rows = [*rows, (6, 6, 0), (6, 7, 1), (6, 8, 2)]
    folder.rows(rows)
    dataset = folder.load(filter_out_cod_start_users=drop)
    trained = {user for user, _, label in rows if label == 0}
    kept = [row for row in rows if row[0] in trained or not drop]
    assert rows_of(dataset) == [[row[:2] for row in kept if row[2] == label] for label in range(3)]
    assert (dataset.n_users, dataset.n_items, dataset.inter_num) == (7, 9, len(kept))
    dropped = {user for user, _, _ in rows} - trained if drop else set()
    said = f"{len(dropped)} dropped from validation and test, with {len(rows) - len(kept)} rows;"
    assert dataset.users_dropped == len(dropped)
    assert [said in warning for warning in dataset.warnings if "without training" in warning] == (
        [True] if dropped else []
    )


@pytest.mark.parametrize(("label", "split"), [(1, "validation"), (2, "test")])
def test_a_split_that_only_has_users_without_training_rows_is_an_error(folder, fails, label, split):
    rows = [row for row in folder.ROWS if row[2] != label] + [(7, 0, label), (8, 1, label), (8, 2, label)]
    folder.rows(rows)
    message = (
        f"tiny.inter: no {split} rows are left without the 2 users who have no training rows; "
        f"give them some, or set filter_out_cod_start_users=False"
    )
    fails(folder.load, message)
    assert sizes_of(folder.load(filter_out_cod_start_users=False))[2 + label] == 3


def test_columns_and_separator_are_those_of_the_settings(folder):
    text = folder.inter.read_text().replace("\t", ",")
    (folder.path / "other.csv").write_text(text.replace("userID", "u").replace("x_label", "split"))
    other = folder.load(
        inter_file_name="other.csv", USER_ID_FIELD="u", inter_splitting_label="split", field_separator=","
    )
    assert rows_of(other) == rows_of(folder.load())


def test_warnings_are_those_of_the_file_and_of_the_modalities(folder):
    folder.rows([*folder.ROWS, folder.ROWS[0], (5, 0, 1)])
    merged, dropped, left_out = folder.load(text_feature_file="t.npy").warnings
    assert merged.startswith("duplicated rows in tiny.inter: 1 merged")
    assert dropped.startswith("users without training interactions: 1 dropped")
    assert left_out.startswith("modality 'text' left out")


# ---------------------------------------------------------------------------------------------------- digest

CHANGES = {
    "a row more": lambda folder: folder.rows([*folder.ROWS, (2, 0, 0)]),
    "a row less": lambda folder: folder.rows(folder.ROWS[1:]),
    "the order of rows": lambda folder: folder.rows(folder.ROWS[::-1]),
    "a label": lambda folder: folder.rows([*folder.ROWS[:-1], (1, 3, 1)]),
    "a user": lambda folder: folder.rows([(1, 0, 0), *folder.ROWS[1:]]),
    "an item": lambda folder: folder.rows([(0, 3, 0), *folder.ROWS[1:]]),
    "a user and an item exchanged": lambda folder: folder.rows([(0, 0, 0), (1, 0, 0), *folder.ROWS[2:]]),
    "users exchanged": lambda folder: folder.rows(
        [(2, 0, 0), *folder.ROWS[1:3], (0, 2, 0), *folder.ROWS[4:]]
    ),
    "a value of the features": lambda folder: folder.features(values=np.eye(4, 5) + np.eye(4, 5, 4) * 1e-9),
    "their rows": lambda folder: folder.features(values=np.eye(4, 5)[::-1]),
    "their type": lambda folder: folder.features(values=np.eye(4, 5, dtype=np.float32)),
    "a modality more": lambda folder: folder.features("audio"),
    "a modality less": lambda folder: (folder.path / "image_feat.npy").unlink(),
    "its name": lambda folder: (folder.path / "image_feat.npy").rename(folder.path / "video_feat.npy"),
    "a graph": lambda folder: folder.graph("text", cosine=np.tile([1, 0.5, 0.25], (4, 1))),
    "a graph more": lambda folder: folder.graph("image"),
}


@pytest.fixture
def full(folder):
    """The folder with features of one modality and a graph of another."""
    folder.features(values=np.eye(4, 5))
    folder.graph("text")
    return folder


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_digest_changes_with(full, change):
    before = full.load().digest()
    assert before == full.load().digest()
    change(full)
    assert full.load().digest() != before


def test_digest_is_of_content_wherever_and_whenever_it_was_written(full, tmp_path):
    before = full.load().digest()
    for path in full.path.iterdir():
        os.utime(path, (1, 1))
    assert full.load().digest() == before
    shutil.copytree(full.path, tmp_path / "elsewhere" / "tiny")
    shutil.copytree(full.path, tmp_path / "elsewhere" / "renamed")
    assert full.load(data_path=tmp_path / "elsewhere", cache_path=tmp_path / "other").digest() == before
    other = full.load(data_path=tmp_path / "elsewhere", dataset="renamed", inter_file_name="tiny.inter")
    assert other.digest() == before


def test_digest_is_of_interactions_as_read(full):
    before = full.load().digest()
    full.inter.write_text(full.inter.read_text().replace("\n", "\tany\n") + "0\t0\t0\tagain\n")
    assert full.load().digest() == before


def test_digest_depends_on_the_modalities_that_are_taken_and_on_their_order(full):
    names = (None, ["image"], ["text"], ["text", "image"], [])
    assert len({full.load(modalities=one).digest() for one in names}) == len(names)
    assert full.load(modalities=["image", "text"]).digest() == full.load().digest()


# ------------------------------------------------------------------------------------------------- describe


def test_describe(folder):
    assert folder.load().describe() == [
        "data       tiny: 3 users, 4 items, 8 interactions, density 66.7 %",
        "           2.7 per user, 2.0 per item; 4 training, 2 validation, 2 test; 0 users dropped",
        "modality   none",
    ]


def test_describe_with_large_numbers_dropped_users_and_modalities(folder):
    folder.rows([*folder.ROWS, *((n, 3, 0) for n in range(3, 1234)), (2000, 0, 1)])
    folder.features("text", np.ones((4, 2), np.float32))
    folder.graph("image")
    assert folder.load().describe() == [
        "data       tiny: 2,001 users, 4 items, 1,239 interactions, density 15.5 %",
        "           0.6 per user, 309.8 per item; 1,235 training, 2 validation, 2 test; 1 users dropped",
        "modality   image: kNN graph image_knn3.npz",
        "modality   text: raw features text_feat.npy (4, 2) float32",
    ]


# ----------------------------------------------------------------------------------------------- what is not


@pytest.mark.parametrize(
    "part",
    [
        "data set 'other' is not in ",
        "/data/other: missing other.inter (a header and columns userID, itemID, x_label, separated by '\\t'; "
        "ids from 0; 0 training, 1 validation, 2 test); ",
        "MMRec's data folders work unchanged (its README links the downloads)",
        "data_path=... points to data elsewhere, and -d demo needs none",
    ],
)
def test_a_missing_data_set_is_told_with_files_place_format_and_how_to_get_it(folder, fails, part):
    fails(folder.load, part, dataset="other")


def test_a_missing_data_set_is_told_with_the_features_that_are_configured(folder, fails):
    (folder.root / "data" / "new").mkdir()
    (folder.root / "data" / "new" / "here.npy").write_bytes(b"")
    message = (
        "missing new.inter (a header and columns u, itemID, x_label, separated by ','; ids from 0; 0 training, "
        "1 validation, 2 test) and v.npy, sound.npy (a row of numbers per item; or <modality>_knn<k>.npz);"
    )
    modalities = {"audio": "sound.npy", "video": "here.npy"}
    settings = {"vision_feature_file": "v.npy", "USER_ID_FIELD": "u", "field_separator": ","}
    fails(folder.load, message, dataset="new", modalities=modalities, **settings)


@pytest.mark.parametrize("name", ["tinny", "TINY", "tiny2"])
def test_a_mistyped_folder_is_told_the_nearest(folder, fails, name):
    fails(folder.load, "; did you mean 'tiny'?; MMRec's data folders", dataset=name)


@pytest.mark.parametrize("make", ["mkdir", "touch"])
def test_only_folders_that_are_near_are_hints(folder, fails, make):
    getattr(folder.root / "data" / "sports", make)()
    hint = "; did you mean 'sports'?" if make == "mkdir" else ""
    fails(folder.load, f"1 validation, 2 test){hint}; MMRec's", dataset="sport")
    fails(folder.load, "1 validation, 2 test); MMRec's", dataset="elsewhere")


def test_a_wrong_file_name_is_told_the_files_that_are_there(folder, fails):
    (folder.path / "more.inter").touch()
    message = "; found more.inter, tiny.inter there: is the inter_file_name tyni.inter right?; MMRec's"
    fails(folder.load, message, inter_file_name="tyni.inter")


def test_a_folder_without_interactions_and_a_data_path_that_is_not_there(folder, fails):
    folder.inter.unlink()
    fails(folder.load, "/data/tiny: missing tiny.inter")
    fails(folder.load, "1 validation, 2 test); MMRec's")
    fails(folder.load, "/nowhere/tiny: missing tiny.inter", data_path=folder.root / "nowhere")


def test_a_folder_in_the_place_of_the_interactions(folder, fails):
    folder.inter.unlink()
    folder.inter.mkdir()
    fails(folder.load, "/data/tiny: missing tiny.inter")


def test_interactions_may_lie_outside_of_a_folder_that_is_not_there(folder):
    dataset = folder.load(dataset="other", inter_file_name=str(folder.inter))
    assert (rows_of(dataset), dataset.modalities) == (rows_of(folder.load()), {})


# ------------------------------------------------------------------------------------------------------ demo


@pytest.fixture
def small(monkeypatch):
    """A demo data set that is made in no time."""
    monkeypatch.setattr(demo, "N_USERS", 50)
    monkeypatch.setattr(demo, "N_ITEMS", 40)


def test_demo_is_generated_at_first_use_alone(folder, small, monkeypatch, logged):
    place = folder.root / "data" / "demo"
    first = folder.load(dataset="demo")
    assert logged == [f"demo data generated in {place}"]
    assert sorted(os.listdir(place.parent)) == ["demo", "tiny"]
    monkeypatch.setattr(demo, "generate", None)
    second = folder.load(dataset="demo")
    assert (first.digest(), rows_of(first)) == (second.digest(), rows_of(second))
    assert len(logged) == 1


def test_demo_has_the_format_of_mmrec(folder, small):
    dataset = folder.load(dataset="demo", data_path=folder.root / "not" / "yet")
    place = folder.root / "not" / "yet" / "demo"
    assert sorted(os.listdir(place)) == ["demo.inter", "image_feat.npy", "text_feat.npy"]
    lines = (place / "demo.inter").read_text().splitlines()
    assert lines[0].split("\t") == ["userID", "itemID", "x_label"]
    assert len(lines) - 1 == dataset.inter_num
    assert (dataset.n_users, dataset.n_items, dataset.warnings) == (50, 40, [])
    assert list(dataset.modalities) == ["image", "text"]
    for name, modality in dataset.modalities.items():
        stored = np.load(place / f"{name}_feat.npy")
        assert (stored.dtype, len(stored)) == (np.float32, 40)
        np.testing.assert_array_equal(modality.features().numpy(), stored)


def test_a_folder_demo_of_ones_own_is_left_as_it_is(folder, monkeypatch):
    monkeypatch.setattr(demo, "generate", None)
    shutil.copytree(folder.path, folder.root / "data" / "demo")
    (folder.root / "data" / "demo" / "tiny.inter").rename(folder.root / "data" / "demo" / "demo.inter")
    assert rows_of(folder.load(dataset="demo")) == rows_of(folder.load())


@pytest.mark.parametrize("path", ["file", "file/below", "file/far/below"])
def test_demo_that_cannot_be_written_is_an_error(folder, fails, small, path):
    (folder.root / "file").write_text("a file where a folder should be")
    place = folder.root / path
    fails(folder.load, f"cannot write the demo data to {place / 'demo'}: ", dataset="demo", data_path=place)
    fails(folder.load, "; set data_path=... to a folder that can be written", dataset="demo", data_path=place)


def test_demo_never_replaces_a_folder_with_other_files(folder, fails, small):
    place = folder.root / "data" / "demo"
    place.mkdir()
    (place / "notes").touch()
    fails(folder.load, f"cannot write the demo data to {place}: Directory not empty", dataset="demo")
    assert (os.listdir(place), sorted(os.listdir(place.parent))) == (["notes"], ["demo", "tiny"])
