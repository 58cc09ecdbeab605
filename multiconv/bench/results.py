"""What a benchmark measured: a row for each thing that was timed, and how the rows compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multiconv.bench import statistics
from multiconv.bench.cases import Case, usual_mode
from multiconv.bench.workers import Variant

MEASURED = "measured"
SPARE_THREADS = 0.05  # two clocks are compared, and the processor's counts what starts and ends a loop
TICK = 0.004  # seconds by which the processor's clock may be off: of two threads in 3 ms it told of up to 2.8


@dataclass(frozen=True)
class Entry:
    """What one row of the results is about: a case, computed by a variant of a backend in a mode.

    Attributes
    ----------
    case : Case
    variant : Variant
    mode : str
    twin : str
        ``"A"`` or ``"A again"`` of two that are the same, timed to see how far they come out apart; else empty.
    """

    case: Case
    variant: Variant
    mode: str
    twin: str = ""

    @property
    def how(self) -> str:
        """As a worker is asked for it."""
        return f"{self.case.direction}/{self.mode}/{self.case.layout}"

    @property
    def title(self) -> str:
        """In words, distinct for each row."""
        return f"{self.case.title}, {self.variant.label} {self.mode}{self.twin and ', ' + self.twin}"


@dataclass
class Measurement:
    """What one process says of an entry.

    Attributes
    ----------
    title : str
        The entry's.
    process : int
    status : str
        ``"measured"``, ``"wrong"``, ``"crashed"``, ``"timed out"``, ``"failed"``, if the framework raised an exception,
        or ``"unsupported"``.
    reason : str
        Why it was not measured.
    checked : str
        On what the answer was judged before: ``"whole"``, or the smaller image.
    seconds : list of float
        Of a call, for each round.
    processor : float
        Seconds of processor a second of wall, over all rounds.
    first_call : float
        Seconds of the first call, with what is compiled, allocated or started in it.
    loops : int
        How many calls a round's number is the mean of.
    matmul_rate : float
        Operations a second of the framework's matrix product in this process.
    """

    title: str
    process: int
    status: str = MEASURED
    reason: str = ""
    checked: str = ""
    seconds: list[float] = field(default_factory=list)
    processor: float = 0.0
    first_call: float = 0.0
    loops: int = 0
    matmul_rate: float = 0.0

    @property
    def round(self) -> float:
        """Seconds of a round, the mean of all."""
        return float(np.mean(self.seconds)) * self.loops if self.seconds else np.inf


@dataclass
class Row:
    """An entry and what was measured of it, in each process.

    Attributes
    ----------
    entry : Entry
    measurements : list of Measurement
    """

    entry: Entry
    measurements: list[Measurement]

    @property
    def status(self) -> str:
        """``"measured"``, or what went wrong first."""
        return next((m.status for m in self.measurements if m.status != MEASURED), MEASURED)

    @property
    def reason(self) -> str:
        """Why it was not measured."""
        return next((m.reason for m in self.measurements if m.status != MEASURED), "")

    @property
    def samples(self) -> list[list[float]]:
        """Seconds a call, of each process a number a round."""
        return [m.seconds for m in self.measurements if m.status == MEASURED]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Seconds a call over all processes: lower quartile, median, upper quartile."""
        return statistics.quartiles([s for of_process in self.samples for s in of_process])

    @property
    def median(self) -> float:
        """Seconds a call."""
        return self.quartiles[1]

    @property
    def first_call(self) -> float:
        """Seconds, the median over the processes."""
        return float(np.median([m.first_call for m in self.measurements]))

    @property
    def compilation(self) -> float | None:
        """Seconds by which the first call takes longer than a later one; None where nothing is compiled."""
        return None if self.entry.mode == "eager" else max(self.first_call - self.median, 0.0)

    @property
    def rate(self) -> float:
        """Operations a second, those on padding counted."""
        return self.entry.case.flops / self.median

    @property
    def rate_without_padding(self) -> float:
        """Operations a second on pixels that are there."""
        return self.entry.case.flops_without_padding / self.median

    @property
    def fraction_of_matmul(self) -> float:
        """The rate, as part of that of the framework's matrix product in the same process."""
        fractions = [self.entry.case.flops / np.median(m.seconds) / m.matmul_rate for m in self.measurements]
        return float(np.mean(fractions))

    @property
    def processor(self) -> float:
        """Seconds of processor a second of wall."""
        return max(m.processor for m in self.measurements)

    @property
    def exceeds_threads(self) -> bool:
        """Whether it has used more threads than it was given, and more than its clock may be off."""
        return any(m.processor > self.entry.case.threads + SPARE_THREADS + TICK / m.round for m in self.measurements)

    @property
    def checked(self) -> str:
        """On what its answer was judged: ``"whole"``, or the smaller image."""
        return self.measurements[0].checked


@dataclass
class Report:
    """What a benchmark measured.

    Attributes
    ----------
    rows : list of Row
    twins : list of (Row, Row)
        The same measured twice.
    workers : list of dict
        For each process of each variant: versions, settings, and the rates of matrix product and memory.
    missing : list of dict
        The backends that were not available: name, reason and the command that gets it.
    settings : dict
        What was asked for.
    seconds : float
    """

    rows: list[Row]
    twins: list[tuple[Row, Row]]
    workers: list[dict[str, Any]]
    missing: list[dict[str, Any]]
    settings: dict[str, Any]
    seconds: float = 0.0

    @property
    def measured(self) -> list[Row]:
        """The rows that have times."""
        return [row for row in self.rows if row.status == MEASURED]

    @property
    def failed(self) -> list[Row]:
        """The rows that should have times and have none."""
        return [row for row in self.rows if row.status not in (MEASURED, "unsupported")]

    @property
    def noise(self) -> float:
        """How far from 1 the ratio of two that are the same has come out: the noise floor."""
        return statistics.noise_floor(
            [statistics.speed_ratio(a.samples, b.samples) for a, b in self.twins if a.samples and b.samples]
        )

    def reference(self, row: Row) -> Row | None:
        """The row of the same case that this one is compared with: the reference variant's, in its usual mode."""
        label = self.settings["reference"]
        of_case = [r for r in self.rows if r.entry.case == row.entry.case and r.entry.variant.label == label]
        usual = [r for r in of_case if r.entry.mode == usual_mode(r.entry.variant.name)] or of_case
        return usual[0] if usual and usual[0].status == MEASURED else None

    def ratio(self, row: Row) -> statistics.Ratio | None:
        """How many times as fast as its reference a row is; None for the reference itself, or if either has no time."""
        reference = self.reference(row)
        if reference is None or reference is row or row.status != MEASURED:
            return None
        return statistics.speed_ratio(reference.samples, row.samples)
