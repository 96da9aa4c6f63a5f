"""The live page: models that run in the reader's browser, in one file that needs no network."""

from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from unbraid import records
from unbraid.data import sprites
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.models.base import Codes
from unbraid.models.single_element import SingleElement
from unbraid.variants import GatedPrediction

SPRITES = "single_element/sprites/full/published-seed0"
TWIN = "single_element/sprites/full/released_small-seed0"  # in which s tells who faces us
DIGITS = "independent/circle/quick/long-seed0"  # that of notebook 00, and of 13's last section
LAW: dict[str, Any] = {
    "motion": "circle",
    "speeds": (0.5, -0.9),
}  # radians per frame, as in notebook 13
CLIPS, DIGIT_CLIPS = 24, 6  # clips to choose from
OPENS = (2, 9)  # what a visitor sees first: one faces us, the other does not; their looks differ
SEEN = 8  # frames of digits that the model reads before it predicts
RANK = 64  # directions of d that are kept
BLOCK = 16  # weights that share a scale; of a 4 x 4 kernel, all
FINE = 700_000  # tensors with at most so many weights are kept in half precision
LABELS = (*sprites.ATTRIBUTES, "action", "direction")  # that describe a clip
VERBS = {"walk": "walking", "spellcard": "casting a spell", "slash": "swinging an arm"}
SETTINGS = (-3.0, -1.5, 1.5, 3.0)  # of a unit of s, which is about N(0, 1)
SIDES = {"front": "facing us", "left": "facing left", "right": "facing right"}


class ReducedDecoder(nn.Module):
    """Paper C's decoder of the live units of s and of `rank` directions of d.

    Its first layer is linear in s and d, and each of its weights (512, 4, 4) belongs to one input.
    So what the layer makes of d is projected on the directions in which it varies most, over films
    that the prior of d draws: no clip is needed. Units of s that the decoder ignores are left out.
    """

    def __init__(self, model: SingleElement, rank: int = RANK, films: int = 500):
        super().__init__()
        _, first, *layers = cast(nn.Sequential, model.codec.decoder)
        assert isinstance(first, nn.ConvTranspose2d) and first.bias is not None
        self.shape = first.weight.shape[1:]  # (512, 4, 4)
        size = model.dynamic_size
        of_d, of_s = first.weight.flatten(1).split([size, model.static_size])  # (units, 8192)
        strength = of_s.norm(dim=1)
        self.live = (strength > 0.1 * strength.max()).nonzero()[:, 0].tolist()

        drawn = model.generate(films, SEEN, torch.Generator().manual_seed(0))["dynamic"]
        self.mean = drawn.mean((0, 1))
        values, vectors = torch.linalg.eigh(torch.cov(drawn.flatten(0, 1).T))
        spread = (vectors * values.clamp(min=0).sqrt()).T  # (256, 256): rows with their lengths
        directions = torch.linalg.svd(spread @ of_d, full_matrices=False)[2][:rank]  # (rank, 8192)
        self.projection = of_d @ directions.T  # (256, rank)

        bias = self.mean @ of_d + first.bias.repeat_interleave(self.shape[1:].numel())
        self.weight = nn.Parameter(torch.cat([of_s[self.live], directions]))
        self.bias = nn.Parameter(bias)
        self.rest = nn.Sequential(*layers)

    def reduce(self, codes: Codes) -> Tensor:
        """Of codes s (B, D) and d (B, T, d) what this decoder reads, (B, T, live + rank)."""
        d = (codes["dynamic"] - self.mean) @ self.projection
        s = codes["static"][:, None, self.live].expand(-1, d.shape[1], -1)
        return torch.cat([s, d], -1)

    def forward(self, codes: Tensor) -> Tensor:
        """Frames (N, 3, 64, 64) of reduced codes (N, live + rank)."""
        hidden = codes @ self.weight + self.bias
        return self.rest(hidden.unflatten(1, self.shape))


class DynamicPrior(nn.Module):
    """Draws of d from the model's own prior, as the reduced decoder reads them."""

    mean: Tensor  # (d,)
    projection: Tensor  # (d, rank)

    def __init__(self, model: SingleElement, decoder: ReducedDecoder):
        super().__init__()
        self.prior = model.prior
        self.register_buffer("mean", decoder.mean)
        self.register_buffer("projection", decoder.projection)

    def forward(self, noise: Tensor) -> Tensor:
        """Directions of d, (8, rank), of standard normal noise (1, 8, d)."""
        return ((self.prior.roll(noise)[0] - self.mean) @ self.projection).contiguous()


