"""How results show themselves: as a short table of text."""


class Readable:
    """A result that is shown as its `table`."""

    def table(self) -> list[tuple[str, ...]]:
        """The cells to show, row by row."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = ["  ".join(row) for row in self.table()]
        return f"{type(self).__name__}: " + "\n  ".join(lines)
