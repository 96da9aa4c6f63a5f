"""One page on a model that was trained on anybody's own data: the verdict, numbers, and pictures.

Each number stands next to a baseline, and what the test split is too small for is called open. The
page's prose is in own_report.html.j2; `own_labels` judges what the codes tell of labels.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from unbraid import plots
from unbraid.codes import decode_all, root_mean_square
from unbraid.interventions import MIDDLE, traverse
from unbraid.records import write_atomically

from unbraid_extras import own_labels, pages
from unbraid_extras.own_data import OwnData
from unbraid_extras.own_page import Page, average, open_page, recolour, widen
from unbraid_extras.own_training import Trained

UNUSED_BELOW = 0.05  # the change of decoded values, as a share, by a code that is not in use
OVERFITTED = 0.7  # the share of a run after which its best update should lie
SHOWN = 3  # test sequences in a picture
TRAVERSED = 7  # values of a unit in a traversal
MOST_FRAMES = 12  # of a sequence in a picture
MOST_LINES = 8  # variables that are drawn as lines; more are drawn as an image


@pages.course_style()
def write(trained: Trained, data: OwnData, folder: Path, dynamic: Sequence[str] = ()) -> Path:
    """Write the page, the codes of the test split, and its labels; returns the page's path.

    dynamic: labels, a value per sequence, of the motion.
    """
    page = open_page(trained.model, data, dynamic)
    sections = {
        "side": own_labels.SIDE,
        "training": describe_training(page, trained),
        "reconstructions": show_reconstructions(page),
        "swaps": show_swaps(page),
        "traversals": show_traversals(page),
        "labels": show_labels(page),
    }
    about = data.splits["train"].provenance.split(",")[0].removeprefix("own data from ")
    title = f"{trained.plan.model} on {about}"
    html = pages.render("own_report.html.j2", title=title, page=page, **sections)
    write_arrays(folder / "codes.npz", page.codes["test"])
    if page.test.labels:
        write_arrays(folder / "factors.npz", page.test.labels)
    path = folder / "report.html"
    write_atomically(path, html.encode())
    return path


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Named arrays as npz, without pickle; numpy's own function refuses the name "file"."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values.numpy(), allow_pickle=False)
    write_atomically(path, file.getvalue())


# ---- sections: what the template shows of each, and sentences


def describe_training(page: Page, trained: Trained) -> dict[str, object]:
    """The settings with their reasons, and the bound's curve."""
    record, curve = trained.record, trained.curve
    best, last = record["best_update"], record["updates"]
    if best < OVERFITTED * last:
        page.findings.append(
            f"The validation bound was best at update {best} of {last}; what followed fitted "
            "the training sequences alone, and those weights are not kept."
        )
    bounds = {"training": [row["elbo_per_frame"] for row in curve]}
    bounds["validation"] = [row["validation"] for row in curve]
    figure, ax = pages.new_figure(6.5, 3)
    for name, values in bounds.items():
        ax.plot([row["step"] for row in curve], values, label=name)
    ax.axvline(best, color="grey", linewidth=1, linestyle=":", label=f"kept: {best}")
    late = bounds["training"][1:] + bounds["validation"][1:]
    if late:  # The first row is far below all others.
        margin = 0.05 * (max(late) - min(late)) + 1e-6
        ax.set_ylim(min(late) - margin, max(late) + margin)
    ax.set(xlabel="update", ylabel="bound (nats per step)")
    ax.legend()
    alt = f"The bound on training and validation split, best at update {best} of {last}"
    return record | {"curve": pages.draw(figure, alt)}