class DigitStep(nn.Module):
    """The picture of two factors, and what each factor predicts of itself."""

    def __init__(self, model: GatedPrediction):
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The picture (1, 3, 32, 32) of latents (1, K d), and the next latents' mean."""
        return self.model.decoder(latents), self.model.filter.predict(latents)[0]


def export(module: nn.Module, inputs: Tensor, names: list[str], is_free: bool = False) -> bytes:
    """A network as ONNX with small weights; `names`: of the outputs. Its input is "input".

    is_free: whether it takes any number of rows, and not that of `inputs` alone.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # no torchvision: none is needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (inputs,),
            dynamo=True,
            opset_version=21,  # the first with weights in blocks
            input_names=["input"],
            output_names=names,
            dynamic_shapes=({0: "rows"},) if is_free else None,
            verbose=False,
        )
    return shrink(cast(Any, program).model_proto).SerializeToString()


def shrink(model: Any) -> Any:
    """The ONNX model with 8 bits per weight and one scale per block, or with half precision."""
    import onnx
    from onnx import helper, numpy_helper

    graph, nodes, kept = model.graph, [], []

    def keep(array: np.ndarray, name: str) -> str:
        kept.append(numpy_helper.from_array(array, name))
        return name

    def add(kind: str, inputs: list[str], output: str, **options: int) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    for tensor in graph.initializer:
        values, name = numpy_helper.to_array(tensor), tensor.name
        if values.dtype != "float32" or values.size < 1024:
            kept.append(tensor)
        elif values.size <= FINE or values.size % BLOCK:
            half = keep(values.astype("float16"), f"{name}.half")
            add("Cast", [half], name, to=onnx.TensorProto.FLOAT)
        else:
            whole, scale = quantise(values)
            half = keep(scale, f"{name}.scale")
            single = add("Cast", [half], f"{half}.float", to=onnx.TensorProto.FLOAT)
            inputs = [keep(whole, f"{name}.whole"), single]
            flat = add("DequantizeLinear", inputs, f"{name}.flat", axis=1, block_size=BLOCK)
            shape = torch.tensor(values.shape).numpy()
            add("Reshape", [flat, keep(shape, f"{name}.shape")], name)
    nodes += list(graph.node)
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers (blocks, 16) of 8 bits and scales (blocks, 1) whose product is near values."""
    blocks = values.reshape(-1, BLOCK)
    scale = (abs(blocks).max(1, keepdims=True) / 127).clip(1e-7).astype("float16")
    whole = (blocks / scale.astype("float32")).round().clip(-127, 127).astype("int8")
    return whole, scale


def choose_clips() -> sprites.Sequences:
    """Test clips of so many characters, each in its nine motions; they are in the order of hair."""
    clips = sprites.load("test", image_size=64)
    order = torch.randperm(len(clips) // 9, generator=torch.Generator().manual_seed(3))
    looks = [clips.labels[name] for name in ("hair", "top", "skin")]
    chosen = sorted(order[:CLIPS].tolist(), key=lambda n: [int(look[9 * n]) for look in looks])
    return clips.subset((torch.tensor(chosen)[:, None] * 9 + torch.arange(9)).flatten())


def describe(clips: sprites.Sequences) -> list[dict[str, str]]:
    """Who and how each clip shows, in words."""
    said = []
    for n in range(len(clips)):
        names = {name: clips.classes[name][clips.labels[name][n]] for name in LABELS}
        who = "{hair} hair, {skin} skin, in {top} and {trousers} trousers".format(**names)
        said.append({"who": who, "how": f"{VERBS[names['action']]}, {SIDES[names['direction']]}"})
    return said


def measure_units(decoder: ReducedDecoder, s: Tensor, d: Tensor, pose: int) -> list[dict]:
    """For each unit of s, in what share of its settings each attribute is another one.

    s: (characters, live); d: (rank,) of one frame in a pose. Each unit is set to four values; of
    what is then painted, the attributes are those of the nearest of all characters in this pose.
    """
    numbers = np.arange(6 ** len(sprites.ATTRIBUTES))
    cell = np.array([sprites.POSES[pose].cell])
    drawn = torch.from_numpy(np.stack(list(sprites.draw_cells(numbers, cell, 64))))
    drawn = drawn.flatten(1).float() / 255
    clothes = np.stack(np.unravel_index(numbers, (6,) * len(sprites.ATTRIBUTES)), 1)

    def read(s: Tensor) -> np.ndarray:
        painted = decoder(torch.cat([s, d.expand(len(s), -1)], 1)).flatten(1)
        return clothes[((drawn**2).sum(1) - 2 * painted @ drawn.T).argmin(1)]

    own, shares = read(s), []
    for unit in range(s.shape[1]):
        settings = s.repeat(len(SETTINGS), 1)
        settings[:, unit] = torch.tensor(SETTINGS).repeat_interleave(len(s))
        changed = (read(settings) != np.tile(own, (len(SETTINGS), 1))).mean(0)
        shares.append(dict(zip(sprites.ATTRIBUTES, changed.tolist(), strict=True)))
    return shares


def name_unit(shares: dict[str, float]) -> str:
    """What a unit changes most, and what it changes at least half as often, with the shares."""
    most = max(shares.values())
    if most < 0.05:
        return "hardly anything"
    named = sorted((share, name) for name, share in shares.items() if share >= most / 2)
    return ", ".join(f"{name} {share:.0%}" for share, name in reversed(named))


def draw_atlas(frames: Tensor) -> str:
    """Clips (N, 8, 3, 64, 64), bytes, as one picture: a row for each clip."""
    rows = frames.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)  # (N 64, 8 64, 3)
    png = io.BytesIO()
    Image.fromarray(rows.numpy()).quantize(256).save(png, "PNG", optimize=True)
    return base64.b64encode(png.getvalue()).decode()


