"""``multiconv check``."""

from __future__ import annotations

import click

from multiconv.cli.options import canonical, check_writable, json_option, open_console, write_json
from multiconv.oracle.fast_bounds import ALGORITHMS
from multiconv.oracle.values import ALL_VALUES


@click.command()
@click.argument("names", metavar="[BACKEND]...", nargs=-1)
@click.option(
    "--candidate",
    "candidates",
    metavar="MODULE:FUNCTION",
    multiple=True,
    help="Check this function f(x, w, bias, *, stride, padding, dilation, groups), found as Python would import it "
    "from here; may be given more than once. Backends are then checked only if they are named.",
)
@click.option(
    "--examples",
    metavar="N",
    type=click.IntRange(0),
    help="Number of problems to draw; 200 by default, 400 for a candidate.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="What to draw them from.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64"]),
    default=("float32", "float64"),
    help="What to draw them in; may be given more than once. By default float32 and float64. Layers of networks are in "
    "the first; a backend is asked about those that it has.",
)
@click.option(
    "--values",
    multiple=True,
    type=click.Choice(ALL_VALUES),
    help="Kind of values to draw them with; may be given more than once. By default all.",
)
@click.option(
    "--algorithm",
    type=click.Choice(ALGORITHMS),
    default="direct",
    show_default=True,
    help="How a candidate computes; an FFT or Winograd's algorithm is allowed the larger errors that it has.",
)
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
    help="How long an answer may take.",
)  # fmt: skip
@json_option("the report")
@click.pass_context
def check(
    ctx: click.Context,
    names: tuple[str, ...],
    candidates: tuple[str, ...],
    examples: int | None,
    seed: int,
    dtypes: tuple[str, ...],
    values: tuple[str, ...],
    algorithm: str,
    timeout: float,
    json_file: str | None,
) -> None:
    """Check that backends compute what they should: forward, gradients, transposed, layers.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. By default all that can
    be had.

    Exit status: 0 all agree, 1 a disagreement, 2 bad usage, 3 a backend or candidate that was named can't be had.
    """
    from multiconv.check.run import check as run
    from multiconv.cli import report

    names = canonical(names)
    for candidate in candidates:
        if not all(candidate.rpartition(":")):
            raise click.UsageError(
                f"--candidate: it is named as package.module:function or path/file.py:function, not as {candidate!r}"
            )
    check_writable(json_file)
    with report.progress_bars(open_console(err=True)) as progress:
        found = run(
            names,
            candidates=candidates,
            examples=examples,
            seed=seed,
            dtypes=list(dict.fromkeys(dtypes)),
            values=values or None,
            algorithm=algorithm,
            timeout=timeout,
            progress=progress,
        )
    report.print_check(found, open_console(err=json_file == "-"))
    write_json(json_file, report.as_json(found.asdict()))
    ctx.exit(0 if found.agrees else 1)
