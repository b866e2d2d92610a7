"""Seconds and memory per model: `python benchmarks/run.py [--size baby] [--models ...] [--json FILE]`.

Every model runs in a process of its own, on seeded data of the size of a real set with 4096-d image and 384-d
text features; the first epoch warms up and is not counted. `--mmrec PATH` runs the same cases by the files of an MMRec
checkout, each right after ours, and `--compare FILE` sets an earlier `--json` beside the new figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

import synthetic  # noqa: E402

Figures = dict[str, float]
OUT = ROOT / "benchmarks" / "out"
# What is timed: the model, and the settings that make it the case of the name.
CASES = {
    "BPR": ("BPR", {}),
    "LightGCN": ("LightGCN", {}),
    "VBPR": ("VBPR", {}),
    "LATTICE lambda 1": ("LATTICE", {"lambda_coeff": 1.0}),
    "LATTICE": ("LATTICE", {}),
    "BM3": ("BM3", {}),
    "FREEDOM": ("FREEDOM", {"reg_weight": 0.001}),
    "FREEDOM reg 0": ("FREEDOM", {"reg_weight": 0.0}),
    "TMFUN": ("TMFUN", {}),
}
NOT_IN_MMREC = ("TMFUN",)
EMPTY = "empty"
"""The case of a program that has loaded its libraries and nothing else."""

COLUMNS = ("load", "graphs", "train", "validation", "epoch", "test", "memory")
ON_GPU = "gpu memory"
"""A column more where there is one: the peak of the tensors there, in MB."""


def measure(case: str, size: str, epochs: int, cache: Path | None = None) -> Figures:
    """Seconds of loading, of building model and graphs, per epoch, and peak memory in MB.

    kNN graphs are those of the folder `cache`, if they are there; without a folder they are built.
    """
    import tempfile

    from common.memory import gpu_peak_mb, keep_freed_memory
    from common.registry import get_model
    from common.trainer import Trainer
    from utils.config import Config
    from utils.data.dataset import Dataset
    from utils.evaluation.ranking import Evaluator
    from utils.experiments.trial import LIST_LENGTH, build, means

    keep_freed_memory()
    model_name, settings = CASES[case]
    with tempfile.TemporaryDirectory() as scratch:
        places = {"data_path": str(OUT / "data"), "cache_path": str(cache or scratch), "epochs": epochs + 1}
        config = Config(model_name, size, settings | places, model_settings=get_model(model_name).settings)
        started = time.perf_counter()
        dataset = Dataset.load(config)
        loaded = time.perf_counter()
        model, batches = build(config, dataset)
        built = time.perf_counter()
    evaluator = Evaluator(config, dataset)
    fit = Trainer(config, model).fit(batches, lambda: means(evaluator.validate(model)))
    tested = time.perf_counter()
    evaluator.test(model, LIST_LENGTH)
    counted = fit.epochs[1:] or fit.epochs
    train = statistics.median(epoch.train_seconds for epoch in counted)
    validation = statistics.median(epoch.valid_seconds for epoch in counted)
    figures = {
        "load": loaded - started,
        "graphs": built - loaded,
        "train": train,
        "validation": validation,
        "epoch": train + validation,
        "test": time.perf_counter() - tested,
        "memory": memory(),
    }
    on_gpu = gpu_peak_mb(config["device"])
    return figures if on_gpu is None else figures | {ON_GPU: on_gpu}


def memory() -> float:
    """Peak of this process, with the libraries that training loads, in MB."""
    import torch

    from utils.experiments import trial  # noqa: F401

    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    torch.optim.Adam([weight]).step()  # what it loads at its first step is no model's
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def settings_of(case: str, size: str) -> dict[str, Any]:
    """What a case means in MMRec, whose models have the same names for the same things."""
    from common.registry import get_model
    from utils.config import Config

    name, changed = CASES[case]
    model = get_model(name)
    config = Config(name, size, {**changed, "data_path": str(OUT / "data")}, model_settings=model.settings)
    return {
        setting: config[setting] for setting in [*model.settings, "learning_rate", "learning_rate_scheduler"]
    }


def run(
    case: str, size: str, epochs: int, threads: int, mmrec: Path | None = None, cache: Path | None = None
) -> Figures:
    """Figures of a case from a process of its own, ours or those of an MMRec checkout; exits where it fails."""
    command = [sys.executable, __file__, "--size", size, "--epochs", str(epochs), "--one", case]
    if cache is not None:
        command += ["--cache", cache]
    if mmrec is not None:
        settings = json.dumps(settings_of(case, size))
        script = Path(__file__).with_name("mmrec.py")
        folder = OUT / "data" / size
        command = [sys.executable, script, mmrec, CASES[case][0], folder, str(epochs + 1), settings]
    child = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True
    )
    if child.returncode:
        sys.exit(
            f"{case}{' of MMRec' if mmrec else ''} failed, status {child.returncode}:\n{child.stderr[-4000:]}"
        )
    return json.loads(child.stdout.splitlines()[-1])


def columns_of(row: Figures) -> Sequence[str]:
    return [name for name in (*COLUMNS, ON_GPU) if name in row]


def table(rows: Mapping[str, Figures], digits: int = 2) -> str:
    """Markdown; seconds, and memory in MB."""
    columns = columns_of(next(iter(rows.values())))
    lines = ["| model | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for case, row in rows.items():
        cells = [f"{row[name]:,.0f}" if row[name] >= 100 else f"{row[name]:.{digits}f}" for name in columns]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(others: Mapping[str, Figures], ours: Mapping[str, Figures]) -> dict[str, Figures]:
    """Theirs divided by ours, of the cases that both have: above 1 ours is the faster, or the smaller."""
    return {
        case: {
            name: others[case][name] / max(row[name], 1e-9)
            for name in columns_of(row)
            if name in others[case]
        }
        for case, row in ours.items()
        if case in others
    }


def write_data(name: str, size: synthetic.Size) -> None:
    """Seeded data, unless they are there."""
    folder = OUT / "data" / name
    if not (folder / "text_feat.npy").exists():
        print(f"writing seeded data to {folder.relative_to(ROOT)}", flush=True)
        synthetic.write(folder, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="baby", metavar="SIZE", help=", ".join(synthetic.SIZES))
    parser.add_argument(
        "--models", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES)
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=3,
        help="counted epochs (default 3), behind one that is not; 0: that one",
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="torch threads (default: all cores)"
    )
    parser.add_argument("--mmrec", type=Path, metavar="PATH", help="an MMRec checkout to time beside ours")
    parser.add_argument("--mmrec-epochs", type=int, default=1, help="its counted epochs (default 1)")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="kNN graphs that are there are not built anew"
    )
    parser.add_argument("--compare", type=Path, metavar="FILE", help="figures of an earlier --json")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the child process of one case
    args = parser.parse_args()
    if args.one == EMPTY:
        print(json.dumps({"memory": memory()}))
        return
    if args.one:
        print(json.dumps(measure(args.one, args.size, args.epochs, args.cache)))
        return
    if args.size not in synthetic.SIZES:
        parser.error(f"unknown size {args.size}; there are {', '.join(synthetic.SIZES)}")
    earlier = json.loads(args.compare.read_text())["cases"] if args.compare else {}
    write_data(args.size, synthetic.SIZES[args.size])
    ours: dict[str, Figures] = {}
    theirs: dict[str, Figures] = {}
    for case in args.models:
        ours[case] = run(case, args.size, args.epochs, args.threads, cache=args.cache)
        print(line(case, ours[case]), flush=True)
        if args.mmrec and case not in NOT_IN_MMREC:
            theirs[case] = run(case, args.size, args.mmrec_epochs, args.threads, args.mmrec)
            print(line("  MMRec", theirs[case]), flush=True)
    where = f"{args.size}-sized, {args.threads} threads, {platform.machine()}, {date.today()}"
    print(f"\n{where}; seconds, memory in MB\n\n{table(ours)}")
    if theirs:
        print(f"\nMMRec, whose epoch has a validation and a test\n\n{table(theirs)}")
        print(f"\nMMRec / ours\n\n{table(ratios(theirs, ours), digits=1)}")
    if earlier:
        print(f"\n{args.compare} / now\n\n{table(ratios(earlier, ours))}")
    if args.json:
        content = {
            "size": args.size,
            "threads": args.threads,
            "date": f"{date.today()}",
            "cases": ours,
            "mmrec": theirs,
        }
        args.json.write_text(json.dumps(content, indent=1))


def line(name: str, row: Figures) -> str:
    return f"{name:18}" + "  ".join(f"{column} {row[column]:.2f}" for column in columns_of(row))


if __name__ == "__main__":
    main()
