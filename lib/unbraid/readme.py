"""The README's tables: which figures of results/ they show, written from there and kept equal to it."""

from __future__ import annotations

import re
from pathlib import Path

from unbraid import results

_NATS, _DIGITS, _WORN = (
    {"elbo_per_frame": "ELBO (nats a frame)"},
    {"elbo_per_frame": 1},
    ("skin", "trousers", "top", "hair"),
)


def _beside(name: str, shown: str, linear: str) -> dict[str, str]:
    """A figure, what a constant reaches, and a linear model on raw means."""
    return {name: shown, f"{name}_trivial": "constant", f"{name}_{linear}": "linear"}


README_TABLES = {  # columns, and digits where not two, by the block of the README; its first word is the folder in results/
    "independent/moving_digits/quick": (
        {
            **_NATS,
            "mi_same_bits": "same factor (bits)",
            "mi_cross_bits": "cross (bits)",
            "cross_to_same": "cross / same",
            "own_digit_bits": "own digit (bits)",
            "other_digit_bits": "other digit (bits)",
        },
        _DIGITS,
    ),
    "unordered/sprites_poses/quick": (
        {
            **_NATS,
            "pose_transfer_both_top1": "pose transfer",
            **{f"transfer_{name}": f"{name} follows f" for name in _WORN},
            "grid_coherence": "grid coherence",
        },
        _DIGITS,
    ),
    "unordered/sprites_poses/quick codes": (
        {
            **{f"static_accuracy_{name}": f"{name} off f" for name in _WORN},
            "dynamic_accuracy_skin": "skin off z",
            "dynamic_accuracy_skin_drawn": "skin off z, drawn",
            "dynamic_accuracy_pose": "pose off z",
        },
        {},
    ),
    "unordered/digits/quick": (
        {
            **_NATS,
            "static_probe_digit": "digit off f",
            "dynamic_probe_digit": "digit off z",
            "dynamic_probe_position": "position off z",
            "static_probe_position": "position off f",
            "static_probe_position_seen": "off f, of a frame it saw",
        },
        _DIGITS,
    ),
    "unordered/faces/quick": (
        {
            **_NATS,
            "static_person_1nn": "person, nearest f",
            "pixels_person_1nn": "person, nearest picture",
            "dynamic_probe_person": "person off z",
            "static_probe_pose": "pose off f",
            "dynamic_probe_pose": "pose off z",
        },
        _DIGITS,
    ),
    "single_element/sprites/quick": (
        {
            **_NATS,
            "swap_action": "action follows d",
            **{f"swap_{name}": f"{name} follows s" for name in _WORN},
            "inception_score": "inception score",
        },
        _DIGITS,
    ),
    "single_element/sprites/quick codes": (
        {
            **{f"static_probe_{name}": f"{name} off s" for name in ("skin", "trousers")},
            "static_probe_motion_direction": "direction off s",
            "dynamic_probe_action": "action off d",
            **{f"dynamic_probe_{name}": f"{name} off d" for name in ("skin", "top", "hair")},
        },
        {},
    ),
    "single_element/spoken_digits/quick": (
        {
            "eer_static": "error, static",
            "eer_dynamic": "error, dynamic",
            "eer_gap": "gap",
            "eer_mean_spectrum": "error, mean spectrum",
        },
        {},
    ),
    "single_element/weather/quick": (
        _beside("station_accuracy", "station", "logistic")
        | _beside("season_accuracy", "season", "logistic"),
        {},
    ),
    "single_element/air_quality/quick": (
        _beside("month_accuracy", "month", "logistic")
        | _beside("rain_auprc", "rain, AUPRC", "logistic"),
        {},
    ),
    "single_element/physionet/quick": (
        _beside("mortality_auprc", "death, AUPRC", "logistic")
        | _beside("icu_accuracy", "ward", "logistic"),
        {},
    ),
    "single_element/etth1/quick": (
        {
            **_beside("oil_temperature_mae", "°C off", "ridge"),
            "oil_temperature_mae_paper": "°C off, papers' protocol",
            **_beside("oil_temperature_mae_interleaved", "°C off, all seasons", "ridge"),
        },
        {},
    ),
}


def shown(part: str) -> list[str]:
    """The figures of a part that the README's tables show."""
    return list(
        dict.fromkeys(
            name
            for block, (columns, _) in README_TABLES.items()
            if block.startswith(f"{part}/")
            for name in columns
        )
    )


def render(check: bool = False) -> bool:
    """Write the README's tables from results/, or with check=True only say whether they are up to date.

    A table without a metrics.json, of a run that was not made yet, is passed over. Raises `ResultsError` where there is one and
    the README has no block for it.
    """
    root = results.shipped().parent
    text = old = (root / "README.md").read_text(encoding="utf-8")
    for block, (columns, digits) in README_TABLES.items():
        if (path := root / "results" / block.split()[0] / "metrics.json").exists():
            text = replace_block(
                text, block, results.metrics_table(results.read_json(path), columns, digits, path)
            )
    if not check and text != old:
        results.write_atomically(root / "README.md", text.encode())
    return text == old


def replace_block(text: str, name: str, content: str) -> str:
    """`text` with what stands between the comments <!-- name --> and <!-- /name --> replaced by `content`."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(\n<!-- /{re.escape(name)} -->)", re.S)
    if not pattern.search(text):
        raise results.ResultsError(
            f"README: expected a block <!-- {name} --> … <!-- /{name} -->, found none; put both where its table shall stand"
        )
    return pattern.sub(lambda match: match[1] + content + match[2], text)


def verify(folder: Path) -> list[str]:
    """Faults of a results folder, as `results.verify` finds them; of the shipped one the README's tables too."""
    return results.verify(folder) + (
        faults() if folder.resolve() == results.shipped().resolve() else []
    )


def faults() -> list[str]:
    """What is wrong with the README's tables."""
    try:
        right = render(check=True)
    except (
        results.ResultsError
    ) as error:  # no block for a table, a metrics.json without its figures
        return [str(error)]
    return (
        []
        if right
        else [
            "README.md: expected the tables of results/, found others; run: python -m unbraid evaluate --write"
        ]
    )
