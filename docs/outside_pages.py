"""Site hook: adds linked files outside of docs/ below `project/`, and adapts links and code blocks."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\[\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)]*)?\)")


def repository_path(source: str) -> str:
    """The path in the repository of a page's path on the site."""
    return source.removeprefix("project/") if source.startswith("project/") else f"docs/{source}"


def site_path(path: str) -> str:
    """The path on the site of a path in the repository."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"project/{path}"


def target(source: str, link: str) -> str | None:
    """The file in the repository that a page of the site links to, for a folder its README; None if there is none."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(repository_path(source)), link))
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
    return path if (ROOT / path).is_file() else None


def on_files(files: Files, config: dict) -> Files:
    """Add the files outside docs/ that a page links to, and the files linked from those."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        source = waiting.pop()
        for _, link, _ in LINK.findall((ROOT / repository_path(source)).read_text(encoding="utf-8")):
            path = target(source, link)
            if path and files.get_file_from_path(site_path(path)) is None:
                files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
                if path.endswith(".md"):
                    waiting.append(site_path(path))
    return files


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """Adapt links to the locations of their files on the site; a link to a folder without README is replaced by its text."""
    source = page.file.src_uri

    def rewritten(match: re.Match) -> str:
        text, link, anchor = match.groups()
        path = target(source, link)
        if path is None:
            return text
        return f"[{text}]({posixpath.relpath(site_path(path), posixpath.dirname(source) or '.')}{anchor or ''})"

    return LINK.sub(rewritten, re.sub(r"^```(\w+) no-run$", r"```\1", markdown, flags=re.MULTILINE))
