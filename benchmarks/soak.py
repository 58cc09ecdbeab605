"""Soak test: check many drawn problems in rounds, each with fresh workers and its own random seed.

``make soak`` runs ten rounds of 2000 problems on five backends. Each finished round is a line of JSON in the log, so an
interrupted run continues where it stopped. The exit status is 1 if any backend was ever wrong, or lost precision.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from multiconv.check.run import check
from multiconv.core.targets import ORDER
from multiconv.oracle.values import ALL_VALUES
from multiconv.testing.levels import DTYPES

LOG = Path(__file__).parent / "results" / "soak.jsonl"


def soak(
    names: list[str], rounds: Iterable[int], problems: int, dtypes: list[str], values: list[str], log: Path
) -> None:
    """Run the rounds that the log lacks, and add each to it."""
    what = {"problems": problems, "dtypes": dtypes, "values": values}
    done = {r["seed"] for r in finished(log) if all(r[key] == value for key, value in what.items())}
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        todo = [seed for seed in rounds if seed not in done]
        task = bar.add_task("rounds", total=len(todo), last="")
        for seed in todo:
            found = check(names, examples=problems, seed=seed, dtypes=dtypes, values=values, networks=False).asdict()
            for backend in found["backends"]:
                del backend["where"]  # specific to this machine
            with log.open("a") as file:
                file.write(json.dumps({"seed": seed, **what, **found}) + "\n")
            bar.update(task, advance=1, last=f"seed {seed}: {'agree' if found['agrees'] else 'DISAGREE'}")


def finished(log: Path) -> list[dict[str, Any]]:
    """Return the rounds in the log."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def summary(rounds: list[dict[str, Any]]) -> tuple[Table, bool]:
    """Return a table of all rounds, and whether no backend was wrong."""
    table = Table(
        "backend",
        "dtypes",
        "values",
        "seeds",
        "problems",
        "exact",
        "worst error / bound",
        "imprecise",
        "wrong",
        box=None,
    )
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for r in rounds:
        kinds = "all" if set(r["values"]) == set(ALL_VALUES) else ", ".join(r["values"])
        for b in r["backends"]:
            rows.setdefault((b["name"], ", ".join(r["dtypes"]), kinds), []).append({**b, "seed": r["seed"]})
    for (name, dtypes, values), of_backend in rows.items():
        worst = [b["worst_bound_ratio"] for b in of_backend]
        table.add_row(
            name,
            dtypes,
            values,
            f"{min(b['seed'] for b in of_backend)}-{max(b['seed'] for b in of_backend)}",
            f"{sum(b['problems'] for b in of_backend):,}",
            f"{sum(b['exact'] for b in of_backend):,} of {sum(b['integer_problems'] for b in of_backend):,}",
            "infinite" if None in worst else f"{max(worst):.3f}",
            str(sum(b["imprecise"] for b in of_backend)),
            str(sum(d["times"] for b in of_backend for d in b["disagreements"])),
        )
    clean = all(b["verdict"] == "agrees" and not b["imprecise"] for r in rounds for b in r["backends"])
    return table, clean


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=list(ORDER), metavar="BACKEND")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--problems", type=int, default=2000, help="a round")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--dtype", dest="dtypes", action="append")
    parser.add_argument("--values", choices=ALL_VALUES, action="append", help="by default all")
    parser.add_argument("--log", type=Path, default=LOG)
    asked = parser.parse_args()
    asked.log.parent.mkdir(exist_ok=True)
    seeds = range(asked.first_seed, asked.first_seed + asked.rounds)
    soak(asked.names, seeds, asked.problems, asked.dtypes or list(DTYPES), asked.values or list(ALL_VALUES), asked.log)
    table, clean = summary(finished(asked.log))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
