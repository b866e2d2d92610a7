"""The training loop: its rules of stopping, order of hooks, weights kept, and faults."""

from __future__ import annotations

import math
import time

import pytest
import torch
from torch import nn
from toys import ToyConfig
from waits import Waits

from common.abstract_recommender import AbstractRecommender
from common.trainer import Allowance, EarlyStopping, Trainer, make_optimiser
from utils.errors import Diverged, UserError

SETTINGS = {
    "valid_metric": "Recall@20", "stopping_step": 20, "valid_metric_decimals": 4, "valid_metric_bigger": True,
    "learner": "sgd", "learning_rate": 0.1, "weight_decay": 0.0, "learning_rate_scheduler": [1.0, 50],
    "req_training": True, "epochs": 5, "eval_step": 1, "zero_grad": "none",
}  # fmt: skip


class Line(AbstractRecommender):
    """One weight; the loss is its square times the batch's mean, so every step is known."""

    settings = {}

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))
        self.calls: list[str] = []

    def pre_epoch_processing(self):
        self.calls.append("pre")

    def post_epoch_processing(self):
        self.calls.append("post")
        return "noted"

    def calculate_loss(self, interaction):
        assert self.training
        self.calls.append("loss")
        return self.w**2 * interaction.float().mean()


def trainer(model=None, **settings):
    return Trainer(ToyConfig(SETTINGS | settings), model or Line())


def scores(values):
    values = iter(values)
    return lambda: {"recall@20": next(values)}


BATCHES = [torch.ones(3, 2), torch.ones(3, 1)]


def test_a_constant_metric_stops_at_the_21st_evaluation_after_the_best():
    fit = trainer(epochs=1000).fit(BATCHES, lambda: {"recall@20": 0.1})
    assert len(fit.epochs) == 22 and fit.best.epoch == 1


def test_improvements_are_strict_and_rounded():
    stopping = EarlyStopping(patience=20, decimals=4)
    assert stopping.update(0.12344) and not stopping.update(0.12336) and not stopping.update(0.12344)
    assert not stopping.update(0.123449) and stopping.update(0.12346)
    exact = EarlyStopping(patience=20, decimals=None)
    assert exact.update(0.12336) and exact.update(0.12344)


def test_smaller_may_be_better():
    stopping = EarlyStopping(patience=0, decimals=None, bigger=False)
    assert stopping.update(2.0) and stopping.update(1.0) and not stopping.update(1.5)
    assert stopping.stop


def test_the_best_weights_are_left_in_the_model():
    model, seen = Line(), []
    run = trainer(model)
    fit = run.fit(BATCHES, scores([0.1, 0.3, 0.2, 0.3, 0.1]), lambda epoch: seen.append(model.w.item()))
    assert fit.best.epoch == 2
    assert model.w.item() == seen[1] != seen[-1]


def test_steps_are_those_of_plain_gradient_descent():
    model = Line()
    trainer(model, epochs=1).fit([torch.full((3, 2), 2.0), torch.ones(3, 1)], scores([1.0]))
    assert model.w.item() == pytest.approx((1 - 0.1 * 2 * 2) * (1 - 0.1 * 2))


def test_order_of_hooks_and_notes():
    model = Line()
    fit = trainer(model, epochs=2).fit(BATCHES, scores([0.1, 0.2]))
    assert model.calls == ["pre", "loss", "loss", "post"] * 2
    assert fit.epochs[0].note == "noted"


def test_learning_rate_factor():
    fit = trainer(epochs=51, learning_rate_scheduler=[0.96, 50]).fit(
        BATCHES, scores(i / 100 for i in range(60))
    )
    rates = [epoch.learning_rate / 0.1 for epoch in fit.epochs]
    assert (
        rates[0] == 1 and rates[25] == pytest.approx(0.979796, abs=1e-6) and rates[50] == pytest.approx(0.96)
    )


def test_evaluation_every_second_epoch_and_at_the_last():
    fit = trainer(epochs=5, eval_step=2).fit(BATCHES, scores([0.1, 0.2, 0.3]))
    assert [epoch.epoch for epoch in fit.epochs if epoch.valid] == [2, 4, 5]


def test_without_training_the_model_is_only_evaluated():
    model = Line()
    fit = trainer(model, req_training=False).fit(BATCHES, scores([0.7]))
    assert model.calls == [] and fit.best.valid == {"recall@20": 0.7}


