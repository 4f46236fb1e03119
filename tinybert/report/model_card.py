"""README.md of a trained model's folder: what it is, how it was made, its scores, and how to load it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybert import storage
from tinybert.models.configuration import trained_on
from tinybert.report.table import markdown_table

CARD = "README.md"


def model_card(front: Mapping[str, str], title: str, introduction: str, sections: Mapping[str, str]) -> str:
    """A model card as Markdown, with front matter for model hubs."""
    parts = ["---", *(f"{name}: {value}" for name, value in front.items()), "---", "", f"# {title}", "", introduction, ""]
    return "\n".join([*parts, *(line for name, text in sections.items() for line in (f"## {name}", "", text, ""))])


def write_card(folder: Path, stage: str, record: Mapping[str, Any]) -> None:
    """Write the card of a stage's best model from its config.json and its entry in run.json."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    storage.write_file(folder / CARD, _card(config, stage, record, (folder / "model_state.pdparams").stat().st_size))


def _card(config: Mapping, stage: str, record: Mapping[str, Any], size: int) -> str:
    task = trained_on(config).task
    trained = config["architectures"][0]
    classifies = trained.endswith("SequenceClassification")
    method = f" of method {_value(record, 'method')}" if "method" in (record.get("settings") or {}) else ""
    best = dict(record["best"])
    step = best.pop("step", None)
    shapes = [
        [role, f"{entry['layers']} x {entry['hidden']}", str(entry["heads"]), _millions(entry.get("parameters")), _name(entry["source"])]
        for role, entry in record["models"].items()
    ]
    data = [[split, f"{entry['rows']:,}", str(entry["sha256"])[:16]] for split, entry in record["data"].items()]
    front = {"library_name": "paddlenlp"} | ({"pipeline_tag": "text-classification"} if classifies else {})
    return model_card(
        front | {"license": "unknown  # fill in: license of the data and of the initial model"},
        f"{trained}{f' for {task}' if task else ''}",
        f"Stage `{stage}`{method}, objective: {record['objective']}. Best evaluation at step {step} of {record['total_steps']}, seed "
        f"{_value(record, 'seed')}, preset {record['preset']}; weights on disk: {size / 1e6:.1f} MB.",
        {
            "Scores": markdown_table(["metric", "best"], [[name, f"{value:.4f}"] for name, value in best.items()]),
            "Models": "At the start of the stage; the student's entry is the initial model.\n\n"
            + markdown_table(["role", "layers x hidden", "heads", "parameters", "from"], shapes),
            "Data": markdown_table(["rows", "number", "sha256 of the file"], data) + "\n\nLicence of the data: fill in.",
            "Loading": _loading(trained, classifies)
            + f"\n\nVersions: {', '.join(f'{name} {number}' for name, number in record['versions'].items())}.",
        },
    )


def _loading(trained: str, classifies: bool) -> str:
    auto = "AutoModelForSequenceClassification" if classifies else "AutoModel"
    call = '; print(model.predict(["a text"]))' if classifies else ""
    return f"""```python
# PaddleNLP
from paddlenlp.transformers import AutoTokenizer, {trained}
model = {trained}.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")

# this project
import tinybert
model = tinybert.load("FOLDER"){call}

# transformers, after: tinybert convert --model_path FOLDER --output_dir HF --to huggingface
from transformers import {auto}
model = {auto}.from_pretrained("HF")
```"""


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.1f} M"


def _name(source: str) -> str:
    """The last two parts of a path: a card may be published, and should not show the home folder."""
    return "/".join(Path(source).parts[-2:])


def _value(record: Mapping, name: str) -> object:
    entry = (record.get("settings") or {}).get(name) or {}
    return entry.get("value", "unknown")
