"""``multiconv explain``."""

from __future__ import annotations

from dataclasses import replace

import click

from multiconv.cli.options import check_writable, json_option, write, write_json


@click.command(short_help="Explain a convolution: size, padding, cost, code.")
@click.argument("words", metavar="WORD [WORD]...", nargs=-1, required=True)
@click.option(
    "--direction",
    metavar="NAME",
    default="forward",
    show_default=True,
    help="forward or conv_transpose.",
)
@click.option("--kernels", is_flag=True, help="Also say which kernels of the libraries compute it.")
@json_option
@click.option("--svg", "svg_file", metavar="FILE", help="Also write the picture to FILE, as SVG.")
def explain(words: tuple[str, ...], direction: str, kernels: bool, json_file: str | None, svg_file: str | None) -> None:
    """Explain a convolution: output size, padding, pixels that no output sees, cost, and the code for each framework.

    The words are such as x=1,3,224,224 w=64,3,7,7 stride=2 padding=same, with any of stride, padding, dilation, groups,
    layout, output_padding, bias and dtype; or a layer as in bench. Padding in pairs is written as padding=2:3,2:3.

    Exit status: 0 explained, 2 bad usage.
    """
    from multiconv.cli import report
    from multiconv.cli.console import Console
    from multiconv.subjects.kernels import kernels_of
    from multiconv.subjects.words import with_words

    check_writable(json_file)
    check_writable(svg_file, "--svg")
    of = with_words(" ".join(words), direction=direction)
    if kernels:
        with report.progress_bars(Console(err=True)) as progress:
            of = replace(of, computed_by=kernels_of(of, progress))
    if svg_file is not None:
        write(svg_file, of.svg())
    write_json(json_file, report.as_json(of.asdict()))
    Console(err=json_file == "-").print(of.text(), soft_wrap=True)