def pack(content: bytes) -> str:
    """Compressed bytes as text."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


@torch.no_grad()
def build(to: Path, npm: Path) -> Path:
    """Write `live.html` into the folder `to`; `npm`: the one of onnxruntime-web."""
    model = SingleElement.load(records.weights(SPRITES)).eval()
    twin = SingleElement.load(records.weights(TWIN)).eval()
    decoders = ReducedDecoder(model).eval(), ReducedDecoder(twin, twin.dynamic_size).eval()
    clips = choose_clips()
    rows = [9 * n + 4 * n % 9 for n in range(CLIPS)]  # all nine motions, in turn
    frames = clips.subset(torch.tensor(rows)).as_float().frames
    codes = [
        decoder.reduce(each.encode(frames))
        for each, decoder in zip((model, twin), decoders, strict=True)
    ]  # (24, 8, live + rank)
    live = len(decoders[0].live)
    pose = int(clips.labels["pose"][rows[0], 0])
    of_s, of_d = codes[0][::2, 0, :live], codes[0][0, 0, live:]
    units = measure_units(decoders[0], of_s, of_d, pose)

    digit_model = GatedPrediction.load(records.weights(DIGITS)).eval()
    film = MovingDigits(load_digits("test"), 32, SEEN, **LAW)
    digits = film(DIGIT_CLIPS, torch.Generator().manual_seed(1088))
    latents = digit_model.to_latents(digit_model.encode(digits.frames))[:, -1]  # (6, K d)

    numbers = torch.cat([x.flatten() for x in (*codes, latents)]).numpy().astype("<f4")
    noise = torch.zeros(1, SEEN, model.dynamic_size)
    dist = Path(npm) / "onnxruntime-web" / "dist"
    models = {
        "DECODER": pack(export(decoders[0], codes[0][0], ["film"], is_free=True)),
        "TWIN": pack(export(decoders[1], codes[1][0], ["film"], is_free=True)),
        "PRIOR": pack(export(DynamicPrior(model, decoders[0]), noise, ["directions"])),
        "DIGITS": pack(export(DigitStep(digit_model), latents[:1], ["picture", "next"])),
    }
    engine = {
        "WASM": pack((dist / "ort-wasm-simd-threaded.wasm").read_bytes()),
        "MODULE": (dist / "ort-wasm-simd-threaded.mjs").read_text(encoding="utf-8"),
        "ENGINE": (dist / "ort.wasm.min.js").read_text(encoding="utf-8"),
    }
    facts = {
        "live": {"decoder": live, "twin": len(decoders[1].live)},
        "rank": {"decoder": RANK, "twin": twin.dynamic_size},
        "units": [name_unit(unit) for unit in units],
        "rows": rows,
        "clips": describe(clips),
        "opens": OPENS,
        "digits": torch.stack([digits.labels[name] for name in digits.static], 1).tolist(),
        "letters": sum(map(len, (*models.values(), *engine.values()))),
    }
    metrics = records.read_metrics("single_element/sprites/full")
    parts = (
        {
            "FACTS": json.dumps(facts),
            "ATLAS": draw_atlas(clips.frames),
            "CODES": pack(numbers.tobytes()),
            "RIGHT": f"{metrics['published']['swap_nearest']:.2%}",
            "LOST": f"{1 - metrics['released_small']['swap_differing_motion_direction']:.0%}",
        }
        | models
        | engine
    )
    source = Path(__file__).parent / "live_page"
    parts |= {p.name: p.read_text(encoding="utf-8") for p in source.glob("*.*s")}
    page = (source / "page.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text)
    path = Path(to) / "live.html"
    path.write_text(page, encoding="utf-8")
    return path
