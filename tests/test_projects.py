"""The sample report: its numbers are those that its script printed, and the script's parts."""

import importlib.util
import re
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


def test_the_report_has_the_numbers_that_were_printed():
    printed = set(re.findall(r"[+-]?\d\.\d{3}", (FOLDER / "wards.txt").read_text("utf-8")))
    report = (FOLDER / "sample_report.md").read_text("utf-8").replace("−", "-")
    found = re.findall(r"[+-]?\d\.\d{3}", report)
    assert len(found) > 50
    plain = {number.lstrip("+-") for number in printed}
    signed = {number for number in found if number[0] in "+-"}
    assert signed <= printed and set(found) - signed <= plain


def test_the_report_counts_its_comparisons():
    text = (FOLDER / "wards.txt").read_text("utf-8")
    assert text.count("mask ahead by") == 4 + 4 + 5 * 2
    report = (FOLDER / "sample_report.md").read_text("utf-8")
    assert "We made eighteen comparisons" in report
    assert "1,188 stays to learn from and 371 to name" in report
    assert "1188 stays to learn from, 371 to name" in text and "882 stays" in text
    assert "882 and 269 stays are left" in report and "269 to name" in text


def test_a_window_has_shares_and_means_of_what_was_measured(wards):
    frames = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]]])
    measured = torch.tensor([[[True, False], [True, False], [True, True]]])
    mask, means = wards.read_windows(Sequences(frames, mask=measured), 2)
    assert mask.tolist() == [[1, 0]] and means[0, 0] == 2 and np.isnan(means[0, 1])
    known, new = wards.fill_gaps(np.array([[1, 4], [3, np.nan]]), means)
    assert known.tolist() == [[1, 4], [3, 4]] and new.tolist() == [[2, 4]]


def test_limits_are_those_of_a_share(wards):
    hits = np.repeat([0.0, 1.0], [100, 300])
    low, high = wards.find_limits(hits)
    assert low == pytest.approx(0.75 - 1.96 * (0.75 * 0.25 / 400) ** 0.5, abs=0.005)
    assert high == pytest.approx(0.75 + 1.96 * (0.75 * 0.25 / 400) ** 0.5, abs=0.005)
    assert wards.find_limits(np.zeros(400)) == (0, 0)
