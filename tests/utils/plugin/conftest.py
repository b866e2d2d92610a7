"""A checkout that is laid out as MMRec's, with a stand-in for its base class and losses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def checkout(tmp_path):
    """The checkout; its source folder is src/."""
    src = tmp_path / "MMRec" / "src"
    shutil.copytree(Path(__file__).with_name("stand_in"), src, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("models", "configs/model"):
        (src / folder).mkdir(parents=True)
    return src.parent
