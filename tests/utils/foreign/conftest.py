"""Models in MMRec's style in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

MODELS_DIR = Path(__file__).parent / "models_dir"


@pytest.fixture
def settings(places, tmp_path) -> dict:
    """Of a short run of one of those models on the data set tiny."""
    return places | {
        "models_dir": str(MODELS_DIR), "runs_path": str(tmp_path / "runs"), "epochs": 2, "topk": [5, 20],
        "train_batch_size": 50,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """`folder(name=text, ...)`: a models_dir with these files of models, and a YAML for each."""

    def make(**files: str) -> Path:
        root = tmp_path / "theirs"
        for part in ("models", "configs/model"):
            (root / part).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (root / "models" / f"{name.lower()}.py").write_text(text)
            (root / "configs" / "model" / f"{name}.yaml").write_text("is_multimodal_model: False\n")
        return root

    return make
