"""Checks of arguments: each refusal names the field, what was expected and what was found."""

import inspect
import math
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from os import PathLike
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

LONGEST = 200  # letters of a value in a message
MOST_LISTED = 60  # names in a message
LARGEST_BATCH = 2**24  # sequences; a digit too many shall not ask for terabytes
OF_ALL = "of a dict give x['name'], of Sequences x.frames, of a set list(x), of a file its arrays"
OF_ONE = "leave such rows out, or give numbers, of classes np.unique(x, return_inverse=True)[1]"
LARGEST_SEED = 2**62 - 1  # PyTorch takes 64 bits, and some functions double a seed or count on


class SettingsError(ValueError):
    """A name or a value other than those that are expected."""


class ResultsError(RuntimeError):
    """Weights, a record or a figure that is missing, damaged or not the expected one."""


def refuse(name: object, expected: object, found: object) -> NoReturn:
    """Raise the `ValueError` that says which field is wrong, what was expected and what was found.

    Call it under an `if`, where making the message takes time; else `check_field` is shorter.
    """
    found = found if isinstance(found, str) else shorten(found)
    raise ValueError(f"{name}: expected {expected}, found {found}")


def shorten(value: object) -> str:
    """A value as a line of text, of a long one, such as a table, the beginning."""
    line = " ".join(str(value).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def check_name(field: str, name: object, names: Iterable) -> None:
    """Refuse a name or number that is not among `names`, and suggest the nearest of them."""
    names = list(names)
    is_one = not getattr(name, "ndim", 0) and not isinstance(name, float)  # 32.0 is equal to 32
    if is_one and name in names:
        return
    # Quotes tell "11" from 11, and show what is empty.
    listed = [repr(each) if each in ("", str(name)) else str(each) for each in names]
    some = ", ".join(listed[:MOST_LISTED]) + ", ..." * (len(listed) > MOST_LISTED)
    expected = f"one of {some}" if listed else "no name, since there is none"
    message = f"{field}: expected {expected}, found {shorten(repr(name))}"
    close = get_close_matches(str(name).lower(), listed, 1)
    raise SettingsError(f"{message}; did you mean {close[0]}?" if close else message)


def check_type(kinds: type | tuple, **values: object) -> None:
    """Refuse values, given by their names, that are of none of these classes."""
    for name, value in values.items():
        if not isinstance(value, kinds):
            classes = kinds if isinstance(kinds, tuple) else (kinds,)
            every = *classes, value if isinstance(value, type) else type(value)
            names = [each.__name__.replace("NoneType", "None") for each in every]
            if names[-1] in names[:-1]:  # NumPy has a Generator, too
                names = [f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in every]
            found = "the class " * (every[-1] is value) + names[-1]
            found += "; torch.from_numpy makes one" * (names == ["Tensor", "ndarray"])
            refuse(name, " or ".join(names[:-1]), found)


def check_path(**paths: object) -> None:
    """Refuse values, given by their names, that are no paths of files or folders."""
    check_type((str, PathLike), **paths)


def check_names(field: str, names: Any, known: Any = None) -> tuple:
    """The names as a tuple; refuses a word or a number in their place.

    known: those there are, of which the names are some; without it names have to differ.
    """
    expected = 'a list of names, ["name"]'
    check_field(not isinstance(names, str | bytes), field, expected, repr(names))
    names = check_list(field, names, expected)
    are_names = all(isinstance(name, Hashable) for name in names)
    check_field(are_names, field, "names, each a text or a number", names)
    for name in () if known is None else names:
        check_name(field, name, known)
    check_field(known or len(set(names)) == len(names), field, "names that differ", names)
    return names


def check_list(field: str, values: Any, expected: str = "a list") -> tuple:
    """The values as a tuple, of text its letters, of a row of numbers Python's own; refuses a
    single thing in the place of a list.
    """
    is_list = isinstance(values, Iterable) and getattr(values, "ndim", 1) != 0  # a single number
    check_field(is_list, field, expected, shorten(repr(values)))
    return tuple(values.tolist() if getattr(values, "ndim", 0) == 1 else values)


def check_function(*arguments: str, **functions: object) -> None:
    """Refuse values, given by their names, that are no functions of these arguments."""
    check_type(Callable, **functions)  # type: ignore[arg-type]
    for name, function in functions.items():
        try:
            inspect.signature(function).bind(*arguments)  # type: ignore[arg-type]
        except TypeError as error:
            refuse(name, f"a function of {', '.join(arguments) or 'no argument'}", f"one: {error}")
        except ValueError:  # Some built-in ones do not say what they take.
            continue


def check_json(place: str, value: Any) -> None:
    """Refuse what JSON does not have, such as NaN and arrays, and say where in a value it is."""
    is_named, is_list = isinstance(value, Mapping), isinstance(value, list | tuple)
    for key, each in value.items() if is_named else enumerate(value if is_list else ()):
        check_type((str, int, float, type(None)), **{f"a name in {place}": key})
        check_json(f"{place}[{key!r}]", each)
    is_plain = isinstance(value, str | int | None) or is_named or is_list
    is_plain = is_plain or (isinstance(value, float) and math.isfinite(value))
    expected = "what JSON has: text, finite numbers, lists (x.tolist() makes one of an array)"
    check_field(is_plain, place, expected, shorten(repr(value)))


def check_whole(bounds: int | tuple[int, int], **values: object) -> None:
    """Refuse values, given by their names, that are not whole numbers from the one bound on, or
    from the first to the second.
    """
    least, most = (bounds, math.inf) if isinstance(bounds, int) else bounds
    for name, value in values.items():
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not is_whole or not least <= int(value) <= most:  # type: ignore[call-overload]
            expected = f"a whole number from {least}" + f" to {most}" * (most < math.inf)
            refuse(name, expected, shorten(repr(value)))


def check_seed(seed: object, most: int = LARGEST_SEED) -> None:
    """Refuse a seed above `most`; by default one that not every generator of the library takes."""
    check_whole((0, most), seed=seed)


def check_number(above: float = -math.inf, **values: object) -> None:
    """Refuse values, given by their names, that are not finite numbers larger than `above`."""
    for name, value in values.items():
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not above < float(value) < math.inf:  # type: ignore[arg-type]
            expected = "a finite number" + f" above {above:g}" * (above > -math.inf)
            refuse(name, expected, shorten(repr(value)))


def check_shape(name: str, shape: Iterable[int], like: Iterable[int]) -> None:
    """Refuse a shape that does not broadcast with another, or has another last dimension."""
    shape, like = tuple(shape), tuple(like)
    pairs = zip(shape[::-1], like[::-1], strict=False)
    broadcasts = all(a == b or 1 in (a, b) for a, b in pairs)
    if not broadcasts or shape[-1:] != like[-1:]:
        refuse(name, f"the shape {like}", shape)


def check_field(is_right: object, name: str, expected: object, given: object) -> None:
    """Unless a field is right, refuse it: for texts and values that are there already."""
    if not is_right:
        refuse(name, expected, given)


def check_named(**named: object) -> None:
    """Refuse values, given by their arguments' names, that are not a mapping from names."""
    for argument, values in named.items():
        is_named = isinstance(values, Mapping) and len(values) > 0
        found = "none" if isinstance(values, Mapping) else type(values).__name__
        check_field(is_named, argument, 'names and arrays, {"name": array}', found)
        for name in values:  # type: ignore[attr-defined]
            check_field(isinstance(name, str), argument, "names that are text", repr(name))


def as_array(values: Any, name: str = "values") -> np.ndarray:
    """Values as an array; a tensor may need a gradient, lie on a GPU, or be bfloat16.

    Numbers among Python's objects become numbers again, whole ones whole. Refuses masked values,
    and rows of unequal length, by `name`.
    """
    if not hasattr(values, "is_floating_point"):  # A tensor's own; modules have `cpu` as well.
        check_field(not np.ma.is_masked(values), name, "no masked array (leave rows out)", "one")
        if isinstance(values, list | tuple) and hasattr(next(iter(values), 0), "is_floating_point"):
            values = [as_array(one, name) for one in values]  # NumPy takes none with a gradient.
        try:
            array = np.asarray(values)
        except ValueError:
            raise ValueError(f"{name}: expected rows of equal length, found others") from None
        if array.dtype == object and all(isinstance(one, Real) for one in array.flat):
            array = np.array(array.tolist())
        if array.dtype == object and any(isinstance(one, str) for one in array.flat):
            check_present(name, array)
            array = array.astype(str)
        return array
    tensor = values.detach().cpu()
    return np.asarray(tensor.double() if tensor.is_floating_point() else tensor)


def given_array(name: str, values: Any) -> np.ndarray:
    """Values as an array; refuses by `name` what NumPy makes a single object of, such as a dict."""
    array = as_array(values, name)
    is_list = array.ndim > 0 or array.dtype.kind != "O"
    check_field(is_list, name, "an array or a list", f"{type(values).__name__}; {OF_ALL}")
    return array


def finite_array(name: str, values: ArrayLike) -> np.ndarray:
    """Values as a float64 array; refuses complex numbers, text, NaN and infinity by `name`."""
    array = as_array(values, name)
    if array.dtype.kind not in "biuf":
        advice = OF_ONE if array.ndim else OF_ALL
        strange = [type(one).__name__ for one in array.flat if not isinstance(one, Real)]
        refuse(name, "real numbers", f"{(*strange, array.dtype)[0]}; {advice}")
    array = array.astype(np.float64)
    found = np.argwhere(~np.isfinite(array))
    if len(found):
        refuse(name, "finite numbers", f"others, at {found[:1].tolist()}")
    return array


def measurable_array(name: str, values: ArrayLike) -> np.ndarray:
    """The same, of columns whose squares a double can hold, or all zeros."""
    array = finite_array(name, values)
    sizes = np.abs(array.ravel() if array.ndim < 2 else array).max(axis=0, initial=0)
    can_square = ((sizes == 0) | ((sizes > 1e-100) & (sizes < 1e100))).all()
    check_field(can_square, name, "numbers from 1e-100 to 1e100, or zeros (scale them)", "others")
    return array


def check_present(name: str, values: ArrayLike) -> None:
    """Refuse a missing one, None, NaN or pandas' NA, among labels; `name` tells of which."""
    array = np.asarray(values)
    objects = array.flat if array.dtype == object else ()
    missing = [f"{label}, at [{row}]" for row, label in enumerate(objects) if is_missing(label)]
    check_field(not missing, name, "labels, none missing", "".join(missing[:1]))


def is_missing(label: object) -> bool:
    """Whether it is None, NaN or pandas' NA, which is compared with nothing."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


def to_index(name: str, labels: ArrayLike) -> np.ndarray:
    """The number 0, 1, ... of each label's class; refuses missing labels by `name`."""
    check_present(name, labels)
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"{name}: expected labels that can be sorted; {error}") from None
    has_nan = classes.dtype.kind == "f" and np.isnan(classes).any()
    check_field(not has_nan, name, "labels, none missing", "NaN")
    return numbers


def check_classes(name: str, values: np.ndarray) -> None:
    """Refuse rows (N, C) of one 1 and else 0, which would be read as a factor of C steps."""
    if values.ndim == 2 and values.shape[1] > 1 and values.dtype.kind in "biuf":
        is_one_hot = ((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all()
        found = "rows of one 1 and else 0 (one-hot; x.argmax(1) makes numbers of them)"
        check_field(not is_one_hot, name, "class numbers (N,)", found)


def fold(label: object) -> str:
    """A label without what spellings of a name differ in: case, spaces, Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", str(label)).casefold().split())


def number_groups(name: str, groups: ArrayLike | None, count: int) -> np.ndarray:
    """The number of each row's group, (count,), however spelt; without groups each has its own."""
    labels = np.arange(count) if groups is None else given_array(name, groups)
    check_field(labels.shape == (count,), name, f"({count},), one for each row", labels.shape)
    numbers = to_index(name, labels)
    if labels.dtype.kind in "UO":
        alike = to_index(name, [fold(label) for label in labels])
        numbers = alike if alike.max(initial=0) < numbers.max(initial=0) else numbers
    return numbers
