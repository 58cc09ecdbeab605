"""The contents of the environment of each backend: what pip is to install, and the Pythons that can run it."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

LINUX_X86 = (sys.platform, platform.machine()) == ("linux", "x86_64")
TORCH_INDEX = "https://download.pytorch.org/whl"
RECENT = ("3.11", "3.12", "3.13", "3.10")

Requirements = Callable[[str], list[str]]
"""A function from a version to the arguments of ``pip install``."""


@dataclass(frozen=True)
class Recipe:
    """The contents of an environment for a backend.

    Attributes
    ----------
    module : str
        The module that the backend imports.
    version : str
        The default version of the framework.
    requirements : callable
        A function from a version to the arguments of ``pip install``: for the CPU, where there is such a build.
    pythons : tuple of str
        The supported minor versions of Python, the best first.
    distributions : tuple of str
        The names under which pip knows the framework, in any of its builds.
    cuda : callable, optional
        A function like `requirements`, for the build with CUDA.

    Examples
    --------
    >>> RECIPES["mxnet"].requirements("1.9.1")
    ['mxnet==1.9.1', 'numpy==1.23.5']
    """

    module: str
    version: str
    requirements: Requirements
    pythons: tuple[str, ...]
    distributions: tuple[str, ...]
    cuda: Requirements | None = None


def _torch(version: str) -> list[str]:
    # PyPI's builds for Linux on x86-64 bring 5 GB of CUDA; those without are in torch's own index, as 2.5.1+cpu.
    release, _, build = version.partition("+")
    if not LINUX_X86:
        return _torch_of_pypi(version)
    build = build or "cpu"
    return [*_torch_of_pypi(f"{release}+{build}"), f"--extra-index-url={TORCH_INDEX}/{build}"]


def _torch_of_pypi(version: str) -> list[str]:
    # torch before 2.3 was built against NumPy 1 and can't read the arrays of NumPy 2.
    old = [int(n) for n in re.findall("[0-9]+", version)[:2]] < [2, 3]
    return [f"torch=={version}", "numpy<2" if old else "numpy", "ml_dtypes"]


def _tensorflow(version: str) -> list[str]:
    # tensorflow-cpu has wheels for Linux on x86-64 only, and imports requests without declaring the dependency.
    return [f"tensorflow-cpu=={version}" if LINUX_X86 else f"tensorflow=={version}", "requests"]


RECIPES: dict[str, Recipe] = {
    "numpy": Recipe("numpy", "2.4.6", lambda version: [f"numpy=={version}"], RECENT, ("numpy",)),
    "torch": Recipe("torch", "2.13.0", _torch, RECENT, ("torch",), cuda=_torch_of_pypi),
    "jax": Recipe(
        "jax",
        "0.10.2",
        lambda version: [f"jax=={version}", f"jaxlib=={version}", "flax"],
        RECENT,
        ("jax",),
        cuda=lambda version: [f"jax[cuda12]=={version}", f"jaxlib=={version}", "flax"],
    ),
    "tensorflow": Recipe(
        "tensorflow",
        "2.21.0",
        _tensorflow,
        RECENT,
        ("tensorflow-cpu", "tensorflow"),
        cuda=lambda version: [f"tensorflow[and-cuda]=={version}", "requests"],
    ),
    "mxnet": Recipe(
        "mxnet",
        "1.9.1",
        lambda version: [f"mxnet=={version}", "numpy==1.23.5"],
        ("3.11", "3.10"),
        ("mxnet", "mxnet-cu112", "mxnet-cu110", "mxnet-cu102", "mxnet-cu101"),
        cuda=lambda version: [f"mxnet-cu112=={version}", "numpy==1.23.5"],
    ),
}
