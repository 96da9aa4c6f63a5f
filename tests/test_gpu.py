"""`make gpu`, its whole way with tiny sizes on a CPU: train, resume, import, measure, judge."""

import os
import shutil

import pytest
import torch
from helpers import seeded
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.data import fetch, moving_digits, sprites

from papers import claims, evaluation, gpu, pages
from papers import full_size as engine
from papers.b import evaluate as unordered
from papers.c import evaluate as clips

SEED = 1  # which results/ has of no run at the papers' size
RUNS = {
    "a": "independent/bounce/full/published",
    "a_entangled": "independent/bounce/full/published_entangled",
    "b": "unordered/sprites_poses/full/published",
    "c": "single_element/sprites/full/published",
}
TINY = {
    "a": "--steps 2 --batch 2",
    "b": "--steps 2 --batch 1 --frames 2",
    "c": "--steps 2 --batch 2",
}
FEW = {"evaluation_training": 8, "evaluation_sequences": 3, "evaluation_pairs": 40}
FEW |= {"evaluation_draws": 1, "evaluation_identities": 3, "evaluation_grid": 2}
FEW |= {"evaluation_training_characters": 4, "evaluation_characters": 4}


def link(source, target):
    """A second name of a file, which costs nothing; a copy on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture
def clone(root, tmp_path, monkeypatch):
    """The clone once more, whose results may change."""
    for name in ("results", "papers"):
        shutil.copytree(root / name, tmp_path / name, copy_function=link)
    for name in ("data", "notebooks"):
        (tmp_path / name).symlink_to(root / name)
    for name in ("README.md", "REPRODUCTION.md"):
        shutil.copy(root / name, tmp_path)
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny(no_gpu, monkeypatch):
    """Scripts in this process, without a GPU, on few digits; evaluations of few sequences.

    Returns the updates that each call of a script has made, by its --name.
    """
    images = torch.randint(1, 256, (50, 28, 28), generator=seeded(0)).byte()
    digits = moving_digits.Digits(images, torch.arange(50) % 10, "train", "solid squares")
    full_digits = moving_digits.load_digits
    monkeypatch.setattr(fetch, "files", lambda *source: {})
    monkeypatch.setattr(
        moving_digits,
        "load_digits",
        lambda split, **how: digits if split == "train" else full_digits(split, **how),
    )
    for name, value in {"chunk": 1, "row": 1, "marks": ()}.items():
        for run_class in (engine.Run, *(run_class for _, run_class in gpu.SCRIPTS.values())):
            monkeypatch.setattr(run_class, name, value)
    load = gpu.load
    monkeypatch.setattr(gpu, "load", lambda *section: load(*section).replace(**FEW))
    # The statistics of 2,560 clips take a minute.
    monkeypatch.setattr(clips, "fresh_statistics", lambda *given: {"fresh_swap_nearest": 0.0})
    # A model that has learnt nothing draws no pose in which trousers are seen.
    seen = {name: torch.ones(178, dtype=torch.bool) for name in sprites.ATTRIBUTES}
    monkeypatch.setattr(unordered, "visible_attributes", lambda poses: seen)
    describe = evaluation.describe_protocol
    monkeypatch.setattr(evaluation, "describe_protocol", lambda run: keep_protocol(run, describe))
    made = []

    def run_script(letter, arguments):
        script, run_class = gpu.SCRIPTS[letter]
        run = run_class(script.read_options([*arguments, "--cpu"]))
        before = torch.load(run.options.state)["kept"]["step"] if run.options.state.exists() else 0
        run.train()
        made.append((run.options.name, run.step - before))

    monkeypatch.setattr(gpu, "run_script", run_script)
    return made


def keep_protocol(run, describe):
    """What figures are said to be measured on, where there are some: they are of more."""
    path = records.results() / run.model / run.dataset / run.profile / "metrics.json"
    if path.exists():
        protocol = records.read_json(path)["protocol"]
        return {name: protocol[name] for name in ("data", "split", "sequences")}
    return describe(run)


@pytest.mark.timeout(900)
def test_four_runs_are_trained_resumed_measured_and_judged_once(clone, tiny, monkeypatch, capsys):
    results, work = clone / "results", clone / "build" / "gpu"
    before = {each.source: each for each in claims.read_claims()}
    assert before["Table 2, MNIST, factored"].run.endswith("factored_long")

    # The first call is stopped in the second training, after half of its updates.
    script = gpu.run_script

    def stop(letter, arguments):
        is_second = "--entangled" in arguments
        script(letter, [*arguments, *(("--steps", "1") if is_second else ())])

    monkeypatch.setattr(gpu, "run_script", stop)
    with pytest.raises(ResultsError, match="expected 2 updates, found 1; run the same command"):
        gpu.make_all(results, work, SEED, TINY)
    assert [*tiny] == [("a-seed1", 2), ("a_entangled-seed1", 1)]
    assert not (results / f"{RUNS['a_entangled']}-seed1.run.json").exists()

    monkeypatch.setattr(gpu, "run_script", script)
    tiny.clear()
    capsys.readouterr()
    gpu.make_all(results, work, SEED, TINY)
    assert [*tiny] == [("a_entangled-seed1", 1), ("b-seed1", 2), ("c-seed1", 2)]
    printed = capsys.readouterr().out
    assert printed.index("a: ") < printed.index("a_entangled: the factors hold: ")
    assert printed.count("the factors hold: ") == 2 and printed.count("inconclusive") >= 3

    for place in RUNS.values():
        record = records.read_record(f"{place}-seed1")
        assert record["steps"] == 2 and record["device"] == "a GPU"
        folder, _, run = place.rpartition("/")
        assert claims.read_figure(folder, run, "elbo_per_frame")[SEED]
    for run in ("published", "published_entangled"):
        figures = claims.read_metrics("independent/bounce/full")[run]
        names = [name for name in figures if name.startswith("r2_")]
        assert len(names) == 8 and {"mi_same_bits", "cross_to_same"} <= figures.keys()
    assert pages.read_claims()[0].run == RUNS["a"]
    page = (clone / "REPRODUCTION.md").read_text().partition("\n### A1\n")[2].partition("\n### ")[0]
    assert "0 % of the paper's updates" in page and "| 4.61 bits |" in page
    assert "inconclusive" in page

    tiny.clear()
    monkeypatch.setattr(evaluation, "measure_runs", None)
    gpu.make_all(results, work, SEED, TINY)  # all is there
    assert tiny == []


def test_the_command_says_what_it_wants_without_a_gpu(call_program, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, said = call_program(gpu.main)
    assert "expected one of cpu" in code and "cuda" in code and not said
