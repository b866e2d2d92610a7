"""Seconds and memory of a model of an MMRec checkout, by MMRec's own loader, trainer and evaluator.

`python benchmarks/mmrec.py CHECKOUT MODEL FOLDER EPOCHS SETTINGS` runs in a process of its own and prints one JSON
object; `benchmarks/run.py --mmrec CHECKOUT` calls it. Nothing in the checkout is changed: what today's numpy, scipy
and torch lack is supplied as for the models of `--models-dir`, packages that only its image tools import are empty
modules, and what it writes goes to a folder that is removed.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

SRC = Path(__file__).resolve().parents[1] / "src"
UNUSED = ("torchvision", "PIL", "lmdb", "cv2")
"""What MMRec's module of image tools imports, and no model of the benchmark uses."""


class _Empty(ModuleType):
    """A module of which any name can be imported, which has any name in its turn."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name)


class _Unused:
    """Finds the packages of UNUSED as empty modules, whether they are installed or not."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.partition(".")[0] in UNUSED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def measure(
    checkout: Path, model: str, data: Path, epochs: int, settings: dict[str, Any]
) -> dict[str, float]:
    """As `benchmarks/run.py` measures ours; `validation` and `test` are the means of its two rankings per epoch."""
    import torch

    sys.path.insert(0, str(SRC))
    from utils.foreign.compat import compat
    from utils.foreign.packages import stand_ins

    sys.path.remove(str(SRC))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("utils", "common")]:
        del sys.modules[name]  # theirs have the same names
    sys.modules.update(stand_ins())
    sys.meta_path.insert(0, _Unused())
    with tempfile.TemporaryDirectory() as work, compat(torch.device("cpu")):
        (Path(work) / data.name).mkdir()
        for file in data.iterdir():
            (Path(work) / data.name / file.name).symlink_to(file.resolve())
        os.chdir(checkout / "src")  # where it looks for its configurations
        sys.path.insert(0, os.getcwd())
        return _measure(model, data.name, f"{work}/", epochs, settings)


def _measure(
    model_name: str, dataset: str, data_path: str, epochs: int, settings: dict[str, Any]
) -> dict[str, float]:
    from utils.configurator import Config
    from utils.dataloader import EvalDataLoader, TrainDataLoader
    from utils.dataset import RecDataset

    from common.trainer import Trainer
    from utils.utils import get_model, init_seed

    config = Config(
        model_name,
        dataset,
        settings
        | {
            "data_path": data_path, "inter_file_name": f"{dataset}.inter", "epochs": epochs, "use_gpu": False,
            "vision_feature_file": "image_feat.npy", "text_feature_file": "text_feat.npy", "seed": 999,
            "USER_ID_FIELD": "userID", "ITEM_ID_FIELD": "itemID", "field_separator": "\t",
            "filter_out_cod_start_users": True,
        },
    )  # fmt: skip
    init_seed(999)
    started = time.perf_counter()
    dataset_of_all = RecDataset(config)
    str(dataset_of_all)  # which is what counts its users
    train, valid, test = dataset_of_all.split()
    for part in (train, valid, test):
        str(part)
    batches = TrainDataLoader(config, train, batch_size=config["train_batch_size"], shuffle=True)
    valid, test = (
        EvalDataLoader(config, part, additional_dataset=train, batch_size=config["eval_batch_size"])
        for part in (valid, test)
    )
    loaded = time.perf_counter()
    batches.pretrain_setup()
    model = get_model(model_name)(config, batches).to(config["device"])
    built = time.perf_counter()
    trainer = Trainer(config, model)
    preparation = _timed(model, "pre_epoch_processing")
    steps, rankings = _timed(trainer, "_train_epoch"), _timed(trainer, "_valid_epoch")
    trainer.fit(batches, valid_data=valid, test_data=test, saved=False, verbose=False)
    counted = slice(1, None) if epochs > 1 else slice(None)
    training = [sum(parts) for parts in zip(preparation, steps, strict=True)]
    ranking = median(rankings[2 * counted.start if counted.start else 0 :])
    return {
        "load": loaded - started,
        "graphs": built - loaded,
        "train": median(training[counted]),
        "validation": ranking,
        "epoch": median(training[counted]) + 2 * ranking,
        "test": ranking,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _timed(owner: Any, name: str) -> list[float]:
    """A list that gets the seconds of every call of a method."""
    seconds: list[float] = []
    method: Callable = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - started)

    setattr(owner, name, call)
    return seconds


if __name__ == "__main__":
    place, name, folder, number, values = sys.argv[1:]
    print(
        json.dumps(
            measure(Path(place).resolve(), name, Path(folder).resolve(), int(number), json.loads(values))
        )
    )
