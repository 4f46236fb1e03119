"""README.md of an exported folder: what it is, how it was measured, how to run it; and the results table."""

from __future__ import annotations

from collections.abc import Sequence

from tinybert.kinds.kind import Kind
from tinybert.report.model_card import model_card
from tinybert.report.table import markdown_table

_COLUMNS = {
    "megabytes": ("MB", "{:.1f}"),
    "score": ("score", "{:.2f}"),
    "score_change": ("change", "{:+.2f}"),
    "label_flips": ("other labels", "{:d}"),
    "logit_difference": ("logits by", "{:.2g}"),
    "milliseconds_1x32": ("ms 1x32", "{:.2f}"),
    "milliseconds_1x128": ("ms 1x128", "{:.2f}"),
    "rows_per_second_32x64": ("rows/s 32x64", "{:.0f}"),
    "load_seconds": ("load s", "{:.2f}"),
    "peak_megabytes": ("peak MB", "{:.0f}"),
}


def table(lines: Sequence[dict]) -> str:
    """The lines of a run as a Markdown table: one per export, the float32 model first."""
    rows = []
    for line in lines:
        name = f"{line['engine']} {line['precision']}"
        rows.append([name, *(_shown(line["measures"].get(key), form) for key, (_, form) in _COLUMNS.items())])
    return markdown_table(["engine", *(title for title, _ in _COLUMNS.values())], rows)


def _shown(value: float | int | None, form: str) -> str:
    return "-" if value is None else form.format(value)


_RUN = {
    "onnx": "any onnxruntime (Python, Node, C++, ...) runs `model.onnx`",
    "openvino": "OpenVINO runs `model.xml` with `model.bin`",
    "paddle": "Paddle Inference runs `inference.json` with `inference.pdiparams`",
}


# by the head of a kind: Hugging Face's name of the task, the commands that run the folder, and the shape of the output
_WITHIN = "tinybert predict --model_path . --input new.csv --output predictions.jsonl"
_HEADS = {
    "sequence": (
        "text-classification",
        "tinybert predict --model_path . --input new.csv --output predictions.csv\ntinybert serve --model_path .",
        "`[batch, labels]`",
    ),
    "token": ("token-classification", _WITHIN, "`[batch, length, tags]`"),
    "span": ("question-answering", _WITHIN, "`[batch, length, 2]`, of start and end"),
}


def card(record: dict, kind: Kind) -> str:
    """The page of a folder, from its export.json."""
    tag, commands, shape = _HEADS[kind.head]
    rows, measures = record["rows"], record["measures"]
    how = "Texts are read in windows of" if kind.of_windows else "Rows are truncated to"
    notes = [f"{how} {rows['max_seq_length']} tokens, as in training."]
    if record.get("batch_dependent"):
        apart = record["batch_difference"]
        notes.append(f"The outputs of a row depend on its batch, by up to {apart:.2g} per logit: run rows one by one.")
    quantised = record.get("quantised") or {}
    if quantised:
        notes.append(f"{quantised['products']} matrix products and all embedding tables are in int8.")
    if "calibration_rows" in quantised:
        notes.append(f"Calibrated on {quantised['calibration_rows']} training rows.")
    return model_card(
        {"library_name": "tinybert-paddle", "pipeline_tag": tag},
        f"{rows['task']}, {record['engine']}, {record['precision']}",
        f"{rows['metric']} {measures['score']:.2f} on {rows['split']}, computed with this file; the float32 model reaches "
        f"{measures['score'] - measures['score_change']:.2f}.\n\n" + "\n".join(notes),
        {
            "Measured in one run": f"{measures['threads']} threads each; the first line is the original model. Times are medians without "
            f"tokenisation; `load s` and `peak MB` are measured in a separate process.\n\n{table(record['run'])}",
            "Usage": f"""```bash
{commands}
```

Without this project {_RUN[record["format"]]}.
Inputs, by name: int64 `input_ids` and `token_type_ids`, `[batch, length]`, both dynamic, padded with the tokenizer's [PAD].
Output: float32 `logits`, {shape}.
`config.json` names the outputs (`id2label`), `vocab.txt` and `tokenizer_config.json` belong to the tokenizer.""",
        },
    )
