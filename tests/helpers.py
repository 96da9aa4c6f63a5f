"""What several test files share: seeds, closeness of doubles, and one small model of each kind."""

import ast
import json
import math
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from form import for_all
from unbraid.models.base import Batch
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames
from unbraid.variants import (
    AblatedElement,
    CanvasPrediction,
    PaintedFrames,
    PublishedSeries,
    PublishedSpeech,
    SpeechElement,
)

from papers.a.variants import GatedPrediction
from papers.c.variants import ReleasedElement

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9]*.ipynb"))
each_notebook = for_all(NOTEBOOKS)  # one test of all
DOUBLE = {"dtype": torch.float64}


def parse_code(path):
    """The syntax tree of all code cells of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return ast.parse("\n".join(sources))


def count_parameters(module):
    """Number of trainable values."""
    return sum(values.numel() for values in module.parameters() if values.requires_grad)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def close(actual, expected):
    """Equal but for the order of sums: 1e-10 is far above the rounding of doubles."""
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def flip_bytes(source, target, count, seed):
    """A copy of a file of tensors with one bit changed in each of `count` bytes of their values."""
    content = np.frombuffer(source.read_bytes(), np.uint8).copy()
    first = 8 + int(content[:8].view("<u8")[0])  # after the length of the header, and the header
    places = np.random.default_rng(seed).choice(np.arange(first, len(content)), count, False)
    content[places] ^= 1 << seed
    target.write_bytes(content.tobytes())
    return target


def within(draws, value, errors=5):
    """Whether the mean of draws (N, ...) is within so many standard errors of `value`."""
    error = draws.std(0) / math.sqrt(len(draws))
    return bool(((draws.mean(0) - value).abs() <= errors * error).all())


SIZES = tomllib.loads(Path(__file__).with_name("sizes.toml").read_text())
FACTORS, FRAMES_ALONE, ELEMENT = SIZES["factors"], SIZES["frames_alone"], SIZES["element"]
SERIES = ELEMENT | SIZES["series"]
FROM_ALL = {"static_from": "all"}
MODELS = {  # by name: the class and its sizes
    "independent": (IndependentPrediction, FACTORS),
    "independent, entangled": (IndependentPrediction, FACTORS | {"factors": 1, "factor_size": 6}),
    "independent, paper's activation": (IndependentPrediction, FACTORS | {"activation": "paper"}),
    "canvases": (CanvasPrediction, FACTORS | {"width": 6}),
    "gated": (GatedPrediction, FACTORS | {"decoder_hidden": 12}),
    "unordered": (UnorderedFrames, FRAMES_ALONE),
    "unordered, no pairs": (UnorderedFrames, FRAMES_ALONE | {"pairs": False}),
    "unordered, plain prior": (UnorderedFrames, FRAMES_ALONE | {"prior_given_static": False}),
    "painted": (PaintedFrames, FRAMES_ALONE | SIZES["palette"]),
    "element": (SingleElement, ELEMENT),
    "element, middle": (SingleElement, ELEMENT | {"anchor": "middle"}),
    "released element": (ReleasedElement, ELEMENT | {"anchor_alone": True}),
    "speech element": (SpeechElement, ELEMENT),
    "speech element, series": (SpeechElement, SERIES),
    "element, plain networks": (SingleElement, ELEMENT | {"normalise": False, "variance": 0.1}),
    "element, series": (SingleElement, SERIES),
    "not subtracted": (AblatedElement, ELEMENT | {"subtract": False}),
    "static from all": (AblatedElement, ELEMENT | FROM_ALL),
    "static from all, not subtracted": (AblatedElement, ELEMENT | FROM_ALL | {"subtract": False}),
    "released series": (PublishedSeries, SIZES["released_series"]),
    "released series, last": (PublishedSeries, SIZES["released_series"] | {"anchor": "last"}),
    "released speech": (PublishedSpeech, SIZES["released_speech"]),
}


def small(name, **changes):
    """One of MODELS in doubles, in evaluation mode, whose every layer has been started anew.

    Some layers begin at zero, where gradients of others vanish; a little noise takes them away.
    """
    kind, sizes = MODELS[name]
    torch.manual_seed(0)
    model = kind(**sizes | changes).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=seeded(weight.numel()), **DOUBLE)
    return model


def is_of_images(model):
    return len(model.frame_shape) == 3


def example_frames(model, count=3, length=10):
    """Frames that a model reads: images in [0, 1] of 5 steps, or series of `length` steps."""
    shape = model.frame_shape
    if is_of_images(model):
        frames = torch.rand(count * 5, shape[0], 8, 8, generator=seeded(5), **DOUBLE)
        return F.interpolate(frames, shape[1:]).unflatten(0, (count, 5))
    return torch.randn(count, length, *shape, generator=seeded(6), **DOUBLE)


def example_noise(model, seed=1):
    """The noise of one draw of the codes of `example_frames`."""
    code = model.encode(example_frames(model))[model.code_names[-1]]  # (B, T, d)
    return model.draw_noise(*code.shape[:2], seeded(seed))


def reads_masks(model):
    return isinstance(model, (SingleElement, PublishedSeries))


def hide(frames):
    """A batch whose second sequence ends four steps before the others."""
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    mask[1, -4:] = False
    return Batch(frames, mask)
