"""Everything that a training goes on from: random generators, and what models keep beside their weights."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, str, type(None))


def random_states() -> dict[str, Any]:
    """The global generators of Python, numpy and torch, as tensors and plain values."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return {
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put the global generators back to where `random_states` found them."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def generator_state(generator: np.random.Generator) -> str:
    """State of a numpy generator as text."""
    return json.dumps(generator.bit_generator.state)


def set_generator_state(generator: np.random.Generator, state: str) -> None:
    generator.bit_generator.state = json.loads(state)


class Attributes:
    """What a model's modules hold beside parameters and buffers, and what of it training changes.

    Counters, generators, and tensors such as a cached representation: a model file need not tell which of them
    it goes on from. What is still as it was when this object was made is the same after building the model
    again, and is left out; so features and graphs are not written with every checkpoint.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._before = {path: (value, _version(value)) for path, value in self._walk()}

    def changed(self) -> dict[str, Any]:
        """Values by path such as 'encoder.step', as tensors and plain values."""
        return {path: _packed(value) for path, value in self._walk() if not self._as_before(path, value)}

    def restore(self, values: dict[str, Any]) -> None:
        """Set what `changed` gave; a generator goes on where it was."""
        for path, value in values.items():
            owner, _, name = path.rpartition(".")
            module = self._model.get_submodule(owner)
            if isinstance(value, dict) and "generator" in value:
                vars(module)[name].set_state(value["generator"])
            elif isinstance(value, dict) and "rng" in value:
                set_generator_state(vars(module)[name], value["rng"])
            else:
                vars(module)[name] = _unpacked(value, vars(module).get(name))

    def _walk(self):
        for owner, module in self._model.named_modules():
            for name, value in vars(module).items():
                kinds = (Tensor, np.ndarray, torch.Generator, np.random.Generator, *PLAIN)
                if name != "training" and isinstance(value, kinds):
                    yield (f"{owner}.{name}" if owner else name), value

    def _as_before(self, path: str, value: Any) -> bool:
        if path not in self._before or isinstance(value, torch.Generator | np.random.Generator):
            return False
        before, version = self._before[path]
        if isinstance(value, PLAIN):
            return type(value) is type(before) and value == before
        return value is before and _version(value) == version


def _version(value: Any) -> int | None:
    """What tells whether the same tensor or array has been written to."""
    if isinstance(value, np.ndarray):
        return zlib.crc32(np.ascontiguousarray(value))
    return value._version if isinstance(value, Tensor) else None


def _packed(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return {"generator": value.get_state()}
    if isinstance(value, np.random.Generator):
        return {"rng": generator_state(value)}
    if isinstance(value, np.ndarray):
        return {"array": torch.from_numpy(np.ascontiguousarray(value))}
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _unpacked(value: Any, present: Any) -> Any:
    if isinstance(value, dict):
        return value["array"].numpy()
    if isinstance(value, Tensor):
        return value.to(present.device) if isinstance(present, Tensor) else value
    return value
