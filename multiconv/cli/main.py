"""``multiconv``: the command and its subcommands."""

from __future__ import annotations

import os

import click

from multiconv.cli.bench import bench
from multiconv.cli.check import check
from multiconv.cli.environments import backends, env
from multiconv.cli.judge import judge
from multiconv.cli.lessons import describe_kernel, lesson
from multiconv.cli.options import Group
from multiconv.cli.survey import capabilities, properties, quirks


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="multiconv")
def main() -> None:
    """One convolution interface over NumPy, PyTorch, JAX, TensorFlow and MXNet, with proof where they agree."""
    # Hypothesis would leave a folder .hypothesis in the working directory. It does without where it can't write.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.devnull)


for command in (check, judge, bench, backends, env, quirks, capabilities, properties, lesson, describe_kernel):
    main.add_command(command)


if __name__ == "__main__":
    main()
