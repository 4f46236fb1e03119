"""Pages that describe the code agree with it: packages, imports, and the files, classes and tests that they name."""

from __future__ import annotations

import re

import pytest

from tests.unit.structure.test_structure import FILES, MODULES, ROOT, imported

PAGE = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")}
LISTED = {words[0]: set(words[1:]) for words in map(str.split, re.findall(r"^    ([a-z]+(?: +[a-z]+)*)$", PAGE, re.MULTILINE))}


def test_every_package_is_described_and_listed():
    table = PAGE[PAGE.index("## Packages") : PAGE.index("Modules outside packages")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == PACKAGES == set(LISTED)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_package_imports_only_what_the_page_lists(package):
    names = [name for name in MODULES if name.startswith(f"tinybert.{package}")]
    found = {name.split(".")[1] for module in names for name in imported(MODULES[module]) if name.count(".")}
    assert (found & PACKAGES) - {package} <= LISTED[package]


def test_every_file_and_class_on_the_page_exists():
    code = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    for path in re.findall(r"`(tinybert/[\w/]+(?:\.py|/))`", PAGE):
        assert (ROOT.parent / path).exists(), path
    for name in re.findall(r"`(?!None`)((?:[A-Z][a-z]+)+)`", PAGE):
        assert re.search(rf"^class {name}\b", code, re.MULTILINE), name


def test_every_test_and_file_on_the_findings_page_exists():
    page = (ROOT.parent / "findings" / "README.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT.parent / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in tests, name
    for path in re.findall(r"`(tinybert/[\w/]+(?:\.py|/))`", page):
        assert (ROOT.parent / path).exists(), path
    assert set(re.findall(r"`(\w+\.sh)` \|", page)) == {path.name for path in (ROOT.parent / "findings").glob("*.sh")}


def test_index_and_navigation_of_the_site_name_every_page():
    folder = ROOT.parent / "docs"
    index, navigation = (folder / "index.md").read_text(encoding="utf-8"), (ROOT.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for page in folder.glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, page.name
        assert re.search(rf"(?:: |- ){re.escape(page.name)}$", navigation, re.MULTILINE), page.name
