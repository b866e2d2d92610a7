"""Files copied into another framework of MMRec's layout run there, alone, and give our numbers."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from toys import ToyDataset, ToyModality, make

from common.registry import get_model
from utils.cli import main
from utils.config import PROJECT, SRC, Config
from utils.plugin.copying import FILES

N_USERS, N_ITEMS, EPOCH_SEED = 12, 9, 7
EVERYTHING = {
    "attention_temperature": 0.5,
    "cl_pairs": ["content-cf", "modalities"],
    "cl_symmetric": True,
    "cl_weight": 0.1,
    "fusion": "concat",
    "knn_weight": "cosine",
    "learn_item_graph": True,
    "modality_input": "features",
    "n_heads": 2,
    "n_item_layers": 2,
    "reg_weight": 0.1,
    "use_item_graph": True,
    "user_modality": True,
}
EXAMPLES = PROJECT / "examples"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".py")])
def test_the_files_are_written_for_the_python_that_mmrec_pins(name):
    tree = ast.parse((SRC / name).read_text(), feature_version=(3, 7))
    keywords = {
        keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords
    }
    assert "strict" not in keywords  # of zip, Python 3.10


@pytest.fixture
def data():
    draw = torch.Generator().manual_seed(0)
    modalities = {name: torch.randn(N_ITEMS, 5, generator=draw) for name in ("image", "text")}
    pairs = [(user, item) for user in range(N_USERS) for item in range(N_ITEMS) if (user + item) % 3 == 0]
    return ToyDataset(N_USERS, N_ITEMS, pairs, {name: ToyModality(x) for name, x in modalities.items()})


BATCH = np.array([[0, 1, 2, 2, 7], [0, 2, 1, 4, 5], [1, 1, 0, 8, 3]])


def theirs(checkout: Path, name: str, data: ToyDataset, settings: dict) -> dict:
    """Loss, gradients, weights and scores of a model in the checkout, by a process that has only that."""
    folder = checkout / "data" / "toys"
    folder.mkdir(parents=True, exist_ok=True)
    for modality, values in data.modalities.items():
        np.save(folder / f"{modality}_feat.npy", values.features().numpy())
    np.savez(folder / "batch.npz", pairs=np.array(data.pairs), batch=BATCH)
    theirs = {
        "data_path": "../data/",
        "dataset": "toys",
        "vision_feature_file": "image_feat.npy",
        "text_feature_file": "text_feat.npy",
        "n_users": N_USERS,
        "n_items": N_ITEMS,
        "train_batch_size": 4,
        "seed": 1,
        "epoch_seed": EPOCH_SEED,
    }
    (folder / "settings.json").write_text(json.dumps(settings | theirs))
    command = [
        sys.executable,
        "main.py",
        name,
        *(str(folder / n) for n in ("settings.json", "batch.npz", "out.pt")),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=checkout / "src", env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result = torch.load(folder / "out.pt", weights_only=True)
    assert not [file for file in result["files"] if Path(file).is_relative_to(SRC)]
    return result


@pytest.mark.parametrize("edge_dropout", [0.0, 0.5])
@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["as shipped", "everything"])
def test_tmfun_there_is_tmfun_here(checkout, data, edge_dropout, more):
    assert main(["plugin", str(checkout)]) == 0
    few = {"knn_k": 3, "embedding_size": 4, "edge_dropout": edge_dropout} | more
    there = theirs(checkout, "TMFUN", data, few)

    yaml = Config("TMFUN", "demo", model_settings=get_model("TMFUN").settings).final_config_dict
    here = make("TMFUN", data, **{name: yaml[name] for name in get_model("TMFUN").settings} | few)
    assert {name: p.shape for name, p in here.named_parameters()} == {
        name: p.shape for name, p in there["weights"].items()
    }
    here.load_state_dict(there["weights"], strict=False)
    here.generator.manual_seed(EPOCH_SEED)
    here.pre_epoch_processing()
    loss = here.train().calculate_loss(torch.from_numpy(BATCH))
    loss.backward()
    assert_close(loss, there["loss"], rtol=1e-6, atol=0)
    for name, p in here.named_parameters():
        assert_close(p.grad, there["gradients"][name], rtol=1e-5, atol=1e-7)
    scores = here.eval().full_sort_predict([torch.arange(N_USERS)])
    assert_close(scores, there["scores"], rtol=1e-5, atol=1e-7)


def test_the_example_of_the_documentation_runs_there(checkout, data):
    shutil.copytree(EXAMPLES, checkout / "src", dirs_exist_ok=True)
    there = theirs(checkout, "ContentBPR", data, {"embedding_size": 4})
    w, x = there["weights"], torch.cat([m.features() for m in data.modalities.values()], dim=1)
    items = w["item_embedding.weight"] + x @ w["project.weight"].T + w["project.bias"]
    users = w["user_embedding.weight"]
    user, positive, negative = users[BATCH[0]], items[BATCH[1]], items[BATCH[2]]
    ranking = -torch.nn.functional.logsigmoid((user * (positive - negative)).sum(1)).mean()
    norms = sum(map(torch.linalg.vector_norm, (user, positive, negative))) / BATCH.shape[1]
    assert_close(there["loss"], ranking + 0.1 * norms)
    assert_close(there["scores"], users @ items.T)
