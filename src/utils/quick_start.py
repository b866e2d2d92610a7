"""MMRec's entry point for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utils.errors import UserError
from utils.experiments.sweep import How, Sweep, run_all


def quick_start(
    model: str,
    dataset: str,
    config_dict: Mapping[str, Any] | None = None,
    save_model: bool = True,
    mg: bool = False,
    workers: int = 1,
) -> Sweep:
    """Train a model on a data set, at every grid point that `config_dict` or an MMRec YAML asks for.

    The result holds every trial with its metrics; `.best` is the one chosen on validation (one per seed).
    `workers` trials run at a time, in processes of their own where there are several; the script that calls
    this is then imported by each, and needs its `if __name__ == "__main__":`. `mg`, MMRec's mirror gradient, is
    not there: True raises UserError.
    """
    if mg:
        raise UserError("mg=True, MMRec's mirror gradient, is not supported; leave it out")
    settings = {"save_model": save_model, **(config_dict or {})}
    return run_all([model], [dataset], settings, origin="config_dict", how=How(workers))[0]
