"""``multiconv identify``."""

from __future__ import annotations

from typing import Any

import click

from multiconv.cli.options import FAILED, UNAVAILABLE, check_writable, json_option, write_json
from multiconv.core.errors import UsageError

WORDS = ("layout", "kernel_layout", "arrays", "dtype")
NUMBERS = ("in_channels", "out_channels", "ndim", "groups", "batch")
PER_AXIS = ("size", "kernel", "stride", "dilation", "padding")


@click.command(short_help="Say which convolution a function or layer computes.")
@click.argument("target", metavar="THING")
@click.argument("words", metavar="[WORD]...", nargs=-1)
@json_option
@click.pass_context
def identify(ctx: click.Context, target: str, words: tuple[str, ...], json_file: str | None) -> None:
    """Say which convolution a function or a layer computes, by impulses, and prove it.

    THING is module:object or path/file.py:object: a function of x, (x, w) or (x, w, bias), a torch.nn.Module, a Keras
    layer, a Flax nnx module, a jitted JAX function, a tf.function. The file is run.

    A WORD says what it takes for granted and what can't be read from it: in_channels=3, size=28,28, ndim=2,
    layout=NHWC, kernel_layout=HWIO, dtype=float64, arrays=torch, groups=2.

    Exit status: 0 identified, 1 not a convolution, 2 bad usage, 3 it can't be imported.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.subjects.identify import identify as run
    from multiconv.testing.candidate import load

    taken = _taken(words)
    if not all(target.rpartition(":")):
        raise click.UsageError(f"a thing is named as package.module:object or path/file.py:object, not as {target!r}")
    check_writable(json_file)
    try:
        thing = load(target)
    except UsageError:
        raise
    except Exception as error:  # anything may happen in a user's module
        click.echo(f"multiconv: {target} can't be imported: {type(error).__name__}: {error}", err=True)
        ctx.exit(UNAVAILABLE)
    found = run(thing, **taken)
    write_json(json_file, report.as_json(found.asdict()))
    Console(err=json_file == "-").print(found.text(), soft_wrap=True)
    ctx.exit(0 if found.convolution else FAILED)


def _taken(words: tuple[str, ...]) -> dict[str, Any]:
    """Return the words as keywords of `multiconv.identify`. It knows which there are."""
    taken: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not value:
            raise click.UsageError(f"{name!r} has no value: write {name}=..., without a space")
        numbers = value.split(",")
        if name in WORDS:
            taken[name] = value if name in ("dtype", "arrays") else value.upper()
        elif name == "bias":
            taken[name] = value.lower() == "true"
        elif name == "padding" and value.isalpha():
            taken[name] = value.lower()
        elif (name in NUMBERS and value.isdecimal()) or (name in PER_AXIS and all(n.isdecimal() for n in numbers)):
            taken[name] = int(value) if len(numbers) == 1 else tuple(map(int, numbers))
        elif name in (*NUMBERS, *PER_AXIS):
            raise click.UsageError(f"{name} must be a whole number, or one per axis, not {value!r}")
        else:
            taken[name] = value
    return taken
