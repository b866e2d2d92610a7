"""Everything that a training goes on from: random generators, and what models keep beside their weights."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from utils.errors import UserError

PLAIN = (bool, int, float, str, type(None))
CONTAINERS = (list, tuple, dict)
OF_ANY_MODULE = frozenset(vars(nn.Module()))
FEW = 100
"""Entries of a container that is looked into, such as a list of layer outputs; larger ones are data as a rule."""


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

    Counters, generators, and tensors such as a cached representation, by themselves or a few in a list, tuple or
    dict: a model file need not tell which of them it goes on from. What is still as it was when this object was
    made is the same after building the model again, and is left out; so features and graphs are not written with
    every checkpoint. What shares its memory with a weight is kept as a view of that weight, and parameters that
    training adds are kept too: restore them first, then load the weights.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._before = {path: (_shallow(value), _stamp(value)) for path, value in self._walk()}
        self._weights_before = set(self._weights())

    def changed(self) -> dict[str, Any]:
        """Values by path such as 'encoder.step', as tensors and plain values; tensors may be those of the model."""
        weights = _memories(self._weights())
        found = {
            path: _packed(value, weights)
            for path, value in self._walk()
            if not self._as_before(path, value, weights)
        }
        known = _memories({name: self._weights()[name] for name in self._weights_before})
        return found | {name: _packed_parameter(p, known) for name, p in self._added().items()}

    def restore(self, values: dict[str, Any]) -> None:
        """Set what `changed` gave, a generator where it was then, and all else as it was at first.

        Raises UserError for what was written to since, and is not among the values.
        """
        for path in self._added().keys() - values.keys():
            self._remove(path)
        for path, value in values.items():
            if isinstance(value, dict) and "parameter" in value:
                self._add(path, value["parameter"])
        weights = self._weights()
        places = _memories(weights)
        for path, value in list(self._walk()):
            if path not in values and not self._as_before(path, value, places):
                self._reset(path)
        for path, value in values.items():
            attributes, name = self._place(path)
            if isinstance(value, dict) and "parameter" in value:
                continue
            if isinstance(value, dict) and "generator" in value:
                attributes[name].set_state(value["generator"])
            elif isinstance(value, dict) and "rng" in value:
                set_generator_state(attributes[name], value["rng"])
            else:
                attributes[name] = _unpacked(value, attributes.get(name), weights)

    def _added(self) -> dict[str, nn.Parameter]:
        """Parameters that were not there at first, such as a second name for one of another module."""
        names = self._model.named_parameters(remove_duplicate=False)
        return {name: parameter for name, parameter in names if name not in self._weights_before}

    def _add(self, path: str, parameter: str | Tensor) -> None:
        """`parameter` is the name of one that is there, or the values of another."""
        owner, _, name = path.rpartition(".")
        if isinstance(parameter, str):
            one = self._model.get_parameter(parameter)
        else:
            one = nn.Parameter(_unpacked(parameter, None, self._weights()))
        setattr(self._model.get_submodule(owner), name, one)

    def _remove(self, path: str) -> None:
        owner, _, name = path.rpartition(".")
        delattr(self._model.get_submodule(owner), name)
        if path in self._before:
            self._place(path)[0][name] = _shallow(self._before[path][0])

    def _reset(self, path: str) -> None:
        attributes, name = self._place(path)
        if path not in self._before:
            del attributes[name]
            return
        first, stamp = self._before[path]
        if _stamp(first) != stamp:
            raise UserError(
                f"{type(self._model).__name__}.{path} was first written to after the best epoch, so the model of that "
                f"epoch cannot be had again; make it a buffer (register_buffer), or assign a new tensor instead"
            )
        attributes[name] = _shallow(first)

    def _place(self, path: str) -> tuple[dict[str, Any], str]:
        owner, _, name = path.rpartition(".")
        return vars(self._model.get_submodule(owner)), name

    def _weights(self) -> dict[str, Tensor]:
        """Parameters and buffers, each under all its names."""
        model = self._model
        parameters = model.named_parameters(remove_duplicate=False)
        return dict([*parameters, *model.named_buffers(remove_duplicate=False)])

    def _walk(self) -> Iterator[tuple[str, Any]]:
        for owner, module in self._model.named_modules():
            for name, value in vars(module).items():
                if name not in OF_ANY_MODULE and _is_state(value):
                    yield (f"{owner}.{name}" if owner else name), value

    def _as_before(self, path: str, value: Any, weights: dict[int, str]) -> bool:
        if path not in self._before or isinstance(value, torch.Generator | np.random.Generator):
            return False
        first, stamp = self._before[path]
        if value is first and _memory(value) in weights:
            return True  # it shows whatever the weight is
        return _stamp(value) == stamp


def _is_state(value: Any) -> bool:
    kinds = (Tensor, np.ndarray, *PLAIN)
    if isinstance(value, CONTAINERS) and not hasattr(value, "_fields"):
        entries = value.values() if isinstance(value, dict) else value
        named = not isinstance(value, dict) or all(isinstance(key, str | int) for key in value)
        return len(value) <= FEW and named and all(isinstance(entry, kinds) for entry in entries)
    return isinstance(value, (torch.Generator, np.random.Generator, *kinds))


def _shallow(value: Any) -> Any:
    """The value; of a container another one of the same entries, which hers may lose."""
    return type(value)(value) if type(value) in CONTAINERS else value


def _stamp(value: Any) -> Any:
    """What is equal as long as the value is the same and nothing was written to it."""
    if isinstance(value, dict):
        return "dict", tuple((key, _stamp(entry)) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(_stamp, value))
    if isinstance(value, np.ndarray):
        return id(value), zlib.crc32(np.ascontiguousarray(value))
    return (id(value), value._version) if isinstance(value, Tensor) else (type(value).__name__, value)


def _memory(value: Any) -> int | None:
    """Where a dense tensor has its numbers."""
    dense = isinstance(value, Tensor) and value.layout == torch.strided and value.numel()
    return value.untyped_storage().data_ptr() if dense else None


def _memories(weights: dict[str, Tensor]) -> dict[int, str]:
    """Names of the weights by where they are."""
    return {place: name for name, weight in weights.items() if (place := _memory(weight)) is not None}


def _packed_parameter(parameter: nn.Parameter, known: dict[int, str]) -> dict[str, Any]:
    """The name of the one that it is too, or its values."""
    return {"parameter": known.get(_memory(parameter), parameter.detach().cpu())}


def _packed(value: Any, weights: dict[int, str]) -> Any:
    if isinstance(value, torch.Generator):
        return {"generator": value.get_state()}
    if isinstance(value, np.random.Generator):
        return {"rng": generator_state(value)}
    if isinstance(value, np.ndarray):
        return {"array": torch.from_numpy(np.ascontiguousarray(value))}
    if isinstance(value, CONTAINERS):
        keys = list(value) if isinstance(value, dict) else None
        entries = value.values() if isinstance(value, dict) else value
        kind = next(kind.__name__ for kind in CONTAINERS if isinstance(value, kind))
        return {"entries": [_packed(entry, weights) for entry in entries], "keys": keys, "kind": kind}
    if not isinstance(value, Tensor):
        return value
    if (place := _memory(value)) in weights:
        return {"view_of": weights[place], "as": [list(value.shape), value.stride(), value.storage_offset()]}
    return value.detach().cpu()


def _unpacked(value: Any, present: Any, weights: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        like = present if isinstance(present, Tensor) else next(iter(weights.values()), value)
        return value.to(like.device)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return value["array"].numpy()
    if "view_of" in value:
        return torch.as_strided(weights[value["view_of"]].detach(), *value["as"])
    entries = [_unpacked(entry, None, weights) for entry in value["entries"]]
    if value["keys"] is not None:
        return dict(zip(value["keys"], entries, strict=True))
    return tuple(entries) if value["kind"] == "tuple" else entries
