"""What the evaluations of paper B's model share: codes of many sequences, the bound, the order of frames, and what can be read off."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from unbraid.data.sampling import FrameSampler
from unbraid.data.sequences import Sequences
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.models.interface import Codes, SequenceModel

FRAMES = 600  # at most so many are encoded or decoded at a time
COUNTS = (2, 5, 10, 20)  # numbers of frames, beside that of training, that f is inferred from
NEIGHBOURS = 20  # who tell a dynamic code's class; 50 told less, so did random trees
DRAWS = 4  # samples of each test sequence behind the bound


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device


def batches(model: SequenceModel, frames: Tensor, *others: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Frames (B, T, ...), bytes or floats, as floats on the model's device, at most `FRAMES` at a time, with the rows of `others`."""
    device, rows = device_of(model), max(1, FRAMES // frames.shape[1])
    for parts in zip(*(tensor.split(rows) for tensor in (frames, *others))):
        first = parts[0].to(device)
        yield (
            (first.float() / 255 if first.dtype == torch.uint8 else first),
            *(part.to(device) for part in parts[1:]),
        )


@torch.no_grad()
def infer(model: SequenceModel, frames: Tensor) -> Codes:
    """Means of the codes of frames (B, T, ...), on the CPU: static (B, D), and dynamic (B, T, d) given that static code."""
    parts = [model.infer(part) for (part,) in batches(model, frames)]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


@torch.no_grad()
def dynamic_given(
    model: SequenceModel, frames: Tensor, static: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Means of q(z_i | f, x_i), (B, T, d) on the CPU, of frames (B, T, ...) and of f (B, D), which other frames may have told;
    with a generator, of the CPU, a draw each."""
    found = [
        model.dynamic_posterior(model.features(part), code)
        for part, code in batches(model, frames, static)
    ]
    means = torch.cat([one.mean.cpu() for one in found])
    if generator is None:
        return means
    return means + torch.cat([one.standard_deviation.cpu() for one in found]) * torch.randn(
        means.shape, generator=generator
    )


@torch.no_grad()
def decode(model: SequenceModel, static: Tensor, dynamic: Tensor) -> Tensor:
    """Frames (B, T, C, H, W), on the CPU, of static (B, D) and dynamic (B, T, d)."""
    return torch.cat(
        [
            model.decode({"static": f, "dynamic": z}).cpu()
            for z, f in batches(model, dynamic, static)
        ]
    )


@torch.no_grad()
def bound_terms(model: SequenceModel, samples: Iterable[Sequences], seed: int) -> dict[str, float]:
    """The bound and its terms in nats, means over samples of sequences, with one draw of the codes each.

    elbo_per_frame, log_likelihood_per_frame and kl_dynamic_per_frame are averaged over frames, kl_static is of a sequence.
    """
    generator, rows = torch.Generator(device_of(model)).manual_seed(seed), []
    for sample in samples:
        for (frames,) in batches(model, sample.frames):
            bound = model.elbo(frames, generator)
            terms = (
                bound.per_frame,
                bound.log_likelihood / bound.frames,
                bound.kl["static"],
                bound.kl["dynamic"] / bound.frames,
            )
            rows.append(torch.stack(terms, 1))
    names = ("elbo_per_frame", "log_likelihood_per_frame", "kl_static", "kl_dynamic_per_frame")
    return dict(zip(names, torch.cat(rows).double().mean(0).tolist()))


@torch.no_grad()
def shuffle_change(model: SequenceModel, frames: Tensor, seed: int = 0) -> float:
    """Largest change of the bound (nats a sequence) and of any unit of the codes, when frames (B, T, ...) come in another order.

    Each frame keeps its noise. In double precision, so that what is found is the model's and not rounding's.
    """
    exact, generator = copy.deepcopy(model).double().eval(), torch.Generator().manual_seed(seed)
    frames = frames.to(device_of(model)).double() / (255 if frames.dtype == torch.uint8 else 1)
    order = torch.randperm(frames.shape[1], generator=generator)
    noise = exact.noise(*frames.shape[:2], torch.Generator(device_of(model)).manual_seed(seed))
    bound = exact.elbo(frames, noise=noise).elbo
    shuffled_bound = exact.elbo(
        frames[:, order], noise={**noise, "dynamic": noise["dynamic"][:, order]}
    ).elbo
    codes, shuffled = exact.infer(frames), exact.infer(frames[:, order])
    changes = (
        bound - shuffled_bound,
        codes["static"] - shuffled["static"],
        codes["dynamic"][:, order] - shuffled["dynamic"],
    )
    return max(float(change.abs().max()) for change in changes)


def root_mean_square(first: Tensor, second: Tensor) -> float:
    """Of the difference of two sets of frames, floats or bytes, over all their values in [0, 1]."""
    first, second = (
        frames.float() / 255 if frames.dtype == torch.uint8 else frames
        for frames in (first, second)
    )
    return float((first - second).double().square().mean().sqrt())


def readings(
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    learn: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
    probe: str = "nonlinear",
    seed: int = 0,
) -> LeakageMatrix:
    """What a probe, trained on the codes `train` and factors `learn` of some sequences, reads off the codes `test` of others.

    Codes by name (B, D) or (B, T, d), the latter read frame by frame; factors by name, as `leakage_matrix` takes them.
    """
    codes = {name: torch.cat([train[name], test[name]]).numpy() for name in train}
    factors = {name: torch.cat([learn[name], truth[name]]).numpy() for name in learn}
    count = len(next(iter(train.values())))
    rows = np.arange(len(next(iter(codes.values()))))
    return leakage_matrix(
        codes,
        factors,
        probe=probe,
        pooling="frames",
        test=rows >= count,
        bootstrap=20,
        permutations=1,
        seed=seed,
    )


def accuracy(skill: float, learn: Tensor, truth: Tensor) -> float:
    """The accuracy behind a cell of `readings` of classes, whose 0 is that of always naming the commonest class in training."""
    wrong = float((truth != learn.flatten().bincount().argmax()).double().mean())
    return 1 - (1 - skill) * wrong


def samples_of(
    sequences: Sequences, count: int, draws: int, generator: torch.Generator
) -> list[Sequences]:
    """`draws` unordered samples of every sequence, of `count` frames, or of as many as the shortest sequence has."""
    sampler = FrameSampler(sequences, min(count, fewest(sequences)))
    return [sampler.each(generator) for _ in range(draws)]


def fewest(sequences: Sequences) -> int:
    """How many frames the shortest sequence has."""
    return sequences.length if sequences.mask is None else int(sequences.mask.sum(1).min())


def bounds(model: SequenceModel, test: Sequences, chosen, seed: int) -> dict[str, float]:
    """The bound's terms on N = chosen.length frames, the bound on other numbers of frames, and what their order changes."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    samples = samples_of(test, chosen.length, DRAWS, generator)
    figures = bound_terms(model, samples, seed)
    for count in (count for count in COUNTS if count <= fewest(test)):
        figures[f"elbo_per_frame_n{count}"] = bound_terms(
            model, samples_of(test, count, 1, generator), seed
        )["elbo_per_frame"]
    return figures | {"shuffle_change": shuffle_change(model, samples[0].frames[:20], seed)}


def classes_read(
    learn: Codes,
    test: Codes,
    of_train: Mapping[str, Tensor],
    of_test: Mapping[str, Tensor],
    seed: int,
) -> dict[str, float]:
    """Classes read off the codes of test sequences by what training sequences teach.

    Factors (N,), or (N, T) of frames, which the dynamic code tells frame by frame, and the static code of the first of them.
    static_probe_, dynamic_probe_<factor>: skill of the leakage matrix's non-linear probe. static_accuracy_<factor>: accuracy of
    the linear one. dynamic_accuracy_<factor>: that of `NEIGHBOURS` nearest neighbours, who see what a machine of one width for
    all codes smooths over: what a few units tell of many poses and people lies close together.
    """
    figures = {}
    for code, probe in (("static", "linear"), ("static", "nonlinear"), ("dynamic", "nonlinear")):
        labels = [of_one(some) if code == "static" else some for some in (of_train, of_test)]
        matrix = readings({code: learn[code]}, {code: test[code]}, *labels, probe, seed)
        for name, skill in zip(matrix.columns, matrix.value[0].tolist()):
            if probe == "nonlinear":
                figures[f"{code}_probe_{name}"] = skill
            else:
                figures[f"{code}_accuracy_{name}"] = accuracy(skill, *(one[name] for one in labels))
    for name in of_train:
        figures[f"dynamic_accuracy_{name}"] = told(
            learn["dynamic"], of_train[name], test["dynamic"], of_test[name]
        )
    return figures


def of_one(factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Factors of sequences (N,) as they are, those of frames (N, T, ...) at the first of them."""
    return {name: values[:, 0] if values.ndim > 1 else values for name, values in factors.items()}


def told(
    codes: Tensor, labels: Tensor, tried: Tensor, truth: Tensor, count: int = NEIGHBOURS
) -> float:
    """Accuracy of `count` nearest neighbours: classes (N,) or (N, T) of codes (N, d) or (N, T, d), in units of their spread."""
    width, spread = codes.shape[-1], codes.flatten(0, -2).std(0).clamp(min=1e-6)
    every = [
        of[:, None].expand(code.shape[:-1]) if of.ndim < code.ndim - 1 else of
        for code, of in ((codes, labels), (tried, truth))
    ]
    points, asked = ((code / spread).reshape(-1, width).numpy() for code in (codes, tried))
    taught, true = (of.flatten().numpy() for of in every)
    return float(
        KNeighborsClassifier(min(count, len(points))).fit(points, taught).score(asked, true)
    )
