"""One page on a model that was trained on anybody's own data: the verdict, numbers, and pictures.

Each number stands next to a baseline. The page's prose is in own_report.html.j2; the verdict on
what codes contain is that of `measure`, on the same sample.
"""

from __future__ import annotations

import io
import itertools
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor
from unbraid.checks import check_field, check_names, check_path, check_type
from unbraid.codes import decode_all, root_mean_square
from unbraid.figures import films, plots

from unbraid_own import measure, pages, verdict
from unbraid_own.arrays import read_arrays
from unbraid_own.own_data import OwnData
from unbraid_own.own_page import Page, average, widen
from unbraid_own.own_training import Trained, digest, read_marker, write_known

LEAST_LEFT = 0.05  # with less, nothing is advised
LEFT = 0.3  # of the error of the mean over time: with more, more sequences are advised
GROWING = 0.75  # of the updates: if the best one is later, the bound still grew
LEARNT = 1.0  # with more left than a mean has, more updates changed the bound alone
UNUSED_BELOW = 0.05  # the change of decoded values, as a share, by a code that is not in use
SHOWN = 3  # test sequences in a picture
MOST_FRAMES = 12  # of a sequence in a picture
LONGEST_FILM = 40  # frames
TILE = 160  # pixels of the page for a frame of a film, about
MOST_LINES = 8  # variables that are drawn as lines; more are drawn as an image
SEEN: dict[str, Any] = {"color": "0.45", "marker": ".", "markersize": 4}
LOOKS: dict[str, dict[str, Any]] = {  # of lines
    "observed": SEEN,
    "sequence": SEEN,
    "decoded": {"color": "#009E73"},
    "donor": {"color": "0.45", "linestyle": ":"},
    "static of donor": {"color": plots.STATIC},
    "dynamic of donor": {"color": plots.DYNAMIC},
}


@pages.course_style()
def write(
    trained: Trained, data: OwnData, folder: Path | str, dynamic: Sequence[str] | None = None
) -> Path:
    """Write the page, the codes of the test split, and its labels; returns the page's path.

    dynamic: labels, a value per sequence, of the motion; None: it is not said which these are.
    """
    check_type(Trained, trained=trained)
    check_type(OwnData, data=data)
    check_names("dynamic", () if dynamic is None else dynamic, data.splits["test"].labels)
    check_path(folder=folder)
    check_field("written" in read_marker(Path(folder)), "folder", "that of the training", folder)
    is_known = trained.record["settings"]["data_sha256"] == digest(data)
    check_field(is_known, "data", "those of the training", "others")
    page, folder = Page(trained.model, data), Path(folder)
    sections = {
        "write": verdict.write,
        "training": describe_training(trained),
        "reconstructions": show_reconstructions(page),
        "swaps": show_swaps(page),
        "report": judge_labels(page, dynamic),
    }
    about = data.splits["train"].provenance.split(",")[0].removeprefix("own data from ")
    page.advice += advise(page, trained.record)
    title = f"What the model has learnt from {about}"
    html = pages.render("own_report.html.j2", title=title, page=page, **sections)
    write_known(folder / "codes.npz", pack_arrays(page.sample))
    if factors := page.factors:
        more = {} if page.group is None else {page.unit: torch.from_numpy(page.group)}
        write_known(folder / "factors.npz", pack_arrays(factors | more))
    path = folder / "report.html"
    write_known(path, html.encode(errors="backslashreplace"))
    return path


def suggest_measure(data: OwnData, folder: Path, dynamic: Sequence[str] | None) -> str:
    """How to measure the codes that were written, or what that lacks."""
    codes, factors = folder / "codes.npz", folder / "factors.npz"
    if not factors.exists():
        return "The command measure needs labels (--labels) that vary, in more films of each class."
    known, read = read_arrays(factors, "factors"), read_arrays(codes, "codes")
    count = len(next(iter(read.values())))
    what = f"{codes} has {count} test sequences"
    if count > len(data.splits["test"]):
        fewest = f"{verdict.FEWEST_SEQUENCES} {data.unit}"
        what = f"{codes} has {count} sequences of all splits, as a verdict needs {fewest}"
    group = known.pop(data.unit, None)
    dynamic = None if dynamic is None else [name for name in dynamic if name in known]
    words = ["python", "-m", "unbraid_own", "measure", str(codes), str(factors)]
    words += ["--dynamic", ",".join(dynamic or ())] * (dynamic is not None)
    words += ["--group", data.unit] * (group is not None)
    words += ["--html", str(folder / "measured.html")]
    return f"{what}; to measure them: {shlex.join(words)}"


