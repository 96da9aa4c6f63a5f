"""What 40 shows gives the numbers of papers' own classes."""

import pytest
import torch
from helpers import seeded

from papers.benchmark import averages, sequence_vae
from papers.evaluation import benchmark

pytestmark = pytest.mark.usefixtures("without_gradients")

FRAMES = torch.rand(3, 8, 3, 32, 32, generator=seeded(1))
CLASSES = {
    "SequenceVAE": (sequence_vae.SequenceVAE, {"hidden": 32}),
    "FrameVAE": (averages.FrameVAE, {}),
}


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_of_40_are_those_of_papers(define, name):
    kind, sizes = CLASSES[name]
    torch.manual_seed(0)
    own = kind(**sizes).eval()
    shown = getattr(define("40", *CLASSES), name)().eval()
    shown.load_state_dict(own.state_dict())
    codes, expected = shown.encode(FRAMES), own.encode(FRAMES)
    assert set(codes) == set(expected)
    for each in codes:
        torch.testing.assert_close(codes[each], expected[each])
    torch.testing.assert_close(shown.decode(codes), own.decode(expected))
    assert not torch.allclose(shown.decode(codes)[0], shown.decode(codes)[1])


def test_the_bound_of_40_is_that_of_papers(define):
    torch.manual_seed(0)
    own = sequence_vae.SequenceVAE(hidden=32).eval()
    shown = define("40", "SequenceVAE").SequenceVAE().eval()
    shown.load_state_dict(own.state_dict())
    noise = own.draw_noise(3, 8, seeded(2))
    torch.testing.assert_close(shown.elbo(FRAMES, noise), own.elbo(FRAMES, noise).elbo)


def test_40_finds_the_nearest_of_four_as_papers_do(define):
    shown = define("40", "nearest_of_four")
    four = torch.rand(4, 20, 3, 2, generator=seeded(3))
    made = torch.rand(20, 3, 2, generator=seeded(4))
    found = shown.nearest_of_four(made, four)
    assert torch.equal(found, benchmark.find_nearest(made, tuple(four)))
    assert len(found.unique()) == 4
