"""Run scripts of one framework, each in a child process of its own, so that a script may crash.

The children are forked after the framework is imported. The program runs in the framework's own Python and imports only
the standard library. It reads JSON from standard input: the ``modules`` to import, the ``scripts`` by name, and their
``timeout`` in seconds. It writes one line of JSON for each script.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

SHOWN_STDERR = 4000


def main() -> None:
    """Import the modules, then run each script in turn."""
    task = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that output of an import does not mix with the answers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for module in task["modules"]:
        import_module(module)
    for name, source in task["scripts"].items():
        print(json.dumps({"name": name, **run(name, source, task["timeout"])}), file=answers, flush=True)


def run(name: str, source: str, timeout: int) -> dict[str, str]:
    """Run a script, and return what it printed and, if it did not exit normally, how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        child = os.fork()
        if child == 0:
            _be_the_script(name, source, folder, stdout, stderr, timeout)
        _, status = os.waitpid(child, 0)
        lines = stdout.read_text(errors="replace").splitlines()
        if os.WIFSIGNALED(status):
            lines.append(f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
        elif os.WEXITSTATUS(status):
            lines.append(f"exit status {os.WEXITSTATUS(status)}")
        return {"outcome": "\n".join(lines), "stderr": stderr.read_text(errors="replace")[-SHOWN_STDERR:]}


def _be_the_script(name: str, source: str, folder: str, stdout: Path, stderr: Path, timeout: int) -> None:
    """Run the script in this child process and never return, so that nothing of the script outlives the process."""
    signal.alarm(timeout)
    for path, number in ((os.devnull, 0), (stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(folder)
    try:
        exec(compile(source, f"{name}.py", "exec"), {"__name__": "__main__"})
    except BaseException as error:
        traceback.print_exc()
        print(f"raises {type(error).__name__}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
