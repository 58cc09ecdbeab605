"""Run tabs of lessons, cell by cell, in the Python of their framework, with only the standard library and NumPy.

    python lesson_tab.py < request.json

The request is ``{"tabs": [tab, ...]}``, where a tab is
``{"lesson", "script", "cells": [[name, first line, code], ...], "values": [name, ...]}``. For each tab, a file
``LESSON.npz`` with the values and then a file ``LESSON.json`` are written into the working directory:
``{"outputs": {cell: what it printed}, "error": null or [cell, traceback]}``.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np


def as_numpy(value: Any) -> Any:
    """Convert a framework's array, a number, or a list of them to a NumPy array."""
    for method in ("detach", "asnumpy", "numpy"):
        if hasattr(value, method):
            value = getattr(value, method)()
    if isinstance(value, (list, tuple)):
        return np.asarray([as_numpy(element) for element in value])
    return np.asarray(value)


def run(tab: dict[str, Any]) -> dict[str, Any]:
    """Run the cells of a tab in one namespace, up to the first that fails."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    outputs: dict[str, str] = {}
    for name, first_line, code in tab["cells"]:
        printed = io.StringIO()
        try:
            # Keep the line numbers of the script, because some frameworks read the source of a function again.
            compiled = compile("\n" * (first_line - 1) + code, tab["script"], "exec")
            with contextlib.redirect_stdout(printed):
                exec(compiled, namespace)
        except Exception as error:
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without this file's frame
            return {"outputs": outputs, "error": [name, "".join(traceback.format_exception(error))]}
        finally:
            outputs[name] = printed.getvalue()
    missing = [name for name in tab["values"] if name not in namespace]
    if missing:
        return {"outputs": outputs, "error": ["the end", f"there is no {', '.join(missing)}"]}
    np.savez(f"{tab['lesson']}.npz", **{name: as_numpy(namespace[name]) for name in tab["values"]})
    return {"outputs": outputs, "error": None}


def main() -> None:
    """Run every tab of the request."""
    for tab in json.load(sys.stdin)["tabs"]:
        Path(f"{tab['lesson']}.json.part").write_text(json.dumps(run(tab)))
        Path(f"{tab['lesson']}.json.part").rename(f"{tab['lesson']}.json")


if __name__ == "__main__":
    main()
