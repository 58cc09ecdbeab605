"""``multiconv bench``."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from multiconv.cli.options import (
    Seconds,
    canonical,
    check_writable,
    complete_backend,
    json_option,
    seed_option,
    write,
    write_json,
)


def _complete_set(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from multiconv.layers import layer_sets

    return [name for name in layer_sets() if name.startswith(incomplete)]


@click.command(short_help="Time layers on backends.")
@click.argument("names", metavar="[BACKEND]...", nargs=-1, shell_complete=complete_backend)
@click.option(
    "--set",
    "sets",
    metavar="SET",
    multiple=True,
    shell_complete=_complete_set,
    help="Time this set of layers, see --list; default laptop.",
)
@click.option(
    "--layer",
    "descriptors",
    metavar="LAYER",
    multiple=True,
    help="Time one layer, such as 'resnet50 conv2_1/2'.",
)
@click.option("--list", "list_sets", is_flag=True, help="List the sets of layers and their sources.")
@click.option(
    "--direction",
    "directions",
    metavar="NAME",
    multiple=True,
    type=click.Choice(["forward", "input gradient", "kernel gradient"]),
    default=("forward", "input gradient", "kernel gradient"),
    help="Time only this direction; default all three.",
)
@click.option(
    "--batch",
    "batches",
    metavar="N",
    multiple=True,
    type=click.IntRange(1),
    help="Batch size; default the layer's own.",
)
@click.option(
    "--dtype",
    "dtypes",
    metavar="DTYPE",
    multiple=True,
    type=click.Choice(["float16", "bfloat16", "float32", "float64"]),
    default=("float32",),
    help="Dtype of the arrays; default float32.",
)
@click.option(
    "--threads",
    metavar="N",
    multiple=True,
    type=click.IntRange(1),
    help="Number of threads; default one per core.",
)
@click.option(
    "--layout",
    "layouts",
    metavar="LAYOUT",
    multiple=True,
    type=click.Choice(["native", "interface"]),
    default=("native",),
    help="native (default) or interface.",
)
@click.option(
    "--mode",
    "modes",
    metavar="MODE",
    multiple=True,
    type=click.Choice(["eager", "compiled", "xla"]),
    help="eager, compiled or xla; default compiled for JAX.",
)
@click.option(
    "--rounds", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="Rounds in each process."
)
@click.option(
    "--processes", metavar="N", type=click.IntRange(1), default=2, show_default=True, help="Number of fresh processes."
)
@click.option(
    "--relative-to", "reference", metavar="BACKEND", help="Backend to compare with; default torch, or the first."
)
@seed_option
@click.option(
    "--timeout", metavar="SECONDS", type=Seconds(), default=60, show_default=True,
    help="Time limit per request.",
)  # fmt: skip
@json_option
@click.option("--html", "html_file", metavar="FILE", help="Also write a page with charts to FILE.")
@click.option(
    "--resume",
    "journal",
    metavar="FILE",
    help="Record rows in FILE, and skip rows already there.",
)
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    sets: tuple[str, ...],
    descriptors: tuple[str, ...],
    list_sets: bool,
    threads: tuple[int, ...],
    json_file: str | None,
    html_file: str | None,
    journal: str | None,
    **options: Any,
) -> None:
    """Time layers on backends, and say which is faster and whether the difference is real.

    BACKEND is a name such as torch, torch@2.5.1 or torch@/path/to/python; default all installed backends. Add settings
    with +: numpy+algorithm=fast+OMP_NUM_THREADS=1 sets an option of the backend's class and an environment variable.

    LAYER is a name such as 'resnet50 conv2_1/2', shapes and options such as 'x=1,64,56,56 w=64,64,3,3 padding=1', or a
    benchdnn descriptor such as mb1ic64ih56oc64oh56kh3ph1.

    The directions are forward, 'input gradient' and 'kernel gradient'; the dtypes float16, bfloat16, float32 and
    float64. The layout native is the framework's own; interface is channels first, through multiconv.

    Repeat --set, --layer, --direction, --batch, --dtype, --threads, --layout or --mode to time several. The JSON is in
    pyperf's format.

    Exit status: 0 everything supported was measured, 1 an answer was wrong or a backend failed, 2 bad usage, 3 a named
    backend is not available.
    """
    from multiconv import layers, registry
    from multiconv.bench import html as bench_html
    from multiconv.bench import report as bench_report
    from multiconv.bench.run import bench as run
    from multiconv.bench.workers import parse_variant
    from multiconv.cli import report
    from multiconv.cli.console import Console

    if list_sets:
        for name in layers.layer_sets():
            click.echo(f"{name}: {len(layers.layer_set(name).layers)} layers. {layers.layer_set(name).source}")
        return
    for option, file in (("--json", json_file), ("--html", html_file), ("--resume", journal)):
        check_writable(file, option)
    if json_file is not None:
        import_module("pyperf")  # an optional dependency: if it is missing, fail now and not after minutes of work
    variants = [parse_variant(name) for name in dict.fromkeys(names or registry.names())]
    canonical(v.name for v in variants)
    wanted = [layer for name in sets or (() if descriptors else ("laptop",)) for layer in layers.layer_set(name).layers]
    wanted += [layers.parse_layer(text) for text in descriptors]
    if options["reference"] not in (None, *(v.label for v in variants)):
        raise click.UsageError(f"--relative-to: {options['reference']!r} is not one of the timed backends")
    with report.progress_bars(Console(err=True)) as progress:
        timed = run(
            variants,
            wanted,
            threads=threads or (len(os.sched_getaffinity(0)),),
            journal=None if journal is None else Path(journal),
            optional=not names,
            progress=progress,
            **options,
        )
    if timed.measured:
        write_json(json_file, bench_report.as_pyperf_json(timed))
    elif json_file is not None:
        click.echo("multiconv: nothing was measured, so there is no JSON", err=True)
    if html_file is not None:
        write(html_file, bench_html.as_html(timed))
    bench_report.print_bench(timed, Console(err=json_file == "-"))
    ctx.exit(1 if timed.failed else 0)
