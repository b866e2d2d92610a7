"""What makes a trial another trial, and what does not."""

from __future__ import annotations

import pytest

from common.registry import list_models, model_file
from utils.experiments import identity
from utils.experiments.identity import SRC, code_digest


@pytest.fixture
def essence(tmp_path):
    def of(text: str) -> str:
        path = tmp_path / "code.py"
        path.write_text(text)
        return identity._essence(path)

    return of


def test_comments_docstrings_and_layout_do_not_count(essence):
    base = essence("def f(x):\n    return x + 1\n")
    assert essence('"""Doc."""\n# why\ndef f(x):\n    """What."""\n\n    return (x\n        + 1)\n') == base
    assert essence("def f(x):\n    return x + 2\n") != base


@pytest.mark.parametrize("model", list_models())
def test_a_models_code_is_what_it_stands_on(model):
    files = {path.relative_to(SRC).as_posix() for path in identity._reachable([model_file(model)])}
    assert {f"models/{model.lower()}.py", "common/abstract_recommender.py"} <= files
    assert not any(name.startswith(("utils/experiments", "utils/cli", "utils/config")) for name in files)


def test_models_do_not_share_a_digest_and_the_protocol_belongs_to_each(monkeypatch):
    digests = {code_digest(model) for model in list_models()}
    assert len(digests) == len(list_models())
    files = identity._reachable([SRC / name for name in identity.PROTOCOL])
    for name in (
        "common/trainer.py",
        "utils/evaluation/metrics.py",
        "utils/data/batches.py",
        "utils/data/modalities.py",
        "utils/data/study.py",
        "utils/experiments/building.py",
        "common/graph.py",
    ):
        assert SRC / name in files
    monkeypatch.setattr(identity, "PROTOCOL", ("common/trainer.py",))
    code_digest.cache_clear()
    assert not digests & {code_digest(model) for model in list_models()}
    code_digest.cache_clear()