def show_reconstructions(page: Page) -> dict[str, object]:
    """Test sequences, what is decoded from their codes, and two baselines."""
    train, test = page.parts["train"], page.test
    guesses = {
        "decoded from the codes": page.decoded,
        "each sequence's own mean over time": average(test.frames, test.observed)[:, None],
        "the mean of the training split": average(train.frames, train.observed, (0, 1)),
    }
    mask, errors = widen(test.observed, test.frames), {}
    for name, guess in guesses.items():
        errors[name] = root_mean_square(guess.expand_as(test.frames), test.frames, mask)
    model, *means = errors.values()
    if model < min(means):
        page.findings.append(
            "What is decoded is nearer to the test sequences than their own mean over time (error "
            f"{model:.3f} against {min(means):.3f})."
        )
    else:
        page.verdict.append(
            "The model has learnt little: a mean without any motion is at least as near to the "
            f"test sequences as what is decoded (error {min(means):.3f} against {model:.3f})."
        )
    rows = [("test split", "root mean square error")]
    rows += [(name, f"{error:.4f}") for name, error in errors.items()]
    clips = {}
    for row, name in enumerate(page.names[:SHOWN]):
        title = f"{row + 1}: {name}"
        clips[title], clips[f"{title}, decoded"] = test.frames[row], page.decoded[row]
    alt = "Test sequences, and below each what is decoded of its codes"
    return {"errors": rows, "clips": draw_rows(page, clips, alt)}


def show_swaps(page: Page) -> dict[str, object]:
    """Each code taken from another sequence, as a film or a figure, and how much it changes."""
    frames, others = page.test.frames, page.test.frames[page.donors]
    columns, shares = {"sequence": frames, "donor": others}, {}
    whole = root_mean_square(page.decoded[page.donors], page.decoded)
    for name, code in page.codes["test"].items():
        swapped = decode_all(page.model, page.codes["test"] | {name: code[page.donors]})
        columns[f"{name} of donor"] = swapped
        shares[name] = root_mean_square(swapped, page.decoded) / max(whole, 1e-9)
    if page.is_coloured:
        columns["recoloured"] = recolour(page.test, page.donors)
    unused = [name for name, share in shares.items() if share < UNUSED_BELOW]
    if whole > 0 and unused:
        page.verdict.append(f"Collapsed: what is decoded hardly depends on {', '.join(unused)}.")
    elif whole > 0:
        page.findings.append("All codes are in use: each one changes what is decoded.")
    rows = [("code of the donor", "change of what is decoded")]
    rows += [(name, f"{share:.0%}") for name, share in shares.items()]

    count = min(SHOWN, len(frames))
    shown = {name: as_drawn(page, clips[:count]) for name, clips in columns.items()}
    alt = f"{count} pairs of test sequences: {', '.join(columns)}"
    if page.test.kind == "frames":
        return {"changes": rows, "clips": pages.embed(film(shown), alt)}
    clips = {}
    for row in range(count):
        clips.update({f"{row + 1}: {name}": shown[name][row] for name in shown})
    return {"changes": rows, "clips": draw_grid(clips, len(shown), alt)}


