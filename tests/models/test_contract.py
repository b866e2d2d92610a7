"""What every registered model must do, whichever it is: a new model is tested the moment its files are there."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from dense_references import REFERENCES, World
from torch.testing import assert_close
from toys import ToyDataset, ToyModality
from waits import Waits

from common.adam import RowAdam
from common.features import ProjectedFeatures
from common.registry import get_model, list_models, record
from common.trainer import Trainer
from utils.config import Config
from utils.data.batches import TrainDataLoader

MODELS = list_models()
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
N_USERS, N_ITEMS, UNSEEN = 37, 23, 22
# Every part of a model switched on, and nothing drawn at random in a loss, so that references can be plain.
EXACT = {"BM3": {"dropout": 0.0}, "LATTICE": {"reg_weight": 0.01}, "FREEDOM": {"reg_weight": 0.01}}
SMALL = {"embedding_size": 8, "train_batch_size": 32, "learner": "sgd", "learning_rate": 0.1, "epochs": 2}


def features(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randn(N_ITEMS, 12, generator=generator),
        "text": torch.randn(N_ITEMS, 7, generator=generator),
    }


def toy_dataset() -> ToyDataset:
    """Every user and item but one, which training never sees."""
    seen = np.random.default_rng(0).random((N_USERS, N_ITEMS)) < 0.25
    seen[np.arange(N_USERS), np.arange(N_USERS) % UNSEEN] = True
    seen[:, UNSEEN] = False
    modalities = {name: ToyModality(x) for name, x in features().items()}
    return ToyDataset(N_USERS, N_ITEMS, list(zip(*np.nonzero(seen), strict=True)), modalities)


def config_of(name: str, **settings) -> Config:
    """The model's YAML, with small sizes."""
    model_settings = get_model(name).settings
    small = SMALL | {"knn_k": 4} if "knn_k" in model_settings else SMALL
    return Config(name, "demo", small | EXACT.get(name, {}) | settings, model_settings=model_settings)


def build(name: str, dataset: ToyDataset | None = None, **settings):
    config = config_of(name, **settings)
    torch.manual_seed(config["seed"])
    batches = TrainDataLoader(config, dataset or toy_dataset())
    return get_model(name)(config, batches).to(config["device"]), batches, config


def scores(model: torch.nn.Module) -> torch.Tensor:
    model.eval()
    users, nothing = torch.arange(N_USERS), torch.zeros(2, 0, dtype=torch.long)
    with torch.no_grad():
        return model.full_sort_predict([users.to(model.device), nothing.to(model.device)])


@pytest.fixture(params=DEVICES, autouse=True)
def device(request, monkeypatch) -> str:
    """Everything here holds on every device that there is."""
    monkeypatch.setitem(SMALL, "use_gpu", request.param == "cuda")
    return request.param


