"""Images through timm, and images and texts through open_clip."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.errors import UserError
from utils.media.encoders import Encoder, loading, text_digest, weights_digest
from utils.media.images import decode_image
from utils.media.packages import make_torchvision_importable, need


class ImageEncoder(Encoder):
    """Images through `transform`, from a picture to (3, H, W), and a model, from (B, 3, H, W) to (B, F)."""

    def __init__(
        self,
        package: str,
        name: str,
        model: Any,
        transform: Any,
        settings: Any,
        device: torch.device,
        rows: int,
    ):
        super().__init__(name, device, rows)
        self.package, self.model, self._transform = package, model.eval().float().to(device), transform
        self._forward = getattr(model, "encode_image", model)
        self._identity = {"package": package, "weights": weights_digest(model), "settings": settings}

    def identity(self) -> dict[str, Any]:
        return self._identity

    def prepare(self, content: bytes) -> Tensor:
        return self._transform(decode_image(content))

    def example(self) -> bytes:
        file = io.BytesIO()
        need("PIL.Image").new("RGB", (32, 32), "grey").save(file, "PNG")
        return file.getvalue()

    def _encode(self, prepared: list[Tensor]) -> Tensor:
        return self._forward(torch.stack(prepared).to(self.device))


class ClipTextEncoder(Encoder):
    """Texts through the text tower of an open_clip model; every text has the model's context length."""

    package = "open_clip"

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device, rows: int):
        super().__init__(name, device, rows)
        self.model, self._tokenizer = model.eval().float().to(device), tokenizer
        self._identity = {
            "package": self.package,
            "weights": weights_digest(model),
            "tokenizer": f"{type(tokenizer).__name__} {getattr(tokenizer, 'context_length', '')}",
        }

    def identity(self) -> dict[str, Any]:
        return self._identity

    def prepare(self, content: bytes) -> str:
        return content.decode()

    def example(self) -> bytes:
        return b"an item"

    def _encode(self, prepared: list[str]) -> Tensor:
        return self.model.encode_text(self._tokenizer(prepared).to(self.device))


def load_timm(name: str, device: torch.device, rows: int) -> ImageEncoder:
    """The pooled output before the classifier; the images as the model's data configuration says. Raises UserError."""
    make_torchvision_importable()
    timm = need("timm")
    local = Path(name).expanduser().is_dir()
    where = f"local-dir:{Path(name).expanduser()}" if local else f"hf-hub:{name}"
    model = loading("image", name, lambda: timm.create_model(where, pretrained=True, num_classes=0))
    data = need("timm.data")
    settings = data.resolve_model_data_config(model)
    transform = data.create_transform(**settings, is_training=False)
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    about = {
        "architecture": model.pretrained_cfg.get("architecture", type(model).__name__),
        "images": settings,
    }
    return ImageEncoder("timm", name, model, transform, about, device, rows)


def load_open_clip_image(name: str, device: torch.device, rows: int) -> ImageEncoder:
    """Raises UserError."""
    model, transform = _open_clip("image", name)
    settings = text_digest(need("open_clip").get_model_preprocess_cfg(model))
    return ImageEncoder("open_clip", name, model, transform, settings, device, rows)


def load_open_clip_text(name: str, device: torch.device, rows: int) -> ClipTextEncoder:
    """Raises UserError."""
    model, _ = _open_clip("text", name)
    tokenizer = loading("text", name, lambda: need("open_clip").get_tokenizer(_clip_name(name)))
    return ClipTextEncoder(name, model, tokenizer, device, rows)


def _open_clip(kind: str, name: str) -> tuple[Any, Any]:
    """Model and transform of images. A name is that of the hub; NAME@TAG is one of open_clip's own list."""
    make_torchvision_importable()
    package = need("open_clip")
    where, tag = _clip_name(name), name.partition("@")[2] or None

    def load() -> Any:
        return package.create_model_from_pretrained(where, pretrained=tag, weights_only=True)

    made = loading(kind, name, load)
    if not isinstance(made, tuple):
        raise UserError(f"--{kind} {name}: open_clip gives no image transform with it; expected a CLIP model")
    return made


def _clip_name(name: str) -> str:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return f"local-dir:{folder}"
    return name.partition("@")[0] if "@" in name else f"hf-hub:{name}"
