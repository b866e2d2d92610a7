"""`python main.py -m MODEL ... -d DATA_SET ...`: train, compare, sweep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from utils.cli.words import Parser, add_models_dir, distinct, positive, split_overrides, with_models_dir
from utils.config import SRC
from utils.config.config import find_models_dir
from utils.config.layers import Layer, yaml_names
from utils.config.settings import GROUPS, describe
from utils.config.yaml_reader import read_mapping
from utils.errors import UserError

CONFIGS = SRC / "configs"

USAGE = """\
python main.py -m MODEL ... -d DATA_SET ... [name=value ...] [--grid | --search random|tpe --trials N]
       python main.py --recipe NAME [name=value ...]
       python main.py COMMAND ..., with --help each:
         leaderboard, recommend, export: of what is trained
         prepare, check, media, features: data sets of your own
         results, plugin: the published table; TMFUN in MMRec
       python main.py --list-models
       python main.py --help"""

EXAMPLES = """\
examples
  python main.py -m TMFUN -d sports                       one model, one data set
  python main.py -m TMFUN VBPR FREEDOM -d baby sports     several of each, with a table at the end
  python main.py -m TMFUN -d sports knn_k=20              any setting (--knn_k=20 works too)
  python main.py -m TMFUN -d sports seed=[1,2,3]          a list runs every value
  python main.py --recipe baby-TMFUN                      a row of the table in docs/results.md
  python main.py -m LATTICE -d baby --grid --workers 4    the grid of the model's YAML, four trials at a time
  python main.py -m LATTICE -d baby --grid --dry-run      what that would run, and how long it would take
  python main.py -m TMFUN -d baby --grid --search tpe --trials 20    20 points of the grid
  python main.py -m BPR -d baby data_path=../shared/data  data from elsewhere
  python main.py -m MGCN -d baby --models-dir ../MMRec/src    a model of others, whose code runs with your rights
What is finished is not run again, and a command that was stopped goes on when it is given again."""


def run(argv: Sequence[str]) -> int:
    """Raises UserError."""
    parser = _parser()
    words, overrides = split_overrides(argv, parser.options())
    arguments = parser.parse_all(words)
    if arguments.help:
        print(help_text())
        return 0
    overrides = with_models_dir(arguments, overrides)
    if arguments.list_models:
        _list_models(overrides)
        return 0
    recipe = None if arguments.recipe is None else _follow_recipe(arguments)
    _check(arguments)
    from utils.experiments.sweep import How, run_all

    how = How(
        workers=arguments.workers or 1,
        ray=arguments.ray,
        force=arguments.force,
        search=arguments.search,
        trials=arguments.trials,
        prune=not arguments.no_pruning,
    )
    names = distinct(arguments.model), distinct(arguments.dataset)
    request = (*names, overrides, arguments.grid, "command line", how, recipe)
    if arguments.dry_run:
        from utils.experiments.dry_run import dry_run

        print("\n".join(dry_run(*request)))
        return 0
    return 0 if all(sweep.trials for sweep in run_all(*request)) else 1


def _follow_recipe(arguments: argparse.Namespace) -> Layer:
    """Take model and data set from the recipe; the rest of it is returned. Raises UserError."""
    from utils.results.recipes import read_recipe

    if arguments.model or arguments.dataset:
        raise UserError("--recipe names model and data set; leave out -m and -d, or the recipe")
    recipe = read_recipe(arguments.recipe)
    arguments.model, arguments.dataset = [recipe.model], [recipe.dataset]
    return recipe.layer


def _list_models(overrides: Mapping[str, Any]) -> None:
    from common.registry import describe_models  # with torch, which --help can do without

    layer = {name: value for name, value in overrides.items() if name == "models_dir"}
    print(describe_models(find_models_dir("", layer, "command line")))


def _check(arguments: argparse.Namespace) -> None:
    """Raises UserError for options that are missing or do not go together."""
    if not arguments.model:
        print(f"usage: {USAGE}", file=sys.stderr)
        models = ", ".join(yaml_names(CONFIGS / "model"))
        raise UserError(f"no model given; add -m with one or more of {models}")
    if not arguments.dataset:
        known = ", ".join(yaml_names(CONFIGS / "dataset"))
        raise UserError(
            f"no data set given; add -d with one or more of {known}, or a folder's name in data_path"
        )
    if (arguments.search is None) != (arguments.trials is None):
        raise UserError(
            "--search random|tpe and --trials N belong together: how to choose points, and how many"
        )
    if arguments.no_pruning and arguments.search is None:
        raise UserError("--no-pruning belongs to --search; a grid runs all its trials to their end")
    if arguments.ray is not None and arguments.workers is not None:
        raise UserError(
            "--workers is for this machine and --ray for a cluster, which has ray_cpus=...; keep one"
        )


def help_text() -> str:
    """Usage, examples and the framework's settings with their defaults."""
    defaults = read_mapping(CONFIGS / "overall.yaml", "overall.yaml")
    lines = [
        f"usage: {USAGE}",
        "",
        "  -m, --model      models: " + ", ".join(yaml_names(CONFIGS / "model")),
        "  -d, --dataset    data sets: "
        + ", ".join(yaml_names(CONFIGS / "dataset"))
        + ", or any folder of data_path",
        "  --recipe NAME    a row of docs/results.md: src/configs/recipes/<NAME>.yaml has model, data set and settings",
        "  --grid           run every point of the grid in the model's YAML; validation chooses",
        "  --search, --trials  random or tpe: N points of that grid, hopeless ones ended early (--no-pruning: none)",
        "  --workers N      N trials side by side, a process each; the results are the same",
        "  --ray ADDRESS    run the trials on a Ray cluster: host:port, auto, or local",
        "  --dry-run        what would run, what is finished, an estimate of time and memory",
        "  --force          run finished trials again",
        "  --models-dir PATH  models of others: PATH/models/*.py with PATH/configs/model/*.yaml, such as MMRec's src;",
        "                   their code runs with your rights, and only where this or the setting asks for it",
        "  --list-models    what each model needs",
        "",
        EXAMPLES,
    ]
    for title, settings in GROUPS.items():
        lines += ["", f"settings: {title}"]
        for setting in settings:
            default = repr(defaults[setting.name]).replace("'", "").replace("None", "null")
            choices = f" ({describe(setting.kind)})" if isinstance(setting.kind, tuple) else ""
            lines.append(f"  {setting.name + '=' + default:41} {setting.help}{choices}")
    lines += ["", "Settings of a model, with its values and its grid: src/configs/model/<model>.yaml"]
    return "\n".join(lines)


def _parser() -> Parser:
    parser = Parser(USAGE.splitlines()[0])
    parser.add_argument("-m", "--model", nargs="+", action="extend", metavar="MODEL")
    parser.add_argument("-d", "--dataset", nargs="+", action="extend", metavar="DATA_SET")
    parser.add_argument("--recipe", metavar="NAME")
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--search", choices=("random", "tpe"))
    parser.add_argument("--trials", type=positive, metavar="N")
    parser.add_argument("--no-pruning", action="store_true")
    parser.add_argument("--workers", type=positive, metavar="N")
    parser.add_argument("--ray", metavar="ADDRESS")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--list-models", action="store_true")
    add_models_dir(parser)
    parser.add_argument("-h", "--help", action="store_true")
    return parser
