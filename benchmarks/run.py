"""Seconds and memory per model: `python benchmarks/run.py [--size baby] [--models ...] [--json FILE]`.

Every model runs in a process of its own, on seeded data of the size of a real set with 4096-d image and 384-d
text features; the first epoch warms up and is not counted.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

import synthetic  # noqa: E402

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
COLUMNS = ("load", "graphs", "train", "validation", "epoch", "test", "memory")


def measure(case: str, size: str, epochs: int) -> dict[str, float]:
    """Seconds of loading, of building model and graphs without any cache, per epoch, and peak memory in MB."""
    import tempfile

    from common.memory import keep_freed_memory
    from common.registry import get_model
    from common.trainer import Trainer
    from utils.config import Config
    from utils.data.dataset import Dataset
    from utils.evaluation.ranking import Evaluator
    from utils.experiments.trial import LIST_LENGTH, build, means

    keep_freed_memory()
    model_name, settings = CASES[case]
    with tempfile.TemporaryDirectory() as cache:
        places = {"data_path": str(OUT / "data"), "cache_path": cache, "epochs": epochs + 1}
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
    train = statistics.median(epoch.train_seconds for epoch in fit.epochs[1:])
    validation = statistics.median(epoch.valid_seconds for epoch in fit.epochs[1:])
    return {
        "load": loaded - started,
        "graphs": built - loaded,
        "train": train,
        "validation": validation,
        "epoch": train + validation,
        "test": time.perf_counter() - tested,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown; seconds, and memory in MB."""
    lines = ["| model | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for case, row in rows.items():
        cells = [f"{row[name]:.0f}" if name == "memory" else f"{row[name]:.2f}" for name in COLUMNS]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=synthetic.SIZES, default="baby")
    parser.add_argument(
        "--models", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES)
    )
    parser.add_argument("--epochs", type=int, default=3, help="counted epochs (default 3)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="torch threads (default: all cores)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)  # the child process of one case
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.size, args.epochs)))
        return
    folder = OUT / "data" / args.size
    if not (folder / "text_feat.npy").exists():
        print(f"writing seeded data to {folder.relative_to(ROOT)}", flush=True)
        synthetic.write(folder, synthetic.SIZES[args.size])
    rows: dict[str, dict[str, float]] = {}
    for case in args.models:
        command = [sys.executable, __file__, "--size", args.size, "--epochs", str(args.epochs), "--one", case]
        child = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": str(args.threads)}, capture_output=True, text=True
        )
        if child.returncode:
            sys.exit(f"{case} failed:\n{child.stderr}")
        rows[case] = json.loads(child.stdout.splitlines()[-1])
        print(f"{case:18}" + "  ".join(f"{name} {rows[case][name]:.2f}" for name in COLUMNS), flush=True)
    print(
        f"\n{args.size}-sized, {args.threads} threads, {platform.machine()}; seconds, memory in MB\n\n{table(rows)}"
    )
    if args.json:
        args.json.write_text(
            json.dumps({"size": args.size, "threads": args.threads, "cases": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
