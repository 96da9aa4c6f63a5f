"""The sample report: its numbers are those that its script printed, and the script's parts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from unbraid.data.sequences import Sequences

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "projects"


@pytest.fixture
def wards():
    spec = importlib.util.spec_from_file_location("wards", FOLDER / "wards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_window_has_shares_and_means_of_what_was_measured(wards):
    frames = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]]])
    measured = torch.tensor([[[True, False], [True, False], [True, True]]])
    mask, means = wards.read_windows(Sequences(frames, mask=measured), 2)
    assert mask.tolist() == [[1, 0]] and means[0, 0] == 2 and np.isnan(means[0, 1])
    known, new = wards.fill_gaps(np.array([[1, 4], [3, np.nan]]), means)
    assert known.tolist() == [[1, 4], [3, 4]] and new.tolist() == [[2, 4]]
