"""The data sets that runs read, by the names that the tables of runs give them, and draws of them.

To add a set, write a loader (a function of the split that returns `Sequences`) and its row here. A
set that is read from files also needs a section in unbraid/data/sources.toml.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from unbraid.checks import check_name
from unbraid.data import (
    air_quality,
    etth1,
    faces,
    intensive_care,
    speech,
    sprites,
    street,
    weather,
)
from unbraid.data.fetch import SOURCES, SOURCES_OF, DataError, files, locate
from unbraid.data.moving_digits import load_digits
from unbraid.data.sampling import FrameSampler, SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES

from papers import licensed_sets
from papers.selections import PATH_LENGTH, DigitPaths, withhold
from papers.settings import RunSettings, at_smoke


def load_spoken_digits(split: str = "train", scaled: bool = False) -> Sequences:
    """Free Spoken Digit Dataset at equal levels in chunks of 200 ms: (N, 20, 101).

    split, labels: as in `speech.utterances` and `speech.cut`. scaled: on the `SpectrumScale` of
    the training chunks, as the models read them, instead of magnitudes.
    """
    chunks = speech.cut(speech.utterances(split))
    if not scaled:
        return chunks
    train = chunks if split == "train" else load_spoken_digits("train")
    return speech.SpectrumScale.fit(train).transform(chunks)


# Of sprites, whose clips probes learn from, and all is measured on; at smoke and else.
CHARACTERS = {"train": (60, 333), "test": (24, 296)}
LOADERS: dict[str, Callable[..., Sequences]] = {
    "sprites": sprites.load,
    "sprites_poses": sprites.load_poses,
    "faces": faces.load,
    "street": street.load,
    "spoken_digits": load_spoken_digits,
    "weather": weather.load,
    "air_quality": air_quality.load,
    "etth1": etth1.load,
    "physionet": intensive_care.load,
    "mug": licensed_sets.load_mug,
    "timit": licensed_sets.load_timit,
}


def load(name: str, split: str = "train", **options: object) -> Sequences:
    """The sequences of a split; options: the loader's. Raises `ValueError` or `DataError`."""
    check_name("name", name, LOADERS)
    return LOADERS[name](split, **options)


def list_options(name: str) -> list[str]:
    """The options of a dataset's loader, beside the split."""
    check_name("name", name, LOADERS)
    return list(inspect.signature(LOADERS[name]).parameters)[1:]


def load_sequences(name: str, split: str, settings: RunSettings) -> Sequences:
    """A dataset as models of these settings read it: images of their size, spectra scaled."""
    options = vars(settings) | settings.options
    if settings.split_by:
        options["by"] = settings.split_by
    return load(name, split, **{key: options[key] for key in list_options(name) if key in options})


def load_split(settings: RunSettings, split: str, seed: int) -> Sequences:
    """All sequences of a split, as the model reads them; the seed draws nothing here."""
    return load_sequences(settings.dataset, split, settings)


def load_clips(settings: RunSettings, split: str, seed: int) -> Sequences:
    """The clips of a split; of sprites those of some characters, one character after the other."""
    clips = load_sequences(settings.dataset, split, settings)
    if settings.dataset != "sprites":
        return clips
    character = clips.labels["character"]
    people = len(character.unique())
    order = character.argsort(stable=True).view(people, -1)  # each in all motions
    chosen = torch.randperm(people, generator=torch.Generator().manual_seed(0))
    chosen = chosen[: at_smoke(settings, *CHARACTERS[split])]
    return clips.subset(order[chosen.sort().values].flatten())


def sources_of(name: str) -> tuple[str, ...]:
    """The names in sources.toml of a dataset's files, the preferred ones first; none of others."""
    return tuple(SOURCES_OF.get(name, ()))


def find_absent(names: Iterable[str]) -> dict[str, DataError]:
    """The datasets whose files are not here, each with the error that says how to get them."""
    absent = {}
    for name in names:
        sources = sources_of(name)
        try:
            if name in licensed_sets.OWN:
                licensed_sets.own_folder(name)
            elif sources and not any(map(locate, sources)):
                files(sources[0])  # It raises the error.
        except DataError as error:
            absent[name] = error
    return absent


# ---- what runs draw


