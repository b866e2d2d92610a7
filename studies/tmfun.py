"""What TMFUN's parts and settings are worth, and what its attention looks at: the tables and plots of docs/tmfun.md.

    python studies/tmfun.py ablations -d baby data_path=... [seed=[1,2,3]]
    python studies/tmfun.py sensitivity -d baby data_path=... [seed=[1]]
    python studies/tmfun.py attention -d sports data_path=... [--phrases item_keywords.json]

Runs go to the store (runs_path) like any other; what is finished is not run again. Plots go to docs/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import torch  # noqa: E402

from utils.cli.words import split_overrides  # noqa: E402
from utils.errors import UserError  # noqa: E402
from utils.experiments.reopening import open_store  # noqa: E402
from utils.experiments.store import TrialResult  # noqa: E402
from utils.experiments.sweep import How, run_all  # noqa: E402
from utils.recommending.loading import best_trial, load_trial  # noqa: E402

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
ABLATIONS: dict[str, dict[str, Any]] = {
    "TMFUN": {},
    "without modality graphs": {"use_modality_graphs": False},
    "with the item graph": {"use_item_graph": True},
    "without attention (equal weights)": {"attention": "equal"},
    "attention fixed at its prior": {"attention": "prior"},
    "without multi-step fusion": {"multi_step": False, "use_item_graph": False},
    "with contrast, content and interactions": {"cl_weight": 0.003},
    "with contrast, modality and modality": {"cl_weight": 0.003, "cl_pairs": ["modalities"]},
    "without users' content": {"user_modality": False},
    "without items that share users": {"neighbour_weight": 0.0},
    "image alone": {"modalities": ["image"]},
    "text alone": {"modalities": ["text"]},
}


class Axis(NamedTuple):
    """Values of a setting, all others as in the YAML but `beside`, without which it would have no effect."""

    setting: str
    values: list[Any]
    beside: dict[str, Any] = {}

    @property
    def title(self) -> str:
        return self.setting + "".join(f", {name}={value}" for name, value in self.beside.items())


AXES = (
    Axis("knn_k", [2, 5, 10]),
    Axis("n_ui_layers", [1, 2, 3, 4]),
    Axis("n_item_layers", [1, 2]),
    Axis("attention_temperature", [0.5, 1.0, 2.0, 5.0, 20.0]),
    Axis("edge_dropout", [0.0, 0.5, 0.7, 0.8, 0.9]),
    Axis("cl_weight", [0.0, 0.0003, 0.001, 0.003, 0.01]),
    Axis("cl_temperature", [0.1, 0.2, 0.5, 1.0], {"cl_weight": 0.003}),
    Axis("neighbour_weight", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3]),
)


def trials(dataset: str, settings: Mapping[str, Any], how: How) -> list[TrialResult]:
    """Of TMFUN with these settings, a trial per value of the lists among them; of one thread, as those of tables."""
    (sweep,) = run_all(["TMFUN"], [dataset], {"threads": 1, **settings}, origin="studies/tmfun.py", how=how)
    if sweep.failed:
        raise UserError(f"a trial failed: {sweep.failed[0].message}")
    return sweep.trials


def stated(values: Sequence[float]) -> str:
    """Mean and sample standard deviation."""
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def ablations(args: argparse.Namespace, overrides: Mapping[str, Any]) -> None:
    """A row per part that is missing: validation and test means over the seeds."""
    rows = []
    for name, settings in ABLATIONS.items():
        if args.only is not None and name not in args.only:
            continue
        found = trials(args.dataset, {**overrides, **settings}, How(workers=args.workers))
        cells = [stated([t.valid["recall@20"] for t in found])]
        cells += [stated([t.test[metric] for t in found]) for metric in METRICS]
        rows.append(f"| {name} | " + " | ".join(cells) + f" | {len(found)} |")
    print("\n| variant | valid R@20 | R@10 | R@20 | N@10 | N@20 | seeds |\n|---|---|---|---|---|---|---|")
    print("\n".join(rows))


def sensitivity(args: argparse.Namespace, overrides: Mapping[str, Any]) -> None:
    """A panel per axis: validation Recall@20 along its values; a grey line marks the YAML's."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    chosen = read_defaults(args.dataset)
    plt.rcParams |= {"svg.hashsalt": "sensitivity", "svg.fonttype": "none", "font.size": 9}
    figure, panels = plt.subplots(2, 4, figsize=(11, 5), sharey=True, layout="constrained")
    for panel, axis in zip(panels.flat, AXES, strict=True):
        means = []
        for value in axis.values:
            settings = {**overrides, **axis.beside, axis.setting: value}
            found = [
                run.valid["recall@20"] for run in trials(args.dataset, settings, How(workers=args.workers))
            ]
            means.append(fmean(found))
            print(f"{axis.title}: {value}: valid recall@20 {stated(found)}", flush=True)
        panel.plot(range(len(means)), means, "o-", color="C0")
        panel.axvline(axis.values.index(chosen[axis.setting]), color="0.8", zorder=0)
        panel.set(xticks=range(len(means)), xticklabels=axis.values, xlabel=axis.title)
        panel.grid(axis="y", alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel("validation Recall@20")
    path = ROOT / "docs" / f"sensitivity-{args.dataset}.svg"
    figure.savefig(path, metadata={"Date": None})
    print(f"plot: {path}")


def read_defaults(dataset: str) -> Mapping[str, Any]:
    from common.registry import get_model
    from utils.config import Config

    return Config("TMFUN", dataset, model_settings=get_model("TMFUN").settings).final_config_dict


def attention(args: argparse.Namespace, overrides: Mapping[str, Any]) -> None:
    """The share of each modality over items and users, and the items at both ends with their phrases."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    changeable = {name: value for name, value in overrides.items() if name != "runs_path"}
    loaded = load_trial(best_trial(open_store(overrides), args.dataset, "TMFUN"), changeable)
    with torch.no_grad():
        shares = {
            "items": {name: x.numpy() for name, x in loaded.model.modality_shares().items()},
            "users": {name: x.numpy() for name, x in loaded.model.user_modality_shares().items()},
        }
    plt.rcParams |= {"svg.hashsalt": "attention", "svg.fonttype": "none", "font.size": 9}
    figure, panels = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    print("\n| of | modality | mean | 1 % | median | 99 % |\n|---|---|---|---|---|---|")
    for panel, (title, values) in zip(panels, shares.items(), strict=True):
        for name, x in values.items():
            ends = np.quantile(x, [0.01, 0.5, 0.99])
            print(f"| {title} | {name} | {x.mean():.3f} | " + " | ".join(f"{end:.3f}" for end in ends) + " |")
            panel.hist(x, bins=np.linspace(0, 1, 51), label=name, alpha=0.6)
        panel.set(title=title, xlabel="attention weight", yscale="log")
        panel.legend(frameon=False)
    path = ROOT / "docs" / f"attention-{args.dataset}.svg"
    figure.savefig(path, metadata={"Date": None})
    print(f"plot: {path}")
    taken = np.bincount(loaded.dataset.train.items, minlength=loaded.dataset.n_items)
    bounds = [0, 5, 10, 20, 50, taken.max() + 1]
    print(
        "\n| users of the item | items | "
        + " | ".join(shares["items"])
        + " |\n|---|---|"
        + "---|" * len(shares["items"])
    )
    for low, high in zip(bounds, bounds[1:], strict=False):
        group = (taken >= low) & (taken < high)
        means = " | ".join(f"{x[group].mean():.3f}" for x in shares["items"].values())
        print(f"| {low} to {high - 1} | {group.sum():,} | {means} |")
    if args.phrases:
        phrases = json.loads(args.phrases.read_text())
        for name, x in shares["items"].items():
            order = [item for item in np.argsort(-x, kind="stable") if taken[item] >= args.at_least]
            print(f"\nmost {name} of the items with {args.at_least} users and more:")
            for item in order[: args.examples]:
                print(f"  {x[item]:.2f}  {phrases[item]}  ({taken[item]} users)")


def main() -> None:
    words, overrides = split_overrides(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=("ablations", "sensitivity", "attention"))
    parser.add_argument("-d", "--dataset", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=ABLATIONS, metavar="VARIANT", help="of the ablations")
    parser.add_argument("--phrases", type=Path, help="a JSON list of texts, one per item")
    parser.add_argument("--examples", type=int, default=8)
    parser.add_argument("--at-least", type=int, default=20, help="users of an item that is shown")
    args = parser.parse_args(words)
    try:
        {"ablations": ablations, "sensitivity": sensitivity, "attention": attention}[args.study](
            args, overrides
        )
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
