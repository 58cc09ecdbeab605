"""What a framework has compiled, kept from one check to the next.

JAX compiles for every shape, and so does Keras where a convolution has groups. That is the greater part of a check's
work, and the shapes are the same in each.
"""

from __future__ import annotations

import os
import platform
import shutil
import zlib
from pathlib import Path

from multiconv.core.targets import plain_name
from multiconv.workers import environments

LARGEST = 200_000_000  # bytes; a check with a new seed adds some three million
JAX, TENSORFLOW = "JAX_COMPILATION_CACHE_DIR", "TF_XLA_FLAGS"


def environment(name: str, version: str | None = None) -> dict[str, str]:
    """Return the environment variables that have a framework keep what it compiles, unless the caller's say where.

    A home that several machines share has a folder for each kind of processor, as what is compiled for one may not run
    on another. JAX finds an entry by the program, its own version and its options; TensorFlow by the program alone, so
    it has a folder for each version.

    Parameters
    ----------
    name : str
        A backend's, such as ``"jax"`` or ``"jax@0.4.38"``.
    version : str, optional
        The version of its framework. TensorFlow keeps nothing where it is not known.

    Returns
    -------
    dict
        Empty for a framework that compiles nothing.

    Examples
    --------
    >>> environment("jax")["JAX_COMPILATION_CACHE_DIR"]  # doctest: +SKIP
    '/home/ada/.local/share/multiconv/compiled/jax-5f2b10c4'
    >>> environment("numpy")
    {}
    """
    plain = plain_name(name)
    if plain == "jax" and JAX not in os.environ:
        return {
            JAX: str(_folder("jax")),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    if plain == "tensorflow" and version and TENSORFLOW not in os.environ:
        return {TENSORFLOW: f"--tf_xla_persistent_cache_directory={_folder(f'tensorflow-{version}')}"}
    return {}


def _folder(framework: str) -> Path:
    """The folder of a framework on this kind of processor, emptied where it has grown too large."""
    folder = environments.home() / "compiled" / f"{framework}-{zlib.crc32(_processor().encode()):08x}"
    if _size(folder) > LARGEST:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def _processor() -> str:
    """What programs for this processor may use, in words."""
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
