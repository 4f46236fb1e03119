"""The results of a comparison: one line per student and method, means over seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybert.compare.plan import Row, method_of
from tinybert.compare.runner import LOG
from tinybert.deploy.bench import Measured
from tinybert.report.table import markdown_table


@dataclass(frozen=True)
class Line:
    """One student trained with one method. scores: by seed, in percent. minutes: mean training time. error: why every run failed."""

    student: str
    method: str
    scores: tuple[float, ...] = ()
    minutes: float | None = None
    parameters: int | None = None
    folder: Path | None = None
    measured: Measured | None = None
    error: str | None = None

    @property
    def mean(self) -> float:
        """The mean score."""
        return statistics.fmean(self.scores)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds; None for a single seed."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def score_of(row: Row, metric: str) -> float:
    """The score of a finished run's final model, in percent."""
    results = json.loads((row.folder / "eval_results.json").read_text(encoding="utf-8"))
    return 100 * results["prediction"]["final"][metric]


def lines_of(rows: Sequence[Row], codes: Mapping[str, int], metric: str) -> list[Line]:
    """One line per student and method, in the order of the plan. codes: exit codes by run name."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.student, row.method), []).append(row)
    found = []
    for (student, method), group in groups.items():
        done = [row for row in group if codes.get(row.name) == 0]
        if not done:
            found.append(Line(student, method, error=error_of(group[0]) if group[0].name in codes else "not run"))
            continue
        records = [json.loads((row.folder / "run.json").read_text(encoding="utf-8")) for row in done]
        seconds = [sum(entry.get("seconds") or 0 for entry in record.values()) for record in records]
        parameters = records[0]["prediction"]["models"]["student"].get("parameters")
        scores = tuple(score_of(row, metric) for row in done)
        found.append(Line(student, method, scores, statistics.fmean(seconds) / 60, parameters, done[0].folder / "final"))
    return found


def error_of(row: Row) -> str:
    """The last line printed by a failed run, from its error message if there is one."""
    path = row.folder / LOG
    said = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()] if path.is_file() else []
    errors = [line for line in said if line.startswith("error:")]
    return (errors or [line for line in said if line] or ["it printed nothing"])[-1]


def table(lines: Sequence[Line], teacher: Measured, metric: str) -> str:
    """The comparison as a Markdown table; the teacher comes first."""
    header = [
        "student", "method", f"{metric}, %", "of the teacher", "parameters", "MB", "ms a row", "times as fast", "rows/s", "training, min",
    ]  # fmt: skip
    own = [
        f"{teacher.megabytes:.1f}", f"{teacher.milliseconds:.2f}", "1.0", f"{teacher.rows_per_second:.0f}", ""
    ]  # fmt: skip
    rows = [["teacher", "", f"{teacher.score:.2f}", "100%", "", *own]]
    for line in lines:
        if line.measured is None:
            rows.append([line.student, line.method, "failed", line.error or "", *[""] * 6])
            continue
        score = f"{line.mean:.2f}" + (f" ± {line.deviation:.2f}" if line.deviation is not None else "")
        kept = f"{100 * line.mean / teacher.score:.1f}%" if teacher.score > 0 else ""
        one = line.measured
        rows.append(
            [
                line.student, line.method, score, kept, f"{line.parameters / 1e6:.1f} M" if line.parameters else "", f"{one.megabytes:.1f}",
                f"{one.milliseconds:.2f}", f"{teacher.milliseconds / one.milliseconds:.1f}", f"{one.rows_per_second:.0f}",
                f"{line.minutes:.1f}",
            ]
        )  # fmt: skip
    return markdown_table(header, rows)


def advice(lines: Sequence[Line], teacher: Measured) -> list[str]:
    """Suggested next steps based on the results."""
    done = [line for line in lines if line.scores]
    if not done:
        return ["No run succeeded: fix the errors above and run the same command with --resume."]
    best = max(done, key=lambda line: line.mean)
    found = [f"Best score: {best.student}, {best.method} ({best.mean:.2f}). Export it: tinybert export --model_path {best.folder}"]
    plain = max((line.mean for line in done if not method_of(line.method).reads_teacher and line.student == best.student), default=None)
    if plain is not None and method_of(best.method).reads_teacher:
        found.append(f"The difference to the same student without a teacher is {best.mean - plain:+.2f} points.")
    if best.mean < 0.97 * teacher.score:
        kept = 100 * best.mean / teacher.score
        found.append(f"It retains {kept:.1f}% of the teacher's score. More updates, augmented rows or a general student may help.")
    if all(line.deviation is None for line in done):
        found.append("Single seed: differences of one or two points may be noise; use --seeds 1 2 3 to check.")
    return found
