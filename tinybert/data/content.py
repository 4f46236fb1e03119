"""Detects from the first bytes of a file what it is, if it is not UTF-8 text."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from tinybert.errors import UserError

# first bytes of files that are not text, what they are, and how to convert them to text
_MAGIC = (
    (b"PAR1", "a Parquet file", "Name it .parquet, or convert it to CSV: pandas.read_parquet(FILE).to_csv('rows.csv', index=False)"),
    (b"ARROW1", "an Arrow (Feather) file", "Convert it to CSV: pandas.read_feather(FILE).to_csv('rows.csv', index=False)"),
    (b"PK\x03\x04", "a zip archive (or an Excel workbook)", "Unpack it; for a workbook, rename it to .xlsx or save it as CSV in UTF-8."),
    (b"PK\x05\x06", "an empty zip archive", "Give the file itself."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", "Save it as CSV in UTF-8."),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it: gunzip FILE"),
    (b"BZh", "compressed with bzip2", "Unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ\x00", "compressed with xz", "Unpack it: unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it: unzstd FILE"),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV in UTF-8."),
    (b"%PDF", "a PDF document", "Give the rows as TSV, CSV or JSON."),
    (b"\x93NUMPY", "a NumPy array", "Give the rows as TSV, CSV or JSON."),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file", "Download the actual file: git lfs pull"),
)
_MARKS = ((b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_ENOUGH = 64  # bytes needed for detection


def detect_format(begin: bytes) -> tuple[str, str] | None:
    """What a file with this beginning is, and what to do; None if it may be UTF-8 text."""
    for magic, what, cure in _MAGIC:
        if begin.startswith(magic):
            return what, cure
    for mark, encoding in _MARKS:
        if begin.startswith(mark):
            return f"{encoding} text", f"Save it as UTF-8: iconv -f {encoding} -t UTF-8 FILE > NEW"
    for first, order in ((0, "LE"), (1, "BE")):  # ASCII characters, each with a zero byte
        characters, zeros = begin[first:16:2], begin[1 - first : 16 : 2]
        if len(characters) >= 4 and not any(zeros) and all(32 <= c < 127 or c in (9, 10, 13) for c in characters):
            return "UTF-16 text", f"Save it as UTF-8: iconv -f UTF-16{order} -t UTF-8 FILE > NEW"
    return None


def check_is_text(path: Path, file: BinaryIO) -> None:
    """Reject a file, opened in binary mode and not read yet, that is not UTF-8 text.

    Raises:
        UserError: says what it is and how to convert it. The file is then closed.
    """
    known = detect_format(file.peek(_ENOUGH)[:_ENOUGH])
    if known is not None:
        file.close()
        raise UserError(f"{path}, line 1: found {known[0]}, expected UTF-8 text. {known[1].replace('FILE', path.name)}")
