"""``multiconv judge``."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import click
import numpy as np

from multiconv.cli.options import check_writable, json_option, write_json
from multiconv.core.errors import UsageError
from multiconv.core.option_values import PADDING_WORDS
from multiconv.core.spec import LAYOUTS
from multiconv.core.types import Host, Ints, Padding

DIRECTIONS = ("forward", "convolve", "conv_transpose", "input gradient", "kernel gradient", "bias gradient")
OPERANDS = ("x", "w", "bias", "dy")
INVALID = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, KeyError, RuntimeError, MemoryError,
)  # fmt: skip
"""What NumPy raises for a file that it can't read."""


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """One number, or one for each axis: 2 or 2,1."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ints:
        """Convert a word."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if not re.fullmatch(r"\d{1,12}(,\d{1,12})*", value):
            self.fail(f"{value!r} is not a number, or one an axis such as 2,1", param, ctx)
        found = tuple(map(int, value.split(",")))
        return found if "," in value else found[0]


class PaddingWord(click.ParamType):  # type: ignore[type-arg]
    """A number, one for each axis, a before:after pair for each axis, or a word: 1, 1,2, 0:1,0:1 or same."""

    name = "padding"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Padding:
        """Convert a word."""
        if not isinstance(value, str) or value in PADDING_WORDS:
            return value  # type: ignore[no-any-return]
        if not re.fullmatch(r"\d{1,12}(:\d{1,12})?(,\d{1,12}(:\d{1,12})?)*", value):
            self.fail(
                f"{value!r} is not a number, one an axis such as 1,2, a before:after pair an axis such as 0:1,0:1, or "
                f"one of {', '.join(PADDING_WORDS)}",
                param,
                ctx,
            )
        found = tuple(_side(part) for part in value.split(","))
        return found[0] if len(found) == 1 and isinstance(found[0], int) else found


def _side(text: str) -> int | tuple[int, int]:
    before, colon, after = text.partition(":")
    return (int(before), int(after)) if colon else int(before)


@click.command(short_help="Say which of several answers is right, and why.")
@click.argument("file", metavar="FILE.npz")
@click.option("--stride", metavar="N", type=Numbers(), default=1, help="Stride; default 1.")
@click.option(
    "--padding",
    metavar="PADDING",
    type=PaddingWord(),
    default=0,
    help="Padding, see above; default 0.",
)
@click.option("--dilation", metavar="N", type=Numbers(), default=1, help="Dilation; default 1.")
@click.option("--groups", metavar="N", type=int, default=1, help="Number of groups of channels; default 1.")
@click.option(
    "--layout",
    metavar="LAYOUT",
    type=click.Choice(list(LAYOUTS)),
    help="Layout, such as NHWC; default channels first.",
)
@click.option(
    "--output-padding",
    metavar="N",
    type=Numbers(),
    default=0,
    help="Output padding of a conv_transpose; default 0.",
)
@click.option(
    "--direction",
    metavar="NAME",
    type=click.Choice(DIRECTIONS),
    default="forward",
    help="Direction, see above; default forward.",
)
@json_option
@click.pass_context
def judge(ctx: click.Context, /, file: str, json_file: str | None, direction: str, **options: Any) -> None:
    """Say which of several answers to a convolution is right, and why the others are not.

    FILE.npz has the arrays x and w (OIHW), and optionally bias and dy, the gradient of the result. Every other array
    is an answer. np.savez("file.npz", x=x, w=w, mine=a, theirs=b) writes one.

    The numbers are one, or one per axis (2,1). PADDING is a number, one per axis, before:after per axis (0:1,2:2), or
    valid, same, same_lower or full. The direction is forward, convolve, conv_transpose, input gradient, kernel gradient
    or bias gradient.

    Exit status: 0 all are right, 1 one is wrong, 2 bad usage.
    """
    from multiconv.cli.console import Console
    from multiconv.cli.report import as_json
    from multiconv.subjects.judging import judge as judged

    check_writable(json_file)
    arrays = _read(file)
    operands = {name: arrays.pop(name) for name in OPERANDS if name in arrays}
    for name in ("x", "w"):
        if name not in operands:
            said = f"it has {', '.join(arrays)}" if arrays else "it has no arrays"
            raise UsageError(f"{file}: there is no array {name}: {said}")
    if len(arrays) < 2:
        named = f"only {next(iter(arrays))}" if arrays else "none"
        raise UsageError(
            f"{file}: at least two answers are needed, arrays other than x, w, bias and dy; it has {named}"
        )
    found = judged(
        operands["x"], operands["w"], arrays, bias=operands.get("bias"), dy=operands.get("dy"), direction=direction,
        **options,
    )  # fmt: skip
    write_json(json_file, as_json(found.asdict()))
    _print(found, Console(err=json_file == "-"))
    ctx.exit(1 if found.wrong else 0)


def _read(file: str) -> dict[str, Host]:
    """Return the arrays of a file. Nothing in it is executed: pickled objects are refused."""
    try:
        with Path(file).open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise UsageError(f"{file} has a single array: np.savez writes several to one file, by their names")
            return {name: loaded[name] for name in loaded.files}
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise UsageError(f"{file} is a folder, not a file") from None
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror or error}") from None
    except INVALID as error:
        if "Object arrays" in str(error):
            raise UsageError(f"{file} has an array of Python objects, which is not read: save numbers only") from None
        raise UsageError(f"{file} is not a valid .npz file of arrays, as np.savez writes it") from None


def _print(found: Any, console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("answer", overflow="fold")
    table.add_column("dtype")
    table.add_column("wrong elements", justify="right")
    table.add_column("worst error / bound", justify="right")
    table.add_column("in ulps", justify="right")
    table.add_column("verdict")
    for v in found.verdicts:
        verdict = Text("right", "green") if v.right else Text("wrong", "bold red")
        ulps = "" if v.ulps is None else f"{v.ulps:.3g}"
        table.add_row(Text(v.name), v.dtype, f"{v.wrong} of {v.elements}", f"{v.ratio:.3g}", ulps, verdict)
    console.print(table)
    for v in found.verdicts:
        if v.right:
            continue
        console.print(Text(f"\n{v.name}: {v.fault}"), soft_wrap=True)
        if v.picture:
            console.print(Text(v.picture), soft_wrap=True)
        if v.diagnosis is not None:
            console.print(Text(f"why: {v.diagnosis}"), soft_wrap=True)
            for framework, line in v.diagnosis.code.items():
                console.print(Text(f"  {framework}: {line}"), soft_wrap=True)
    console.print(Text(f"\n{found.summary}"), soft_wrap=True)
