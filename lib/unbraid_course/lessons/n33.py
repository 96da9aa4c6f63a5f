"""What notebook 33 defines; written by `python -m tools export`."""

import numpy as np
import torch
from unbraid.measures.judges import judge_clips


def true_clip(of_s, of_d):
    """The number of the clip that a perfect swap of these donors gives."""
    return 9 * (of_s // 9) + of_d % 9


def find_nearest(made, real):
    """Of each clip made, the number of the nearest real clip by squared error: (n,)."""
    distances = torch.cdist(made.flatten(1), real.flatten(1))  # (n, N)
    return distances.argmin(1)


def donor_shares(judged, right, other):
    """How often each donor's class (n,) is named, where the two donors differ."""
    differ = right != other
    return (judged == right)[differ].mean(), (judged == other)[differ].mean()


def entropy(p):
    """The entropy in nats of probabilities (..., classes): (...)."""
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)  # 0 ln 0 = 0


def compute_scores(p, y):
    """Acc, IS, H(y|x) and H(y) of probabilities p (N, 9) and true motions y (N,)."""
    accuracy = (p.argmax(1) == y).mean()
    conditional = entropy(p).mean()  # H(y|x)
    marginal = entropy(p.mean(0))  # H(y)
    return accuracy, np.exp(marginal - conditional), conditional, marginal


class Copier:
    """It has no static code: whatever s is, it returns the clip that gives d."""

    def encode(self, x):
        """The codes of clips x (N, T, 3, H, W)."""
        return {"static": torch.zeros(len(x), 1), "dynamic": x}

    def decode(self, codes):
        """The clips of codes."""
        return codes["dynamic"]


def score_model(model, clips, donor, judge):
    """Of the swaps of all clips: the four scores, true clips, hair of the donor of s."""
    real = clips.as_float().frames
    motion, hair = (clips.labels[name].numpy() for name in ("motion", "hair"))

    codes = model.encode(real)
    made = model.decode(codes | {"static": codes["static"][donor]})  # equation (1)
    answers = judge_clips(judge, made)
    named = answers["hair"].argmax(1).numpy()

    scores = compute_scores(answers["motion"].numpy(), motion)
    true = true_clip(donor, np.arange(len(real)))
    right = np.asarray(find_nearest(made, real)) == true
    return [*scores, right.mean(), donor_shares(named, hair[donor], hair)[0]]
