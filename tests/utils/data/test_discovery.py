"""Which modalities there are: by the names of files, by MMRec's keys, by `modalities`."""

from __future__ import annotations

import re

import numpy as np
import pytest

from utils.data.discovery import find_modalities
from utils.errors import UserError


@pytest.fixture
def find(folder, settings):
    """Modalities by name as (features file or None, graph files by k); `find.warnings` of the last call."""

    def call(**others):
        call.warnings = []
        config = type(settings)(folder.root, **others)
        found = find_modalities(config, folder.path, 4, call.warnings.append)
        assert all(modality.name == name for name, modality in found.items())
        return {name: _files(modality) for name, modality in found.items()}

    return call


def _files(modality):
    graphs = {k: path.name for k, path in modality.graph_files.items()}
    return modality.features_file.name if modality.has_features else None, graphs


@pytest.fixture
def four(folder):
    """A folder with features of four modalities."""
    for name in ("video", "text", "audio", "image"):
        folder.features(name)
    return folder


# --------------------------------------------------------------------------------------------------- by name


def test_by_name_image_and_text_come_first_then_the_others_by_alphabet(four, find):
    assert list(find()) == ["image", "text", "audio", "video"]
    assert find.warnings == []


def test_by_name_features_and_graphs_of_one_name_are_one_modality(folder, find):
    folder.features("image")
    folder.graph("image")
    folder.graph("image", [[0, 1]] * 4)
    folder.graph("speech", [[0, 1]] * 4)
    folder.features("image_text")
    folder.graph("image_text", [[0]] * 4)
    assert find() == {
        "image": ("image_feat.npy", {2: "image_knn2.npz", 3: "image_knn3.npz"}),
        "image_text": ("image_text_feat.npy", {1: "image_text_knn1.npz"}),
        "speech": (None, {2: "speech_knn2.npz"}),
    }


@pytest.mark.parametrize("name", ["clip.v2", "mel-spectrogram", "a b", "ton-é", "_"])
def test_by_name_any_name_of_a_file_is_one(folder, find, name):
    folder.features(name)
    folder.graph(name)
    assert find() == {name: (f"{name}_feat.npy", {3: f"{name}_knn3.npz"})}


@pytest.mark.parametrize(
    "file",
    [
        ".image_feat.npy", "._image_feat.npy", ".image_knn3.npz", "_feat.npy", "feat.npy", "_knn3.npz", "image.npy",
        "image_feat.npz", "image_feat.npy.part", "image_knn.npz", "image_knnx.npz", "image_knn3.npy", "image_knn-3.npz",
        "user_graph_dict.npy", "image_FEAT.npy",
    ],
)  # fmt: skip
def test_by_name_hidden_and_other_files_are_ignored(folder, find, file):
    (folder.path / file).write_bytes(b"no array, and never opened")
    assert (find(), find.warnings) == ({}, [])


def test_by_name_folders_are_ignored(folder, find):
    (folder.path / "image_feat.npy").mkdir()
    (folder.path / "deeper").mkdir()
    np.save(folder.path / "deeper" / "text_feat.npy", np.ones((4, 2)))
    assert (find(), find.warnings) == ({}, [])


def test_a_broken_file_is_an_error_at_once_if_its_modality_is_taken(four, find, fails):
    (four.path / "audio_feat.npy").write_bytes(b"")
    fails(find, "audio_feat.npy is no .npy file")
    assert list(find(modalities=["video"])) == ["video"]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_any_number_of_modalities(folder, count):
    names = [f"m{n}" for n in range(count)]
    for n, name in enumerate(names):
        folder.features(name, np.full((4, n + 1), n + 1.0))
    modalities = folder.load().modalities
    assert list(modalities) == names
    assert [m.features().sum().item() for m in modalities.values()] == [4 * n**2 for n in range(1, count + 1)]


# -------------------------------------------------------------------------------------------- by MMRec's keys


def test_keys_of_mmrec_name_the_files_and_the_others_are_not_taken(four, find):
    four.features(file="v.npy")
    four.features(file="t.npy")
    expected = {"image": ("v.npy", {}), "text": ("t.npy", {})}
    assert find(text_feature_file="t.npy", vision_feature_file="v.npy") == expected
    left = [warning.split("'")[1] for warning in find.warnings if "has files in" in warning]
    assert left == ["audio", "video"]
    assert find(text_feature_file="t.npy") == {"text": ("t.npy", {})}


