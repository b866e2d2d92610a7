"""The packages of the extra `[features]`, imported when they are needed."""

from __future__ import annotations

import importlib
import re
import sys
from types import ModuleType

import torch

from utils.errors import UserError

PIP = {"PIL": "pillow", "open_clip": "open_clip_torch", "sentence_transformers": "sentence-transformers"}
"""Names to install by, where they are not those to import by."""

MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")


def need(name: str) -> ModuleType:
    """The module. Raises UserError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise UserError(
                f"the package {name.partition('.')[0]} cannot be imported: {error}; install it anew with all that it "
                f"needs: pip install -c requirements.txt '.[features]'"
            ) from error
        package = name.partition(".")[0]
        raise UserError(
            f"this needs the package {PIP.get(package, package)}, which is not installed; "
            f"pip install -c requirements.txt '.[features]' brings it"
        ) from error


def make_torchvision_importable() -> None:
    """Let torchvision be imported beside a torch that its compiled operators were not built for.

    PyPI's torchvision is built for CUDA. Beside a torch without it, its operators cannot be loaded and its import
    fails where it describes them, although what timm and open_clip use of it, the transforms of images, is Python.
    Such an operator is declared here, without code: to call it is an error. Otherwise nothing happens; a
    torchvision that is absent or broken in another way is left to whoever needs it.
    """
    for _ in range(10):
        try:
            importlib.import_module("torchvision")
            return
        except ImportError:
            return
        except RuntimeError as error:
            operator = MISSING_OPERATOR.search(str(error))
            if operator is None:
                return
            torch.library.define(f"torchvision::{operator[1]}", "() -> ()")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
