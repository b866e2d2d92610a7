"""Numbers as people write them, and no effect on other loaders."""

from __future__ import annotations

import pytest
import yaml

from utils.config.yaml_reader import parse_value, read_mapping


@pytest.mark.parametrize("text", ["1e-5", "1E5", "1e+5", "-1.5e3", "+.5e-2", "1.e3", "1_0e2", ".5", "1.5"])
def test_floats_are_read_as_people_write_them(text):
    value = parse_value(text)
    assert isinstance(value, float) and value == float(text.replace("_", ""))


def test_the_global_yaml_loaders_are_left_as_they_were(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 1e-5\n")
    assert read_mapping(tmp_path / "x.yaml", "x.yaml") == {"a": 1e-5}
    assert yaml.safe_load("1e-5") == "1e-5"
    assert yaml.safe_load("{a: 1, a: 2}") == {"a": 2}
