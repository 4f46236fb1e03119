"""Teacher traces on disk, keyed by the token ids of a row, readable and writable by any number of processes at the same time.

A store is a folder: `store.json` identifies what the traces depend on; each writer appends to its own segments. A segment is three files:
`<name>.json` (the parts of its rows), `<name>.rows` (their bytes) and `<name>.index` (one fixed-size record per row: key, position, length,
CRC-32 of the bytes, CRC-32 of the record). A record is written after its bytes, so complete rows of a killed process can be read. A
record with a wrong checksum counts as missing, and the row is stored again. Of several copies of a part, the oldest is read, so that
every reader finds the same one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import time
import zlib
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.traces.parts import Part, RowParts, part_places

FORMAT = 1
DESCRIPTION = "store.json"
_RECORD = np.dtype([("key", "V16"), ("offset", "<u8"), ("bytes", "<u4"), ("length", "<u4"), ("crc", "<u4"), ("check", "<u4")])
INDEX_BYTES = _RECORD.itemsize  # of a row, besides its parts


def row_key(ids: np.ndarray, segments: np.ndarray) -> bytes:
    """The key of a row of token ids and token type ids, both `[T]` without padding; 16 bytes."""
    return hashlib.blake2b(ids.astype("<i4").tobytes() + segments.astype(np.uint8).tobytes(), digest_size=16).digest()


class _Segment:
    """One segment: the names of its parts with their positions, and the records read so far.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError, KeyError, TypeError, AttributeError: the description is malformed.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        described = json.loads(base.with_suffix(".json").read_text(encoding="utf-8"))
        self.parts = [Part(entry["name"], tuple(entry["shape"]), entry["dtype"]) for entry in described["parts"]]
        self.selected: str | None = described["selected"]
        self.names = (*(part.full_name for part in self.parts), *([self.selected] if self.selected else []))
        sum(part.bytes(1) for part in self.parts)  # rejects malformed shapes and types
        for suffix in (".rows", ".index"):
            base.with_suffix(suffix).stat()
        self.checked = described.get("checked", False)  # False in stores of older versions: records have no CRC
        self.records = np.empty(0, _RECORD)
        self.verified: set[int] = set()
        self._file: int | None = None

    def new_records(self) -> np.ndarray:
        """Complete records that were appended since the last call."""
        try:
            with open(self.base.with_suffix(".index"), "rb") as file:
                file.seek(len(self.records) * _RECORD.itemsize)
                data = file.read()
        except FileNotFoundError:  # deleted since
            data = b""
        fresh = np.frombuffer(data[: len(data) - len(data) % _RECORD.itemsize], _RECORD)
        self.records = np.concatenate([self.records, fresh]) if len(fresh) else self.records
        return fresh

    def read(self, number: int) -> memoryview | None:
        """The bytes of a row, None if they are damaged."""
        record = self.records[number]
        if self.checked and number not in self.verified and record["check"] != _crc(record):
            return None
        try:
            if self._file is None:
                self._file = os.open(self.base.with_suffix(".rows"), os.O_RDONLY)
            data = os.pread(self._file, int(record["bytes"]), int(record["offset"]))
        except (OSError, OverflowError):
            return None
        if number not in self.verified:
            if len(data) != record["bytes"] or zlib.crc32(data) != record["crc"]:
                return None
            self.verified.add(number)
        return memoryview(data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class TraceStore:
    """The traces of one teacher.

    identity: everything that the traces depend on, by name. `damaged` counts damaged rows.

    Raises:
        UserError: the folder contains traces of another teacher (the message lists the differences) or other files, or is not writable.
    """

    def __init__(self, folder: Path, identity: dict[str, object]) -> None:
        self.folder, self.damaged, self.written = folder, 0, 0
        self._segments: list[_Segment] = []
        self._known: set[str] = set()
        self._rows: dict[bytes, int | tuple[int, ...]] = {}  # one position, or several if parts were added later
        self._writers: dict[tuple[str, ...], tuple[int, int, int]] = {}
        self._identity = identity
        try:
            if folder.exists():
                self._check()
            self.refresh()
        except OSError as error:
            raise UserError(f"the folder of teacher traces {folder} cannot be used: {error}\nchoose another folder") from error

    def _check(self) -> None:
        path = self.folder / DESCRIPTION
        if not path.is_file():
            others = [entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")]
            if others:
                raise UserError(f"{self.folder} contains other files ({others[0]}), not teacher traces\nname an empty or new folder")
            return
        try:
            then = json.loads(path.read_text(encoding="utf-8"))["identity"]
            different = {name: (then.get(name), value) for name, value in self._identity.items() if then.get(name) != value}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged ({error!r})\ndelete {self.folder}, or choose another folder") from None
        if different:
            lines = [f"  {name}: stored {_short(old)}, wanted {_short(new)}" for name, (old, new) in different.items()]
            raise UserError("\n".join([f"{self.folder} contains the traces of another teacher:", *lines, "choose another folder"]))

    def refresh(self) -> None:
        """Read what this and other processes have appended."""
        for path in sorted(self.folder.glob("*.json")):
            if path.name != DESCRIPTION and path.name not in self._known:
                self._known.add(path.name)
                try:
                    self._segments.append(_Segment(path.with_suffix("")))
                except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                    logger.warning(f"the stored teacher traces of {path} cannot be read ({error!r}); they are not used")
        for number, segment in enumerate(self._segments):
            begin = len(segment.records)
            for row, key in enumerate(segment.new_records()["key"]):
                self._add(key.tobytes(), number, begin + row)

    def _add(self, key: bytes, segment: int, row: int) -> None:
        place = segment << 40 | row
        self._rows[key] = (*self._places(key), place) if key in self._rows else place

    def _places(self, key: bytes) -> tuple[int, ...]:
        places = self._rows.get(key, ())
        return (places,) if isinstance(places, int) else places

    def __len__(self) -> int:
        return len(self._rows)

    def _age(self, place: int) -> tuple[str, int]:
        return self._segments[place >> 40].base.name, place

    def read(self, key: bytes, parts: RowParts) -> dict[str, memoryview]:
        """The bytes of a row by part name, without missing and damaged parts."""
        found: dict[str, memoryview] = {}
        places = self._places(key)
        for place in sorted(places, key=self._age) if len(places) > 1 else places:
            segment, number = self._segments[place >> 40], place & (1 << 40) - 1
            useful = [name for name in parts.names if name in segment.names and name not in found]
            if not useful:
                continue
            data = segment.read(number)
            if data is None:
                self.damaged += 1
                if self.damaged == 1:
                    logger.warning(f"stored teacher traces in {segment.base.with_suffix('.rows')} are damaged; damaged rows are not used")
                self._rows[key] = tuple(other for other in self._places(key) if other != place)
                continue
            at = part_places(segment.parts, segment.selected, int(segment.records[number]["length"]))
            found |= {name: data[slice(*at[name])] for name in useful}
        return found

    def has(self, key: bytes, parts: RowParts) -> bool:
        """Whether all parts of a row are stored; without reading them."""
        return set(self.names_of(key) or ()).issuperset(parts.names)

    def names_of(self, key: bytes) -> list[str] | None:
        """The names of a row's parts that were not found damaged; None if the row was never stored."""
        if key not in self._rows:
            return None
        return list(dict.fromkeys(name for place in self._places(key) for name in self._segments[place >> 40].names))

    def append(self, parts: RowParts, keys: list[bytes], lengths: np.ndarray, rows: list[bytes]) -> None:
        """Append rows, with the bytes of each from `RowParts.encode`.

        Raises:
            OSError: the disk is full or the folder is missing.
            UserError: another run has created the store since, for another teacher.
        """
        number, data, index = self._writer(parts)
        segment = self._segments[number]
        begin = os.lseek(data, 0, os.SEEK_END)
        sizes = np.array([len(row) for row in rows], np.int64)
        records = np.zeros(len(rows), _RECORD)
        records["key"] = np.frombuffer(b"".join(keys), "V16")
        records["offset"] = begin + np.concatenate([[0], np.cumsum(sizes)[:-1]])
        records["bytes"], records["length"] = sizes, lengths
        records["crc"] = [zlib.crc32(row) for row in rows]
        records["check"] = [_crc(record) for record in records]
        _write(data, b"".join(rows))
        _write(index, records.tobytes())
        for key, row in zip(keys, range(len(segment.records), len(segment.records) + len(rows)), strict=True):
            self._add(key, number, row)
        segment.records = np.concatenate([segment.records, records])
        self.written += int(sizes.sum())

    def _writer(self, parts: RowParts) -> tuple[int, int, int]:
        if parts.names not in self._writers:
            self.folder.mkdir(parents=True, exist_ok=True)  # with the first row, so that a rejected run leaves no files
            with storage.lock(self.folder / ".store"):
                if not (self.folder / DESCRIPTION).is_file():
                    storage.write_json(self.folder / DESCRIPTION, {"format": FORMAT, "identity": self._identity})
            self._check()  # another run may have created it since
            base = self.folder / f"{time.time_ns():016x}-{secrets.token_hex(4)}"
            flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY
            files = [os.open(base.with_suffix(suffix), flags, 0o644) for suffix in (".rows", ".index")]
            selected = parts.selected.name if parts.selected else None
            described = {"parts": [dataclasses.asdict(part) for part in parts.parts], "selected": selected, "checked": True}
            storage.write_json(base.with_suffix(".json"), described)
            self._known.add(base.with_suffix(".json").name)
            self._segments.append(_Segment(base))
            self._writers[parts.names] = (len(self._segments) - 1, *files)
        return self._writers[parts.names]

    def close(self) -> None:
        """Close every file."""
        for _, *files in self._writers.values():
            for file in files:
                os.close(file)
        self._writers.clear()
        for segment in self._segments:
            segment.close()


def _crc(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[:-4])


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _short(value: object) -> str:
    text = str(value)
    return text[:12] + "..." if len(text) == 64 and " " not in text else text
