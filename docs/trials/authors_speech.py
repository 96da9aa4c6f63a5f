"""Do our networks of speech have the loss and the gradients of the authors' code?

    git clone https://github.com/azencot-group/DBSE
    git -C DBSE checkout ac0c5f6
    python -m docs.trials.authors_speech DBSE/audio/model/dbse.py

Their code has no licence and is not part of this repository; the script runs a copy of yours. It
copies their fresh weights into `PublishedSpeech`, gives both the same chunks of 201 bins and the
same random numbers, and compares the loss 20 / 100 / 1 / 1 and its gradients in double precision.
Writes results/trials/authors_speech.json.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from unbraid import store
from unbraid.distributions import DiagonalGaussian, kl, standard_normal_like

from papers import runs, settings

SIZES = {"f_dim": 128, "z_dim": 128, "rnn_size": 256, "f_rnn_layers": 1, "fft_size": 400}
CHUNKS, STEPS, BINS = 6, 20, 201


def pair_layers(ours: nn.Module, theirs: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """The layers of our model with those of theirs that stand in the same place."""
    head, dynamic = ours.static_head[2], ours.dynamic_encoder
    return [
        (ours.codec.recurrent, theirs.z_lstm_encoder),
        (ours.codec.linear, theirs.fc),
        (ours.static_head[0], theirs.static_linear_proj),
        (head.mean, theirs.f_mean.model[0]),
        (head.log_variance, theirs.f_logvar.model[0]),
        (dynamic.recurrent, theirs.z_lstm),
        (dynamic.head.mean, theirs.z_mean),
        (dynamic.head.log_variance, theirs.z_logvar),
        (ours.prior.head.mean, theirs.z_prior_mean),
        (ours.prior.head.log_variance, theirs.z_prior_logvar),
        (ours.codec.decoder_recurrent, theirs.decoder.lstm),
        (ours.codec.decoder_linear, theirs.decoder.dec_net[0]),
    ]


def pair_parameters(ours: nn.Module, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """All parameters of our model with theirs."""
    pairs = []
    for own, other in pair_layers(ours, theirs):
        pairs += zip(own.parameters(), other.parameters(), strict=True)
    cells = (theirs.z_prior_lstm_ly1, theirs.z_prior_lstm_ly2)
    for number, cell in enumerate(cells):
        for name, value in cell.named_parameters():
            pairs.append((getattr(ours.prior.recurrent, f"{name}_l{number}"), value))
    return pairs


def their_loss(theirs: nn.Module, x: Tensor, noise: dict[str, Tensor]) -> Tensor:
    """The authors' loss per chunk, with our random numbers in place of theirs."""
    draws = [noise["static"], noise["anchor"], noise["dynamic"]]
    original = torch.randn_like
    torch.randn_like = lambda like: draws.pop(0) if draws else original(like)
    try:
        outputs = theirs(x)
    finally:
        torch.randn_like = original
    f_mean, f_log_variance, _, z_mean, z_log_variance, _, p_mean, p_log_variance, _ = outputs[:9]
    alone, whole = outputs[9:]
    q_s = DiagonalGaussian(f_mean, f_log_variance)
    q_d = DiagonalGaussian(z_mean, z_log_variance)
    errors = 20 * (whole - x).square().sum() + 100 * (alone - x).square().sum()
    static = kl(q_s, standard_normal_like(f_mean)).sum()
    dynamic = kl(q_d, DiagonalGaussian(p_mean, p_log_variance)).sum()
    return (errors + static + dynamic) / len(x)


def main(path: Path) -> None:
    """Compare, print, and write the record."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.cuda = lambda self, *_, **__: self  # their code asks for a GPU
    specification = importlib.util.spec_from_file_location("authors", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    torch.manual_seed(0)
    theirs = module.DBSE(SimpleNamespace(**SIZES)).train()
    section = "single_element.spoken_digits.published"
    known = settings.load(section, "full", channels=BINS, features=BINS)
    ours = runs.build(known, 0).double().train()
    pairs = pair_parameters(ours, theirs)
    for own, other in pairs:
        own.data.copy_(other.data)

    x = torch.rand(CHUNKS, STEPS, BINS)
    noise = ours.draw_noise(CHUNKS, STEPS, torch.Generator().manual_seed(1))
    constant = 120 * 0.5 * STEPS * BINS * torch.log(torch.tensor(torch.pi))  # at v = 1/2
    own = STEPS * ours.elbo(x, noise).loss(runs.term_weights(known, 1)) - constant
    other = their_loss(theirs, x, noise)
    own.backward()
    other.backward()
    gradients = [(mine.grad - their.grad).abs().max() for mine, their in pairs]
    figures = {
        "parameters": sum(value.numel() for value in ours.parameters()),
        "loss": own.item(),
        "loss_of_the_authors": other.item(),
        "largest_difference_of_gradients": max(gradients).item(),
        "largest_gradient": max(mine.grad.abs().max() for mine, _ in pairs).item(),
    }
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    record = {
        "command": "python -m docs.trials.authors_speech DBSE/audio/model/dbse.py",
        "code": "https://github.com/azencot-group/DBSE at ac0c5f6, audio/model/dbse.py",
        "settings": known.as_dict(),
        "seed": 0,
        "figures": figures,
    }
    store.write_json(store.shipped() / "trials" / "authors_speech.json", record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path, help="a copy of the authors' audio/model/dbse.py")
    main(parser.parse_args().path)
