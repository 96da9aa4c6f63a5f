"""Paper B with distinct frames for f and for z, which its authors propose in section 5."""

from __future__ import annotations

from unbraid.models.base import Batch, Bound, NoiseSource
from unbraid.models.painted import PaintedFrames


class DistinctFrames(PaintedFrames):
    """`PaintedFrames`, trained on frames that f has not read.

    Any q(f) gives a lower bound of log p(x), so q(f | y) of other frames y of the sequence does,
    too. It cannot tell anything about single frames x. Codes, and the bound of a model that is not
    in training, are as in `PaintedFrames`: f is read from the frames that are scored.
    """

    def elbo(self, batch: Batch, noise: NoiseSource = None) -> Bound:
        """In training the bound of the second half of the frames, with f of the first half.

        sum_i E log p(x_i | f, z_i) - sum_i KL(q(z_i | f, x_i) || p(z_i | f)) - KL(q(f | y) || p(f))
        """
        if not self.training:
            return super().elbo(batch, noise)
        frames = self.whole_frames(batch)
        count, length = frames.shape[:2]
        if length % 2:
            raise ValueError(f"frames: expected an even number to divide, found {length}")
        noise = self.as_noise(noise, count, length)
        read, scored = self.features(frames).chunk(2, 1)
        static_posterior = self.static_encoder(read)
        f = static_posterior.draw(noise["static"])
        dynamic_posterior = self.dynamic_posterior(scored, f)
        z = dynamic_posterior.draw(noise["dynamic"][:, length // 2 :])
        codes = {"static": f, "dynamic": z}
        return self.bound_of(frames[:, length // 2 :], static_posterior, dynamic_posterior, codes)
