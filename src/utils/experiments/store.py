"""Trial folders: `<runs_path>/<dataset>/<model>/<trial>/`, complete or not there at all.

settings.yaml   every setting, with its origin as a comment: usable as a configuration again
metrics.json    validation and test metrics, every epoch, times, environment
best.pt         weights of the best validation epoch (`torch.load(..., weights_only=True)`)
topk.npz        users (U,), items (U, 50) and scores (U, 50) of the test ranking
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml

from common.abstract_recommender import AbstractRecommender
from utils.errors import UserError
from utils.evaluation.ranking import Lists
from utils.files import new_folder_beside, write_json, write_npz

if TYPE_CHECKING:
    from utils.config import Config
    from utils.experiments.trial import TrialResult


def save_trial(
    config: Config, result: TrialResult, environment: dict[str, str], model: AbstractRecommender, lists: Lists
) -> Path:
    """Write the folder of a finished trial, in place of an earlier one of the same identity."""
    folder = config.path("runs_path") / result.dataset / result.model / result.trial
    with fresh_folder(folder) as new:
        (new / "settings.yaml").write_text(settings_yaml(config))
        write_json(new / "metrics.json", asdict(result) | {"folder": str(folder), "environment": environment})
        if config["save_model"]:
            torch.save({name: value.cpu() for name, value in model.state_dict().items()}, new / "best.pt")
        if config["save_recommended_topk"]:
            write_npz(new / "topk.npz", users=lists.users, items=lists.items, scores=lists.scores)
    return folder


def settings_yaml(config: Config) -> str:
    """All settings as YAML, a line each, the origin behind it."""
    lines = []
    for name, value in sorted(config.final_config_dict.items()):
        if name == "device":
            continue  # follows from use_gpu and the machine
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
        lines.append(f"{name}: {text.removesuffix('...' + chr(10)).strip()}  # {config.origin(name)}")
    return "\n".join(lines) + "\n"


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` once the block ends without an error."""
    try:
        new = new_folder_beside(folder)
    except OSError as error:
        raise UserError(f"cannot write results to {folder.parent}: {error.strerror}; set runs_path=... to a folder "
                        f"that can be written") from error  # fmt: skip
    try:
        yield new
        old = new.with_name(new.name + "-old")
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
