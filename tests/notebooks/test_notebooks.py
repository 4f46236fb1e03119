"""The notebooks in both languages: stored without outputs, with identical code, and executed completely with checked outputs."""

from __future__ import annotations

import ast
import base64
import re
from pathlib import Path

import pytest

from tests.notebooks.conftest import lines

nbformat = pytest.importorskip("nbformat", reason="the extra dev has nbformat, nbclient and ipykernel")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.stem for path in (FOLDER / "en").glob("*.ipynb"))
BRIEF = "from tinybert.deploy import measure; measure._SECONDS, measure._ROUNDS = 0.1, 1"  # latencies of a few calls
QUICK = {  # inserted after the cell tagged `parameters`
    "1_csv_to_served_student": "steps, rows = 1, 32",
    "2_compare_methods": "steps, updates, methods = 1, 3, ['none']",
    "3_chinese_reviews": "steps = 1",
    "4_general_distillation": "steps, task_steps = 1, 1",
}


def read(language: str, name: str):
    return nbformat.read(FOLDER / language / f"{name}.ipynb", as_version=4)


def code_of(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def execute(language: str, name: str, where: Path, quick: bool):
    """The notebook with its outputs, executed in an empty folder."""
    notebook = read(language, name)
    if quick:
        at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(f"{BRIEF}\n{QUICK[name]}"))
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(where)}}).execute()
    return notebook


def shown(notebook, kind: str) -> list[str]:
    """All outputs with this MIME type, in order."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def table_rows(notebook, which: int = -1) -> dict[str, list[str]]:
    """The cells of a table by the first cell of their row."""
    rows = re.findall(r"<tr.*?</tr>", shown(notebook, "text/html")[which], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return {first: rest for first, *rest in cells}


def check(name: str, notebook, where: Path) -> None:
    """Check that the outputs of a notebook agree with its text."""
    pictures = [base64.b64decode(picture) for picture in shown(notebook, "image/png")]
    assert len(pictures) == 1 and pictures[0].startswith(b"\x89PNG")
    for cell in notebook.cells:
        said = "".join(output.text for output in cell.get("outputs", []) if "text" in output)
        assert "Traceback" not in said and len(lines(said)) <= 30, said
    if name.startswith("1"):
        found = table_rows(notebook)
        assert found["teacher"][2] == "22.7" and found["student"][1:] == ["3.0", "17.4"]
        assert list((where / "work" / "reviews" / "served").iterdir())
        assert shown(notebook, "text/plain")[-1] in ("'negative'", "'positive'")
    elif name.startswith("2"):
        (table,) = shown(notebook, "text/markdown")
        assert re.search(r"\| teacher .* 100 ?% \|", table) and re.search(r"\| teacher:2,4,6 \| +none \|", table), table
        assert "| of the teacher |" in table
    elif name.startswith("3"):
        assert found_layers(notebook) == {"teacher": "4.0", "student": "2.0"}
        assert {row[1] for row in list(table_rows(notebook).values())[1:]} <= {"好评", "差评"}
    else:
        assert {"general student", "random weights"} < table_rows(notebook).keys()


def found_layers(notebook) -> dict[str, str]:
    """The last column of the table with teacher and student."""
    return {name: cells[-1] for name, cells in table_rows(notebook, -2).items() if name in ("teacher", "student")}


def test_both_languages_have_the_same_code():
    assert NAMES == sorted(path.stem for path in (FOLDER / "zh").glob("*.ipynb")) == sorted(QUICK)
    for name in NAMES:
        english, chinese = (code_of(read(language, name)) for language in ("en", "zh"))
        assert [ast.dump(ast.parse(code)) for code in english] == [ast.dump(ast.parse(code)) for code in chinese], name


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_notebook_is_valid_and_holds_no_outputs(language, name):
    notebook = read(language, name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)
        for link in re.findall(r"\]\(([^)#]+)", cell.source if cell.cell_type == "markdown" else ""):
            assert (FOLDER / language / link).is_file(), link


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_with_a_small_budget(name, tmp_path):
    check(name, execute("en", name, tmp_path, quick=True), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_full(language, name, tmp_path):
    check(name, execute(language, name, tmp_path, quick=False), tmp_path)