def test_graphs_are_found_by_name_beside_the_keys_of_mmrec(folder, find):
    folder.features(file="v.npy")
    folder.graph("image")
    folder.graph("text")
    expected = {"image": ("v.npy", {3: "image_knn3.npz"}), "text": (None, {3: "text_knn3.npz"})}
    assert find(vision_feature_file="v.npy", text_feature_file="absent.npy") == expected
    assert find.warnings == []


# ---------------------------------------------------------------------------------------- by a list of names


def test_a_list_keeps_its_order_and_names_a_modality_once(four, find):
    assert list(find(modalities=["video", "image", "video", "audio", "image"])) == ["video", "image", "audio"]
    assert find(modalities=[]) == {}


def test_a_list_takes_files_from_the_keys_of_mmrec_and_the_others_by_name(four, find):
    four.features(file="v.npy")
    found = find(modalities=["audio", "image"], vision_feature_file="v.npy", text_feature_file="absent.npy")
    assert found == {"audio": ("audio_feat.npy", {}), "image": ("v.npy", {})}
    assert find.warnings == []


@pytest.mark.parametrize(
    ("name", "hint"), [("imge", "; did you mean 'image'?"), ("Text", "; did you mean 'text'?"), ("price", "")]
)
def test_a_name_that_is_not_there_is_an_error_with_those_that_are(folder, find, name, hint):
    folder.features("image")
    folder.graph("text")
    message = f"modalities: no files of '{name}' in {folder.path}; available: image, text{hint}"
    with pytest.raises(UserError, match=f"{re.escape(message)}$"):
        find(modalities=["image", name])


def test_a_name_where_there_is_none_or_whose_configured_file_is_absent(folder, find, fails):
    fails(find, f"modalities: no files of 'image' in {folder.path}; there is none", modalities=["image"])
    absent = {"modalities": ["image"], "vision_feature_file": "absent.npy"}
    fails(find, "modalities: no files of 'image'", **absent)


# ---------------------------------------------------------------------------------------------- by a mapping


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("sound.npy", ("sound.npy", {})),
        ("g-knn2.npz", (None, {2: "g-knn2.npz"})),
        ({"features": "sound.npy"}, ("sound.npy", {})),
        ({"graph": "g-knn2.npz"}, (None, {2: "g-knn2.npz"})),
        ({"features": "sound.npy", "graph": "g-knn2.npz"}, ("sound.npy", {2: "g-knn2.npz"})),
    ],
)
def test_a_mapping_names_files_of_any_name(four, find, entry, expected):
    four.features(file="sound.npy")
    four.graph("speech", [[0, 1]] * 4, file="g-knn2.npz")
    assert find(modalities={"speech": entry}) == {"speech": expected}
    assert find.warnings == []


def test_a_graph_of_a_mapping_goes_with_the_features_and_the_graphs_of_the_usual_names(folder, find):
    folder.features("audio")
    folder.graph("audio")
    folder.graph("audio", [[0, 1]] * 4)
    folder.graph("audio", [[0, 1]] * 4, file="better_knn2.npz")
    expected = {"audio": ("audio_feat.npy", {2: "better_knn2.npz", 3: "audio_knn3.npz"})}
    assert find(modalities={"audio": "better_knn2.npz"}) == expected


def test_a_mapping_takes_files_from_other_folders(folder, find):
    elsewhere = folder.root / "elsewhere.npy"
    np.save(elsewhere, np.ones((4, 2)))
    assert find(modalities={"a": str(elsewhere), "b": "../../elsewhere.npy"}) == {
        "a": ("elsewhere.npy", {}),
        "b": ("elsewhere.npy", {}),
    }


def test_of_a_mapping_image_and_text_come_first_then_the_others_as_they_stand(four, find):
    names = ("video", "text", "audio", "image")
    assert list(find(modalities={name: f"{name}_feat.npy" for name in names})) == [
        "image",
        "text",
        "video",
        "audio",
    ]


