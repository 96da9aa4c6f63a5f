"""Street: the decoder against a drawn clip, chunks, and splits that share no moment."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from unbraid.data import fetch
from unbraid.data.street import load, read_video

pytestmark = pytest.mark.usefixtures("data_of_the_clone")


def test_all_frames_come_in_order_and_squeezed(tmp_path):
    """Frame k is k x 8 bright, and its right half 100 brighter."""
    frames = np.zeros((12, 48, 64, 3), np.uint8)
    frames += (8 * np.arange(12, dtype=np.uint8))[:, None, None, None]
    frames[:, :, 32:] += 100
    path = tmp_path / "clip.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", "64x48", "-r", "10", "-i", "-", "-c:v", "libx264"]
    command += ["-q:v", "2", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True, timeout=60)
    decoded = read_video(path, 16)
    assert decoded.shape == (12, 3, 16, 16)
    left, right = decoded[..., :7].mean((1, 2, 3)), decoded[..., 9:].mean((1, 2, 3))
    assert np.abs(left - 8 * np.arange(12)).max() < 5
    assert np.abs(right - 100 - 8 * np.arange(12)).max() < 5


@pytest.mark.parametrize("by", ("chunk", "time"))
def test_chunks_of_the_clip_in_the_clone(by):
    """377 frames of 12.5 per second: 12 spans of five strides of six frames, two for the test."""
    train, test = (load(split, by=by, image_size=16) for split in ("train", "test"))
    spans = 10 - (by == "time")  # One between the two is left out.
    assert train.frames.shape == (6 * spans, 5, 3, 16, 16) and len(test) == 12
    assert (train.labels["time"].diff(dim=1) - 6 / 12.5).abs().max() < 1e-5
    film = torch.from_numpy(read_video(fetch.locate("street")["car-detection.mp4"], 16))
    seen, asked = ((part.labels["time"] * 12.5).round().long() for part in (train, test))
    assert torch.equal(test.frames, film[asked]) and not torch.isin(seen, asked).any()
    assert by == "chunk" or int(seen.max()) + 30 < int(asked.min())