def pack_arrays(arrays: Mapping[str, Tensor]) -> bytes:
    """Named arrays as npz, without pickle; numpy's own function refuses the name "file"."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values.numpy(), allow_pickle=False)
    return file.getvalue()


# ---- sections: what the template shows of each, and sentences


def describe_training(trained: Trained) -> dict[str, object]:
    """The settings with their reasons, and the bound's curve."""
    record, curve = trained.record, trained.curve
    best, last = record["best_update"], record["updates"]
    shown = curve[1:] or curve  # The first row is far below all others.
    figure, ax = pages.new_figure(7.2, 3)
    for label, name in (("training", "elbo_per_frame"), ("validation", "validation")):
        ax.plot([row["step"] for row in shown], [row[name] for row in shown], label=label)
    ax.axvline(best, color="grey", linewidth=1, linestyle=":", label=f"kept: {best}")
    ax.set(xlabel="update", ylabel="bound (nats per step)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    alt = f"The bound on training and validation split, best at update {best} of {last}"
    return record | {"curve": pages.draw(figure, alt)}


def advise(page: Page, record: Mapping[str, Any]) -> list[str]:
    """What to try, with its minutes: more updates while they help, else more sequences.

    A larger size is not advised: with twice the minutes it made one of three trial models worse.
    """
    best, updates, minutes = record["best_update"], record["updates"], record["seconds"] / 60
    known, left = f"the bound was best at update {best} of {updates}", f"{page.left:.0%}"
    if best > GROWING * updates and LEAST_LEFT < page.left < LEARNT:
        said = f"More updates should help, as {known}, and {left} of a mean's error is left: with"
        said += f" --steps {2 * updates} the same command goes on from there"
        return [f"{said}, in about {minutes:.1f} min more."]
    few = f"More updates promise little ({known}), but {left} of a mean's error is left: bring more"
    return [f"{few} sequences, or try another model."] if page.left > LEFT else []


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
        said = "What is decoded is nearer to the test sequences than their own mean over time"
        page.findings.append(f"{said} (error {model:.3f} against {min(means):.3f}).")
    else:
        said = "The model has learnt little: a mean without any motion is at least as near to the"
        said += f" test sequences as what is decoded (error {min(means):.3f} against {model:.3f})."
        page.verdict.append(said)
    page.left = model / min(means)
    table = [("test split", "root mean square error")]
    table += [(name, f"{error:.4f}") for name, error in errors.items()]
    shown = {"observed": as_drawn(page, test.frames[:SHOWN], test.observed[:SHOWN])}
    shown["decoded"] = as_drawn(page, page.decoded[:SHOWN], page.within[:SHOWN])
    alt = "Test sequences, and what is decoded from the codes of each"
    if test.kind == "series":
        clips = draw_series(page, shown, alt)
    else:
        steps = np.linspace(0, test.length - 1, min(MOST_FRAMES, test.length)).round().astype(int)
        rows = torch.stack(list(shown.values()), 1).flatten(0, 1)[:, steps]
        numbers = range(1, len(rows) // 2 + 1)
        titles = [f"{row}, {label}" for row, label in itertools.product(numbers, shown)]
        clips = draw_frames(rows, titles, steps, alt)
    captions = [f"{row}: {name}" for row, name in enumerate(page.names[:SHOWN], 1)]
    return {"errors": table, "clips": clips, "captions": captions}


def show_swaps(page: Page) -> dict[str, object] | None:
    """Each code taken from another sequence, as a film or a figure, and how much it changes."""
    test, donors = page.test, page.donors
    if len(test) < 2:
        page.findings.append("Nothing is said about swaps, which need two test sequences.")
        return None
    columns = {"sequence": (test.frames, test.observed)}
    columns["donor"] = (test.frames[donors], test.observed[donors])
    whole, shares = root_mean_square(page.decoded[donors], page.decoded), {}
    for name, code in page.codes["test"].items():
        swapped = decode_all(page.model, page.codes["test"] | {name: code[donors]})
        columns[f"{name} of donor"] = (swapped, page.within)
        shares[name] = root_mean_square(swapped, page.decoded) / max(whole, 1e-9)
    unused = [name for name, share in shares.items() if share < UNUSED_BELOW]
    if whole > 0 and unused:
        page.verdict.append(f"Collapsed: what is decoded hardly depends on {', '.join(unused)}.")
    elif whole > 0:
        page.findings.append("Each code changes what is decoded.")
    rows = [("code of the donor", "change of what is decoded")]
    rows += [(name, f"{share:.0%}") for name, share in shares.items()]

    count = min(SHOWN, len(test))
    pairs = [(page.names[row], page.names[donors[row]]) for row in range(count)]
    captions = [f"{row}: {name}, donor {donor}" for row, (name, donor) in enumerate(pairs, 1)]
    shown = {name: as_drawn(page, x[:count], kept[:count]) for name, (x, kept) in columns.items()}
    alt = f"{count} pairs of test sequences: {', '.join(columns)}"
    if test.kind == "series":
        clips = draw_series(page, shown, alt)
    else:
        clips = film(shown, alt)
        if test.length > clips.frames:
            captions.append(f"the first {clips.frames} of {test.length} frames")
    return {"changes": rows, "clips": clips, "captions": captions}


def judge_labels(page: Page, dynamic: Sequence[str] | None) -> measure.Report | None:
    """What `measure` concludes of the sample; dynamic: labels of the motion, or None."""
    if not page.test.labels:
        said = "Without labels it cannot be concluded whether the codes are disentangled"
        page.verdict.append(f"{said}; a file of labels (--labels) says what should be where.")
        return None
    for name, why in page.obstacles.items():
        page.findings.append(f"{name}: nothing can be concluded: {why}.")
    if not page.factors:
        page.verdict.append("Cannot be concluded: of no label anything can be said.")
        return None
    named = None if dynamic is None else [name for name in dynamic if name in page.factors]
    sample = {name: values.numpy() for name, values in page.sample.items()}
    factors = {name: values.numpy() for name, values in page.factors.items()}
    report = measure.judge(sample, factors, dynamic=named, groups=page.group)[0]
    page.verdict += report.verdict.findings
    page.findings += report.verdict.each
    return report


# ---- pictures


def as_drawn(page: Page, clips: Tensor, kept: Tensor) -> Tensor:
    """Clips (N, T, ...) in the units of figures; nothing where they are not kept (N, T[, D]).

    Frames are white there, and series NaN. Series of few variables are in their own units, those of
    many in standard deviations, spectra logarithms of magnitudes.
    """
    missing = ~widen(kept, clips)
    if page.test.kind == "frames":
        return clips.clamp(0, 1).masked_fill(missing, 1)
    if page.data.scale is not None:
        clips = (page.data.scale.inverse(clips) + 0.01).log()
    elif page.data.units is not None and clips.shape[2] <= MOST_LINES:
        mean, deviation = torch.from_numpy(page.data.units)
        clips = clips * deviation + mean
    return clips.masked_fill(missing, torch.nan)


def draw_series(page: Page, columns: Mapping[str, Tensor], alt: str) -> pages.Picture:
    """The first sequences (N, T, D) by label: lines of a few variables, images of many."""
    is_few = page.test.frames.shape[2] <= MOST_LINES and page.data.scale is None
    return pages.draw((draw_lines if is_few else draw_images)(page, columns), alt)


def draw_lines(page: Page, columns: Mapping[str, Tensor]) -> Figure:
    """Axes with a row for each variable and a column for each sequence, in them a line a label."""
    names, count = page.data.columns, len(next(iter(columns.values())))
    shared: dict[str, Any] = {"sharex": "col", "sharey": "row", "squeeze": False}
    figure, axes = pages.new_figure(7.2, 1.4 * len(names) + 0.9, len(names), count, **shared)
    for number, column in enumerate(axes.T):
        steps = page.times[number]
        for label, clips in columns.items():
            for ax, values in zip(column, clips[number].T[:, : len(steps)], strict=True):
                ax.plot(steps, values.numpy(), label=label, linewidth=1.2, **LOOKS[label])
        column[0].set_title(f"sequence {number + 1}", fontsize=9)
        count_time(column[-1], page.clock, steps)
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(pages.wrap(name), fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def draw_images(page: Page, columns: Mapping[str, Tensor]) -> Figure:
    """Images of series with time to the right: a row for each sequence, a column for each label."""
    values = torch.stack(list(columns.values()), 1)  # (N, labels, T, D)
    shared: dict[str, Any] = {"sharey": True, "squeeze": False}
    figure, axes = pages.new_figure(7.2, 1.5 * len(values) + 0.7, *values.shape[:2], **shared)
    heights, name, unit = np.arange(values.shape[3]) + 1.0, "variable no.", "deviations"
    if page.data.scale is not None:
        heights, name, unit = 0.04 * (heights - 1), "frequency (kHz)", "log magnitude"
    low, high = np.nanquantile(values, [0.01, 0.99])
    for number, row in enumerate(axes):
        steps = page.times[number]
        for ax, clip in zip(row, values[number], strict=True):
            ax.set_facecolor("0.85")  # where there is no value
            part = clip[: len(steps)].T.numpy()
            image = ax.pcolormesh(steps, heights, part, vmin=low, vmax=high, shading="nearest")
            clock = page.clock * (number + 1 == len(axes))
            count_time(ax, clock, steps, max(1, 5 - len(columns)))
        row[0].set_ylabel(f"sequence {number + 1}\n{name}", fontsize=8)
    for ax, label in zip(axes[0], columns, strict=True):
        ax.set_title(label, fontsize=9)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.colorbar(image, ax=axes, label=unit, extend="both")
    return figure


def count_time(ax: Axes, name: str, steps: np.ndarray, ticks: int = 3) -> None:
    """Ticks and the name of an axis of time."""
    if steps.dtype.kind == "M":
        locator = AutoDateLocator(minticks=2, maxticks=ticks + 1)
        ax.xaxis.set(major_locator=locator, major_formatter=ConciseDateFormatter(locator))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(ticks, integer=steps.dtype.kind in "iu"))
    ax.set_xlabel(pages.wrap(name), fontsize=8, loc="left")  # The date stands at the right.


def draw_frames(clips: Tensor, names: Sequence[str], steps: np.ndarray, alt: str) -> pages.Picture:
    """Clips (N, T, C, H, W) below each other, as a picture. steps: the numbers of the frames."""
    figure, ax = pages.new_figure(0.5 * clips.shape[1] + 1.2, 0.5 * len(clips) + 0.5)
    plots.grid(clips, list(map(pages.wrap, names)), ax, "frame")
    ax.set_xticks(ax.get_xticks(), (steps + 1).tolist())
    return pages.draw(figure, alt)


def film(columns: Mapping[str, Tensor], alt: str) -> pages.Picture:
    """Clips (N, T, C, H, W) of several columns with titles, as frames that follow each other."""
    clips = torch.stack(list(columns.values()), 1).flatten(0, 1)[:, :LONGEST_FILM]  # row by row
    scale, how = float(max(1, TILE // clips.shape[-1])), Image.Resampling.NEAREST
    if clips.shape[-1] > TILE:
        scale, how = TILE / clips.shape[-1], Image.Resampling.BOX
    pictures = []
    for frames in clips.unbind(1):
        pixels = (255 * plots.picture(frames, len(clips) // len(columns))).astype("uint8")
        image = Image.fromarray(pixels)
        image = image.resize((int(scale * image.width), int(scale * image.height)), how)
        pictures.append(np.asarray(films.write_above(image, list(columns))))
    return pages.embed(Image.fromarray(np.concatenate(pictures)), alt, frames=len(pictures))
