"""Training: epochs of batches, validation after each, early stopping, the best weights kept, and resumption."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from common.abstract_recommender import AbstractRecommender
from common.adam import RowAdam
from common.features import ProjectedFeatures
from common.state import Attributes, random_states, set_random_states
from utils.errors import Diverged

READ_FROM_GPU = 64
"""Steps from one look at the losses to the next on a GPU, where each look waits for all that was asked of it."""

OPTIMISERS = {
    "adam": RowAdam,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}


@dataclass
class EarlyStopping:
    """MMRec's rule: a value counts when, rounded to `decimals`, it is strictly better than the best so far;
    training stops once more than `patience` evaluations in a row have brought none (the 21st of patience 20).
    """

    patience: int
    decimals: int | None
    bigger: bool = True
    best: float | None = None
    barren: int = 0

    def update(self, value: float) -> bool:
        """Whether `value` is the best so far."""
        value = value if self.decimals is None else round(value, self.decimals)
        better = self.best is None or (value > self.best if self.bigger else value < self.best)
        self.best, self.barren = (value, 0) if better else (self.best, self.barren + 1)
        return better

    @property
    def stop(self) -> bool:
        return self.barren > self.patience


@dataclass
class Epoch:
    """What one epoch did: mean loss of its batches, seconds, learning rate, validation metrics if it had any."""

    epoch: int
    loss: float
    train_seconds: float
    learning_rate: float
    valid: dict[str, float] = field(default_factory=dict)
    valid_seconds: float = 0.0
    best: bool = False
    note: str = ""


@dataclass
class Fit:
    """A finished training: every epoch, and the best one, whose weights it left in the model.

    `attributes` are what the model kept beside its weights then, where scores may depend on it: see `Attributes`.
    """

    epochs: list[Epoch]
    best: Epoch
    attributes: dict[str, Any] = field(default_factory=dict)


class Checkpoints(Protocol):
    """Where states of a training are kept."""

    def load(self) -> dict[str, Any] | None: ...

    def save(self, epoch: int, state: dict[str, Any]) -> None: ...


class Allowance:
    """Keeps the time for something within a share of all the time that passes; its first turn is free."""

    def __init__(self, share: float):
        self._share, self._started = share, time.perf_counter()
        self._spent = self._last = 0.0

    def allows(self) -> bool:
        """Whether one more turn, as long as the last one, stays within the share."""
        passed = time.perf_counter() - self._started
        return self._share >= 1 or self._spent + self._last <= self._share * passed

    def spend(self, act: Callable[[], None]) -> None:
        started = time.perf_counter()
        act()
        self._last = time.perf_counter() - started
        self._spent += self._last


class Trainer:
    """Trains one model under one configuration."""

    def __init__(self, config: Mapping[str, Any], model: AbstractRecommender):
        self.config, self.model = config, model
        self.valid_metric = config["valid_metric"].lower()
        self.stopping = EarlyStopping(
            config["stopping_step"], config["valid_metric_decimals"], config["valid_metric_bigger"]
        )
        self.optimiser = make_optimiser(config, model)
        gamma, step = config["learning_rate_scheduler"]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda epoch: gamma ** (epoch / step)
        )
        self._best_weights: dict[str, Tensor] = {}
        self._spare_tables()
        self.read_every = READ_FROM_GPU if any(p.is_cuda for p in model.parameters()) else 1
        self._attributes = Attributes(model)
        self._best_attributes: dict[str, Any] = {}
        # Some models score with what their last training batch left: those weights alone are another model. A file
        # in MMRec's style does not say whether it is one.
        self._keeps_attributes = model.settings is None or not model.cache_forward

    def fit(
        self,
        batches: Iterable[Tensor],
        validate: Callable[[], dict[str, float]],
        report: Callable[[Epoch], None] = lambda epoch: None,
        progress: Callable[[Iterable[Tensor], int], Iterable[Tensor]] = lambda batches, epoch: batches,
        checkpoints: Checkpoints | None = None,
    ) -> Fit:
        """Train until validation no longer improves, and leave the weights of the best epoch in the model.

        `batches` is iterated once per epoch; `validate` gives metrics by lower-case name; `report` is told of
        every epoch, `progress` may wrap the batches of one. With `checkpoints` the training goes on after the
        last one, as if it had never stopped. Raises Diverged.
        """
        epochs = self._resume(batches, checkpoints)
        time_for_checkpoints = Allowance(self.config["checkpoint_share"])
        for epoch in self._epochs(batches, progress, len(epochs)):
            if self._due("eval_step", epoch.epoch):
                started = time.perf_counter()
                epoch.valid = validate()
                epoch.valid_seconds = time.perf_counter() - started
                epoch.best = self.stopping.update(epoch.valid[self.valid_metric])
                if epoch.best:
                    self._keep_best()
            epochs.append(epoch)
            report(epoch)
            if checkpoints and self._checkpoint_due(epoch.epoch, time_for_checkpoints):
                time_for_checkpoints.spend(
                    lambda number=epoch.epoch: checkpoints.save(number, self.state(epochs, batches))
                )
        if self._keeps_attributes:
            self._attributes.restore(self._best_attributes)
        self.model.load_state_dict(self._best_weights)
        return Fit(epochs, [epoch for epoch in epochs if epoch.best][-1], self._best_attributes)

    def _due(self, step: str, epoch: int) -> bool:
        """Whether something is done at this epoch: every so many, and at the last one."""
        return epoch % self.config[step] == 0 or epoch == self.config["epochs"]

    def _checkpoint_due(self, epoch: int, allowance: Allowance) -> bool:
        """The last epoch has one in any case: what is left is the test."""
        last = self.stopping.stop or epoch == self.config["epochs"]
        return last or (self._due("checkpoint_step", epoch) and allowance.allows())

    def state(self, epochs: list[Epoch], batches: Iterable[Tensor]) -> dict[str, Any]:
        """All that the training goes on from after an epoch: tensors and plain values."""
        return {
            "epochs": [asdict(epoch) for epoch in epochs],
            "model": self.model.state_dict(),
            "attributes": self._attributes.changed(),
            "optimiser": self.optimiser.state_dict(),
            "with_gradient": [p.grad is not None for p in self.model.parameters()],
            "scheduler": {"last_epoch": self.scheduler.last_epoch},
            "stopping": {"best": self.stopping.best, "barren": self.stopping.barren},
            "best_weights": self._best_weights,
            "best_attributes": self._best_attributes,
            "random": random_states(),
            "batches": batches.state_dict() if hasattr(batches, "state_dict") else None,
        }

    def _resume(self, batches: Iterable[Tensor], checkpoints: Checkpoints | None) -> list[Epoch]:
        """The epochs that are done already, everything being as it was after them; none without a checkpoint."""
        state = checkpoints.load() if checkpoints else None
        if state is None:
            return []
        self._attributes.restore(state["attributes"])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, had_gradient in zip(self.model.parameters(), state["with_gradient"], strict=True):
            # With zero_grad=zeros a weight that a step does not use moves only if it has a gradient.
            if had_gradient:
                parameter.grad = torch.zeros_like(parameter)
        self.scheduler.last_epoch = state["scheduler"]["last_epoch"]
        self.stopping.best, self.stopping.barren = state["stopping"]["best"], state["stopping"]["barren"]
        self._best_weights, self._best_attributes = state["best_weights"], state["best_attributes"]
        if state["batches"] is not None:
            batches.load_state_dict(state["batches"])
        set_random_states(state["random"])
        return [Epoch(**epoch) for epoch in state["epochs"]]

    def _epochs(self, batches: Iterable[Tensor], progress: Callable, done: int) -> Iterator[Epoch]:
        """Trains an epoch each time it is asked for the next; epoch 0 alone where nothing is to be trained."""
        if not self.config["req_training"]:
            yield from [Epoch(0, math.nan, 0.0, 0.0)][done:]
            return
        for number in range(done + 1, self.config["epochs"] + 1):
            if self.stopping.stop:
                return
            rate = self.optimiser.param_groups[0]["lr"]
            started = time.perf_counter()
            self.model.pre_epoch_processing()
            self.model.train()
            loss = self.train_on(progress(batches, number), number)
            self.scheduler.step()
            note = self.model.post_epoch_processing()
            seconds = time.perf_counter() - started
            yield Epoch(number, loss, seconds, rate, note="" if note is None else str(note))

    def train_on(self, batches: Iterable[Tensor], epoch: int) -> float:
        """A step on each of the batches; their mean loss. Raises Diverged."""
        losses: list[float] = []
        waiting: list[Tensor] = []
        for batch in batches:
            self.optimiser.zero_grad(set_to_none=self.config["zero_grad"] == "none")
            loss = self.model.calculate_loss(batch)
            loss = sum(loss) if isinstance(loss, tuple) else loss
            waiting.append(loss.detach().reshape(()))
            if len(waiting) >= self.read_every:
                self._read(waiting, losses, epoch)
            loss.backward()
            self._clip_gradients()
            self.optimiser.step()
        if isinstance(self.optimiser, RowAdam):
            self.optimiser.catch_up()
        self._read(waiting, losses, epoch)
        return sum(losses) / max(len(losses), 1)

    def _read(self, waiting: list[Tensor], losses: list[float], epoch: int) -> None:
        """Move losses from the device to the others, which waits for all steps so far. Raises Diverged."""
        for value in torch.stack(waiting).tolist() if waiting else ():
            losses.append(value)
            if not math.isfinite(value):
                raise Diverged(
                    f"the loss of {type(self.model).__name__} is {value} in batch {len(losses)} of epoch {epoch}; "
                    f"lower learning_rate (now {self.config['learning_rate']}) or check the features"
                )
        waiting.clear()

    def _spare_tables(self) -> None:
        """Give feature tables gradients by rows, or let them owe steps, where nothing else looks at their gradients.

        They are then what they would be, in less memory and time.
        """
        able = isinstance(self.optimiser, RowAdam) and self.optimiser.takes_rows
        able = able and not self.config["clip_grad_norm"]
        for module in self.model.modules():
            if isinstance(module, ProjectedFeatures):
                module.row_gradients = able and self.config["zero_grad"] == "none"
                if able and self.config["zero_grad"] == "zeros" and isinstance(module.raw, Parameter):
                    self.optimiser.seldom.append(module.raw)
                    module.before_reading = self.optimiser.catch_up

    def _clip_gradients(self) -> None:
        limit = self.config["clip_grad_norm"]
        if limit:
            kwargs = limit if isinstance(limit, dict) else {"max_norm": limit}
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), **kwargs)

    def _keep_best(self) -> None:
        if self._keeps_attributes:
            self._best_attributes = copy.deepcopy(self._attributes.changed())
        for name, value in self.model.state_dict().items():
            if name in self._best_weights:
                self._best_weights[name].copy_(value)
            else:
                self._best_weights[name] = value.detach().clone()


def make_optimiser(config: Mapping[str, Any], model: AbstractRecommender) -> torch.optim.Optimizer:
    """The optimiser named by `learner` over all parameters; Adam in its fused form, one pass over the weights."""
    parameters = list(model.parameters())
    kwargs = {"lr": config["learning_rate"], "weight_decay": config["weight_decay"]}
    if config["learner"] == "adam":
        kwargs["fused"] = all(p.is_floating_point() for p in parameters)
    return OPTIMISERS[config["learner"]](parameters, **kwargs)
