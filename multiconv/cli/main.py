"""``multiconv``: the command and its subcommands."""

from __future__ import annotations

import os

import click

from multiconv.cli.bench import bench
from multiconv.cli.check import check
from multiconv.cli.environments import backends, env
from multiconv.cli.explain import explain
from multiconv.cli.identify import identify
from multiconv.cli.judge import judge
from multiconv.cli.lessons import describe_kernel, lesson
from multiconv.cli.options import Group
from multiconv.cli.survey import capabilities, dispatch, known, properties, quirks


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="multiconv")
def main() -> None:
    """Check, compare and time convolutions in NumPy, PyTorch, JAX, TensorFlow and MXNet."""
    # Hypothesis would leave a folder .hypothesis in the working directory. If it can't write, it works without.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.devnull)


COMMANDS = (
    check, bench, backends, env, explain, identify, judge, quirks, known, capabilities, properties, dispatch, lesson,
    describe_kernel,
)  # fmt: skip

for command in COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
