"""How results show themselves: a short table, as text in a terminal and as HTML in JupyterLab."""

import html
from dataclasses import fields

import numpy as np

LARGEST = 6  # numbers of an array that are written out


class Readable:
    """A dataclass that shows one row per field; a class may override `table` to show others."""

    def table(self) -> list[tuple[str, ...]]:
        """The cells to show, row by row."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        rows = [(name, describe_value(getattr(self, name))) for name in names]
        return [row for row in rows if row[1]]

    def __repr__(self) -> str:
        lines = ["  ".join(row) for row in self.table()]
        return f"{type(self).__name__}: " + "\n  ".join(lines)

    def _repr_html_(self) -> str:
        lines = []
        for row in self.table():
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
            lines.append(f"<tr>{cells}</tr>")
        return f"<b>{type(self).__name__}</b><table>{''.join(lines)}</table>"


def describe_value(value: object) -> str:
    """A value in a few words: numbers with four digits, large arrays by their shape."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {describe_value(item)}" for name, item in value.items())
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, np.ndarray):
        if value.size > LARGEST:
            return f"array of shape {value.shape}"
        return np.array2string(value, precision=4, separator=", ")
    return str(value)
