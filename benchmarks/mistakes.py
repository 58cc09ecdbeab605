"""Write docs/mistakes.md: the mistakes that a diagnosis names, and which are told apart from which."""

from __future__ import annotations

from pathlib import Path

from multiconv.subjects.told_apart import page

PAGE = Path(__file__).parents[1] / "docs" / "mistakes.md"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