def show_traversals(page: Page) -> pages.Picture:
    """One unit of each code dragged over the values that it has on the test split."""
    first = {name: code[:1] for name, code in page.codes["test"].items()}
    rows, titles = [], []
    for name, code in page.codes["test"].items():
        units = code.flatten(0, -2)
        unit = int(units.var(0).argmax())
        low, high = torch.quantile(units[:, unit], torch.tensor(MIDDLE)).tolist()
        values = torch.linspace(low, high, TRAVERSED)
        rows.append(as_drawn(page, decode_all(page.model, traverse(first, name, unit, values))))
        titles.append(f"{name}, unit {unit + 1}")
    alt = f"One unit dragged from its lowest to its highest values: {', '.join(titles)}"
    if page.test.kind == "frames":
        shown = torch.stack(rows)[:, :, page.test.length // 2]
        return draw_frames(shown, titles, "value of the unit, from low to high", alt)
    clips = {}
    for title, row in zip(titles, rows, strict=True):
        clips.update({f"{title}: {number + 1}": clip for number, clip in enumerate(row)})
    return draw_grid(clips, TRAVERSED, alt)


def show_labels(page: Page) -> dict[str, object] | None:
    """What linear models read off codes and off inputs, and swaps before a linear judge."""
    if not page.test.labels:
        page.verdict.append(
            "Without labels it cannot be concluded whether the codes are disentangled; a file "
            "of labels (--labels) says what should be where."
        )
        return None
    obstacles = {name: own_labels.find_obstacle(page, name) for name in page.test.labels}
    unprobed = [name for name in obstacles if obstacles[name]]
    sentences = [f"{name}: cannot be concluded, because {obstacles[name]}." for name in unprobed]
    page.findings.extend(sentences)
    usable = [name for name in obstacles if not obstacles[name]]
    probed = own_labels.probe_labels(page, usable)
    own_labels.conclude(page, probed, unprobed)
    if not page.verdict:
        page.verdict.append("Cannot be concluded: of no label anything can be said.")
    judged = None
    classes = {name for name in usable if name in page.test.static and name in page.test.classes}
    if classes and "static" in page.model.code_names:
        judged = own_labels.judge_swaps(page, sorted(classes))
    matrices = [pages.draw_matrix(each.matrix) for each in probed]
    return {"obstacles": sentences, "matrices": matrices, "judged": judged}


# ---- pictures


def as_drawn(page: Page, clips: Tensor) -> Tensor:
    """Values as they are drawn: frames in [0, 1], spectra as logarithms of magnitudes."""
    if page.test.kind == "frames":
        return clips.clamp(0, 1)
    if page.data.scale is not None:
        return (page.data.scale.inverse(clips) + 0.01).log()
    return clips


def draw_rows(page: Page, clips: Mapping[str, Tensor], alt: str) -> pages.Picture:
    """Clips below each other."""
    shown = {name: as_drawn(page, clip) for name, clip in clips.items()}
    if page.test.kind == "series":
        return draw_grid(shown, 2, alt)
    steps = np.linspace(0, page.test.length - 1, min(MOST_FRAMES, page.test.length))
    stacked = torch.stack(list(shown.values()))[:, steps.round().astype(int)]
    return draw_frames(stacked, list(clips), "frame", alt)


def draw_frames(clips: Tensor, names: Sequence[str], xlabel: str, alt: str) -> pages.Picture:
    """Clips (N, T, C, H, W) below each other, as a picture."""
    figure, ax = pages.new_figure(0.62 * clips.shape[1] + 1.3, 0.62 * len(clips) + 0.5)
    plots.grid(clips, list(map(pages.plain, names)), ax, xlabel)
    return pages.draw(figure, alt)


def draw_grid(clips: Mapping[str, Tensor], columns: int, alt: str) -> pages.Picture:
    """Series (T, D) with titles in so many columns: a few as lines, many as an image."""
    rows = -(-len(clips) // columns)
    figure, axes = pages.new_figure(1.5 * columns + 0.5, 1.3 * rows + 0.3, rows, columns)
    values = torch.stack(list(clips.values())).flatten()[:1_000_000]
    low, high = torch.quantile(values, torch.tensor([0.01, 0.99])).tolist()
    for ax, (name, clip) in zip(np.ravel(axes), clips.items(), strict=False):
        if clip.shape[1] <= MOST_LINES:
            ax.plot(clip.numpy(), linewidth=1)
            ax.set_ylim(low, high)
        else:
            ax.imshow(clip.T.numpy(), aspect="auto", origin="lower", vmin=low, vmax=high)
        ax.set_title(pages.plain(name), fontsize=7)
        ax.set(xticks=[], yticks=[])
    return pages.draw(figure, alt)


def film(columns: Mapping[str, Tensor]) -> bytes:
    """Clips (N, T, C, H, W) of several columns as a moving PNG with titles."""
    clips = torch.stack(list(columns.values()), 1).flatten(0, 1)  # row by row
    scale = max(1, 110 // clips.shape[-1])
    pictures = []
    for frames in clips.unbind(1):
        pixels = (255 * plots.picture(frames, len(clips) // len(columns))).astype("uint8")
        image = Image.fromarray(pixels)
        size = (scale * image.width, scale * image.height)
        image = image.resize(size, Image.Resampling.NEAREST)
        pictures.append(plots.write_above(image, list(columns)))
    png = io.BytesIO()
    options = {"append_images": pictures[1:], "duration": 200, "loop": 0}
    pictures[0].save(png, "PNG", save_all=True, optimize=True, **options)
    return png.getvalue()
