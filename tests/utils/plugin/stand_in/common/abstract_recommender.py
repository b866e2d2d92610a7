"""As much of MMRec's base class as its published contract promises a model file."""

import os

import numpy as np
import torch


class GeneralRecommender(torch.nn.Module):
    def __init__(self, config, dataloader):
        super().__init__()
        self.n_users, self.n_items = dataloader.dataset.get_user_num(), dataloader.dataset.get_item_num()
        self.batch_size, self.device = config["train_batch_size"], config["device"]
        folder = os.path.abspath(config["data_path"] + config["dataset"])
        self.v_feat, self.t_feat = (
            torch.from_numpy(np.load(os.path.join(folder, config[key]))).float()
            for key in ("vision_feature_file", "text_feature_file")
        )

    def pre_epoch_processing(self):
        pass

    def post_epoch_processing(self):
        pass

    def calculate_loss(self, interaction):
        raise NotImplementedError

    def full_sort_predict(self, interaction):
        raise NotImplementedError
