"""Build a model as MMRec's main.py does and keep what it computes: python main.py MODEL SETTINGS.json BATCH.npz OUT.pt.

Run in this folder, with nothing of the project on the path but the files that were copied in.
"""

import importlib
import json
import sys

import numpy as np
import scipy.sparse as sp
import torch
import yaml

torch.set_num_threads(1)


class Config(dict):
    def __getitem__(self, name):
        return self.get(name)


class Loader:
    def __init__(self, pairs, n_users, n_items):
        self.pairs, self.n_users, self.n_items = pairs, n_users, n_items
        self.dataset = self

    def get_user_num(self):
        return self.n_users

    def get_item_num(self):
        return self.n_items

    def inter_matrix(self, form="coo", value_field=None):
        ones = np.ones(len(self.pairs))
        return sp.coo_matrix((ones, tuple(self.pairs.T)), shape=(self.n_users, self.n_items)).asformat(form)


if __name__ == "__main__":
    name, settings, arrays, out = sys.argv[1:]
    with open(f"configs/model/{name}.yaml") as file:
        config = Config(yaml.load(file, yaml.FullLoader))
    with open(settings) as file:
        config.update(json.load(file), device=torch.device("cpu"))
    arrays = np.load(arrays)
    loader = Loader(arrays["pairs"], config["n_users"], config["n_items"])
    torch.manual_seed(config["seed"])
    model = getattr(importlib.import_module(f"models.{name.lower()}"), name)(config, loader)
    torch.manual_seed(config["epoch_seed"])
    model.pre_epoch_processing()
    model.train()
    loss = model.calculate_loss(torch.from_numpy(arrays["batch"]))
    loss.backward()
    model.eval()
    with torch.no_grad():
        scores = model.full_sort_predict(
            [torch.arange(config["n_users"]), torch.zeros(2, 0, dtype=torch.long)]
        )
    result = {
        "loss": loss.detach().reshape(()),
        "scores": scores,
        "weights": {key: p.detach() for key, p in model.named_parameters()},
        "gradients": {key: p.grad for key, p in model.named_parameters()},
        "files": [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)],
    }
    torch.save(result, out)
