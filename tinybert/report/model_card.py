"""README.md of a trained model's folder: what it is, how it was made, its scores, and how to load it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tinybert import storage
from tinybert.models.configuration import trained_on
from tinybert.report.table import markdown_table

CARD = "README.md"


def write_card(folder: Path, stage: str, record: Mapping[str, object]) -> None:
    """Write the card of a stage's best model from its config.json and its entry in run.json."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    storage.write_file(folder / CARD, _card(config, stage, record, (folder / "model_state.pdparams").stat().st_size))


def _card(config: Mapping, stage: str, record: Mapping, size: int) -> str:
    task = trained_on(config).task
    trained = config["architectures"][0]
    classifies = trained.endswith("SequenceClassification")
    auto = "AutoModelForSequenceClassification" if classifies else "AutoModel"
    call = '; print(model.predict(["a text"]))' if classifies else ""
    method = f" of method {_value(record, 'method')}" if "method" in (record.get("settings") or {}) else ""
    best = dict(record["best"])
    step = best.pop("step", None)
    models = {role: entry for role, entry in record["models"].items() if role in ("teacher", "student", "model")}
    shapes = [
        [role, f"{entry['layers']} x {entry['hidden']}", str(entry["heads"]), _millions(entry.get("parameters")), _name(entry["source"])]
        for role, entry in models.items()
    ]
    scores = [[name, f"{value:.4f}"] for name, value in best.items()]
    data = [[split, f"{entry['rows']:,}", str(entry["sha256"])[:16]] for split, entry in record["data"].items()]
    return "\n".join(
        [
            "---",
            "library_name: paddlenlp",
            *(["pipeline_tag: text-classification"] if classifies else []),
            "license: unknown  # fill in: license of the data and of the initial model",
            "---",
            "",
            f"# {trained}{f' for {task}' if task else ''}",
            "",
            f"Stage `{stage}`{method}, objective: {record['objective']}. Best evaluation at step {step} of {record['total_steps']}, seed "
            f"{_value(record, 'seed')}, preset {record['preset']}; weights on disk: {size / 1e6:.1f} MB.",
            "",
            "## Scores",
            "",
            markdown_table(["metric", "best"], scores),
            "",
            "## Models",
            "",
            "At the start of the stage; the student's entry is the initial model.",
            "",
            markdown_table(["role", "layers x hidden", "heads", "parameters", "from"], shapes),
            "",
            "## Data",
            "",
            markdown_table(["rows", "number", "sha256 of the file"], data),
            "",
            "Licence of the data: fill in.",
            "",
            "## Loading",
            "",
            "```python",
            "# PaddleNLP",
            f"from paddlenlp.transformers import AutoTokenizer, {trained}",
            f'model = {trained}.from_pretrained("FOLDER")',
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
            "",
            "# this project",
            "import tinybert",
            f'model = tinybert.load("FOLDER"){call}',
            "",
            "# transformers, after: python -m tinybert convert --model_path FOLDER --output_dir HF --to huggingface",
            f"from transformers import {auto}",
            f'model = {auto}.from_pretrained("HF")',
            "```",
            "",
            f"Versions: {', '.join(f'{name} {number}' for name, number in record['versions'].items())}.",
            "",
        ]
    )


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.1f} M"


def _name(source: str) -> str:
    """The last two parts of a path: a card may be published, and should not show the home folder."""
    return "/".join(Path(source).parts[-2:])


def _value(record: Mapping, name: str) -> object:
    entry = (record.get("settings") or {}).get(name) or {}
    return entry.get("value", "unknown")
