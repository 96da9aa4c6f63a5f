"""Checkpoints of one's own loop: what is refused before the first update, and in another file."""

import pytest
import torch
from unbraid import checkpoints
from unbraid.checks import ResultsError

MODEL = torch.nn.Linear(2, 2)
ADAM = torch.optim.Adam(MODEL.parameters())


@pytest.mark.parametrize(
    "field, updates, options",
    (
        ("updates: .*from 0, found '3'", "3", {}),
        ("updates: .*from 0, found -3", -3, {}),
        ("every: .*from 1, found 0", 3, {"every": 0}),
        ("every: .*from 1, found 2.5", 3, {"every": 2.5}),
        ("model: .*found dict", 3, {"model": {}}),
        ("model: .*found OrderedDict", 3, {"model": MODEL.state_dict()}),
        ("seed: .*Generator, found int", 3, {"seed": 0}),
        ("model: .*found type", 3, {"model": torch.nn.Linear}),
        ("parts: .*none", 3, {}),
    ),
)
def test_a_loop_that_could_not_be_kept_does_not_begin(field, updates, options, tmp_path):
    with pytest.raises(ValueError, match=f"^{field}"):
        next(checkpoints.resume(tmp_path / "a.ck", updates, **options))


@pytest.mark.parametrize("update, field", (("5", "update"), (-1, "update"), (5, "history")))
def test_what_has_no_state_is_not_written(update, field, tmp_path):
    parts = {"history": [1, 2]} if field == "history" else {}
    with pytest.raises(ValueError, match=f"^{field}: "):
        checkpoints.save(tmp_path / "a.ck", update, model=MODEL, **parts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", (None, 3, ["a.ck"]))
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="^path: expected str or PathLike"):
        checkpoints.load(path, model=MODEL)


@pytest.mark.parametrize(
    "parts, found",
    (
        ({"modell": MODEL}, "'modell'.*found .*'part.model'"),
        ({"model": ADAM, "optimizer": MODEL}, "found .*'part.optimizer'"),
        ({"model": torch.nn.Linear(2, 3)}, "size mismatch"),  # PyTorch's own words
        ({"model": torch.Generator()}, "'part.model'"),
    ),
)
def test_what_a_file_has_no_state_for_is_said(parts, found, tmp_path):
    path = tmp_path / "a.ck"
    checkpoints.save(path, 5, model=MODEL, optimizer=ADAM)
    with pytest.raises(ResultsError, match=rf"(?s)a\.ck: expected states of .*{found}"):
        checkpoints.load(path, **parts)


@pytest.mark.parametrize("content", ("text", "cut", "other"))
def test_another_file_is_named(content, tmp_path):
    path = tmp_path / "a.ck"
    checkpoints.save(path, 5, model=MODEL)
    path.write_bytes({"text": b"hello", "cut": path.read_bytes()[:300], "other": b""}[content])
    with pytest.raises(ResultsError, match=r"a\.ck: expected .*found another file: \w+$"):
        checkpoints.load(path, model=MODEL)
