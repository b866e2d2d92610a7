"""One fault each in a good data set: what is said of it, that nothing else is an error, and that nothing is written.

`Good.check` compares every file before and after.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from utils.checking.checker import check_dataset
from utils.cli import main

FAULTS = {}


def fault(*expected: tuple[str, str, str]):
    """`expected`: severity, where it is (a beginning) and a part of what is said."""

    def register(function):
        FAULTS[function.__name__] = (function, expected)
        return function

    return register


def line(good, label: int) -> int:
    return good.first(label) + 2


# ------------------------------------------------------------------------------------------------ the table as a file


@fault(("error", "good.inter", "no such file"))
def no_inter(good):
    good.inter.unlink()


@fault(("error", "good.inter", "the file is empty"))
def empty_file(good):
    good.inter.write_text("")


@fault(("error", "good.inter", "a header and nothing below"))
def header_alone(good):
    good.write([])


@fault(("error", "good.inter, header", "no header"))
def no_header(good):
    good.inter.write_text("\n".join("\t".join(row) for row in good.rows()))


@fault(("error", "good.inter, header", "separated by commas"))
def wrong_separator(good):
    good.inter.write_text(good.inter.read_text().replace("\t", ","))


@fault(("error", "good.inter, header", "no column 'x_label', found 'userID', 'itemID', 'label'"))
def missing_column(good):
    good.write(good.rows(), "userID\titemID\tlabel")


@fault(("error", "good.inter", "no UTF-8 text: byte 0xe9"))
def latin_1(good):
    good.inter.write_bytes(good.inter.read_bytes() + b"\xe9\t0\t0\n")


@fault(("error", "good.inter", "it is a gzip file"))
def gzip_in_disguise(good):
    good.inter.write_bytes(gzip.compress(good.inter.read_bytes()))


@fault(("error", "good.inter", "it is a zip archive"))
def zip_in_disguise(good):
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("../../evil", "x")
    good.inter.write_bytes(buffer.getvalue())


@fault(("error", "good.inter", "it is a tar archive"))
def tar_in_disguise(good):
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as archive:
        archive.add(good.path / "good.yaml", "good.yaml")
    good.inter.write_bytes(buffer.getvalue())


@fault(("error", "good.inter", "a web page"))
def web_page(good):
    good.inter.write_text("<!DOCTYPE html><title>Sign in</title>")


@fault(("error", "good.inter, line 6", "1 line with too few fields"))
def short_line(good):
    rows = good.rows()
    good.write([*rows[:4], ["0", "1"], *rows[4:]])


# ---------------------------------------------------------------------------------------------------- ids and labels


@fault(("error", "good.inter, line 2", "userID is negative in 1 row, such as '-1'"))
def negative_id(good):
    good.edit(0, 0, "-1")


@fault(("error", "good.inter, line 2", "itemID is written with a point or an exponent in 1 row"))
def fractional_id(good):
    good.edit(0, 1, good.rows()[0][1] + ".0")


@fault(("error", "good.inter, lines 2 and 4", "itemID is no number in 2 rows, such as 'B00X'"))
def text_id(good):
    good.edit(0, 1, "B00X")
    good.edit(2, 1, "B00Y")


@fault(("error", "good.inter, line 2", "userID is empty in 1 row"))
def empty_id(good):
    good.edit(0, 0, "")


@fault(("error", "good.inter, line 2", "itemID is in quotes"))
def quoted_id(good):
    good.edit(0, 1, f'"{good.rows()[0][1]}"')


@fault(("error", "good.inter, line 2", "userID is too large for 64 bits"))
def huge_id(good):
    good.edit(0, 0, str(2**63))


@fault(("error", "good.inter, line 2", "userID runs up to 999999999999, with only 150 different ids"))
def raw_ids(good):
    good.write([["999999999999" if row[0] == "0" else row[0], *row[1:]] for row in good.rows()])
    # the lines of user 0 come first


@fault(
    ("warning", "good.inter", "1 id of itemID in no split, of 0 to 91: 90"),
    ("error", "image_feat.npy", "90 rows for 92 items"),
    ("error", "text_feat.npy", "90 rows for 92 items"),
    ("error", "image_mask.npy", "shape (90,)"),
    ("error", "shape_knn10.npz", "neighbours has shape (90, 10), 92 rows expected"),
)
def item_beyond_the_features(good):
    good.write([*good.rows(), ["0", "91", "0"]])


@fault(("warning", "good.inter", "userID counts from 1, not from 0"))
def users_from_1(good):
    good.write([[str(int(row[0]) + 1), *row[1:]] for row in good.rows()])


@fault(("warning", "good.inter", "1 id of itemID in no split, of 0 to 89: 40"))
def item_in_no_split(good):
    good.write([row for row in good.rows() if row[1] != "40"])


@fault(("warning", "good.inter", "not re-indexed"))
def sparse_users(good):
    good.write([[str(int(row[0]) * 7), *row[1:]] for row in good.rows()])


@fault(("error", "good.inter, line 2", "x_label is none of 0, 1, 2 in 1 row, such as '3'"))
def label_3(good):
    good.edit(0, 2, "3")


@fault(("error", "good.inter, line 2", "x_label is no number in 1 row, such as 'train'"))
def label_text(good):
    good.edit(0, 2, "train")


@fault(("error", "good.inter", "no validation rows"))
def no_validation(good):
    good.write([row for row in good.rows() if row[2] != "1"])


# ------------------------------------------------------------------------------------------------------------- splits


@fault(("warning", "good.inter, line 1639", "1 training row stands there already"))
def duplicate(good):
    rows = good.rows()
    good.write([*rows, rows[good.first(0)]])


def repeat(good, label: int, again: int) -> None:
    rows = good.rows()
    row = rows[good.first(label)]
    good.write([*rows, [*row[:2], str(again)]])


@fault(("error", "good.inter, line 1639", "1 user-item pair of validation in training too"))
def train_in_validation(good):
    repeat(good, 0, 1)


@fault(("error", "good.inter, line 1639", "1 user-item pair of test in training too: masked"))
def train_in_test(good):
    repeat(good, 0, 2)


@fault(("error", "good.inter, line 1639", "1 user-item pair of test in validation too: chosen"))
def validation_in_test(good):
    repeat(good, 1, 2)


@fault(("warning", "good.inter, line", "1 user without training rows, 5, with 2 rows held out"))
def user_without_training(good):
    good.write([row for row in good.rows() if row[0] != "5" or row[2] != "0"])


@fault(("warning", "good.inter, lines", "held out and never trained"))
def cold_items(good):
    rows = good.rows()
    good.write([row for row in rows if int(row[1]) > 8 or row[2] != "0"])


@fault(("warning", "good.inter", "only 10 users in test"))
def few_to_test(good):
    good.write([row for row in good.rows() if row[2] != "2" or int(row[0]) < 10])


@fault(("warning", "good.inter, line 2", "1 training row later than the first row held out"))
def future_in_training(good):
    rows = [[*row, str(100 + int(row[2]))] for row in good.rows()]
    rows[0] = [*rows[0][:2], "0", "500"]
    good.write(rows, "userID\titemID\tx_label\ttimestamp")
    (good.path / "card.json").write_text(json.dumps({"split": {"name": "global-time"}}))


# ----------------------------------------------------------------------------------------------------------- features


@fault(("error", "image_feat.npy", "89 rows for 90 items"))
def a_row_too_few(good):
    good.save(good.features()[:-1])


@fault(("error", "image_feat.npy", "95 rows for 90 items"))
def rows_too_many(good):
    good.save(np.vstack([good.features(), good.features()[:5] + 1]))


@fault(("error", "image_feat.npy", "1 dimensions"))
def one_dimension(good):
    good.save(good.features()[:, 0])


@fault(("error", "image_feat.npy", "3 dimensions"))
def three_dimensions(good):
    good.save(good.features()[:, None])


@fault(("error", "image_feat.npy", "pickled Python objects, which are never loaded"))
def object_array(good):
    good.save(np.array([{"evil": 1}] * 90, dtype=object), allow_pickle=True)


@fault(("error", "image_feat.npy", "it is a Python pickle"))
def pickle_named_npy(good):
    (good.path / "image_feat.npy").write_bytes(pickle.dumps(Trap()))


@fault(("error", "image_feat.npy", "it is a zip archive"))
def npz_named_npy(good):
    np.savez(buffer := io.BytesIO(), good.features())
    (good.path / "image_feat.npy").write_bytes(buffer.getvalue())


@fault(("error", "image_feat.npy", "complex64"))
def complex_numbers(good):
    good.save(good.features().astype(np.complex64))


@fault(("error", "image_feat.npy", "<U"))
def strings(good):
    good.save(good.features().astype("U8"))


@fault(("error", "image_feat.npy, row 3", "NaN, infinity or a number too large for float32 in 1 row"))
def nan(good):
    values = good.features()
    values[3, 2] = np.nan
    good.save(values)


@fault(("error", "image_feat.npy, row 4", "too large for float32 in 1 row"))
def too_large_for_float32(good):
    values = good.features().astype(np.float64)
    values[4, 0] = 1e300
    good.save(values)


@fault(("error", "image_feat.npy", "truncated"))
def truncated(good):
    path = good.path / "image_feat.npy"
    path.write_bytes(path.read_bytes()[:-100])


@fault(("error", "image_feat.npy", "truncated"))
def a_fortran_header_of_terabytes(good):
    header = {"descr": "<f4", "fortran_order": True, "shape": (90, 10**10)}
    with open(good.path / "image_feat.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


@fault(("error", "image_feat.npy", "damaged header"))
def damaged_header(good):
    path = good.path / "image_feat.npy"
    path.write_bytes(path.read_bytes().replace(b"descr", b"des(r"))


@fault(("warning", "image_feat.npy, rows 3 and 7", "2 rows of zeros"))
def zero_rows(good):
    values = good.features()
    values[[3, 7]] = 0
    good.save(values)


@fault(("warning", "image_feat.npy, rows 0, 3, 6, ...", "10 rows share one vector, as a mean"))
def one_mean_for_the_missing(good):
    values = good.features()
    values[:30:3] = values.mean(0)
    good.save(values)


@fault(
    ("error", "image_feat.npy, rows 0, 1, 2", "all 90 rows are equal"),
    ("warning", "image_feat.npy", "order of items"),
)
def all_equal(good):
    good.save(np.ones((90, 12), dtype=np.float32))


@fault(("warning", "image_feat.npy", "8 of 12 columns have one value throughout"))
def constant_columns(good):
    values = good.features()
    values[:, 4:] = 1
    good.save(values)


@fault(("warning", "image_feat.npy", "rows may not be in the order of items, not better than chance"))
def permuted_rows(good):
    good.save(good.features()[np.random.default_rng(1).permutation(90)])


@fault(("error", "image_mask.npy", "type float64 and shape (90,)"))
def mask_of_floats(good):
    np.save(good.path / "image_mask.npy", np.ones(90))


@fault(("error", "image_mask.npy", "shape (80,)"))
def short_mask(good):
    np.save(good.path / "image_mask.npy", np.ones(80, dtype=bool))


# ------------------------------------------------------------------------------------------------------------- graphs


def regraph(good, **arrays) -> None:
    np.savez(good.path / "shape_knn10.npz", **good.arrays() | arrays)


@fault(("error", "shape_knn10.npz", "row 2: neighbour 90 is no item"))
def neighbour_out_of_range(good):
    neighbours = good.arrays()["neighbours"]
    neighbours[2, 9] = 90
    regraph(good, neighbours=neighbours)


@fault(("warning", "shape_knn10.npz, rows 0, 1, 2", "90 items not among their own neighbours"))
def no_selves(good):
    neighbours = good.arrays()["neighbours"]
    regraph(good, neighbours=np.where(neighbours == np.arange(90)[:, None], -1, neighbours))


@fault(("error", "shape_knn10.npz", "neighbours has 9 columns, and its name says 10"))
def graph_of_9(good):
    regraph(good, **{name: values[:, :9] for name, values in good.arrays().items()})


@fault(("error", "shape_knn10.npz, row 1", "cosines outside -1 to 1 in 1 row"))
def cosine_of_2(good):
    cosine = good.arrays()["cosine"]
    cosine[1, 0] = 2
    regraph(good, cosine=cosine)


@fault(("warning", "shape_knn10.npz, row 1", "cosines rise in 1 row"))
def rising_cosines(good):
    cosine = good.arrays()["cosine"]
    cosine[1] = cosine[1, ::-1]
    regraph(good, cosine=cosine)


@fault(("error", "shape_knn10.npz", "neighbours holds pickled Python objects"))
def pickled_graph(good):
    regraph(good, neighbours=np.array([[Trap()] * 10] * 90, dtype=object))


@fault(("error", "shape_knn10.npz", "no 'cosine' in it"))
def graph_without_cosines(good):
    np.savez(good.path / "shape_knn10.npz", neighbours=good.arrays()["neighbours"])


@fault(("error", "shape_knn10.npz", "no .npz file, or truncated"))
def truncated_graph(good):
    path = good.path / "shape_knn10.npz"
    path.write_bytes(path.read_bytes()[:-300])


@fault(("warning", "image_knn10.npz", "stale: it has"))
def graph_of_other_features(good):
    good.graph("image", np.random.default_rng(9).standard_normal((90, 12)))


# --------------------------------------------------------------------------- YAML, paths, caches, titles


@fault(("error", "dataset/good.yaml", "could not determine a constructor"))
def unsafe_tag(good):
    good.yaml("inter_file_name: !!python/object/apply:os.system ['touch /tmp/owned']\n")


@fault(("error", "good.yaml", "code where YAML is read unsafely"))
def unsafe_tag_beside_the_data(good):
    (good.path / "good.yaml").write_text("a: !!python/object/apply:os.system ['true']\n")


@fault(("error", "dataset/good.yaml", ""))
def broken_yaml(good):
    good.yaml("inter_file_name: [good.inter\n")


@fault(
    (
        "error",
        "dataset/good.yaml",
        "vision_feature_file is '../../../etc/passwd', which leaves the data folder",
    )
)
def path_upwards(good):
    good.yaml("vision_feature_file: ../../../etc/passwd\n")


@fault(("error", "dataset/good.yaml", "inter_file_name is '/etc/passwd', which leaves the data folder"))
def absolute_path(good):
    good.yaml("inter_file_name: /etc/passwd\n")


@fault(("error", "dataset/good.yaml", "modality audio names audio.npy, which is not there"))
def modality_not_there(good):
    good.yaml("modalities: {audio: audio.npy}\n")


@fault(("warning", "dataset/good.yaml", "unknown setting 'inter_file'"))
def misspelt_setting(good):
    good.yaml("inter_file: good.inter\n")


@fault(("warning", "text_feat.npy", "a link that leads out of the folder"))
def link_out(good):
    os.rename(good.path / "text_feat.npy", good.root / "elsewhere.npy")
    os.symlink(good.root / "elsewhere.npy", good.path / "text_feat.npy")


@fault(("error", "pipe", "no regular file"))
def a_pipe(good):
    os.mkfifo(good.path / "pipe")


@fault(("warning", "image_adj_10.pt", "stale: a cache of MMRec's"))
def stale_cache(good):
    (good.path / "image_adj_10.pt").write_bytes(pickle.dumps(Trap()))
    os.utime(good.path / "image_adj_10.pt", (1, 1))


@fault(("warning", "user_dict.npy", "a Python pickle, which is never loaded"))
def stray_pickle(good):
    (good.path / "user_dict.npy").write_bytes(pickle.dumps(Trap()))


@fault(("error", "items.csv, line 92", "itemID is '90'"))
def title_of_no_item(good):
    with open(good.path / "items.csv", "a") as file:
        file.write("90,more\n")


@fault(("warning", "card.json", "stale: it describes other interactions"))
def stale_card(good):
    (good.path / "card.json").write_text('{"hash": "0"}')


@fault(("warning", "card.json", "cannot be read"))
def broken_card(good):
    (good.path / "card.json").write_text("{")


class Trap:
    """Whoever unpickles it leaves a trace."""

    TRACE = Path(os.environ.get("TMPDIR", "/tmp")) / f"check-trap-{os.getpid()}"

    def __reduce__(self):
        return (os.mkdir, (str(self.TRACE),))


# -------------------------------------------------------------------------------------------------------------- tests


def test_the_good_set_has_nothing_wrong(good):
    report = good.check()
    assert [one for one in report.findings.found if one.severity != "note"] == []
    assert sum("in the order of items" in one.what for one in report.findings.found) == 3
    assert report.lines()[-1].endswith(
        "= 0 errors, 0 warnings, 3 notes; 150 users, 90 items, 1,637 interactions; modalities image, shape, text"
    )


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault(name, good):
    break_it, expected = FAULTS[name]
    break_it(good)
    report = good.check()
    found = report.findings.found
    for severity, where, what in expected:
        assert any(
            one.severity == severity and one.where.startswith(where) and what in one.what and one.fix
            for one in found
        ), "\n".join(report.lines())
    errors = sum(severity == "error" for severity, _, _ in expected)
    assert report.findings.count("error") == errors, "\n".join(report.lines())
    assert report.failed() == bool(errors) and report.failed(strict=True)
    assert not Trap.TRACE.exists()


def test_there_are_at_least_thirty_kinds():
    assert len(FAULTS) >= 30


def test_all_faults_are_reported_not_the_first_alone(good):
    for name in ("negative_id", "label_3", "nan", "cosine_of_2", "train_in_test"):
        FAULTS[name][0](good)
    assert good.check().findings.count("error") == 5


@pytest.mark.parametrize("step", [-1, 1])
def test_rows_off_by_one_are_named(good, step):
    good.save(np.roll(good.features(), step, axis=0))
    (warning,) = [one for one in good.check().findings.found if one.severity == "warning"]
    assert f"item i is in row i{step:+d}" in warning.fix


def test_masked_rows_may_be_zero_or_nan_free(good):
    values, mask = good.features(), np.ones(90, dtype=bool)
    values[:20], mask[:20] = 0, False
    good.save(values)
    np.save(good.path / "image_mask.npy", mask)
    assert not good.check().failed(strict=True)


def test_a_changed_cache_is_an_error_and_stays_as_it_is(good):
    from utils.checking.settings import DataSettings
    from utils.data.dataset import Dataset

    places = {"data_path": str(good.root / "data"), "cache_path": str(good.cache)}
    Dataset.load(DataSettings("good", places, good.configs))
    assert not good.check().failed(strict=True)
    (kept,) = good.cache.glob("good-*.npy")
    pairs = np.load(kept)
    np.save(kept, pairs[:, ::-1])
    (error,) = [one for one in good.check().findings.found if one.severity == "error"]
    assert "holds other interactions" in error.what


def test_names_that_are_no_folder(good):
    for name in ("nothere", "../good", ".."):
        assert good.check(name).failed()


def test_the_command_has_statuses(good, capsys):
    places = [f"data_path={good.root / 'data'}", f"cache_path={good.cache}"]
    assert main(["check", "-d", "good", *places]) == 0
    good.edit(0, 0, "-1")
    assert main(["check", "-d", "good", "nothere", *places]) == 1
    out = capsys.readouterr().out
    assert "error    good.inter, line 2: userID is negative in 1 row" in out and "check      nothere" in out
    assert main(["check", "-d", "good", "epochs=3"]) == 2


def test_strict_counts_warnings(good):
    FAULTS["zero_rows"][0](good)
    words = ["check", "-d", "good", f"data_path={good.root / 'data'}", f"cache_path={good.cache}"]
    assert (main(words), main([*words, "--strict"])) == (0, 1)


DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.mark.skipif(
    not (DATA / "baby").exists(), reason="../shared/data is absent: real data sets are not shipped"
)
@pytest.mark.parametrize("name", ["baby", "sports", "clothing", "lfm2k"])
def test_real_sets_are_good(name, tmp_path):
    report = check_dataset(name, {"data_path": str(DATA), "cache_path": str(tmp_path)})
    assert not report.failed(strict=True), "\n".join(report.lines())
    assert list(tmp_path.iterdir()) == []


def test_rows_of_nan_alone_are_items_without_content(good):
    values = good.features()
    values[[4, 9]] = np.nan
    good.save(values)
    report = good.check()
    assert not report.failed(strict=True)
    (note,) = [one for one in report.findings.found if "NaN" in one.what]
    assert (note.severity, note.where) == ("note", "image_feat.npy, rows 4 and 9")