def test_a_mapping_goes_before_the_keys_of_mmrec_and_beside_them(four, find):
    keys = {"vision_feature_file": "image_feat.npy", "text_feature_file": "text_feat.npy"}
    found = find(modalities={"image": "video_feat.npy", "sound": "audio_feat.npy"}, **keys)
    assert {name: files[0] for name, files in found.items()} == {
        "image": "video_feat.npy",
        "text": "text_feat.npy",
        "sound": "audio_feat.npy",
    }


def test_a_number_is_a_name_too(folder, find):
    folder.features("5")
    assert find(modalities={5: "5_feat.npy"}) == {"5": ("5_feat.npy", {})}


# --------------------------------------------------------------------------------------- absent and bad entries


def test_what_mmrecs_keys_name_and_is_absent_is_left_out_with_a_warning(folder, find):
    folder.features("image")
    assert list(find(vision_feature_file="image_feat.npy", text_feature_file="t.npy")) == ["image"]
    assert find.warnings == [
        f"modality 'text' left out, as its files are not in {folder.path}: t.npy or text_knn<k>.npz"
    ]
    assert find(vision_feature_file="v.npy", text_feature_file="t.npy") == {}
    assert len(find.warnings) == 2


def test_a_file_that_the_run_itself_names_is_there(folder, find, fails):
    folder.features("image")
    message = f"text_feature_file=txt.npy (command line) is not in {folder.path}; correct the name"
    fails(find, message, text_feature_file="txt.npy", origin="command line")


@pytest.mark.parametrize("present", [None, "features", "graph"])
@pytest.mark.parametrize(
    ("entry", "absent"),
    [
        ("a.npy", "a.npy"),
        ("g_knn3.npz", "g_knn3.npz"),
        ({"graph": "g_knn3.npz"}, "g_knn3.npz"),
        ({"features": "a.npy", "graph": "audio_knn2.npz"}, "a.npy"),
    ],
)
def test_what_a_mapping_names_has_to_be_there(folder, find, fails, entry, absent, present):
    if present:
        getattr(folder, present)("audio", *([[[0, 1]] * 4] if present == "graph" else []))
    message = f"modalities: {folder.path / absent} of audio is not there; correct the name, or leave it out"
    fails(find, message, modalities={"audio": entry})


@pytest.mark.parametrize(
    "entry", [None, 5, True, [], ["a.npy"], {}, {"features": None}, {"graph": ["a_knn5.npz"]}]
)
def test_an_entry_that_is_no_file_is_an_error(four, find, fails, entry):
    message = f"modalities: audio expects a file, or {{features: file, graph: file}}, got {entry!r}"
    fails(find, message, modalities={"image": "image_feat.npy", "audio": entry})


@pytest.mark.parametrize(
    ("key", "hint"),
    [("feature", "; did you mean 'features'?"), ("Graph", "; did you mean 'graph'?"), (3, "")],
)
def test_an_entry_with_another_key_is_an_error(four, find, fails, key, hint):
    message = f"modalities: audio expects a file, or {{features: file, graph: file}}, got '{key}'{hint}"
    fails(find, message, modalities={"audio": {"features": "audio_feat.npy", key: "x"}})


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a/b", "/a", "a\\b"])
def test_a_name_that_cannot_be_a_part_of_file_names_is_an_error(four, find, fails, name):
    message = f"modalities: {name!r} is no name; expected one without slashes or a leading dot"
    fails(find, message, modalities={name: "audio_feat.npy"})


@pytest.mark.parametrize(
    "file", ["graph.npz", "audio_knn.npz", "audio_knn10_v2.npz", "10.npz", "audio_KNN3.npz"]
)
@pytest.mark.parametrize("wrap", [str, lambda file: {"graph": file}])
def test_a_graph_whose_name_lacks_its_number_of_neighbours_is_an_error(folder, find, fails, file, wrap):
    folder.graph("audio", file=file)
    message = (
        f"modalities: graph {file} of audio does not say its number of neighbours; expected a name that ends in "
        f"knn<k>.npz, such as audio_knn10.npz"
    )
    fails(find, message, modalities={"audio": wrap(file)})
