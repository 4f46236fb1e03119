"""Load test of `tinybert serve` on loopback: requests per second and latency with 1, 8 and 64 clients, with and without dynamic batching.

    python benchmark/speed/serving.py --model_path served --output serving.json [--seconds 5] [--workers 1] [--texts FILE]

Starts the service twice, with the default settings and with `--max_batch 1` (one row at a time), each in its own process, and lets clients
send one text per request over keep-alive connections as fast as they are answered. Both services alternate for each number of clients. The
clients share the machine with the service: they use plain asyncio, without an HTTP library. Texts are lines of `--texts`, else made-up
sentences of 4 to 24 words. Every answer is checked for its status and a label.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CLIENTS = (1, 8, 64)
SERVICES = {"dynamic batching": (), "one at a time": ("--max_batch", "1")}


def main() -> None:
    """Run the clients against both services and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each service at each number of clients, in each of three rounds")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=Path, help="a file with one text a line")
    options = parser.parse_args()
    texts = options.texts.read_text(encoding="utf-8").splitlines() if options.texts else made_up()
    services = {name: Service(options, words) for name, words in SERVICES.items()}
    found: dict[str, dict[int, list[tuple[int, list[float], float]]]] = {name: {count: [] for count in CLIENTS} for name in services}
    try:
        for service in services.values():
            asyncio.run(load(service.port, 4, 1.0, texts))  # the first requests are slower
        for _ in range(3):
            for count in CLIENTS:
                for name, service in services.items():
                    found[name][count].append(asyncio.run(load(service.port, count, options.seconds, texts)))
    finally:
        for service in services.values():
            service.stop()
    record = {name: {count: summary(runs) for count, runs in by_count.items()} for name, by_count in found.items()}
    options.output.write_text(json.dumps(record, indent=1))
    print(table(record))


def made_up() -> list[str]:
    """Sentences of common words, with the lengths of reviews."""
    sentence = "the film is a fine and moving story of people who live at sea with little more than hope"
    words = sentence.split()
    random = np.random.default_rng(0)
    return [" ".join(random.choice(words, random.integers(4, 25))) for _ in range(500)]


class Service:
    """`tinybert serve` in a separate process, on a free port."""

    def __init__(self, options: argparse.Namespace, words: tuple[str, ...]) -> None:
        command = [sys.executable, "-m", "tinybert", "serve", "--model_path", options.model_path, "--port", "0"]
        command += ["--threads", str(options.threads), "--workers", str(options.workers), *words]
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
        for line in self.process.stdout:
            address = re.search(r"on http://\S+:(\d+)", line)
            if address:
                self.port = int(address[1])
                return
        raise SystemExit("the service did not start; its messages are above")

    def stop(self) -> None:
        """Stop it like a supervisor."""
        self.process.terminate()
        self.process.wait()


async def load(port: int, clients: int, seconds: float, texts: list[str]) -> tuple[int, list[float], float]:
    """The number of answered requests, the latency of each in milliseconds, and the total seconds."""
    latencies: list[float] = []
    begun = time.perf_counter()
    until = begun + seconds
    await asyncio.gather(*(client(port, until, texts[i::clients] or texts, latencies) for i in range(clients)))
    return len(latencies), latencies, time.perf_counter() - begun


async def client(port: int, until: float, texts: list[str], latencies: list[float]) -> None:
    """One keep-alive connection that sends the next text when the last one is answered."""
    reader, writer = await connect(port)
    number = 0
    while time.perf_counter() < until:
        body = json.dumps({"text": texts[number % len(texts)]}).encode()
        number += 1
        begun = time.perf_counter()
        writer.write(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
        answer = await reader.readexactly(length)
        latencies.append(1000 * (time.perf_counter() - begun))
        if b" 200 " not in head.split(b"\r\n")[0] or b'"predictions"' not in answer:
            raise SystemExit(f"the service answered {head[:80]!r} {answer[:200]!r}")
    writer.close()


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection; waits for a service that is still starting its workers."""
    for attempt in range(600):
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if attempt == 599:
                raise
            await asyncio.sleep(0.1)
    raise AssertionError


def summary(runs: list[tuple[int, list[float], float]]) -> dict[str, float]:
    """The median over rounds of requests per second, and percentiles of all latencies."""
    latencies = np.concatenate([run[1] for run in runs])
    return {
        "requests_per_second": float(np.median([count / seconds for count, _, seconds in runs])),
        "p50_ms": float(np.percentile(latencies, 50)),
        "p99_ms": float(np.percentile(latencies, 99)),
    }


def table(record: dict[str, dict[int, dict[str, float]]]) -> str:
    """The comparison as Markdown."""
    batched, single = record.values()
    lines = ["| clients | service | requests/s | p50 ms | p99 ms | times one at a time |", "|---:|---|---:|---:|---:|---:|"]
    for count in batched:
        for name, found in record.items():
            one = found[count]
            times = one["requests_per_second"] / single[count]["requests_per_second"]
            numbers = f"{one['requests_per_second']:.0f} | {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {times:.2f}"
            lines.append(f"| {count} | {name} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
