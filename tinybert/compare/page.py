"""The comparison as one offline HTML file: table, figure, curves, and suggested next steps."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinybert import language
from tinybert.compare.plan import Row
from tinybert.engine.run_folder import RunFolder
from tinybert.language import translate
from tinybert.report.figure import as_svg, caption, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .35rem .8rem; border-bottom: 1px solid #ddd; text-align: right }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left } th { border-bottom: 2px solid #888 } tr:hover td { background: #f6f6f6 }
svg { max-width: 100%; height: auto } code { background: #f2f2f2; padding: .1rem .3rem } .note { color: #555 }
"""


def page(title: str, table: str, about: str, notes: Sequence[str], figures: Sequence[Figure]) -> str:
    """The whole page, in the chosen language. table: Markdown. about: a paragraph below it."""
    title, table, about, notes = translate(title), translate(table), translate(about), [translate(note) for note in notes]
    pictures = "\n".join(f"<figure>{as_svg(figure)}</figure>" for figure in figures)
    items = "\n".join(f"<li>{html.escape(note)}</li>" for note in notes)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    above = f'<h1>{html.escape(title)}</h1>\n{_html_table(table)}\n<p class="note">{html.escape(about)}</p>'
    body = f"{above}\n<h2>{translate('Next steps')}</h2>\n<ul>\n{items}\n</ul>\n{pictures}"
    return f'<!doctype html>\n<html lang="{language.current()}">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _html_table(markdown: str) -> str:
    header, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in markdown.strip().splitlines()]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def loss_curves(rows: Sequence[Row]) -> Figure:
    """The training loss over updates, one panel per method, because losses of different methods are not comparable.

    Several seeds of a student are shown as their mean and a band from the lowest to the highest.
    """
    methods = list(dict.fromkeys(row.method for row in rows))
    columns, lines = min(3, len(methods)), -(-len(methods) // 3)
    figure = new_figure(5 * columns, 3.6 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, method in zip(panels, methods, strict=False):
        of_method = [row for row in rows if row.method == method]
        for student in dict.fromkeys(row.student for row in of_method):
            curves = [_losses(row) for row in of_method if row.student == student]
            length = min(len(losses) for _, losses in curves)
            steps, losses = curves[0][0][:length], np.array([losses[:length] for _, losses in curves])
            axis.plot(steps, losses.mean(0), label=student, marker="o" if length < 12 else None, markersize=3)
            if len(curves) > 1:
                axis.fill_between(steps, losses.min(0), losses.max(0), alpha=0.2)
        if all((line.get_ydata() > 0).all() for line in axis.lines):
            axis.set_yscale("log")
        axis.set_title(caption(f"{method}: training loss"))
        axis.set_xlabel(caption("update"))
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    for axis in panels[len(methods) :]:
        axis.remove()
    return figure


def _losses(row: Row) -> tuple[list[int], list[float]]:
    """The updates and losses in the log of a run, its second stage after its first."""
    lines = [line for line in RunFolder(row.folder, "").log_lines() if "event" not in line and "loss" in line]
    begin = max((line["step"] for line in lines if line["stage"] == "intermediate"), default=0)
    return [line["step"] + (begin if line["stage"] == "prediction" else 0) for line in lines], [line["loss"] for line in lines]