@pytest.mark.parametrize("name", MODELS)
class TestContract:
    def test_scores_are_finite_fresh_and_of_the_right_shape(self, name):
        model = build(name)[0]
        first = scores(model)
        assert first.shape == (N_USERS, N_ITEMS) and first.dtype == torch.float32 and first.isfinite().all()
        kept = first.clone()
        first.fill_(-1e10)
        assert_close(scores(model), kept)

    def test_every_trainable_weight_gets_a_gradient(self, name):
        model, batches, _ = build(name)
        model.pre_epoch_processing()
        model.train()
        model.calculate_loss(next(iter(batches))).sum().backward()
        without = [
            n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
        ]
        assert without == []

    def test_three_steps_lower_the_loss_of_a_batch(self, name):
        model, batches, config = build(name)
        model.pre_epoch_processing()
        model.train()
        batch, losses = next(iter(batches)), []
        trainer = Trainer(config, model)
        for _ in range(4):
            model.generator.manual_seed(0)
            losses.append(trainer.train_on([batch], 1))
        assert losses == sorted(losses, reverse=True) and losses[3] < losses[0]

    def test_a_step_waits_for_a_gpu_only_to_learn_how_much_is_in_its_batch(self, name):
        model, batches, config = build(name)
        model.pre_epoch_processing()
        model.train()
        trainer, batch = Trainer(config, model), next(iter(batches))
        trainer.train_on([batch], 1)  # the first of an epoch may build a graph
        with Waits() as waits:
            trainer.train_on([batch], 1)
        assert set(waits.seen) <= {"_unique2", "repeat_interleave"} and len(waits.seen) <= 3

    def test_one_step_equals_a_plain_dense_reference_step(self, name):
        assert name in REFERENCES, (
            f"write the loss of {name} once more, densely, into tests/dense_references.py"
        )
        model, batches, config = build(name)
        model.pre_epoch_processing()
        model.train()
        batch = next(iter(batches))
        r = torch.from_numpy(batches.inter_matrix("csr").toarray()).float()
        graph = getattr(model, "train_graph", None)
        kept = (
            r
            if graph is None
            else torch.from_numpy(graph.to_scipy().toarray()[:N_USERS, N_USERS:] > 0).float()
        )
        weights = {n: p.detach().cpu().clone().requires_grad_() for n, p in model.named_parameters()}
        loss = REFERENCES[name](weights, batch.cpu(), World(r, kept, features(), config))
        loss.backward()
        assert Trainer(config, model).train_on([batch], 1) == pytest.approx(loss.item(), rel=1e-5)
        for n, parameter in model.named_parameters():
            expected = weights[n].detach() - config["learning_rate"] * weights[n].grad
            assert_close(
                parameter.detach().cpu(), expected, rtol=1e-5, atol=1e-6, msg=lambda m, n=n: f"{n}: {m}"
            )

    def test_same_seed_same_bits_another_seed_others(self, name, device):
        if device == "cuda":
            pytest.skip(
                "sums of a GPU are in any order unless deterministic=True, which is for a whole process"
            )

        def trained(seed: int) -> torch.Tensor:
            model, batches, config = build(name, seed=seed, learner="adam")
            torch.rand(seed + 1)  # draws of other code must not matter
            Trainer(config, model).fit(batches, lambda: {"recall@20": 0.0})
            return scores(model)

        assert torch.equal(trained(3), trained(3))
        assert not torch.equal(trained(3), trained(4))

    def test_an_item_that_training_never_saw_is_scored(self, name):
        column = scores(build(name)[0])[:, UNSEEN]
        assert column.isfinite().all() and column.any()

    def test_permuting_item_ids_permutes_scores(self, name):
        order = torch.randperm(N_ITEMS, generator=torch.Generator().manual_seed(5))  # new id -> old id
        place = torch.argsort(order)
        dataset = toy_dataset()
        permuted = ToyDataset(
            N_USERS,
            N_ITEMS,
            [(u, int(place[i])) for u, i in dataset.pairs],
            {name: ToyModality(x[order]) for name, x in features().items()},
        )
        model, twin = build(name)[0], build(name, permuted)[0]
        state = {
            n: w[order.to(w.device)] if w.ndim and len(w) == N_ITEMS else w
            for n, w in model.state_dict().items()
        }
        twin.load_state_dict(state)
        assert_close(scores(twin), scores(model)[:, order], rtol=1e-4, atol=1e-5)

    def test_state_is_enough_to_score_as_before(self, name):
        model = build(name)[0]
        twin = build(name, seed=77)[0]
        twin.load_state_dict(model.state_dict())
        assert_close(scores(twin), scores(model))

    def test_its_yaml_gives_every_setting_and_its_docstring_a_summary(self, name):
        config = config_of(name)
        assert set(get_model(name).settings) <= set(config.final_config_dict)
        summary = record(name, config).summary
        assert f"{name}: {summary}" in importlib.import_module(get_model(name).__module__).__doc__


def test_there_are_models():
    assert {"BPR", "LightGCN", "VBPR", "LATTICE", "BM3", "FREEDOM", "TMFUN"} <= set(MODELS)


def train_by_adam(name: str, monkeypatch, spared: bool) -> dict[str, torch.Tensor]:
    monkeypatch.setattr(RowAdam, "takes_rows", spared)
    model, batches, config = build(name, learner="adam", learning_rate=0.01)
    trainer = Trainer(config, model)
    tables = [module for module in model.modules() if isinstance(module, ProjectedFeatures)]
    owing = [any(table.raw is one for one in trainer.optimiser.seldom) for table in tables]
    assert tables and all(t.row_gradients or o for t, o in zip(tables, owing, strict=True)) == spared
    for epoch in range(3):
        model.train()
        model.pre_epoch_processing()
        trainer.train_on(batches, epoch)
    return {n: w.clone() for n, w in model.state_dict().items()}


@pytest.mark.parametrize("name", ["BM3", "FREEDOM", "LATTICE"])
def test_models_learn_the_same_bits(name, monkeypatch, device):
    if device == "cuda":
        pytest.skip("sums of a GPU are in any order")
    dense, spared = (train_by_adam(name, monkeypatch, flag) for flag in (False, True))
    assert all(torch.equal(dense[weight], spared[weight]) for weight in dense)


@pytest.mark.parametrize("settings", [{"learner": "sgd"}, {"clip_grad_norm": 1.0}, {"zero_grad": "zeros"}])
def test_gradients_are_dense_where_something_else_looks_at_them(settings):
    model, _, config = build("BM3", **{"learner": "adam"} | settings)
    Trainer(config, model)
    assert not any(m.row_gradients for m in model.modules() if isinstance(m, ProjectedFeatures))
