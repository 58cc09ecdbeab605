"""The tests that docs/guarantees.md names exist."""

from __future__ import annotations

import re

from conftest import ROOT, TESTS

PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`([a-z_]+/test_\w+\.py)(?:::(test_\w+))?`", PAGE)
    assert len(named) > 30
    for file, test in named:
        source = (TESTS / file).read_text(encoding="utf-8")
        assert f"\ndef {test}(" in source or not test, (file, test)


def test_every_row_names_a_test_or_a_command() -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith("| ") and not row.startswith("| promise")]
    for row in rows:
        assert re.search(r"`\w+/test_\w+\.py|`make \w+`", row.rsplit("|", 2)[1]), row


def test_every_command_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"`make (\w+)`", PAGE):
        assert f"\n{command}: " in makefile, command
