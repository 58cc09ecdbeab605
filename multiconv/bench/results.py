"""Results of a benchmark: a row for each timed entry, and ratios between rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from multiconv.bench import statistics
from multiconv.bench.cases import Case, usual_mode
from multiconv.bench.workers import Variant
from multiconv.guest.timed import TimedCall
from multiconv.running import Missing

MEASURED = "measured"
SPARE_THREADS = 0.05  # tolerance: the processor's clock also counts the start and end of a loop
TICK = 0.004  # seconds, error of the processor's clock: it showed up to 2.8 threads for 2 in 3 ms


@dataclass(frozen=True)
class Entry:
    """The subject of a row: a case, computed by a variant of a backend in a mode.

    Attributes
    ----------
    case : Case
    variant : Variant
    mode : str
    twin : str
        ``"A"`` or ``"A again"`` for one of two equal entries, timed to measure the noise; else empty.
    """

    case: Case
    variant: Variant
    mode: str
    twin: str = ""

    @property
    def call(self) -> TimedCall:
        """Return the call to time."""
        case = self.case
        return TimedCall(case.direction, self.mode, case.layout, case.geometry, case.dtype)

    @property
    def title(self) -> str:
        """Return a description in words, distinct for each row."""
        return f"{self.case.title}, {self.variant.label} {self.mode}{self.twin and ', ' + self.twin}"


@dataclass
class Measurement:
    """The measurement of an entry in one process.

    Attributes
    ----------
    title : str
        Title of the entry.
    process : int
    status : str
        ``"measured"``, ``"wrong"``, ``"crashed"``, ``"timed out"``, ``"unsupported"``, or ``"failed"`` if the framework
        raised an exception.
    reason : str
        Why it was not measured.
    checked : str
        Image on which the answer was checked before the timing: ``"whole"``, or the size of a smaller one.
    seconds : list of float
        Seconds per call, for each round.
    processor : float
        Processor seconds per wall-clock second, over all rounds.
    first_call : float
        Seconds of the first call, including compilation, allocation and start-up.
    loops : int
        Number of calls over which a round's time is averaged.
    matmul_rate : float
        Operations per second of the framework's matrix product in this process.
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
        """Return the mean duration of a round in seconds; infinity if none was measured."""
        return float(np.mean(self.seconds)) * self.loops if self.seconds else np.inf


@dataclass
class Row:
    """An entry and its measurement in each process.

    Attributes
    ----------
    entry : Entry
    measurements : list of Measurement
    """

    entry: Entry
    measurements: list[Measurement]

    @property
    def status(self) -> str:
        """Return ``"measured"``, or the status of the first failure."""
        return next((m.status for m in self.measurements if m.status != MEASURED), MEASURED)

    @property
    def reason(self) -> str:
        """Return the reason of the first failure; empty if there is none."""
        return next((m.reason for m in self.measurements if m.status != MEASURED), "")

    @property
    def samples(self) -> list[list[float]]:
        """Return the seconds per call: for each process, one number per round."""
        return [m.seconds for m in self.measurements if m.status == MEASURED]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Return the quartiles of the seconds per call over all processes: lower, median, upper."""
        return statistics.quartiles([s for of_process in self.samples for s in of_process])

    @property
    def median(self) -> float:
        """Return the median of the seconds per call."""
        return self.quartiles[1]

    @property
    def first_call(self) -> float:
        """Return the seconds of the first call: the median over the processes."""
        return float(np.median([m.first_call for m in self.measurements]))

    @property
    def compilation(self) -> float | None:
        """Return the seconds by which the first call exceeds a later one; None if nothing is compiled."""
        return None if self.entry.mode == "eager" else max(self.first_call - self.median, 0.0)

    @property
    def rate(self) -> float:
        """Return the operations per second, including those on padding."""
        return self.entry.case.flops / self.median

    @property
    def rate_without_padding(self) -> float:
        """Return the operations per second, excluding those on padding."""
        return self.entry.case.flops_without_padding / self.median

    @property
    def fraction_of_matmul(self) -> float:
        """Return the rate divided by that of the framework's matrix product in the same process."""
        fractions = [self.entry.case.flops / np.median(m.seconds) / m.matmul_rate for m in self.measurements]
        return float(np.mean(fractions))

    @property
    def processor(self) -> float:
        """Return the processor seconds per wall-clock second: the largest of all processes."""
        return max(m.processor for m in self.measurements)

    @property
    def exceeds_threads(self) -> bool:
        """Return whether it used more threads than it was given, beyond the error of the clock."""
        return any(m.processor > self.entry.case.threads + SPARE_THREADS + TICK / m.round for m in self.measurements)

    @property
    def checked(self) -> str:
        """Return the image on which its answer was checked: ``"whole"``, or the size of a smaller one."""
        return self.measurements[0].checked


@dataclass
class Report:
    """The results of a benchmark.

    Attributes
    ----------
    rows : list of Row
    twins : list of (Row, Row)
        Pairs of rows with equal entries.
    workers : list of dict
        Versions, settings, and the rates of matrix product and memory, for each process of each variant.
    missing : list of Missing
        Variants of backends that are not available.
    settings : dict
        The requested settings.
    seconds : float
    """

    rows: list[Row]
    twins: list[tuple[Row, Row]]
    workers: list[dict[str, Any]]
    missing: list[Missing]
    settings: dict[str, Any]
    seconds: float = 0.0

    @property
    def measured(self) -> list[Row]:
        """Return the rows that were measured."""
        return [row for row in self.rows if row.status == MEASURED]

    @property
    def failed(self) -> list[Row]:
        """Return the rows that failed; unsupported rows are not among them."""
        return [row for row in self.rows if row.status not in (MEASURED, "unsupported")]

    @property
    def noise(self) -> float:
        """Return the noise floor: the largest deviation from 1 of a ratio of equal entries."""
        return statistics.noise_floor(
            [statistics.speed_ratio(a.samples, b.samples) for a, b in self.twins if a.samples and b.samples]
        )

    def reference(self, row: Row) -> Row | None:
        """Return the row to compare with: the same case by the reference variant, in its usual mode."""
        label = self.settings["reference"]
        of_case = [r for r in self.rows if r.entry.case == row.entry.case and r.entry.variant.label == label]
        usual = [r for r in of_case if r.entry.mode == usual_mode(r.entry.variant.name)] or of_case
        return usual[0] if usual and usual[0].status == MEASURED else None

    def ratio(self, row: Row) -> statistics.Ratio | None:
        """Return the speed of a row relative to its reference.

        It is None for the reference itself, or if either was not measured.
        """
        reference = self.reference(row)
        if reference is None or reference is row or row.status != MEASURED:
            return None
        return statistics.speed_ratio(reference.samples, row.samples)
