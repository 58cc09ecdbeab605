"""``multiconv check``."""

from __future__ import annotations

import click

from multiconv.cli.options import (
    INTERRUPTED,
    Seconds,
    canonical,
    check_writable,
    complete_backend,
    dtypes_option,
    json_option,
    seed_option,
    write,
    write_json,
)
from multiconv.oracle.fast_bounds import ALGORITHMS
from multiconv.oracle.values import ALL_VALUES


@click.command(short_help="Check that backends compute what they should.")
@click.argument("names", metavar="[BACKEND]...", nargs=-1, shell_complete=complete_backend)
@click.option(
    "--candidate",
    "candidates",
    metavar="FUNCTION",
    multiple=True,
    help="Check a function, as module:f or path/file.py:f.",
)
@click.option(
    "--examples",
    metavar="N",
    type=click.IntRange(0),
    help="Draw N problems; default 200, functions 400.",
)
@seed_option
@dtypes_option
@click.option(
    "--values",
    metavar="KIND",
    multiple=True,
    type=click.Choice(ALL_VALUES),
    help="Kind of values, see above; default all.",
)
@click.option(
    "--algorithm",
    metavar="NAME",
    type=click.Choice(ALGORITHMS),
    default="direct",
    help="Error bound: direct (default), fft or winograd.",
)
@click.option(
    "--timeout", metavar="SECONDS", type=Seconds(), default=60, show_default=True,
    help="Time limit per answer.",
)  # fmt: skip
@json_option
@click.option("--html", "html_file", metavar="FILE", help="Also write a page with charts of the errors to FILE.")
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
    html_file: str | None,
) -> None:
    """Check that backends compute what they should: forward, gradients, transposed, layers.

    BACKEND is a name such as torch, a version such as torch@2.5.1, or torch@/path/to/python. The default is all
    installed backends, or none with --candidate. A variant has an environment variable or an option of the backend
    after a +, such as torch+OMP_NUM_THREADS=1 or numpy+algorithm=fast.

    With --candidate, check your own function f(x, w, bias, *, stride, padding, dilation, groups). Judge it by the
    error bound of another algorithm with --algorithm.

    The dtypes are float16, bfloat16, float32 and float64; layers of networks run in the first one named. The kinds of
    values are integers, zeros, normal, wide, cancelling, ties, smallest, subnormal, largest and nonfinite. Repeat
    --candidate, --dtype or --values to name several.

    Exit status: 0 all agree, 1 a disagreement, 2 bad usage, 3 a named backend or function is not available.
    """
    from multiconv.check.html import as_html
    from multiconv.check.results import Interrupted
    from multiconv.check.run import check as run
    from multiconv.cli import report
    from multiconv.cli.console import Console

    names = canonical(names, variants=True)
    for candidate in candidates:
        if not all(candidate.rpartition(":")):
            raise click.UsageError(
                f"--candidate must be package.module:function or path/file.py:function, not {candidate!r}"
            )
    for option, file in (("--json", json_file), ("--html", html_file)):
        check_writable(file, option)
    try:
        with report.progress_bars(Console(err=True)) as progress:
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
    except Interrupted as interrupted:
        found = interrupted.report
    write_json(json_file, report.as_json(found.asdict()))
    if html_file is not None:
        write(html_file, as_html(found, report.summary(found)))
    report.print_check(found, Console(err=json_file == "-"))
    ctx.exit(INTERRUPTED if found.interrupted else 0 if found.agrees else 1)
