"""A store to put trials into."""

from __future__ import annotations

import pytest
from boards import Lab


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    lab.data_set("tiny")
    return lab
