"""What a run changes of the content of items before a model sees it, to learn what the content is worth.

`modality_ablation` leaves a modality out, `modality_shuffle` gives each item the content of another,
`modality_noise` adds noise, and `missing_rate` hides a share of the items from each modality; every draw is from
the run's seed and the name of the modality alone, so all models of one seed see the same content.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from utils.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from utils.config import Config

NONE, ALL = "none", "all"
HIDING, SHUFFLING, NOISE = range(3)


@dataclass(frozen=True)
class Study:
    """How content is changed, and what becomes of items that have none: `treatment`."""

    treatment: str = "drop"
    missing_rate: float = 0.0
    ablation: str = NONE
    shuffled: str = NONE
    noise: float = 0.0
    seed: int | None = None
    """Of the draws; None where nothing is drawn."""

    @classmethod
    def of(cls, config: Config) -> Study:
        """That of a configuration. Equal for two of them where the content is."""
        draws = config["missing_rate"] or config["modality_noise"] or config["modality_shuffle"] != NONE
        return cls(
            config["missing_treatment"],
            config["missing_rate"],
            config["modality_ablation"],
            config["modality_shuffle"],
            config["modality_noise"],
            config["seed"] if draws else None,
        )

    def check(self, names: Iterable[str], dataset: str) -> None:
        """Raises UserError for a modality that the data set does not have."""
        known = list(names)
        for setting, name in (("modality_ablation", self.ablation), ("modality_shuffle", self.shuffled)):
            if name not in (NONE, ALL, *known):
                raise UserError(
                    f"{setting}={name}: '{dataset}' has no such modality; expected {NONE}, {ALL}"
                    f"{''.join(f', {one}' for one in known)}{did_you_mean(name, known)}"
                )

    def leaves_out(self, name: str) -> bool:
        return self.ablation in (name, ALL)

    def hidden(self, name: str, n_items: int) -> np.ndarray | None:
        """Items (n,) bool whose content of a modality is hidden; those of a lower rate are among those of a higher."""
        if not self.missing_rate:
            return None
        return self._draw(name, HIDING).random(n_items) < self.missing_rate

    def order(self, name: str, n_items: int) -> np.ndarray | None:
        """The item (n,) whose content each one gets; None where each keeps its own."""
        if self.shuffled not in (name, ALL):
            return None
        return self._draw(name, SHUFFLING).permutation(n_items)

    def add_noise(self, name: str, features: Tensor, deviation: Tensor) -> None:
        """Add normal noise to features (n, F), `noise` times the standard deviations (F,) of their columns."""
        draw, scale = self._draw(name, NOISE), self.noise * deviation.numpy()
        for row in features.numpy():  # row by row, as there is no room for a second matrix of that size
            row += draw.standard_normal(len(row), dtype=np.float32) * scale

    def _draw(self, name: str, what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode()), what])
