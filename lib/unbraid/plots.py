"""The place of figures until notebooks name their new one."""

from unbraid.course.films import *  # noqa: F403
from unbraid.course.plots import *  # noqa: F403