@dataclass(frozen=True)
class Sampler:
    """An endless supply of sequences to train or to measure on."""

    draw: Callable[[int, torch.Generator], Sequences]  # `count` of them, frames as floats
    provenance: str  # a sentence on the data really used
    sources: tuple[str, ...]  # the names of the files behind them

    def __call__(self, count: int, generator: torch.Generator) -> Sequences:
        return self.draw(count, generator)

    def to(self, device: str) -> "Sampler":
        """The same draws, whose frames are made where a model is trained."""
        return replace(self, draw=self.draw.to(device))  # type: ignore[attr-defined]

    @property
    def digests(self) -> dict[str, str]:
        """One SHA-256 for all files of each source, by which a record says what a run has read."""
        return {name: SOURCES[name].fingerprint for name in self.sources}


def make_sampler(settings: RunSettings, split: str = "train") -> Sampler:
    """What runs of these settings learn from ("train") or are measured on ("test")."""
    check_name("sampler", settings.sampler, SAMPLERS)
    if split == "train":
        split = settings.training_split
    return SAMPLERS[settings.sampler](settings, split)


def sample_digits(settings: RunSettings, split: str) -> Sampler:
    """Moving digits as paper A reads them."""
    digits, law = load_digits(split), (settings.motion, tuple(settings.speeds))
    draw = DigitPaths(digits, settings.image_size, settings.length, *law)
    return Sampler(draw, draw.provenance, (digits.source,))


def sample_unordered_digits(settings: RunSettings, split: str) -> Sampler:
    """Moving digits without their order, as paper B reads them; grey with one channel."""
    draw = make_paths(settings, split, kept=settings.frames_drawn or settings.length)
    return Sampler(draw, draw.provenance, (draw.digits.source,))


def make_paths(settings: RunSettings, split: str, kept: int | None = None) -> DigitPaths:
    """Moving digits in grey with one channel; `kept` of their frames remain, by default all."""
    digits, is_grey = load_digits(split), settings.channels == 1
    return DigitPaths(digits, settings.image_size, PATH_LENGTH, grey=is_grey, kept=kept)


def sample_frames(settings: RunSettings, split: str) -> Sampler:
    """Some frames of each sequence, without their order, as paper B reads them."""
    data, length = load_frames(settings, split), settings.frames_drawn or settings.length
    if split == "test":  # Test sequences may have fewer frames.
        length = min(length, shortest_length(data))
    sentence = f"{length} frames at a time of {data.provenance}"
    return Sampler(FrameSampler(data, length), sentence, sources_of(settings.dataset))


def shortest_length(sequences: Sequences) -> int:
    """How many frames the shortest sequence has."""
    return int(sequences.observed.sum(1).min())


def load_frames(settings: RunSettings, split: str) -> Sequences:
    """What `sample_frames` draws from; in training one action is withheld of a share of them."""
    sequences = load_sequences(settings.dataset, split, settings)
    if settings.withheld and split == "train":
        share = f"one action withheld of {100 * settings.withheld:g} % of them"
        sequences = withhold(sequences, "action", settings.withheld, seed=0)
        return replace(sequences, provenance=f"{sequences.provenance}, {share}")
    return sequences


def sample_characters(settings: RunSettings, split: str) -> Sampler:
    """Some frames of all clips of a character, without their order: all they share is its looks."""
    clips = load_sequences(settings.dataset, split, settings)
    order = clips.labels["character"].argsort(stable=True)
    rows = order.unflatten(0, (len(clips.labels["character"].unique()), -1))  # (M, clips of each)
    labels = {name: clips.labels[name][rows[:, 0]] for name in ATTRIBUTES}
    data = Sequences(clips.frames[rows].flatten(1, 2), labels, static=ATTRIBUTES, split=split)
    sentence = f"{settings.length} frames at a time of all {rows.shape[1]} clips of a character; "
    draw = FrameSampler(data, settings.length)
    return Sampler(draw, sentence + clips.provenance, sources_of(settings.dataset))


def sample_sequences(settings: RunSettings, split: str) -> Sampler:
    """Whole sequences, as paper C reads them."""
    data = load_sequences(settings.dataset, split, settings)
    return Sampler(SequenceSampler(data), data.provenance, sources_of(settings.dataset))


SAMPLERS: dict[str, Callable[[RunSettings, str], Sampler]] = {
    "moving_digits": sample_digits,
    "unordered_digits": sample_unordered_digits,
    "frames": sample_frames,
    "characters": sample_characters,
    "sequences": sample_sequences,
}
