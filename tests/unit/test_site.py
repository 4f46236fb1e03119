"""The documentation site of `make docs`: it builds without warnings, and its pages are found in a browser in both languages."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tinybert
from tests.browser import headless_browser

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    mkdocs = shutil.which("mkdocs", path=Path(sys.executable).parent) or shutil.which("mkdocs")
    if mkdocs is None:
        pytest.skip("mkdocs is not installed (the extra `docs`)")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([mkdocs, "build", "--strict", "--site-dir", str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # --strict: a warning fails the build
    return folder


def test_site_has_every_page_and_every_public_name(site):
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file(), page
    reference = (site / "reference.html").read_text(encoding="utf-8")
    for name in tinybert.__all__[1:]:
        assert re.search(rf'id="tinybert\.[\w.]+\.{name}"', reference), name


def test_links_between_pages_resolve_and_code_blocks_are_recognised(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "```" not in text, page
        for link in re.findall(r'<a [^>]*href="([^"#?:]+)["#?]', text):
            assert (page.parent / link).exists() or page.name == "404.html", f"{page.relative_to(site)}: {link}"


def test_search_index_has_pages_of_both_languages(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert set(index["config"]["lang"]) == {"en", "zh"}
    titles = {entry["title"] for entry in index["docs"]}
    assert {"Troubleshooting", "疑难解答"} <= titles


def test_browser_shows_three_pages_and_finds_words_of_both_languages(site, tmp_path):
    handler = functools.partial(type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}), directory=site)
    with headless_browser(tmp_path) as browser, http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for page, title in {"index": "TinyBERT", "reference": "API reference", "data.zh": "数据"}.items():
            browser.open(f"{address}/{page}.html")
            assert browser.text("h1", 10).startswith(title)
        for words, title in {"distill": "General distillation", "阅读理解": "数据"}.items():
            browser.open(f"{address}/index.html")
            browser.click("label.md-header__button[for=__search]")
            browser.type(".md-search__input", words)
            assert title in browser.text(".md-search-result__link", 30)
        server.shutdown()
