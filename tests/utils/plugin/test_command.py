"""The command `plugin`: what it copies, says and refuses."""

from __future__ import annotations

import os
import stat

import pytest

import utils.files
from utils.cli import main
from utils.config import PROJECT, SRC
from utils.plugin.copying import FILES


def files(folder):
    """Every file below, by path, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(capsys, *words: str) -> str:
    """The one line of error of a call that ends with status 2 and prints nothing else."""
    assert main(["plugin", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("inside", ["", "src"])
def test_three_files_are_copied_and_the_next_command_is_said(checkout, capsys, inside):
    src, before = checkout / "src", files(checkout)
    assert main(["plugin", str(checkout / inside)]) == 0
    assert files(checkout) == before | {f"src/{name}": (SRC / name).read_bytes() for name in FILES}
    assert capsys.readouterr().out.splitlines() == [
        f"target     {src}",
        "copied     models/tmfun.py",
        "copied     common/graph.py",
        "copied     configs/model/TMFUN.yaml",
        f"next       cd {src} && python main.py -m TMFUN -d baby",
    ]


def test_the_files_import_no_other_file_of_the_project():
    for name in FILES[:2]:
        lines = (SRC / name).read_text().splitlines()
        ours = [
            line.split()[1] for line in lines if line.startswith(("from common", "from utils", "from models"))
        ]
        assert set(ours) <= {"common.abstract_recommender", "common.graph", "common.loss"}


def test_identical_files_are_there_already(checkout, capsys):
    main(["plugin", str(checkout)])
    (checkout / "src" / "models" / "tmfun.py").unlink()
    before = files(checkout)
    capsys.readouterr()
    assert main(["plugin", str(checkout)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "copied     models/tmfun.py",
        "there      common/graph.py, the same already",
        "there      configs/model/TMFUN.yaml, the same already",
    ]
    assert files(checkout) == before | {"src/models/tmfun.py": (SRC / "models" / "tmfun.py").read_bytes()}


def test_changed_files_are_refused_together_and_nothing_is_written(checkout, capsys):
    src = checkout / "src"
    (src / "common" / "graph.py").write_text("theirs\n")
    (src / "configs" / "model" / "TMFUN.yaml").write_text("knn_k: 5\n")
    before = files(checkout)
    for words in ((), ("--dry-run",)):
        error = refused(capsys, str(checkout), *words)
        assert "common/graph.py, configs/model/TMFUN.yaml in" in error
        assert "differ from the files here, so nothing was written" in error and "--force" in error
        assert files(checkout) == before


def test_force_replaces_them_and_keeps_every_old_one(checkout, capsys):
    graph = checkout / "src" / "common" / "graph.py"
    for old in ("first\n", "second\n"):
        graph.write_text(old)
        assert main(["plugin", str(checkout), "--force"]) == 0
    assert graph.read_bytes() == (SRC / "common" / "graph.py").read_bytes()
    assert graph.with_name("graph.py.bak").read_text() == "first\n"
    assert graph.with_name("graph.py.bak2").read_text() == "second\n"
    assert "copied     common/graph.py; the old one is graph.py.bak2 beside it" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(checkout, capsys):
    (checkout / "src" / "common" / "graph.py").write_text("theirs\n")
    before = files(checkout)
    assert main(["plugin", str(checkout), "--dry-run", "--force"]) == 0
    assert files(checkout) == before
    assert capsys.readouterr().out.splitlines()[1:] == [
        "would copy models/tmfun.py",
        "would copy common/graph.py; the old one is kept as .bak",
        "would copy configs/model/TMFUN.yaml",
    ]


@pytest.mark.parametrize("missing", ["common/trainer.py", "models", "configs/model"])
def test_another_folder_is_no_checkout(checkout, capsys, missing):
    (checkout / "src" / missing).rename(checkout / "elsewhere")
    before = files(checkout)
    assert f"is no MMRec checkout: it has no src/{missing}; expected" in refused(capsys, str(checkout))
    assert files(checkout) == before


def test_no_folder_and_this_project_are_refused(tmp_path, capsys):
    assert "there is no folder" in refused(capsys, str(tmp_path / "none"))
    for folder in (PROJECT, SRC):
        assert "is this project, which has its own TMFUN" in refused(capsys, str(folder))


def test_settings_and_a_missing_target_are_refused(checkout, capsys):
    assert "'knn_k' has no effect on plugin" in refused(capsys, str(checkout), "knn_k=5")
    assert "the following arguments are required: TARGET_DIR; usage: python main.py plugin" in refused(capsys)


def test_a_folder_where_a_file_belongs(checkout, capsys):
    (checkout / "src" / "models" / "tmfun.py").mkdir()
    before = files(checkout)
    assert f"cannot read {checkout / 'src' / 'models' / 'tmfun.py'}: " in refused(capsys, str(checkout))
    assert files(checkout) == before


def test_a_failed_write_copies_nothing(checkout, capsys, monkeypatch):
    """The last of the files cannot be written: the first two must not be there either."""
    named = utils.files._temporary_name
    nowhere = checkout / "gone" / "x"
    monkeypatch.setattr(
        utils.files, "_temporary_name", lambda path: nowhere if path.suffix == ".yaml" else named(path)
    )
    before = files(checkout)
    assert f"cannot write {nowhere}: No such file" in refused(capsys, str(checkout))
    assert files(checkout) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_target_copies_nothing(checkout, capsys):
    folder = checkout / "src" / "configs" / "model"
    before = files(checkout)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        error = refused(capsys, str(checkout))
    finally:
        folder.chmod(stat.S_IRWXU)
    assert "Permission denied; nothing was copied" in error
    assert files(checkout) == before


def test_help(capsys):
    assert main(["plugin", "--help"]) == 0
    out = capsys.readouterr().out
    assert "TARGET_DIR" in out and "settings:" not in out
