"""What makes a trial another trial, and what does not."""

from __future__ import annotations

import hashlib
import textwrap

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


def test_what_differs_counts(essence):
    """Also where a difference is a constant's type, a default, an empty list or an absent value."""
    codes = [
        "f(1)", "f(1.0)", "f(True)", "f('1')", "f(x=1)", "f(None)", "f([])", "f()", "f([None])", "f('')", "f(f'')",
        "f(f'{x}')", "f(f'{x!r}')", "f(f'{x:.2f}')", "x[:1]", "x[1:]", "x[:]", "x[None:1]", "def f(x): return",
        "def f(*, x): return", "def f(x, /): return", "def f(x): return None", "async def f(x): return",
    ]  # fmt: skip
    assert len({essence(code) for code in codes}) == len(codes)


def test_another_python_reads_the_same_code(essence):
    """Digests once differed between 3.10, 3.11 and 3.12, so that every trial was another after an upgrade.

    The expected digest is what 3.10 to 3.13 give.
    """
    code = """
        @wrapped
        class A(B[int], key=1):
            x: dict[str, int] | None = {"a": 1, **b}
            def f(self, *args, y=-1e-05, **more) -> "A":
                with open("a") as g, h():
                    (z := [i for i in args if i not in (1, 2,)])
                match y:
                    case {"a": [1, *_]} if y: return lambda: (yield)
                raise E(f"is {y!r}, not {', '.join(map(str, args))}{'a' if y else 'b'}: "
                        f"{y:>{self.width}}") from None
    """
    digest = hashlib.blake2b(essence(textwrap.dedent(code)).encode(), digest_size=8).hexdigest()
    assert digest == "ec008fbcf6335bf1"


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
