"""What makes two trials the same: settings, content of the data, and code."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.registry import is_foreign, model_file

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.dataset import Dataset

SRC = Path(__file__).resolve().parents[2]

# Settings that say where things are and how fast they go, and change no result.
NOT_IDENTITY = {
    "cache_path", "checkpoint_share", "checkpoint_step", "data_path", "device", "eval_batch_size", "gpu_id",
    "models_dir", "ray_cpus", "ray_gpus", "runs_path", "save_model", "save_recommended_topk", "threads", "use_gpu",
}  # fmt: skip

PROTOCOL = (
    "common/trainer.py",
    "utils/data/batches.py",
    "utils/data/dataset.py",
    "utils/evaluation/ranking.py",
    "utils/experiments/building.py",
)
"""Beside the model's own file, where what decides a result begins; what these files import belongs to it."""

NO_RESULT = ("utils/errors.py", "utils/config/", "common/registry.py")
"""Imported everywhere and without a say in any figure."""

HOST = "utils/foreign/loading.py"
"""Where what decides the figures of others' models begins, beside their own files."""


def trial_id(config: Config, dataset: Dataset) -> str:
    """12 hex digits of the settings that can change a result, of the data's content and of the model's code."""
    settings = {k: v for k, v in config.final_config_dict.items() if k not in NOT_IDENTITY}
    parts = [settings, dataset.digest(), code_digest(config["model"], config.models_dir)]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()


@cache
def code_digest(model: str, models_dir: Path | None = None) -> str:
    """Hash of the code that decides a model's figures; comments, docstrings and layout do not count.

    That is the model's file, the training, the sampling, the ranking, and whatever of src/ these import; of a model
    of `models_dir` what it imports from there too, and what hosts it here.
    """
    digest = hashlib.blake2b(digest_size=8)
    host = [SRC / HOST] if is_foreign(model, models_dir) else []
    start = [model_file(model, models_dir), *host, *(SRC / name for name in PROTOCOL)]
    named = sorted((_name(path, models_dir), path) for path in _reachable(start, models_dir))
    for name, path in named:
        digest.update(f"{name}\n{_essence(path)}\n".encode())
    return digest.hexdigest()


def _reachable(start: list[Path], models_dir: Path | None = None) -> set[Path]:
    """The files and what they import of src/, and those of `models_dir` also from there, directly or not."""
    found: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            roots = [SRC]
            if models_dir is not None and path.is_relative_to(models_dir):
                roots = [SRC, models_dir]
            waiting += [other for other in _imports(path, roots) if not _name(other).startswith(NO_RESULT)]
    return found


def _name(path: Path, models_dir: Path | None = None) -> str:
    """As imports see it: the path below src/, or below `models_dir`, and which of the two."""
    if models_dir is not None and path.is_relative_to(models_dir):
        return f"models_dir/{path.relative_to(models_dir).as_posix()}"
    return path.relative_to(SRC).as_posix() if path.is_relative_to(SRC) else path.name


def _imports(path: Path, roots: Sequence[Path]) -> Iterator[Path]:
    """Files below `roots` that a file imports as it is loaded or as it runs; not those for the type checker alone.

    Where several roots have a file of that name, each counts: which one is imported is the import system's to say.
    """
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        names, places = [], roots
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # a relative import
                places = [path.parents[node.level - 1]]
            names = [".".join(filter(None, (node.module, *last))) for last in _last(node)]
        for name, root in product(names, places):
            stem = root.joinpath(*name.split("."))
            yield from (file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())


def _last(node: ast.ImportFrom) -> list[list[str]]:
    """What may follow the module in `from module import name`: nothing, or the name of a module in it."""
    return [[], *([alias.name] for alias in node.names)] if node.module else [[a.name] for a in node.names]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _statements(child)


def _essence(path: Path) -> str:
    """The code of a file without comments, docstrings and layout, the same whatever Python reads it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ]
    return _text(tree)


def _text(node: Any) -> str:
    """A syntax tree as text. Those of `ast.unparse` and `ast.dump` differ from one Python to the next."""
    if isinstance(node, list):
        return f"[{', '.join(_text(n) for n in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.JoinedStr):  # 3.12 ends some with an empty piece
        fields["values"] = [n for n in node.values if not (isinstance(n, ast.Constant) and n.value == "")]
    # What is empty has no say: 3.12 has fields that 3.11 does not know.
    named = (f"{name}={_text(value)}" for name, value in fields.items() if value is not None and value != [])
    return f"{type(node).__name__}({', '.join(named)})"
