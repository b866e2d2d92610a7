"""What messages of errors suggest."""

from __future__ import annotations

from utils.errors import did_you_mean


def test_the_nearest_name_is_offered_whatever_its_case():
    assert did_you_mean("knnk", ["n_layers", "knn_k"]) == "; did you mean 'knn_k'?"
    assert did_you_mean("userid_field", ["USER_ID_FIELD"]) == "; did you mean 'USER_ID_FIELD'?"
    assert did_you_mean("zzz", ["knn_k"]) == ""
