"""What checkpoints cost and what workers gain: `python benchmarks/sweeps.py [--size baby]`.

Wall-clock seconds of whole commands, each in a process of its own, every kind in turn and then again, so that
what else the machine does falls on all of them. Ratios are of sums over the rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]

import synthetic  # noqa: E402

OUT = ROOT / "benchmarks" / "out"
CHECKPOINTS = {
    "none": ["checkpoint_step=null"],
    "5 % of the time": [],
    "every epoch": ["checkpoint_share=1"],
}
MODELS = {"TMFUN": ["epochs=12"], "FREEDOM": ["epochs=6", "reg_weight=0.001"]}
SWEEP = ["-m", "BPR", "TMFUN", "-d", "demo", "seed=[1,2,3,4]", "epochs=60", "stopping_step=60"]


def seconds(words: list[str], cache: Path) -> float:
    """Of `python main.py` with these words, its runs in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(dir=OUT) as runs:
        places = [f"runs_path={runs}", f"cache_path={cache}", f"data_path={OUT / 'data'}"]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, str(ROOT / "main.py"), *words, *places], check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - started


def compare(kinds: dict[str, list[str]], rounds: int, cache: Path) -> dict[str, float]:
    """Seconds of each kind, summed over the rounds, after one that warms the caches up."""
    seconds(next(iter(kinds.values())), cache)
    sums = dict.fromkeys(kinds, 0.0)
    for _ in range(rounds):
        for kind, words in kinds.items():
            sums[kind] += seconds(words, cache)
    return sums


def show(title: str, sums: dict[str, float], rounds: int) -> None:
    base = next(iter(sums.values()))
    print(f"\n{title}")
    for kind, total in sums.items():
        print(f"  {kind:18} {total / rounds:7.1f} s   {total / base:5.2f} of the first", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=synthetic.SIZES, default="baby", help="of the data for checkpoints")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    folder = OUT / "data" / args.size
    if not (folder / "text_feat.npy").exists():
        synthetic.write(folder, synthetic.SIZES[args.size])
    with tempfile.TemporaryDirectory(dir=OUT) as cache:
        for model, words in MODELS.items():
            command = ["-m", model, "-d", args.size, "stopping_step=100", *words]
            kinds = {kind: [*command, *extra] for kind, extra in CHECKPOINTS.items()}
            show(f"checkpoints: {' '.join(command)}", compare(kinds, args.rounds, Path(cache)), args.rounds)
        kinds = {f"{n} workers": [*SWEEP, "--workers", str(n)] for n in args.workers}
        show(f"workers: {' '.join(SWEEP)}", compare(kinds, args.rounds, Path(cache)), args.rounds)


if __name__ == "__main__":
    main()
