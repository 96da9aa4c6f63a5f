"""A model of one's own in a file outside the clone; nothing of the library is changed for it."""

import runpy
import sys

import pytest
from unbraid.files import digest

OUTSIDE = """\
import sys
from dataclasses import dataclass
from pathlib import Path
import torch
from unbraid import distributions as dist, training
from unbraid.measures.leakage import leakage_matrix
from unbraid.models.base import Batch, Bound, ModelConfig, SequenceModel
@dataclass(frozen=True)
class MineConfig(ModelConfig):
    size: int = 2
class Mine(SequenceModel):
    config_class, code_names, frame_shape = MineConfig, ("static",), (3,)
    def __init__(self, config=None, **values):
        super().__init__(config, **values)
        self.encoder = torch.nn.Linear(3, 2 * self.config.size)
        self.decoder = torch.nn.Linear(self.config.size, 3)
    def draw_noise(self, count, length, generator=None):
        return {"static": self.normal(generator, count, self.config.size)}
    def elbo(self, batch, noise=None):
        q = dist.DiagonalGaussian.from_outputs(self.encoder(batch.frames.mean(1)))
        code = q.draw(self.as_noise(noise, *batch.frames.shape[:2])["static"])
        likelihood = -5 * (batch.frames - self.decode({"static": code})).square().sum((1, 2))
        return Bound(likelihood, {"static": dist.kl(q, dist.standard_normal_like(q.mean))}, 4)
    def encode(self, batch, noise=None):
        return {"static": self.encoder(batch.frames.mean(1)).chunk(2, -1)[0]}
    def decode(self, codes):
        return self.decoder(codes["static"])[:, None]
    def generate(self, count, length, noise=None, given=None):
        return self.as_noise(noise, count, length)
def draw(count, generator):
    return torch.randn(count, 1, 3, generator=generator).expand(-1, 4, -1)
torch.manual_seed(0)
model, file = Mine(size=3), Path(sys.argv[1], "mine.safetensors")
training.fit(model, draw, steps=300, batch_size=32, learning_rate=1e-2, accelerator="cpu",
    checkpoint=file.with_name("run"),
    on_progress=lambda share: share > 0.6 and "stop" in sys.argv and sys.exit("stopped"))
model.save(file)
test = draw(400, torch.Generator().manual_seed(9))
code = Mine.load(file).encode(Batch(test))["static"].detach().numpy()
print(leakage_matrix({"static": code}, {"place": test[:, 0, 0].numpy()})["static", "place"])
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OUTSIDE)
    for name in ("resumed", "whole"):
        (tmp_path / name).mkdir()
    return path


def test_a_model_from_outside_is_trained_resumed_saved_loaded_and_measured(
    script, monkeypatch, capsys
):
    assert len(OUTSIDE.splitlines()) <= 40

    def run_here(folder, *more):
        monkeypatch.setattr(sys, "argv", [str(script), str(script.with_name(folder)), *more])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    with pytest.raises(SystemExit, match="stopped"):
        run_here("resumed", "stop")
    assert not script.with_name("resumed").joinpath("mine.safetensors").exists()
    capsys.readouterr()
    resumed, whole = run_here("resumed"), run_here("whole")
    assert float(resumed) > 0.9 and resumed == whole  # The code tells where a sequence is.
    files = [script.with_name(name) / "mine.safetensors" for name in ("resumed", "whole")]
    assert len(set(map(digest, files))) == 1
