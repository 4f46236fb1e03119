"""The results of a comparison: one line per student and method, means over seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tinybert.compare.plan import Row, method_of
from tinybert.compare.runner import LOG
from tinybert.deploy.bench import Measured
from tinybert.language import translate
from tinybert.report.table import markdown_table


@dataclass(frozen=True)
class Line:
    """One student trained with one method.

    scores: by seed, in percent. minutes: mean training time. rows: number of training rows. error: why every run failed.
    """

    student: str
    method: str
    scores: tuple[float, ...] = ()
    minutes: float | None = None
    parameters: int | None = None
    rows: int | None = None
    folder: Path | None = None
    measured: Measured | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """Student and method."""
        return f"{self.student}, {self.method}"

    @property
    def mean(self) -> float:
        """The mean score."""
        return statistics.fmean(self.scores)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds; None for a single seed."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    def as_json(self) -> dict[str, object]:
        """Its values as a JSON object."""
        values = asdict(self) | {"folder": str(self.folder) if self.folder else None}
        return values | ({"mean": self.mean, "deviation": self.deviation} if self.scores else {})


def score_of(row: Row, metric: str) -> float:
    """The score of a finished run's final model, in percent."""
    results = json.loads((row.folder / "eval_results.json").read_text(encoding="utf-8"))
    return 100 * results["prediction"]["final"][metric]


def teacher_score(row: Row, metric: str) -> float | None:
    """The teacher's score in percent on the dev rows, as evaluated by a finished run; None if that did not read a teacher."""
    record = json.loads((row.folder / "run.json").read_text(encoding="utf-8"))
    scores = [entry["teacher_scores"][metric] for entry in record.values() if metric in entry.get("teacher_scores", {})]
    return 100 * scores[0] if scores else None


def lines_of(rows: Sequence[Row], codes: Mapping[str, int], metric: str) -> list[Line]:
    """One line per student and method, in the order of the plan. codes: exit codes by run name."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.line, []).append(row)
    found = []
    for group in groups.values():
        student, method = group[0].student, group[0].method
        done = [row for row in group if codes.get(row.name) == 0]
        if not done:
            found.append(Line(student, method, error=error_of(group[0]) if group[0].name in codes else "not run"))
            continue
        records = [json.loads((row.folder / "run.json").read_text(encoding="utf-8")) for row in done]
        seconds = [sum(entry.get("seconds") or 0 for entry in record.values()) for record in records]
        entry = records[0]["prediction"]
        parameters = entry["models"]["student"].get("parameters")
        trained = max(part["rows"] for split, part in entry["data"].items() if split.startswith("train"))
        scores = tuple(score_of(row, metric) for row in done)
        found.append(Line(student, method, scores, statistics.fmean(seconds) / 60, parameters, trained, done[0].folder / "final"))
    return found


def error_of(row: Row) -> str:
    """The last line printed by a failed run, from its error message if there is one."""
    path = row.folder / LOG
    said = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()] if path.is_file() else []
    errors = [line for line in said if line.startswith(translate("error: ").strip())]
    return (errors or [line for line in said if line] or ["it printed nothing"])[-1]


def table(lines: Sequence[Line], teacher: Measured, metric: str) -> str:
    """The comparison as a Markdown table; the teacher comes first."""
    header = [
        "student", "method", "training rows", f"{metric}, %", "of the teacher", "parameters", "MB", "ms a row", "times as fast", "rows/s",
        "training, min",
    ]  # fmt: skip
    rows = [["teacher", "", "", f"{teacher.score:.2f}", "100%", "", *_costs(teacher, teacher), ""]]
    for line in lines:
        if line.measured is None:
            rows.append([line.student, line.method, "", "failed", line.error or "", *[""] * 6])
            continue
        score = f"{line.mean:.2f}" + (f" ± {line.deviation:.2f}" if line.deviation is not None else "")
        kept = f"{100 * line.mean / teacher.score:.1f}%" if teacher.score > 0 else ""
        parameters = f"{line.parameters / 1e6:.1f} M" if line.parameters else ""
        costs = _costs(line.measured, teacher)
        rows.append([line.student, line.method, f"{line.rows:,}", score, kept, parameters, *costs, f"{line.minutes:.1f}"])
    return markdown_table(header, rows)


def _costs(one: Measured, teacher: Measured) -> list[str]:
    """Size, time per row, speed-up over the teacher, rows per second."""
    faster = teacher.milliseconds / one.milliseconds
    return [f"{one.megabytes:.1f}", f"{one.milliseconds:.2f}", f"{faster:.1f}", f"{one.rows_per_second:.0f}"]


def conditions(updates: int, batch_size: int, seeds: Sequence[int], threads: int) -> str:
    """How the values in the table were measured."""
    spread = f"mean ± standard deviation of seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}"
    return (
        f"Each student: {updates:,} updates of {batch_size} rows. Score: on dev, last model, {spread}. Time: median of single rows, "
        f"tokenisation included, {threads} threads."
    )


def best_and_plain(lines: Sequence[Line]) -> tuple[Line | None, Line | None]:
    """The line with the best mean score and, if it used a teacher, that of the same student without one."""
    best = max((line for line in lines if line.scores), key=lambda line: line.mean, default=None)
    if best is None or not method_of(best.method).reads_teacher:
        return best, None
    same = (line for line in lines if line.scores and line.student == best.student and not method_of(line.method).reads_teacher)
    return best, next(same, None)


def advice(lines: Sequence[Line], teacher: Measured, error: float | None = None) -> list[str]:
    """Suggested next steps based on the results. error: of the gain over the same student without a teacher, in points."""
    best, plain = best_and_plain(lines)
    if best is None:
        return ["No run succeeded: fix the errors above and run the same command with --resume."]
    found = [f"Best score: {best.name} ({best.mean:.2f}). Export it: tinybert export --model_path {best.folder}"]
    if plain is not None:
        sure = "" if error is None else f" (standard error {error:.2f}, over dev rows{' and seeds' if len(best.scores) > 1 else ''})"
        found.append(f"The difference to the same student without a teacher is {best.mean - plain.mean:+.2f} points{sure}.")
    if best.mean < 0.97 * teacher.score:
        kept = 100 * best.mean / teacher.score
        found.append(f"It retains {kept:.1f}% of the teacher's score. More updates, augmented rows or a general student may help.")
    if best.deviation is None:
        found.append("Single seed: differences of one or two points may be noise; use --seeds 1 2 3 to check.")
    return found
