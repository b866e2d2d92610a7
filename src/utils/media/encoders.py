"""Encoders of texts and images by name: a local folder, or a name of the hub, of three packages."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from utils.errors import UserError, did_you_mean


class Encoder(ABC):
    """A pretrained model as a function: from the content of one item to a vector, whatever stands beside it.

    A batch has always `rows` rows of one size, filled up where there are fewer, since the last bits of a product of
    matrices may depend on their shapes. So a vector is the same to the bit in any batch, and after any interruption,
    as long as the machine, its threads and `rows` are.
    """

    package: str
    """Whose models these are."""

    def __init__(self, name: str, device: torch.device, rows: int):
        self.name, self.device, self.rows = name, device, rows

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: weights and settings, not the place they lie at. As JSON has it."""

    @abstractmethod
    def prepare(self, content: bytes) -> Any:
        """What `encode` takes of an item. Raises MediaError; may be called by several threads."""

    def sizes(self, contents: Sequence[bytes]) -> list[int]:
        """Of each content; those of one size may share a batch."""
        return [0] * len(contents)

    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """Vectors (n, F) float32 of at most `rows` items of one size."""
        full = [*prepared, *[prepared[0]] * (self.rows - len(prepared))]
        with torch.inference_mode():
            vectors = self._encode(full)
        return vectors[: len(prepared)].float().cpu().numpy()

    @abstractmethod
    def _encode(self, prepared: list[Any]) -> Tensor:
        """Vectors (rows, F) of exactly `rows` items."""

    @abstractmethod
    def example(self) -> bytes:
        """Some content that can be encoded."""

    def width(self) -> int:
        """F, found by encoding an example."""
        return self.encode([self.prepare(self.example())]).shape[1]


class Package(NamedTuple):
    """Where the encoders of a package are: `loaders` are functions of a module, by kind."""

    module: str
    loaders: Mapping[str, str]
    marks: tuple[str, ...]
    """Files that a local folder of this package has, any of them."""


PACKAGES = {
    "sentence-transformers": Package(
        "utils.media.text_encoders",
        {"text": "load_sentence_transformer"},
        ("modules.json", "config_sentence_transformers.json"),
    ),
    "open_clip": Package(
        "utils.media.image_encoders",
        {"image": "load_open_clip_image", "text": "load_open_clip_text"},
        ("open_clip_config.json",),
    ),
    "timm": Package("utils.media.image_encoders", {"image": "load_timm"}, ("config.json",)),
}
"""The first whose mark a folder has is asked for it."""

DEFAULT = {"text": "sentence-transformers"}
"""Of a name that does not say its package; there is none for images, where a wrong guess would be a wrong download."""


def load_encoder(kind: str, name: str, device: torch.device, rows: int) -> Encoder:
    """The encoder that `--text` or `--image` names: FOLDER, timm/..., sentence-transformers/... or PACKAGE:NAME.

    Raises UserError for one that is not known, not there, or whose package is not installed.
    """
    package, rest = parse_name(kind, name)
    loader: Callable[..., Encoder] = getattr(
        import_module(PACKAGES[package].module), PACKAGES[package].loaders[kind]
    )
    return loader(rest, device, rows)


def parse_name(kind: str, name: str) -> tuple[str, str]:
    """Package and name, or folder, of what `--text` or `--image` says. Raises UserError.

    >>> parse_name("image", "timm/resnet50.a1_in1k")
    ('timm', 'timm/resnet50.a1_in1k')
    """
    package, colon, rest = name.partition(":")
    if colon and package in PACKAGES:
        return _with_loader(kind, package, name), rest
    if colon and not Path(name).exists():
        raise UserError(
            f"--{kind} {name}: no package '{package}'{did_you_mean(package, PACKAGES)}; "
            f"expected one of {', '.join(PACKAGES)} before the colon"
        )
    if Path(name).expanduser().is_dir():
        return _with_loader(kind, _package_of(kind, Path(name).expanduser()), name), name
    if _looks_like_a_path(name):
        raise UserError(
            f"--{kind} {name}: there is no such folder; name one with a model, or a name of the hub"
        )
    package = name.partition("/")[0]
    if package not in PACKAGES and kind not in DEFAULT:
        raise UserError(
            f"--{kind} {name}: expected a folder, timm/NAME, or PACKAGE:NAME with one of "
            f"{', '.join(one for one in PACKAGES if kind in PACKAGES[one].loaders)}"
        )
    return _with_loader(kind, package if package in PACKAGES else DEFAULT[kind], name), name


def _with_loader(kind: str, package: str, name: str) -> str:
    if kind not in PACKAGES[package].loaders:
        fit = ", ".join(one for one in PACKAGES if kind in PACKAGES[one].loaders)
        raise UserError(
            f"--{kind} {name}: {package} has no encoder of {kind}s here; expected a model of {fit}"
        )
    return package


def _package_of(kind: str, folder: Path) -> str:
    for package, entry in PACKAGES.items():
        if kind in entry.loaders and any((folder / mark).is_file() for mark in entry.marks):
            return package
    if kind in DEFAULT and (folder / "config.json").is_file():
        return DEFAULT[kind]  # a bare transformer, which gets mean pooling
    marks = ", ".join(mark for entry in PACKAGES.values() if kind in entry.loaders for mark in entry.marks)
    raise UserError(
        f"--{kind} {folder} holds no model; expected a folder with one of {marks} and the weights"
    )


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "~", "/", "\\")) or name.count("/") > 1 or name.endswith("/")


def loading(kind: str, name: str, load: Callable[[], Any]) -> Any:
    """What `load`, a call into a package, gives. Raises UserError for whatever goes wrong there, in a line."""
    try:
        with _quiet():
            return load()
    except UserError:
        raise
    except Exception as error:  # packages raise what they like for a missing or damaged model
        why = " ".join(f"{type(error).__name__}: {error}".split())
        what = (
            "the folder" if Path(name).is_dir() else "it (neither a folder here nor to be had from the hub)"
        )
        raise UserError(
            f"--{kind} {name}: cannot load {what}; without a network name a folder with the model: {why:.300}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the packages' own log of each try to reach the hub, since the error at the end says it all."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def weights_digest(module: torch.nn.Module) -> str:
    """Hash of all weights and buffers of a model, whatever file they came from."""
    digest = hashlib.blake2b(digest_size=16)
    for name, weight in sorted(module.state_dict().items()):
        values = weight.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def text_digest(value: Any) -> str:
    """Hash of something that JSON can hold."""
    return hashlib.blake2b(
        json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16
    ).hexdigest()
