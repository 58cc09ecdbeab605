"""``python -m multiconv``."""

from multiconv.cli.main import main

main(prog_name="multiconv")
