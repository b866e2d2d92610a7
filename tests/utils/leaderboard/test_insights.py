"""What is said of the lists."""

from __future__ import annotations

import numpy as np
from boards import R20, board, says

from utils.data.dataset import Dataset
from utils.evaluation.beyond_accuracy import beyond_accuracy
from utils.evaluation.groups import by_item_group, by_user_group
from utils.evaluation.ranking import Evaluator
from utils.experiments.store import PER_USER
from utils.leaderboard.insights import insights


def test_insights_are_those_of_the_functions_for_each(lab):
    lab.trial("BPR")
    found = board(lab)
    seen = insights(found)
    config = lab.config("BPR", "tiny")
    data = Dataset.load(config)
    truth = Evaluator(config, data).test_truth
    popularity = np.bincount(data.train.items, minlength=data.n_items)
    lists = found.rows[0].lists
    features = {name: one.features().numpy() for name, one in data.modalities.items()}
    assert seen.notes == []
    assert seen.beyond["BPR"] == beyond_accuracy(lists.items, popularity, data.n_users, 20, features)
    assert seen.items["BPR"] == by_item_group(lists.items, truth, popularity, 20)
    users, values = found.rows[0].per_user
    counts = np.bincount(data.train.users, minlength=data.n_users)
    assert seen.users["BPR"] == by_user_group(values[R20], counts[users])


def test_insights_need_the_data_and_the_lists(lab):
    lab.trial("BPR")
    lab.trial("VBPR", kept=(PER_USER,))
    assert says(insights(board(lab)).notes, "lists of VBPR", "not kept")
    lab.data_set("tiny", seed=9)
    seen = insights(board(lab))
    assert seen.beyond == {} and says(seen.notes, "BPR", "VBPR", "are not those that")
    assert says(insights(board(lab), {"data_path": "/nowhere"}).notes, "/nowhere")
