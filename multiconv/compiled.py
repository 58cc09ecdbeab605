"""What a framework has compiled, kept from one check to the next.

JAX compiles for every shape, which is the greater part of a check's work, and the shapes are the same in each.
"""

from __future__ import annotations

import os
import platform
import shutil
import zlib
from pathlib import Path

from multiconv import environments

LARGEST = 200_000_000  # bytes; a check with a new seed adds some three million
VARIABLE = "JAX_COMPILATION_CACHE_DIR"


def environment() -> dict[str, str]:
    """The environment variables that have JAX keep what it compiles, unless the caller's already say where.

    JAX finds an entry again by the program, its own version and its options, but not by the processor, for which it
    compiles: a home that several machines share has a folder for each kind.

    Examples
    --------
    >>> environment()["JAX_COMPILATION_CACHE_DIR"]  # doctest: +SKIP
    '/home/ada/.local/share/multiconv/compiled/jax-5f2b10c4'
    """
    if VARIABLE in os.environ:
        return {}
    folder = environments.home() / "compiled" / f"jax-{zlib.crc32(_processor().encode()):08x}"
    if _size(folder) > LARGEST:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        VARIABLE: str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


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
