"""What a GPU would have to be waited for, seen on a CPU."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode

READS = (
    "_local_scalar_dense",
    "nonzero",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "masked_select",
    "repeat_interleave",
    "equal",
)


class Waits(TorchDispatchMode):
    """Keeps the names of the operations that give a number, or a shape, which only the device knows."""

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in READS:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))
