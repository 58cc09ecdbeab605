"""``python -m multiconv``."""

from multiconv.cli import main

main(prog_name="multiconv")
