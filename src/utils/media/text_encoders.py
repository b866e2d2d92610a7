"""Texts through sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.media.encoders import Encoder, loading, text_digest, weights_digest
from utils.media.packages import make_torchvision_importable, need

LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Tokens that a text is padded to, the least that holds it: more of them waste less, and fill up more last batches."""
STEP = 256  # beyond
COUNTED = 256  # texts that are tokenised at a time, only to be counted
UNSTABLE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Entries of a transformer's configuration that say nothing of its vectors."""


class SentenceEncoder(Encoder):
    """Sentence vectors as the model's own modules make them: pooled, and of unit length where it says so."""

    package = "sentence-transformers"

    def __init__(self, name: str, model: Any, device: torch.device, rows: int):
        super().__init__(name, device, rows)
        self.model = model.eval().float()
        self._prompt = (model.prompts or {}).get(model.default_prompt_name, "")
        self._identity = {  # now, since tokenising leaves traces in the tokenizer
            "package": self.package,
            "weights": weights_digest(model),
            "tokenizer": _tokenizer_digest(model.tokenizer),
            "modules": text_digest([[type(module).__name__, _settings(module)] for module in model]),
            "longest": model.max_seq_length,
            "prompt": self._prompt,
        }

    def identity(self) -> dict[str, Any]:
        return self._identity

    def prepare(self, content: bytes) -> str:
        return self._prompt + content.decode()

    def sizes(self, contents: Sequence[bytes]) -> list[int]:
        """Tokens that each is padded to."""
        sizes: list[int] = []
        for start in range(0, len(contents), COUNTED):
            texts = [self.prepare(content) for content in contents[start : start + COUNTED]]
            mask = self.model.preprocess(texts).get("attention_mask")
            counts = [0] * len(texts) if mask is None else mask.sum(1).tolist()
            sizes += map(self._padded, counts)
        return sizes

    def example(self) -> bytes:
        return b"an item"

    def _encode(self, prepared: list[str]) -> Tensor:
        features = self.model.preprocess(prepared)
        mask = features.get("attention_mask")
        if mask is not None and mask.dim() == 2:
            wanted = self._padded(int(mask.sum(1).max()))
            features = {name: self._pad(name, value, mask, wanted) for name, value in features.items()}
        features = {
            name: value.to(self.device) if torch.is_tensor(value) else value
            for name, value in features.items()
        }
        return self.model(features)["sentence_embedding"]

    def _padded(self, count: int) -> int:
        length = next((one for one in LENGTHS if one >= count), -(-count // STEP) * STEP)
        longest = self.model.max_seq_length
        return min(length, longest) if longest and count <= longest else length

    def _pad(self, name: str, value: Any, mask: Tensor, wanted: int) -> Any:
        """An entry (B, T) of a batch as (B, wanted), on the side that the tokenizer pads."""
        if not torch.is_tensor(value) or value.shape[:2] != mask.shape:
            return value
        missing, tokenizer = wanted - mask.shape[1], self.model.tokenizer
        fill = (tokenizer.pad_token_id or 0) if name == "input_ids" else 0
        sides = (missing, 0) if getattr(tokenizer, "padding_side", "right") == "left" else (0, missing)
        return F.pad(value, sides, value=fill)


def load_sentence_transformer(name: str, device: torch.device, rows: int) -> SentenceEncoder:
    """Code that comes with a model is never run, and weights are read as numbers alone. Raises UserError."""
    make_torchvision_importable()
    package = need("sentence_transformers")
    need("transformers").utils.logging.disable_progress_bar()
    folder = Path(name).expanduser()
    here = {"local_files_only": True} if folder.is_dir() else {}
    where = str(folder) if folder.is_dir() else name

    def load() -> Any:
        return package.SentenceTransformer(where, device=str(device), trust_remote_code=False, **here)

    return SentenceEncoder(name, loading("text", name, load), device, rows)


def _tokenizer_digest(tokenizer: Any) -> str:
    """Of its rules and words, without the padding of the last batch."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        words = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
        return text_digest([type(tokenizer).__name__, words])
    rules = json.loads(backend.to_str())
    return text_digest({name: rule for name, rule in rules.items() if name not in ("padding", "truncation")})


def _settings(module: Any) -> dict[str, Any]:
    """Of one of the model's modules, a transformer's own configuration among them."""
    settings = dict(module.get_config_dict()) if hasattr(module, "get_config_dict") else {}
    inner = getattr(getattr(module, "auto_model", None), "config", None)
    if inner is not None:
        settings["transformer"] = {
            key: value for key, value in inner.to_diff_dict().items() if key not in UNSTABLE
        }
    return settings
