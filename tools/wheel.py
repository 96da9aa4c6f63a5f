"""What is built from the clone: pyproject.toml names these classes, and setuptools calls them.

A wheel and an sdist hold the library alone. An editable install, which stays in the clone, finds
papers/ as well, because notebooks import it.
"""

from __future__ import annotations

from setuptools.command.editable_wheel import editable_wheel
from setuptools.command.sdist import sdist


class WithPapers(editable_wheel):
    """Adds papers/ to what an editable install finds."""

    def finalize_options(self) -> None:
        """Called by setuptools."""
        super().finalize_options()
        self.distribution.packages.append("papers")
        self.distribution.package_dir["papers"] = "papers"


class SourcesAlone(sdist):
    """Leaves out the tests, which need the clone, and adds this file, which a build needs."""

    def make_distribution(self) -> None:
        """Called by setuptools."""
        files = [name for name in self.filelist.files if not name.startswith("tests")]
        self.filelist.files = [*files, "tools/wheel.py"]
        super().make_distribution()
