#!/usr/bin/env bash
# The wheel of paddlepaddle-gpu 2.6.2 holds machine code for compute capability 6.1, 7.0, 7.5, 8.0 and 8.6 alone, nearly without PTX:
# 665 of its 673 modules of GPU code have nothing that a card of capability 9.0 (H100) or newer could run.
# One would have guessed that a CUDA 11.8 wheel, and CUDA 11.8 knows 9.0, runs on such a card, or at least compiles its PTX there. But
# Paddle sees the card, says it has CUDA, and fails at the first kernel. Builds for newer cards come from Paddle's own package index.
# Source: the fat binaries in the wheel's largest library. Each has a head (magic BA55ED50, version, size of the head, size) and entries
# (kind 1 PTX or 2 machine code, size of the entry's head, size; the capability at byte 28). Downloads 760 MB; no GPU is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip download --quiet --no-cache-dir --no-deps --only-binary :all: --platform manylinux1_x86_64 \
    --python-version 3.11 --dest "$folder" paddlepaddle-gpu==2.6.2
"$folder/venv/bin/python" - "$folder"/*.whl <<'PYTHON'
import collections
import struct
import sys
import zipfile

MAGIC = struct.pack("<I", 0xBA55ED50)  # head of a fat binary: magic, version (u16), size of the head (u16), size of what follows (u64)
KEEP = 64

wheel = zipfile.ZipFile(sys.argv[1])
member = max((entry for entry in wheel.infolist() if entry.filename.endswith(".so")), key=lambda entry: entry.file_size)
modules, architectures, held = 0, collections.Counter(), collections.Counter()
with wheel.open(member) as stream:
    data = b""
    while True:
        at = data.find(MAGIC)
        if at < 0:
            block = stream.read(1 << 24)
            if not block:
                break
            data = data[-KEEP:] + block if len(data) > KEEP else data + block
            continue
        data = data[at:]
        while len(data) < 16:
            block = stream.read(1 << 24)
            if not block:
                break
            data += block
        if len(data) < 16:
            break
        _, version, head, size = struct.unpack_from("<IHHQ", data)
        if version != 1 or head != 16 or size > 1 << 28:
            data = data[4:]
            continue
        while len(data) < 16 + size:
            block = stream.read(1 << 24)
            if not block:
                break
            data += block
        place, found = 16, set()
        while place + 32 <= min(16 + size, len(data)):
            kind, _, entry_head, entry_size = struct.unpack_from("<HHIQ", data, place)
            (capability,) = struct.unpack_from("<I", data, place + 28)
            if kind not in (1, 2) or entry_head < 32:
                break
            found.add(("PTX" if kind == 1 else "sm", capability))
            place += entry_head + entry_size
        if found:
            modules += 1
            architectures.update(found)
            able = any(kind == "sm" and capability in (90,) for kind, capability in found) or any(kind == "PTX" for kind, _ in found)
            held["can run on 9.0" if able else "nothing for 9.0"] += 1
        data = data[16 + size :]
print(f"paddlepaddle-gpu 2.6.2, {member.filename}: {modules} modules")
for (kind, capability), count in sorted(architectures.items(), key=str):
    print(f"  {kind}_{capability}: in {count}" if kind == "sm" else f"  PTX for {capability}: in {count}")
for what, count in held.items():
    print(f"  {what}: {count}")
wanted = {("sm", number) for number in (61, 70, 75, 80, 86)}
common = {key for key, count in architectures.items() if key[0] == "sm" and count > modules // 2}
sys.exit(0 if common == wanted and held["nothing for 9.0"] > 0.9 * modules else 1)
PYTHON
