"""What all tests share: the five backends and Hypothesis's profiles.

The fixture `backend` is that of multiconv's own pytest plugin; pyproject.toml names the five, none of which may be
missing.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import multiconv as mc
from multiconv.lessons import run as lessons
from multiconv.workers import compile_cache

os.environ.update(
    compile_cache.environment("jax")
)  # before anything imports JAX, whose compiler is a third of the time

# A shell in the background, and nohup, ignore these, and a process passes that on to those that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGQUIT, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_DFL)

TESTS = Path(__file__).parent
ROOT = TESTS.parent

FIVE = ("numpy", "torch", "jax", "tensorflow", "mxnet")

common = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", max_examples=50, derandomize=True, database=None, **common)
settings.register_profile("long", max_examples=1000, **common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def five() -> dict[str, mc.Backend]:
    """All five by name."""
    return {name: mc.backend(name) for name in FIVE}


@pytest.fixture(scope="session")
def lesson_tabs() -> dict[str, dict[str, lessons.Tab]]:
    """What comes of every lesson in all five; who asks is in the group "lessons", so that they run once."""
    return lessons.run(lessons.lessons())
