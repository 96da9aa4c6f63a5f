"""What replaying updates as CUDA graphs gives on a GPU, and whether it changes what is computed.

    python -m docs.trials.replayed_updates

For four runs, the milliseconds of an update as `fit` makes it and with replay (frames drawn on the
device as well), each the median of 39 updates after 21; and the bounds of the first and of the
tenth update of both, from the same weights, data and noise. Needs a CUDA GPU; half a minute. Writes
results/trials/replayed_updates.json.
"""

from __future__ import annotations

import torch

from papers import report, runs
from papers.settings import load as load_settings

RUNS = {  # the section, its profile and its precision
    "A full": ("independent.bounce.factored.long", "full", "bf16-mixed"),
    "C full": ("single_element.sprites", "full", "bf16-mixed"),
    "C at the authors' widths": ("single_element.sprites.released", "quick", "32-true"),
    "B at the paper's widths": (
        "unordered.sprites_poses.paper_small.paper_width",
        "quick",
        "bf16-mixed",
    ),
}
UPDATES = 60


def train(section: str, profile: str, precision: str, replay: bool) -> list[dict]:
    """The curve of a short run, a row for each update."""
    settings = load_settings(section, profile, steps=UPDATES)
    sampler = runs.make_sampler(settings)
    draw = sampler.frames_on(torch.device("cuda")) if replay else sampler
    machine = runs.Machine("cuda", replay=replay)
    told = (settings, 0, None, precision)
    return runs.train_model(runs.build(settings, 0), draw, *told, every=1, machine=machine)


def measure_run(section: str, profile: str, precision: str) -> dict[str, float]:
    """Milliseconds of an update and two bounds, without and with replay."""
    figures = {}
    for name, replay in (("plain", False), ("replayed", True)):
        rows = train(section, profile, precision, replay)
        seconds = torch.tensor([row["seconds"] for row in rows])
        figures[f"{name}_milliseconds"] = 1000 * float(seconds.diff()[20:].median())
        for number in (1, 10):
            figures[f"{name}_bound_{number}"] = rows[number - 1]["elbo_per_frame"]
    return figures


def main() -> None:
    """Measure, print and write."""
    figures = {}
    for name, run in RUNS.items():
        figures[name] = measure_run(*run)
        print(name, figures[name], flush=True)
    settings = {"device": torch.cuda.get_device_name(), "updates": UPDATES, "runs": RUNS}
    command = "python -m docs.trials.replayed_updates"
    report.write_trial("replayed_updates", command, settings, [0], figures)


if __name__ == "__main__":
    main()
