"""A few of the trials of `make kills`, each a kill or a stop at a random moment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.parametrize("first", [0, 5, 15])
def test_after_a_kill_at_a_random_moment_nothing_is_left_and_the_next_call_is_right(first: int, tmp_path: Path) -> None:
    """Workers, programs that use them, and a check."""
    log = tmp_path / "log"
    command = [sys.executable, ROOT / "benchmarks" / "kills.py", "--first", str(first), "--trials", "4", "--log", log]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    trials = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(trials) == 4
    assert [trial["finding"] for trial in trials] == [None] * 4
    assert ran.returncode == 0, ran.stderr


def test_what_is_left_behind_is_found(tmp_path: Path) -> None:
    """The trials themselves can fail."""
    script = """
import subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import kills

kills.LEFT_SECONDS = 0.2
def left(program):
    with kills.nothing_left(Path(sys.argv[2], program), files=True):
        subprocess.Popen([sys.executable, "-c", program]).wait(10) if "tempfile" in program else subprocess.Popen(
            [sys.executable, "-c", program], start_new_session=True
        )

for program in ("import time; time.sleep(3)", "import tempfile; tempfile.mkstemp()"):
    Path(sys.argv[2], program).mkdir()
    try:
        left(program)
    except kills.Finding as finding:
        print(str(finding).split(":")[0])
"""
    command = [sys.executable, "-c", script, ROOT / "benchmarks", tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == ["processes are left", "files are left"], ran.stderr
