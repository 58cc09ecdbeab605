"""A cache of what a framework compiles, kept from one check to the next.

JAX compiles for every shape, and so does Keras for a convolution with groups. Compilation is most of the work of a
check, and every check has the same shapes.
"""

from __future__ import annotations

import os
import platform
import shutil
import zlib
from contextlib import suppress
from pathlib import Path

from multiconv.core.errors import BackendUnavailable
from multiconv.core.targets import plain_name
from multiconv.workers import environments

LARGEST = 200_000_000  # bytes; a check with a new seed adds about three million
JAX, TENSORFLOW = "JAX_COMPILATION_CACHE_DIR", "TF_XLA_FLAGS"


def environment(name: str, version: str | None = None) -> dict[str, str]:
    """Return the environment variables that make a framework cache what it compiles, unless the user has set them.

    A home directory that several machines share has one folder per kind of processor, because code that is compiled for
    one may not run on another. JAX finds an entry by the program, its own version and its options. TensorFlow finds it
    by the program alone, so each of its versions has a folder.

    Parameters
    ----------
    name : str
        The name of a backend, such as ``"jax"`` or ``"jax@0.4.38"``.
    version : str, optional
        The version of its framework. If it is unknown, TensorFlow caches nothing.

    Returns
    -------
    dict
        Empty for a framework that compiles nothing, or if there is no home folder.

    Examples
    --------
    >>> environment("jax")["JAX_COMPILATION_CACHE_DIR"]  # doctest: +SKIP
    '/home/ada/.local/share/multiconv/compiled/jax-5f2b10c4'
    >>> environment("numpy")
    {}
    """
    plain = plain_name(name)
    with suppress(BackendUnavailable):  # there is no home folder to keep it in
        if plain == "jax" and JAX not in os.environ:
            return {
                JAX: str(_folder("jax")),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            }
        if plain == "tensorflow" and version and TENSORFLOW not in os.environ:
            return {TENSORFLOW: f"--tf_xla_persistent_cache_directory={_folder(f'tensorflow-{version}')}"}
    return {}


def is_warm(variables: dict[str, str]) -> bool:
    """Return whether JAX has cached compilations in the folder that these environment variables name.

    Examples
    --------
    >>> is_warm(environment("numpy"))
    False
    """
    return JAX in variables and any(Path(variables[JAX]).glob("*-cache"))


def _folder(framework: str) -> Path:
    """Return the folder of a framework for this kind of processor, emptied if it has grown too large."""
    folder = environments.home() / "compiled" / f"{framework}-{zlib.crc32(_processor().encode()):08x}"
    if _size(folder) > LARGEST:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def _processor() -> str:
    """Return the feature flags of this processor, or a description where there are none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def _size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.glob("*"))
    except FileNotFoundError:  # another check has just emptied it
        return 0
