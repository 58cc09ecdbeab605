"""Values, calls and sums as Python text, for the scripts."""

from __future__ import annotations

from collections.abc import Iterable

WIDTH = 120
ROOM = len("dx, dw, dbias = ")  # for the text before a call


def quoted(word: str) -> str:
    """Write a word as a string literal.

    Examples
    --------
    >>> print(quoted("valid"))
    "valid"
    """
    return f'"{word}"'


def join(*items: object) -> str:
    """Join items with commas.

    Examples
    --------
    >>> join("n", 3, "i")
    'n, 3, i'
    """
    return ", ".join(map(str, items))


def each(pattern: str, items: Iterable[object]) -> list[str]:
    """Put each item into the pattern.

    Examples
    --------
    >>> each("f(%s)", ["x", "w"])
    ['f(x)', 'f(w)']
    """
    return [pattern % item for item in items]


def call(function: str, *positional: object, indent: int = 4, **keywords: object) -> str:
    """Write a call as Python text, without the arguments that are None, over several lines if it is long.

    Examples
    --------
    >>> call("F.conv2d", "x", "w", None, stride=(2, 2), padding=None)
    'F.conv2d(x, w, stride=(2, 2))'
    """
    arguments = [str(a) for a in positional if a is not None]
    arguments += [f"{name}={value}" for name, value in keywords.items() if value is not None]
    text = f"{function}({join(*arguments)})"
    if len(text) <= WIDTH - indent - ROOM:
        return text
    lines = [""]
    for argument in arguments:
        longer = f"{lines[-1]} {argument},".lstrip()
        if lines[-1] and indent + 4 + len(longer) > WIDTH:
            lines.append(f"{argument},")
        else:
            lines[-1] = longer
    margin = " " * indent
    return "\n".join([f"{function}(", *(f"{margin}    {line}" for line in lines), f"{margin})"])


def linear(*terms: tuple[int, str], constant: int = 0) -> str:
    """Write a sum of multiples and a constant as Python text.

    Examples
    --------
    >>> linear((2, "i"), (-1, "j"), constant=-3)
    '2 * i - j - 3'
    >>> linear((3, "o // 2"))
    '3 * (o // 2)'
    """
    text = ""
    for factor, term in terms:
        times = term if abs(factor) == 1 else f"{abs(factor)} * " + (f"({term})" if " " in term else term)
        text += (" - " if factor < 0 else " + ") + times
    if constant:
        text += f" {'-' if constant < 0 else '+'} {abs(constant)}"
    return text.removeprefix(" + ")
