"""What a file that cannot work says, and what is left behind when one has worked."""

from __future__ import annotations

import sys

import pytest
import torch

from common.registry import get_model, label
from utils.errors import UserError
from utils.experiments.sweep import run_all

MODEL = """
import torch.nn as nn
from common.abstract_recommender import GeneralRecommender

class {name}(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users, self.items = nn.Embedding(self.n_users, 2), nn.Embedding(self.n_items, 2)
        {init}

    def calculate_loss(self, interaction):
        {loss}
        return self.users(interaction[0]).square().mean()

    def full_sort_predict(self, interaction):
        return self.users(interaction[0]) @ self.items.weight.T
"""


def model(name: str, init: str = "pass", loss: str = "pass") -> str:
    return MODEL.format(name=name, init=init, loss=loss)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import no_such_package.part",
            "x.py needs the package no_such_package, which is not installed; pip install",
        ),
        ("from sklearn.nothing import y", "pip install scikit-learn"),
        ("from utils.utils import no_helper", "cannot import name 'no_helper' from 'utils.utils'"),
        ("from common.nowhere import y", "No module named 'common.nowhere'; neither this project nor"),
        ("from models.nowhere import y", "No module named 'models.nowhere'; neither this project nor"),
        ("def f(:\n    pass", "x.py, line 1: invalid syntax; correct the file"),
        ("y = 1 / 0", "x.py, line 1: ZeroDivisionError: division by zero"),
        ("class Y: pass", "x.py has no class X that derives from GeneralRecommender; it has Y"),
        ("class X: pass", "x.py has no class X that derives from GeneralRecommender"),
    ],
)
def test_a_file_that_cannot_be_imported_says_what_it_misses(folder, fails, text, message):
    if "sklearn" in text and "sklearn" in sys.modules:
        pytest.skip("scikit-learn is installed here")
    before = dict(sys.modules)
    fails(get_model, message, "X", folder(X=text))
    assert not any(name.startswith(("models.x", "models.common")) for name in sys.modules)
    assert {name: sys.modules[name] for name in before} == before


def test_halves_of_a_model_and_of_a_folder(folder, fails, tmp_path, settings):
    root = folder(X=model("X"))
    (root / "models" / "half.py").write_text("")
    fails(get_model, "half.py needs configs/model/Half.yaml in", "Half", root)
    fails(get_model, "needs configs/model/x.yaml in", "x", root)
    fails(get_model, "did you mean 'X'?", "x", root)
    (root / "configs" / "model" / "Other.yaml").write_text("")
    fails(get_model, "has configs/model/Other.yaml but no models/other.py", "Other", root)
    fails(get_model, f"unknown model 'Nothing' in {root} or here", "Nothing", root)
    there = settings | {"models_dir": str(tmp_path)}
    fails(
        run_all,
        f"models_dir is {tmp_path} (command line), which has no folder models/",
        ["X"],
        ["tiny"],
        there,
    )
    (root / "configs" / "model" / "X.yaml").write_text("models_dir: elsewhere\n")
    there = settings | {"models_dir": str(root)}
    fails(run_all, "models_dir cannot stand in a file that it leads to", ["X"], ["tiny"], there)


def test_a_model_that_the_folder_has_not_is_ours(folder, settings):
    root = folder(X=model("X"))
    assert get_model("BPR", root) is get_model("BPR") and label("BPR", root) == "BPR"
    sweep = run_all(["BPR"], ["tiny"], settings | {"models_dir": str(root)})[0]
    assert "models_dir: null" in (
        sweep.trials[0].folder and open(f"{sweep.trials[0].folder}/settings.yaml").read()
    )


@pytest.mark.parametrize(
    ("where", "statement", "message"),
    [
        (
            "init",
            "nn.no_such_layer",
            "x.py, line 9: AttributeError: module 'torch.nn' has no attribute 'no_such_layer'",
        ),
        (
            "init",
            "no_such_name",
            "x.py, line 9: NameError: name 'no_such_name' is not defined; that name is missing",
        ),
        ("loss", "no_such_name", "x.py, line 12: NameError"),
        ("loss", "import no_such_package", "x.py, line 12 needs the package no_such_package"),
        ("init", "open(config['data_path'] + 'tiny/sessions.npy')", "X reads sessions.npy beside the data"),
    ],
)
def test_what_is_missing_as_it_runs_is_named(folder, settings, fails, where, statement, message):
    there = settings | {"models_dir": str(folder(X=model("X", **{where: statement})))}
    fails(run_all, message, ["X"], ["tiny"], there)


def test_features_are_missed_only_by_a_model_that_reads_them(folder, settings, fails):
    root = folder(Reader=model("Reader", "self.width = self.v_feat.shape[1]"), Other=model("Other"))
    for name in ("Reader", "Other"):
        (root / "configs" / "model" / f"{name}.yaml").write_text("")
    without = settings | {"models_dir": str(root), "modalities": []}
    fails(run_all, "Reader does not get by without v_feat and t_feat", ["Reader"], ["tiny"], without)
    assert run_all(["Other"], ["tiny"], without)[0].trials


@pytest.mark.parametrize("statement", ["interaction[9]", "None.x", "len(3)", "raise ValueError('x')"])
def test_other_errors_stay_what_they_are(folder, settings, statement):
    """Those of a model that reads no features are never put down to their absence."""
    there = settings | {"models_dir": str(folder(X=model("X", loss=statement)))}
    sweep = run_all(["X"], ["tiny"], there)[0]
    assert sweep.failed[0].kind == "error" and "without" not in sweep.failed[0].message


def test_a_name_bound_only_where_there_are_features_is_put_down_to_them(folder, settings, fails):
    text = "if self.t_feat is not None: width = 1\n        self.width = width"
    root = folder(X=model("X", text))
    (root / "configs" / "model" / "X.yaml").write_text("")
    there = settings | {"models_dir": str(root), "modalities": ["image"]}
    fails(run_all, "X does not get by without t_feat (", ["X"], ["tiny"], there)


def test_a_class_of_theirs_is_imported_once_and_never_caches_its_forward(folder):
    root = folder(X=model("X"))
    first = get_model("X", root)
    assert first is get_model("X", root) and first.cache_forward is False and first.__name__ == "X"
    assert "models.x" not in sys.modules and not hasattr(torch.Tensor.cuda, "__wrapped__")
    with pytest.raises(UserError):
        get_model("X")