@pytest.mark.parametrize("loss", [lambda w: (w * 1.0, w * 2.0), lambda w: (w * 3.0).reshape(1)])
def test_tuples_and_one_element_losses(loss):
    model = Line()
    model.calculate_loss = lambda batch: loss(model.w)
    fit = trainer(model, epochs=1).fit(BATCHES[:1], scores([0.1]))
    assert model.w.item() == pytest.approx(1 - 0.1 * 3) and fit.epochs[0].loss == pytest.approx(3.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_training_with_place_and_advice(value):
    model = Line()
    model.calculate_loss = lambda batch: model.w * value
    with pytest.raises(
        Diverged, match=r"loss of Line is (nan|inf) in batch 1 of epoch 1; lower learning_rate"
    ):
        trainer(model).fit(BATCHES, scores([0.1]))


def test_gradients_are_clipped_by_a_number_or_by_mmrecs_mapping():
    for limit in (0.5, {"max_norm": 0.5, "norm_type": 2}):
        model = Line()
        trainer(model, epochs=1, clip_grad_norm=limit).fit(BATCHES[:1], scores([0.1]))
        assert model.w.item() == pytest.approx(1 - 0.1 * 0.5, abs=1e-5)


@pytest.mark.parametrize("learner", ["adam", "sgd", "adagrad", "rmsprop"])
def test_every_learner_lowers_the_loss_and_decays_weights(learner):
    model = Line()
    fit = trainer(model, learner=learner, learning_rate=0.01, epochs=3).fit(BATCHES, scores([0.1, 0.2, 0.3]))
    assert fit.epochs[2].loss < fit.epochs[0].loss
    assert (
        make_optimiser(ToyConfig(SETTINGS | {"learner": learner, "weight_decay": 0.3}), model).defaults[
            "weight_decay"
        ]
        == 0.3
    )


def test_fused_adam_equals_plain_adam():
    torch.manual_seed(0)
    start, gradients = torch.randn(50, 3), torch.randn(10, 50, 3)
    results = []
    for fused in (True, False):
        weight = nn.Parameter(start.clone())
        optimiser = torch.optim.Adam([weight], lr=0.01, weight_decay=0.1, fused=fused)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimiser.step()
        results.append(weight.detach())
    torch.testing.assert_close(*results)


def test_an_allowance_keeps_to_its_share_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def pass_time(seconds):
        now[0] += seconds

    allowance, turns = Allowance(0.1), 0
    for _ in range(100):
        pass_time(1)
        if allowance.allows():
            allowance.spend(lambda: pass_time(3))
            turns += 1
    assert 3 * turns <= 0.1 * now[0] + 3 and turns == 3
    free = Allowance(1.0)
    free.spend(lambda: pass_time(5))
    assert free.allows()


class Remembering(Line):
    """Keeps beside its weight what the last batch left."""

    settings = None

    def __init__(self):
        super().__init__()
        self.queue, self.late = torch.zeros(2), torch.zeros(2)
        self.steps, self.seen = 0, None

    def calculate_loss(self, interaction):
        self.steps += 1
        self.queue[self.steps % 2] = self.steps
        self.seen = self.w * 2
        return super().calculate_loss(interaction)


@pytest.mark.parametrize("best", [1, 2, 3])
def test_what_a_model_keeps_is_that_of_the_best_epoch(best):
    model = Remembering()
    kept = []
    values = [0.1 if epoch != best else 0.9 for epoch in range(1, 4)]

    def validate():
        kept.append((model.steps, model.queue.tolist(), model.seen.item(), model.w.item()))
        return {"recall@20": values[len(kept) - 1]}

    fit = trainer(model, epochs=3).fit(BATCHES, validate)
    assert fit.best.epoch == best
    assert (model.steps, model.queue.tolist(), model.seen.item(), model.w.item()) == kept[best - 1]
    assert set(fit.attributes) == {"steps", "queue", "seen", "calls"}


def test_what_was_first_written_to_after_the_best_epoch_is_an_error():
    class Late(Remembering):
        def post_epoch_processing(self):
            if self.steps > len(BATCHES):
                self.late += 1

    with pytest.raises(UserError, match="Late.late was first written to after the best epoch"):
        trainer(Late(), epochs=2).fit(BATCHES, scores([0.9, 0.1]))


def test_a_model_that_declares_its_settings_scores_by_its_weights_alone():
    class Declared(Remembering):
        settings = {}

    model = Declared()
    assert trainer(model, epochs=3).fit(BATCHES, scores([0.9, 0.1, 0.1])).attributes == {}
    assert model.steps == 3 * len(BATCHES)


def test_losses_are_read_once_in_a_while_on_a_gpu():
    one = trainer()
    one.read_every = 3
    with Waits() as waits:
        loss = one.train_on([torch.ones(3, 2)] * 7, 1)
    assert waits.seen == []
    assert loss == trainer().train_on([torch.ones(3, 2)] * 7, 1)


def test_a_loss_that_is_read_late_is_told_of_with_its_batch():
    one = trainer()
    one.read_every = 64
    batches = [torch.ones(3, 2), torch.full((3, 2), math.nan), torch.ones(3, 2)]
    with pytest.raises(Diverged, match="is nan in batch 2 of epoch 5"):
        one.train_on(batches, 5)
