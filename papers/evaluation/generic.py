"""The evaluation of any model on any dataset: its bound, reconstructions, and what codes tell."""

from __future__ import annotations

from pathlib import Path

import torch
from unbraid.data.sequences import Sequences
from unbraid.models.base import SequenceModel

from papers.evaluation import common
from papers.evaluation.common import Evaluation, Examined, Figures
from papers.experiments import make_sampler

PAIR = 4  # the seed of the clips in the picture


def load_samples(settings, split: str, seed: int) -> Sequences:
    """As many sequences as the settings say, drawn as training draws them.

    Whole sequences of a set are drawn without replacement, so that each counts once.
    """
    count = settings.evaluation_training if split == "train" else settings.evaluation_sequences
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    if settings.sampler == "sequences":
        sequences = common.load_split(settings, split, seed)
        rows = torch.randperm(len(sequences), generator=generator)[:count]
        return sequences.subset(rows).as_float()
    return make_sampler(settings, split)(count, generator)


def bound(examined: Examined) -> Figures:
    """The bound and its terms in nats: means over test sequences, with one draw of the codes of
    each. kl_static is of a sequence, the divergence of any other code of a frame."""
    return common.bound_per_frame(examined.model, [examined.test], examined.seed)


def reconstruction(examined: Examined) -> Figures:
    """reconstruct_rmse: test sequences decoded from the means of their codes."""
    decoded, test = common.decode_all(examined.model, examined.test_codes), examined.test
    mask = None if test.mask is None else test.mask[: len(decoded)]
    return {"reconstruct_rmse": common.root_mean_square(decoded, test.frames, mask)}


def code_probes(examined: Examined) -> Figures:
    """<code>_probe_<label>: skill, 0 for the best constant, 1 if always right, of a non-linear
    probe trained on codes of training sequences. A dynamic code tells a label of frames frame by
    frame; a static code, or one with other steps than the frames, tells that of the first frame.
    Labels with a class that training lacks, such as the number of a film, are left out."""
    train, test = examined.train, examined.test
    names = [name for name in test.labels if is_readable(train.labels[name], test.labels[name])]
    figures = {}
    for code, values in examined.test_codes.items() if names else ():
        codes = [examined.train_codes[code], values]
        train_labels = {name: train.labels[name] for name in names}
        test_labels = {name: test.labels[name] for name in names}
        labels = [train_labels, test_labels]
        if values.ndim == 2 or values.shape[1] != test.length:
            codes = [part.flatten(1) for part in codes]
            labels = [common.at_first_frame(part) for part in labels]
        train_codes, test_codes = ({code: part} for part in codes)
        matrix = common.probe(train_codes, test_codes, *labels, seed=examined.seed)
        figures |= common.probe_figures(matrix)
    return figures


def is_readable(train: torch.Tensor, test: torch.Tensor) -> bool:
    """Whether a probe can be scored: by several values in the test, and no class unknown."""
    is_known = test.is_floating_point() or bool(torch.isin(test, train).all())
    return is_known and len(test.unique()) > 1


def draw_exchanges(model: SequenceModel, settings, path: Path) -> None:
    """Two test clips, decoded, with codes exchanged, and with all but one drawn; not of series."""
    pair = make_sampler(settings, "test")(2, torch.Generator().manual_seed(PAIR))
    if pair.kind != "frames":
        return
    from unbraid import plots  # It needs packages of the course.

    codes, generator = common.encode_all(model, pair), common.generator_for(model, 0)
    rows = {"clips": pair.frames, "decoded": common.decode_all(model, codes)}
    for name in codes:
        exchanged = codes | {name: codes[name].flip(0)}
        rows[f"{name} of the other"] = common.decode_all(model, exchanged)
    for name in codes:
        drawn = common.draw_others(model, codes, name, generator)
        rows[f"{name} kept, rest drawn"] = common.decode_all(model, drawn)
    gap = torch.ones_like(pair.frames[0, :1])
    frames = [torch.cat([clips[0], gap, clips[1]]) for clips in rows.values()]
    plots.use_style()
    axes = plots.grid(torch.stack(frames), list(rows), xlabel="frames of one clip, and of another")
    axes.set_xticks([])
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(path, metadata={"Software": None})


GENERIC = Evaluation(load_samples, common.examine, (bound, reconstruction, code_probes))
