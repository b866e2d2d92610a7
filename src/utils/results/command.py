"""The command `results`: run recipes, then compare with docs/results.json or write it and the page that shows it."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from common.registry import get_model
from utils.cli.words import distinct, positive
from utils.config import SRC, Config
from utils.errors import UserError
from utils.experiments.store import TrialResult
from utils.experiments.sweep import How, run_all
from utils.files import write_json
from utils.results.page import PAGE, write_tables
from utils.results.recipes import Recipe, read_recipe, recipe_names
from utils.results.rows import FILE, Row, differences, make_row, read_rows

TAKES = ("data_path", "runs_path", "cache_path", "threads", "use_gpu", "gpu_id")
"""The settings that the command takes: where things are and what computes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    # fmt: off
    add("names", nargs="*", metavar="RECIPE", help="recipes of src/configs/recipes, if not all")
    add("--seeds", type=positive, metavar="N", help="the first N seeds of each recipe, if not all")
    add("--workers", type=positive, default=1, metavar="N", help="N trials side by side")
    add("--write", action="store_true", help="put what comes out into docs/results.json and .md; needs all seeds")
    # fmt: on


def run(arguments: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """0 where everything agrees, 1 where something differs or nothing could be run. Raises UserError."""
    for name in overrides:
        if name not in TAKES:
            raise UserError(
                f"{name} is fixed by the recipes (command line); results takes {', '.join(TAKES)}, and "
                f"python main.py --recipe NAME {name}=... runs one with another value"
            )
    if arguments.write and arguments.seeds is not None:
        raise UserError("--write keeps means over all seeds of a recipe; leave out --seeds")
    recipes = [read_recipe(name) for name in distinct(arguments.names) or recipe_names()]
    known = {row["recipe"]: row for row in read_rows()}
    commit = _commit() if arguments.write else ""
    lines, fine = [], True
    missing = [] if arguments.names else [recipe for recipe in recipes if not _has_data(recipe, overrides)]
    for recipe in recipes:
        if recipe in missing:  # of all recipes those are run whose data are there
            lines.append(
                f"{recipe.name}: skipped, there is no data set {recipe.dataset}; data_path=... says where"
            )
            continue
        trials = _run(recipe, recipe.seeds[: arguments.seeds], overrides, arguments.workers)
        if len(trials) < len(recipe.seeds[: arguments.seeds]):
            lines.append(f"{recipe.name}: a trial failed")
            fine = False
        elif arguments.write:
            known[recipe.name] = make_row(recipe, trials, commit, overrides)
            rows = [known[name] for name in sorted(known)]
            write_json(FILE, rows)
            write_tables(rows, PAGE)
            lines.append(f"{recipe.name}: written to {FILE} and {PAGE}")
        else:
            told, agrees = _compare(recipe, known.get(recipe.name), trials)
            lines += told
            fine &= agrees
    print("\n" + "\n".join(lines))
    return 0 if fine and len(missing) < len(recipes) else 1


def _has_data(recipe: Recipe, overrides: Mapping[str, Any]) -> bool:
    """Whether the interactions that it is of are there."""
    places = {name: value for name, value in overrides.items() if name == "data_path"}
    try:
        config = Config(recipe.model, recipe.dataset, places, model_settings=get_model(recipe.model).settings)
    except UserError:
        return False
    return (config.path("data_path") / recipe.dataset / config["inter_file_name"]).is_file()


def _run(
    recipe: Recipe, seeds: Sequence[int], overrides: Mapping[str, Any], workers: int
) -> list[TrialResult]:
    settings = {**recipe.settings, "seed": list(seeds)}
    (sweep,) = run_all(
        [recipe.model],
        [recipe.dataset],
        {"threads": 1, **overrides},  # as every row was measured
        how=How(workers=workers),
        recipe=replace(recipe, settings=settings).layer,
    )
    return sweep.trials


def _compare(recipe: Recipe, row: Row | None, trials: Sequence[TrialResult]) -> tuple[list[str], bool]:
    """Lines that say how the trials agree with the row, and whether they do."""
    if row is None:
        return [f"{recipe.name}: docs/results.json has no row of it; --write makes one"], True
    lines, fine = [], True
    if row["data"] != trials[0].environment["data"]:
        lines.append(
            f"{recipe.name}: the files of {recipe.dataset} are not those of the row (features: {row['features']})"
        )
    for one in differences(row, trials):
        fine &= one.agrees
        verdict = "agrees with" if one.agrees else "DIFFERS from"
        lines.append(
            f"{recipe.name:20} {one.metric:10} {one.measured:.4f} {verdict} {one.expected:.4f} +- {one.tolerance:.4f}"
        )
    return lines, fine


def _commit() -> str:
    """Of the checkout, for the rows. Raises UserError where the code is not what was committed."""
    status = _git("status", "--porcelain", "--", "src", "main.py")
    if status:
        raise UserError(f"--write names the commit that was measured, and files differ from it:\n{status}")
    return _git("rev-parse", "--short", "HEAD")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=SRC.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"--write names the commit that was measured, and git does not tell it: {error}"
        ) from error
    return done.stdout.strip()
