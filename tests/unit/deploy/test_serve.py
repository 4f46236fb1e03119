"""`tinybert serve`: responses, limits, batching, metrics, and a shutdown that loses no request."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.browser import headless_browser
from tests.browser import request_json as get
from tests.unit.deploy.conftest import run, trained_folder
from tinybert.deploy.batching import Batcher, ClosedError, QueueFullError
from tinybert.deploy.predictor import Predictor

ROOT = Path(__file__).resolve().parents[3]
LIBRARIES = ("fastapi", "uvicorn", "prometheus_client", "httpx")
needs_serve = pytest.mark.skipif(not all(map(find_spec, LIBRARIES)), reason=f"not all of {', '.join(LIBRARIES)} are installed")


# === Batches ===


def run_batches(work, **options):
    """Run `work(batcher, batches)` with a batcher that doubles numbers; `batches` records the rows of each batch."""
    batches: list[list[int]] = []

    def double(rows: list[int]) -> list[int]:
        batches.append(rows)
        time.sleep(0.01)
        if 999 in rows:
            raise ValueError("thirteen")
        return [2 * row for row in rows]

    async def main():
        batcher = Batcher(double, **{"max_batch": 8, "max_wait": 0.005, "max_queue": 100, **options})
        await batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(main()), batches


def test_rows_of_many_callers_are_batched_and_answered_in_order():
    async def work(batcher):
        return await asyncio.gather(*(batcher.answers([i, 100 + i]) for i in range(20)))

    found, batches = run_batches(work)
    assert found == [[2 * i, 200 + 2 * i] for i in range(20)]
    assert max(map(len, batches)) == 8 and len(batches) == 5


def test_single_row_is_answered_after_max_wait():
    async def work(batcher):
        begun = time.monotonic()
        assert await batcher.answers([1]) == [2]
        return time.monotonic() - begun

    seconds, _ = run_batches(work, max_wait=0.2)
    assert seconds >= 0.2
    run_batches(work, max_wait=0.0)


def test_full_queue_refuses_whole_requests_and_errors_reach_callers():
    async def work(batcher):
        first = asyncio.ensure_future(batcher.answers([1, 2, 3]))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await batcher.answers([4, 5])
        with pytest.raises(ValueError, match="thirteen"):
            await batcher.answers([999])
        return await first

    found, _ = run_batches(work, max_queue=4, max_batch=3)
    assert found == [2, 4, 6]


def test_stopping_answers_all_accepted_rows():
    async def work(batcher):
        taken = [asyncio.ensure_future(batcher.answers([i])) for i in range(30)]
        await asyncio.sleep(0)
        await batcher.stop()
        with pytest.raises(ClosedError):
            await batcher.answers([1])
        return [answer for (answer,) in await asyncio.wait_for(asyncio.gather(*taken), 1)]

    found, _ = run_batches(work, max_wait=60.0)
    assert found == [2 * i for i in range(30)]


def test_every_change_of_the_queue_is_reported():
    lengths: list[int] = []

    async def work(batcher):
        await batcher.answers([1, 2, 3])

    run_batches(work, max_batch=2, queued=lengths.append)
    assert lengths == [3, 1, 0]


# === The application ===


@needs_serve
def test_texts_and_pairs_of_one_batch_are_answered_in_order(single):
    from tinybert.deploy.service import _answer

    known = Predictor.open(single, 1)
    predictor = replace(known, rows=replace(known.rows, pair=None))  # its folder does not record the kind of its training rows
    rows = [("word1 word2", None), ("word3", "word4"), ("word5", None)]
    expected = [predictor.predict([first if second is None else (first, second)])[0].probabilities for first, second in rows]
    for found, own in zip(_answer(predictor, rows, 8), expected, strict=True):
        assert found.probabilities == pytest.approx(own, abs=1e-6)


@contextmanager
def client(folder: Path, **limits):
    from fastapi.testclient import TestClient

    from tinybert.deploy.service import ServiceSettings, create_app

    predictor = Predictor.open(folder, 1)
    with TestClient(create_app(predictor, ServiceSettings(str(folder), **limits))) as opened:
        yield opened, predictor


@needs_serve
def test_service_answers_like_predict(single, pairs):
    with client(single) as (http, predictor):
        texts = ["word1 word2", "word3", ""]
        found = http.post("/predict", json={"texts": texts, "top_k": 2, "probabilities": True}).json()["predictions"]
        for one, expected in zip(found, predictor.predict(texts), strict=True):
            assert one["label"] == expected.label and [entry["label"] for entry in one["top"]] == [name for name, _ in expected.top(2)]
            assert one["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
        alone = http.post("/predict", json={"text": "word3"}).json()["predictions"]
        assert alone == [{"label": found[1]["label"], "probability": pytest.approx(found[1]["probability"], abs=1e-6)}]
    with client(pairs) as (http, predictor):
        found = http.post("/predict", json={"text": "word1", "text_pair": "word2"}).json()["predictions"][0]
        assert found["label"] == predictor.predict([("word1", "word2")])[0].label
        assert http.post("/predict", json={"texts": [["word1", "word2"]]}).json()["predictions"] == [found]
        assert 'id="pair"' in http.get("/").text


@needs_serve
def test_requests_beyond_the_limits_get_clear_errors(single):
    with client(single, max_rows=2, max_characters=10) as (http, _):

        def refused(body: dict) -> tuple[int, str]:
            response = http.post("/predict", json=body)
            return response.status_code, json.dumps(response.json()["detail"])

        for body, said in (
            ({"texts": ["a", "b", "c"]}, "got 3 texts, expected 1 to 2"),
            ({"texts": []}, "got 0 texts"),
            ({"text": "a" * 11}, "got a text of 11 characters, expected at most 10"),
            ({"text": "a", "text_pair": "b"}, "got pairs, but the model was trained on single texts"),
            ({"texts": [["a", "b", "c"]]}, "got a list of 3 texts, expected a pair"),
            ({"texts": ["a", ["b", "c"]]}, "single texts and pairs together"),
            ({}, "give either text or texts"),
            ({"text": 1}, "valid string"),
            ({"txt": "a"}, "Extra inputs"),
        ):
            status, detail = refused(body)
            assert status == 422 and said in detail, detail
        assert http.post("/predict", content=b'{"text": "' + b"a" * 400_000 + b'"}').status_code == 413
        assert http.post("/predict", content=(part for part in [b"a" * 200_000] * 3)).status_code == 413
        assert http.post("/predict", json={"text": "a"}).status_code == 200


@needs_serve
def test_full_queue_gets_429_until_the_waiting_rows_are_answered(single):
    with client(single, max_rows=3, max_queue=3, max_batch=3, max_wait_ms=60_000) as (http, _), ThreadPoolExecutor() as caller:
        waiting = caller.submit(http.post, "/predict", json={"texts": ["a", "b"]})
        while http.get("/health").json()["waiting"] < 2:
            time.sleep(0.005)
        assert "tinybert_waiting_rows 2.0" in http.get("/metrics").text
        full = http.post("/predict", json={"texts": ["c", "d"]})
        assert full.status_code == 429 and full.headers["retry-after"] == "1"
        assert full.json()["detail"] == "2 rows are waiting; the limit is 3. Try again later."
        assert http.post("/predict", json={"text": "c"}).status_code == waiting.result(60).status_code == 200  # three rows are a batch


@needs_serve
def test_text_with_infinite_outputs_fails_only_its_own_request(single):
    with client(single, max_batch=2, max_wait_ms=60_000) as (http, predictor), ThreadPoolExecutor() as caller:
        computed, broken = predictor.engine.logits, predictor.encode(["word1"])[0].row(0)[1]

        def overflowing(input_ids, token_type_ids):
            return np.where((input_ids == broken).any(1)[:, None], np.inf, computed(input_ids, token_type_ids))

        predictor.engine.logits = overflowing
        bad, good = caller.map(lambda text: http.post("/predict", json={"text": text}), ["word1", "word2"])  # one batch
        assert bad.status_code == 500 and bad.json()["detail"] == "the model's outputs for text 1 are NaN or infinite"
        assert good.status_code == 200 and good.json()["predictions"][0]["label"] in predictor.labels
        assert http.post("/predict", json={"texts": ["word1", "word1"]}).status_code == 500


@needs_serve
def test_every_answer_is_counted_by_its_status(single):
    with client(single, max_rows=2) as (http, predictor):
        for content in (b'{"text": "a"}', b"[]", b'{"texts": []}', b"a" * 4_000_000, (part for part in [b"a" * 2_000_000] * 2)):
            http.post("/predict", content=content, headers={"Content-Type": "application/json"})
        predictor.engine.logits = None  # any defect
        with pytest.raises(TypeError):
            http.post("/predict", json={"text": "a"})
        metrics = http.get("/metrics").text
        counts = dict(re.findall(r'tinybert_requests_total{status="(\d+)"} (\S+)', metrics))
        assert counts == {"200": "1.0", "422": "2.0", "413": "2.0", "500": "1.0"}


def test_queue_smaller_than_the_largest_request_is_refused(capsys):
    assert run("serve", model_path="missing", max_queue=16) == 2
    assert "--max_queue 16 is less than --max_rows 256" in capsys.readouterr().err


@needs_serve
def test_health_metrics_and_schema_report_requests(single):
    with client(single) as (http, predictor):
        http.post("/predict", json={"texts": ["word1", "word2"]})
        http.post("/predict", json={"texts": []})
        health = http.get("/health").json()
        assert health["status"] == "ok" and health["labels"] == ["no", "yes"] and health["max_seq_length"] == 16
        metrics = http.get("/metrics").text
        for line in ('tinybert_requests_total{status="200"} 1.0', 'tinybert_requests_total{status="422"} 1.0', "tinybert_rows_total 2.0"):
            assert line in metrics
        assert "tinybert_batch_rows_sum 2.0" in metrics and "tinybert_request_seconds_count 1.0" in metrics
        assert "/predict" in http.get("/openapi.json").json()["paths"]
        page = http.get("/").text
        assert predictor.engine.name in page and not re.findall(r'(?:src|href)="https?:', page)


# === The process ===


@contextmanager
def served(folder: Path, *words: str):
    """`tinybert serve` in a separate process; its URL once it responds."""
    command = [sys.executable, "-m", "tinybert", "serve", "--model_path", str(folder), "--port", "0", "--threads", "1", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            found = re.search(r"on (http://\S+)", line)
            if found:
                break
        else:
            pytest.fail("".join(lines))
        yield found[1], process
    finally:
        process.kill()
        process.wait()


@needs_serve
def test_sigterm_answers_accepted_requests_and_exits_with_0(tmp_path):
    trained_folder(tmp_path / "m")
    with served(tmp_path / "m", "--max_queue", "100000", "--max_batch", "1") as (address, process):
        get(f"{address}/health")
        texts = [f"word{i % 30}" for i in range(250)]
        found: list = []
        callers = [threading.Thread(target=lambda: found.append(get(f"{address}/predict", {"texts": texts}))) for _ in range(4)]
        for caller in callers:
            caller.start()
        until = time.monotonic() + 60
        while get(f"{address}/health")["waiting"] < 500 and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join(120)
        assert [len(one["predictions"]) for one in found] == [250] * 4
        said = process.stdout.read()
        assert process.wait(60) == 0 and "stopped: every accepted request was answered" in said


@needs_serve
@pytest.mark.long
def test_two_workers_share_requests_and_metrics(tmp_path):
    trained_folder(tmp_path / "m")
    with served(tmp_path / "m", "--workers", "2") as (address, process):
        get(f"{address}/health")
        for i in range(40):
            assert get(f"{address}/predict", {"text": f"word{i % 30}"})["predictions"]
        with urllib.request.urlopen(f"{address}/metrics") as response:
            assert "tinybert_rows_total 40.0" in response.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@needs_serve
def test_port_in_use_is_reported(single, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run("serve", model_path=single, port=taken.getsockname()[1]) == 2
    assert "Choose another port" in capsys.readouterr().err


# === The page, in a browser ===


@needs_serve
def test_text_typed_into_the_page_is_answered(tmp_path):
    model = tmp_path / "m"
    trained_folder(model)
    expected = Predictor.open(model, 1).predict(["word1 word2"])[0].label
    with served(model) as (address, _), headless_browser(tmp_path) as browser:
        get(f"{address}/health")
        browser.open(address)
        browser.type("#text", "word1 word2")
        browser.click("button")
        shown = browser.text("#answer", 30)
        assert shown.startswith(f"{expected} (") and "%" in shown
        assert browser.text("#error") == ""
