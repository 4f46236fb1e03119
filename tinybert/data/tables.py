"""Rows of Parquet files and Excel workbooks, read by pyarrow and openpyxl if installed."""

from __future__ import annotations

import datetime
import math
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from tinybert.errors import UserError

ROWS = 4096  # in memory at a time
LARGEST = 1 << 32  # bytes of an unpacked workbook


def parquet_rows(path: Path) -> Iterator[dict[str, object]]:
    """The rows of a Parquet file, by column name.

    Raises:
        UserError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise _missing(path, "a Parquet file", "pyarrow", "pandas.read_parquet(FILE).to_csv('rows.csv', index=False)") from None
    try:
        with ParquetFile(path) as file:
            _refuse_twice(path, file.schema_arrow.names)
            for batch in file.iter_batches(ROWS):
                for row in batch.to_pylist():
                    yield {name: _as_text(value) for name, value in row.items()}
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: found no readable Parquet file ({_first_line(error)}). Is the file complete?") from None


def workbook_rows(path: Path) -> Iterator[dict[str, object]]:
    """The rows of a workbook's only sheet, by the names in its first row; empty cells are empty texts, empty rows empty dicts.

    Raises:
        UserError: openpyxl is not installed, the file cannot be read, or several sheets have rows.
    """
    try:
        import openpyxl
    except ImportError:
        raise _missing(path, "an Excel workbook", "openpyxl", "pandas.read_excel(FILE).to_csv('rows.csv', index=False)") from None
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise UserError(f"{path}: found a workbook of more than {LARGEST >> 30} GiB, expected less. Save it as CSV in UTF-8.")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            sheets = [sheet for sheet in book.worksheets if next(sheet.iter_rows(values_only=True), None)]
            if len(sheets) > 1:
                names = ", ".join(sheet.title for sheet in sheets[:5])
                raise UserError(f"{path}: found {len(sheets)} sheets with rows ({names}), expected one. Save the sheet as a separate file.")
            for sheet in sheets:
                rows = sheet.iter_rows(values_only=True)
                names = [str(name).strip() if name is not None else "" for name in next(rows)]
                _refuse_twice(path, [name for name in names if name])
                for row in rows:
                    empty = all(cell is None for cell in row)
                    yield {} if empty else {n: "" if c is None else _as_text(c) for n, c in zip(names, row, strict=False) if n}
        finally:
            book.close()
    except UserError:
        raise
    except Exception as error:  # openpyxl also raises errors of its XML reader and zlib
        raise UserError(f"{path}: found no readable Excel workbook ({_first_line(error)}). Save it again, or as CSV in UTF-8.") from None


def _as_text(value: object) -> object:
    """Numbers and dates as they would be written in a text file; other values are unchanged."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else value
    if isinstance(value, int | Decimal | datetime.date | datetime.time):
        return str(value)
    return value


def _refuse_twice(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: found the column {twice[0]!r} twice, expected different names. Rename one of them.")


def _missing(path: Path, what: str, package: str, cure: str) -> UserError:
    return UserError(
        f"{path}: found {what}, which needs the package {package}, which is not installed.\n"
        f"Install it (pip install {package}), or convert the file to CSV: {cure.replace('FILE', repr(path.name))}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
