"""What a type checker says of the public API, from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import TESTS

PUBLIC = TESTS / "typing" / "public.py"


def test_the_public_api_has_the_types_that_a_user_expects(tmp_path: Path) -> None:
    """With an error for each ``type: ignore`` that is not needed."""
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--cache-dir", str(tmp_path), PUBLIC]
    environment = {**os.environ, "MYPYPATH": str(PUBLIC.parents[2])}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
