"""A browser for tests: Chromium, which a machine has or has not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's browser. Without one the test is skipped, or fails where MULTICONV_BROWSER says "required"."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        say = pytest.fail if os.environ.get("MULTICONV_BROWSER") == "required" else pytest.skip
        say(f"there is no browser: none of {', '.join(NAMES)} is on the PATH (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Any, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page of a fresh profile, and the list of what must not happen: errors, and requests for anything but files."""
    faults: list[str] = []
    context = browser.new_context(**options)
    try:
        page = context.new_page()
        page.on("console", lambda m: faults.append(f"{page.url}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on(
            "request", lambda r: None if r.url.startswith(("file:", "data:")) else faults.append(f"asked for {r.url}")
        )
        page.on("requestfailed", lambda r: faults.append(f"{page.url}: did not get {r.url}"))
        yield page, faults
    finally:
        context.close()
