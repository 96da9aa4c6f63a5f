"""The script for half an hour of a GPU: at smoke on the processor, interrupted, joined, loaded."""

import subprocess
import sys

import pytest
import torch
from unbraid import experiments, results
from unbraid.settings import load

SECTIONS = (
    "independent.bounce.factored",
    "independent.bounce.entangled",
    "single_element.sprites",
)


@pytest.fixture
def script(root, monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(root / "scripts")
    import half_hour_gpu

    return half_hour_gpu


def test_half_an_hour_at_smoke_gives_the_weights_of_the_command(root, script, tmp_path):
    out, joined = tmp_path / "out", tmp_path / "joined"
    command = [sys.executable, root / "scripts" / "half_hour_gpu.py", "--profile", "smoke"]
    command += ["--out", out, "--checkpoints", tmp_path / "checkpoints", "--minutes", "5"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0 and "time is up" not in done.stdout, done.stdout + done.stderr
    files = list(out.iterdir())
    assert len(files) <= 8 and max(file.stat().st_size for file in files) < 16 * 2**20

    script.join(out, joined)
    assert results.verify_results(joined) == []
    for section in SECTIONS:
        settings = load(section, "smoke")
        name = experiments.run_name(settings, 0)
        record = experiments.load_record(name, joined)
        assert record["steps"] == settings.steps and record["data_sha256"]
        sampler = experiments.make_sampler(settings)
        experiments.train_run(settings, 0, sampler, tmp_path / "command")
        models = [experiments.load_model(name, at) for at in (joined, tmp_path / "command")]
        for mine, its in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)


def test_the_time_ends_a_run_and_a_finished_one_is_not_run_again(script, tmp_path, capsys):
    settings = load("independent.bounce.factored", "smoke")
    sampler = script.keep_bytes_on(torch.device("cpu"), settings)
    checkpoint = tmp_path / "a.checkpoint"
    script.train(settings, sampler, checkpoint, deadline=0.0)
    assert "the time is up" in capsys.readouterr().out and not checkpoint.exists()
    script.train(settings, sampler, checkpoint, deadline=float("inf"))
    assert "step 6" in capsys.readouterr().out
    script.train(settings, sampler, checkpoint, deadline=0.0)  # nothing is drawn any more
    assert capsys.readouterr().out == ""


def test_weights_are_split_below_the_limit(script, monkeypatch, tmp_path):
    settings = load("independent.bounce.factored", "smoke")
    sampler = script.keep_bytes_on(torch.device("cpu"), settings)
    checkpoint = tmp_path / "a.checkpoint"
    script.train(settings, sampler, checkpoint, deadline=float("inf"))
    monkeypatch.setattr(script, "PART_BYTES", 5_000)
    run = script.save(settings, sampler, checkpoint, tmp_path / "out")
    results.write_json(tmp_path / "out" / "records.json", {settings.section: run})
    assert run["parts"] == len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    script.join(tmp_path / "out", tmp_path / "results")
    model = experiments.load_model(experiments.run_name(settings, 0), tmp_path / "results")
    tensors = results.load_tensors(checkpoint)
    for name, values in model.state_dict().items():
        torch.testing.assert_close(values, tensors[f"model.{name}"], rtol=1e-3, atol=1e-4)
