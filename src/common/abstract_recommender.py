"""What every model derives from: MMRec's base classes and hooks, with what this framework adds.

A model file is `models/<name in lower case>.py` with a class of the name given to `-m`, and
`configs/model/<Name>.yaml`. Its hooks:

    __init__(config, dataset)     parameters and graphs; `dataset` is the training loader
    pre_epoch_processing()        before every epoch
    calculate_loss(interaction)   a loss of one element, or a tuple of them, from a batch of ids
    post_epoch_processing()       after every epoch; what it returns is logged
    forward()                     embeddings of users (U, d) and items (I, d), for the scoring below
    full_sort_predict(...)        scores (B, I); inherited where a score is the product of embeddings
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.batches import TrainDataLoader
    from utils.data.modalities import Modality


class AbstractRecommender(nn.Module):
    """The hooks that the trainer and the evaluator call."""

    settings: ClassVar[dict[str, Any] | None] = None
    """Settings of the model: name -> type, (type, range) or tuple of choices. None: whatever its YAML names."""

    needs_negatives: ClassVar[bool] = True
    """Whether `calculate_loss` reads interaction[2]; of a model that declares no settings its YAML alone says so."""

    content_is_optional: ClassVar[bool] = False
    """Whether a multimodal model runs on a data set without any modality, as what is left of it then."""

    cache_forward: ClassVar[bool] = True
    """In evaluation `forward()` is a function of the weights alone: it runs once, not once per batch.

    False: scores may also depend on what the model keeps beside its weights, which is then kept with the best ones;
    as it is for a model that declares no settings.
    """

    @classmethod
    def needs_raw_features(cls, config: Config) -> bool:
        """Whether a kNN graph alone is too little for this model under these settings."""
        return bool(config["is_multimodal_model"])

    def pre_epoch_processing(self) -> None:
        """Called before every epoch, in whatever mode the model is."""

    def post_epoch_processing(self) -> Any:
        """Called after every epoch; a result that is not None is logged."""

    def calculate_loss(self, interaction: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Loss of a batch (3, B): user, positive and negative item; (2, B) without negatives."""
        raise NotImplementedError(f"{type(self).__name__} has no calculate_loss")

    def full_sort_predict(self, interaction: list[Tensor]) -> Tensor:
        """Scores (B, I) of all items for the users interaction[0] (B,): a fresh tensor, masked in place later."""
        raise NotImplementedError(f"{type(self).__name__} has no full_sort_predict")

    def modality_shares(self) -> dict[str, Tensor] | None:
        """How much each modality counted for every item, by name: (I,), summing to 1 over the modalities.

        Read in evaluation. None for a model that does not weigh its modalities against each other.
        """
        return None

    def __str__(self) -> str:
        return f"{super().__str__()}\nTrainable parameters: {self.parameter_counts()[0]}"

    def parameter_counts(self) -> tuple[int, int]:
        """Numbers of trainable and of frozen weights."""
        trainable = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return trainable, sum(p.numel() for p in self.parameters()) - trainable


RAW_FEATURES = {"v_feat": "image", "t_feat": "text"}
"""MMRec's names of raw features (I, F), and the modalities they are of."""


class GeneralRecommender(AbstractRecommender):
    """A recommender of users and items known by id: sizes, device, modalities and a random generator.

    `v_feat` and `t_feat` are raw features (I, F) of image and text, None without that modality. As in MMRec they
    are plain tensors, read at once; in a model that declares its settings they are read when asked for.
    """

    def __init__(self, config: Config, dataloader: TrainDataLoader):
        super().__init__()
        dataset = dataloader.dataset
        self.USER_ID, self.ITEM_ID = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.NEG_ITEM_ID = f"{config['NEG_PREFIX'] or 'neg__'}{self.ITEM_ID}"
        self.n_users, self.n_items = dataset.get_user_num(), dataset.get_item_num()
        self.batch_size = config["train_batch_size"]
        self.device = config["device"]
        self.modalities: dict[str, Modality] = dataset.modalities if config["is_multimodal_model"] else {}
        self.generator = torch.Generator(self.device).manual_seed(config["seed"])
        """For whatever the model draws while it trains, so that no draw depends on other code's."""
        if self.settings is None:
            self.v_feat, self.t_feat = (self._raw(modality) for modality in RAW_FEATURES.values())

    def __getattr__(self, name: str) -> Any:
        # No property, which would stand in the way of a model that assigns a parameter of that name.
        if name in RAW_FEATURES and self.settings is not None:
            return self._raw(RAW_FEATURES[name])
        return super().__getattr__(name)

    def _raw(self, name: str) -> Tensor | None:
        modality = self.modalities.get(name)
        return modality.features().to(self.device) if modality and modality.has_features else None

    def full_sort_predict(self, interaction: list[Tensor]) -> Tensor:
        users, items = self.forward()
        return users[interaction[0]] @ items.T
