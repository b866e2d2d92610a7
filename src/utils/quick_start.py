"""MMRec's entry point for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utils.experiments.sweep import Sweep, run_all


def quick_start(
    model: str, dataset: str, config_dict: Mapping[str, Any] | None = None, save_model: bool = True
) -> Sweep:
    """Train a model on a data set, at every grid point that `config_dict` or an MMRec YAML asks for.

    The result holds every trial with its metrics; `.best` is the one chosen on validation (one per seed).
    """
    return run_all(
        [model], [dataset], {**(config_dict or {}), "save_model": save_model}, origin="config_dict"
    )[0]
