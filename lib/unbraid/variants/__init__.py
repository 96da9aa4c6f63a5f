"""Variants of the three models that notebooks open."""

from .ablated import AblatedElement  # noqa: F401 - imported from here
from .painted import PaintedFrames  # noqa: F401
from .prediction import CanvasPrediction, GatedPrediction  # noqa: F401
from .series import PublishedSeries  # noqa: F401
from .speech import PublishedSpeech, SpeechElement  # noqa: F401
