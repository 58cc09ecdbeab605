"""Time ``import multiconv`` beyond ``import numpy``: medians over fresh processes of the two, in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 21
CODE = "import numpy, time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def milliseconds(statement: str) -> float:
    ran = subprocess.run([sys.executable, "-c", CODE.format(statement)], capture_output=True, text=True, check=True)
    return float(ran.stdout) * 1e3


def main() -> None:
    milliseconds("import multiconv")
    rounds = [(milliseconds("pass"), milliseconds("import multiconv")) for _ in range(ROUNDS)]
    nothing, multiconv = (statistics.median(column) for column in zip(*rounds))
    print(f"import multiconv over import numpy: {multiconv - nothing:.1f} ms (median of {ROUNDS} fresh processes)")


if __name__ == "__main__":
    main()
