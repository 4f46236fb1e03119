"""Ten thousand mutated inputs, drawn by hypothesis: rows, option files, configs, records and command lines.

Each is accepted or rejected with a message; anything else fails the test. `make fuzz` draws all of them and prints how many were accepted
and rejected; the default run draws a few hundred.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiny import WORDS as WORD_PIECES
from tests.unit.cli.settled import settled
from tinybert.cli.flags_page import scripts
from tinybert.cli.main import run_script
from tinybert.commands.registry import Command
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.readers import read_split
from tinybert.data.tasks import get_task
from tinybert.data.tokenizer import WordPiece
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError
from tinybert.models.configuration import architecture, labels_of, read_config
from tinybert.models.manifest import check_manifest
from tinybert.models.weights import read_file, write_pdparams
from tinybert.recipes.resume import finished_before
from tinybert.safetensors_file import write_safetensors

FULL = 10_000
SHARE = 1.0 if os.environ.get("FUZZ") else 0.06


def drawn(share: float) -> settings:
    """This share of all inputs: a fixed selection, or a new one with `make fuzz`."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    every_day = SHARE < 1
    count = round(FULL * SHARE * share)
    return settings(max_examples=count, deadline=None, database=None, derandomize=every_day, suppress_health_check=checks)


@pytest.fixture(scope="module", autouse=True)
def figures(request):
    """The numbers of accepted and rejected inputs of each kind, printed at the end."""
    counts: Counter = Counter()
    request.module.counts = counts
    yield
    print("\n" + "\n".join(f"{kind}: {number}" for kind, number in sorted(counts.items())) + f"\nall: {counts.total()}")
    taken = {kind.split(",")[0] for kind in counts if kind.endswith("taken")}
    assert taken == {kind.split(",")[0] for kind in counts if kind.endswith("refused")}  # a kind without both outcomes tests nothing


def count(kind: str, work) -> None:
    """Process the input, and count the outcome."""
    try:
        work()
    except UserError:
        counts[f"{kind}, refused"] += 1  # noqa: F821  set by `figures`
    else:
        counts[f"{kind}, taken"] += 1  # noqa: F821  set by `figures`


SIGNS = [b"\t", b"\n", b"\r\n", b'"', b",", b"{", b"}", b"[", b"]", b":", b"\\", b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"--", b"- "]
WORDS = [b"NaN", b"null", b"true", b"-1", b"1e999", b"[" * 2000, b'{"a":' * 2000, b"9" * 400, b"\\ud800", b"&a *a"]
PIECES = st.one_of(st.sampled_from(SIGNS), st.sampled_from(WORDS), st.binary(max_size=6))
PLACES = st.integers(0, 10**6)
EDITS = st.lists(st.tuples(st.sampled_from(["cut", "put", "swap", "repeat"]), PLACES, st.integers(0, 12), PIECES), max_size=2)


def mutated(content: bytes, edits) -> bytes:
    """The bytes after these edits."""
    for what, place, length, piece in edits:
        at = place % (len(content) + 1)
        rest = content[at + length :] if what in ("cut", "swap") else content[at:]
        middle = {"cut": b"", "put": piece, "swap": piece, "repeat": content[at : at + length]}[what]
        content = content[:at] + middle + rest
    return content


# === Rows ===

STS = "\t".join([*"abcdefg", "first", "second", "score"])
TASKS = {
    "SST-2": b'sentence\tlabel\na good "film"\t1\nbad\t0\n',
    "CoLA": b"x\t1\t\tIt works.\nx\t0\t*\tWorks it.\n",
    "STS-B": f"{STS}\n{STS.replace('score', '3.5')}\n".encode(),
    "TNEWS": '{"label": "100", "label_desc": "n", "sentence": "字符"}\n{"label": "101", "sentence": "b"}\n'.encode(),
}
OWN = {
    "tsv": b"id\ttext\tlabel\n0\tgood film\tyes\n1\tbad\tno\n",
    "csv": b'id,text,label\r\n0,"good, ""film""\r\n",yes\r\n1,bad,no\r\n',
    "jsonl": b'{"id": 0, "text": "good \\u00e9", "label": "yes"}\n{"id": 1, "text": "b", "label": "no"}\n',
    "json": b'[{"id": 0, "text": "good", "label": 1},\n{"id": 1, "text": "b", "label": 0}]',
}


@drawn(0.2)
@given(st.sampled_from(sorted(TASKS)), EDITS)
def test_mutated_task_file_is_read_or_refused_with_a_message(name, edits):
    task = get_task(name)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        (Path(folder) / task.split("train").file).write_bytes(mutated(TASKS[name], edits))
        count("rows of a task", lambda: read_split(task, folder, "train"))


@drawn(0.2)
@given(st.sampled_from(sorted(OWN)), EDITS, st.booleans(), st.booleans())
def test_mutated_custom_file_is_read_or_refused_with_a_message(form, edits, regression, by_name):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        path = Path(folder) / f"rows.{form}"
        path.write_bytes(mutated(OWN[form], edits))
        columns = ("text", None, "label") if by_name or form.startswith("json") else ("1", None, "2")
        files = CustomFiles(path, path, None, None, *columns, kind="regression" if regression else None)

        def read() -> None:
            task = custom_task("own", files)
            for split in ("train", "dev"):
                read_split(task, "", split)

        count("rows of one's own", read)


# === Description files ===

MODEL = {
    "model_type": "bert", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 20, "id2label": {"0": "no", "1": "yes"}, "init_args": [{"init_class": "BertModel"}, 2],
}  # fmt: skip
RECORD = {"finetune": {"started": "x", "finished": "y", "settings": {"seed": {"value": 1, "source": "given"}}, "seconds": 1.5}}


@drawn(0.15)
@given(EDITS)
def test_mutated_model_config_is_read_or_refused_with_a_message(edits):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_bytes(mutated(json.dumps(MODEL).encode(), edits))

        def read() -> None:
            config = read_config(Path(folder))
            labels_of(config)
            architecture(config, folder)

        count("configurations of models", read)


TOKENIZER = {
    "tokenizer_config.json": json.dumps({"do_lower_case": True, "model_max_length": 9, "added_tokens_decoder": {"40": {"content": "<x>"}}}),
    "vocab.txt": "\n".join(WORD_PIECES),
    "added_tokens.json": '{"<x>": 40}',
    "special_tokens_map.json": '{"pad_token": "[PAD]", "additional_special_tokens": ["<x>"]}',
    "tokenizer.json": json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True,
        }, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "decoder": None, "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {word: i for i, word in enumerate(WORD_PIECES)},
        },
    }),
}  # fmt: skip


@drawn(0.1)
@given(st.sampled_from(sorted(TOKENIZER)), EDITS)
def test_mutated_tokenizer_is_read_or_refused_with_a_message(name, edits):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        for file in {"vocab.txt", name}:
            content = TOKENIZER[file].encode()
            (Path(folder) / file).write_bytes(mutated(content, edits) if file == name else content)
        count("tokenizers", lambda: WordPiece.from_folder(folder).ids(["word1 <x> [MASK]", "\u4e2d"]))


def _weights() -> dict[str, bytes]:
    """A small weight file of each kind, and the manifest of a folder."""
    arrays = {"a.weight": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(2, "float16"), "c": np.zeros(0, "int64")}
    with tempfile.TemporaryDirectory() as folder:
        write_safetensors(Path(folder) / "model.safetensors", arrays, {"format": "pt"})
        write_pdparams(Path(folder) / "model_state.pdparams", arrays)
        found = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return found | {"pytorch_model.bin": (Path(__file__).parent / "models/fixtures/torch_module_zip.bin").read_bytes()}


WEIGHTS = _weights()


@drawn(0.2)
@given(st.sampled_from(sorted(WEIGHTS)), EDITS)
def test_mutated_weights_are_read_or_refused_with_a_message(name, edits):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(mutated(WEIGHTS[name], edits))
        manifest = {"format": 1, "files": {name: {"bytes": len(WEIGHTS[name]), "sha256": hashlib.sha256(WEIGHTS[name]).hexdigest()}}}

        def read() -> None:
            if not edits:
                (Path(folder) / "manifest.json").write_text(json.dumps(manifest))
            check_manifest(Path(folder))
            for array in read_file(path).values():
                assert array.dtype.kind != "f" or np.isfinite(array).all()

        count(f"weights {name}", read)


@drawn(0.05)
@given(EDITS)
def test_mutated_manifest_is_read_or_refused_with_a_message(edits):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.safetensors").write_bytes(WEIGHTS["model.safetensors"])
        manifest = {"files": {"model.safetensors": {"bytes": len(WEIGHTS["model.safetensors"]), "sha256": "0" * 64}}}
        (Path(folder) / "manifest.json").write_bytes(mutated(json.dumps(manifest).encode(), edits))
        count("manifests", lambda: check_manifest(Path(folder)))


class _Settings:
    def as_table(self) -> list[tuple[str, object, str]]:
        return [("seed", 1, "given")]


@drawn(0.1)
@given(EDITS, st.sampled_from(["run.json", "eval_results.json", "log.jsonl"]))
def test_mutated_run_record_is_read_or_refused_with_a_message(edits, name):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(mutated(json.dumps(RECORD).encode(), edits))
        run = RunFolder(folder, "finetune")

        def read() -> None:
            run.log_lines()
            run.check_existing_results(resume=True, overwrite=False)
            finished_before(run, {"finetune": _Settings()}, allow_changes=False, models=("best_model_*", "final"), identity={})

        count("records of runs", read)


# === Command lines and option files ===

LINES = {
    "task_distill.py": "--task_name SST-2 --teacher_path t --student_layers 3 --output_dir o --stage both --T 2 --batch_size 8",
    "benchmark/glue/run_glue.py": "--task_name cola --model_name_or_path m --learning_rate 3e-5 --num_train_epochs 2 --max_seq_length 64",
    "general_distill.py": "--input_dir i --teacher_path t --student_layers 4 --student_hidden 312 --output_dir o --max_steps 9",
    "python -m tinybert prune": "--model_path m --output_dir o --keep_heads 2 --layers 1,3",
    "python -m tinybert convert": "--model_path m --to paddlenlp --output_dir o",
    "python -m tinybert demo": "--task_name demo --quick --seed 3",
    "python -m tinybert pregenerate": "--train_corpus c --output_dir o --bert_model m",
    "data_augmentation.py": "--pretrained_bert_model m --glove_embs g --glue_dir d --task_name SST-2",
}
VALUES = ["", "-1", "0", "7", "0.5", "1e400", "nan", "-inf", "True", "False", "none", "teacher:0", "teacher:1,1", "0:0,9:1", "1l_10t_0.1h"]
VALUES += ["é", "--", "-", "=", "a" * 3000, "1 2", "\t", "\x00", "auto", "emd", "mud", "paper"]


CHANGES = st.lists(st.tuples(st.sampled_from(["option", "option", "value", "drop", "swap", "break"]), st.integers(0, 99)), max_size=3)


@st.composite
def mutated_lines(draw) -> tuple[str, list[str]]:
    """A script and its arguments: a valid line with arguments inserted, removed, replaced and corrupted."""
    script = draw(st.sampled_from(sorted(set(LINES) & set(scripts()))))
    words = LINES[script].split()
    options = scripts()[script].options()
    values = st.one_of(st.sampled_from(VALUES), st.text(max_size=5))
    for what, place in draw(CHANGES):
        at = place % (len(words) + 1)
        if what == "option":
            option = options[draw(st.sampled_from(sorted(options)))]
            value = draw(st.sampled_from(option.choices) if option.choices and draw(st.booleans()) else values)
            at -= at % 2 if at < len(words) else 0  # between two pairs
            words[at:at] = [f"--{option.name}", value]
        elif what == "value":
            words.insert(at, draw(values))
        elif words:
            at = min(at, len(words) - 1)
            words[at : at + 1] = [] if what == "drop" else [draw(values)] if what == "swap" else [words[at][: draw(st.integers(0, 9))]]
    return script, words


def nothing(config) -> None:
    """Replaces every recipe: resolves the settings."""
    settled(config)


def _exit_code(script: str, words: list[str]) -> None:
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        patch.setattr("tinybert.runtime.prepare", lambda threads=None: 1)
        code = run_script(Command("nothing", "", scripts()[script], f"{__name__}:nothing", script), words)
    assert code in (0, 2) and "Traceback" not in said.getvalue()
    if code:
        assert said.getvalue().count("error: ") >= 1
        raise UserError("refused")


@drawn(0.25)
@given(mutated_lines())
def test_mutated_command_line_runs_or_is_refused_with_a_message(line):
    count("command lines", lambda: _exit_code(*line))


OPTIONS = {"task_name": "SST-2", "teacher_path": "t", "student_layers": 3, "output_dir": "o", "stage": "both", "T": 2.0, "use_att": True}


PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=4))
NESTED = st.recursive(PLAIN, lambda values: st.lists(values, max_size=2))


@drawn(0.1)
@given(EDITS, st.booleans(), st.dictionaries(st.sampled_from([*OPTIONS, "seed", "layer_map"]), NESTED, max_size=1))
def test_mutated_option_file_runs_or_is_refused_with_a_message(edits, as_json, changes):
    with tempfile.TemporaryDirectory() as folder:
        content = {**OPTIONS, **changes}
        text = json.dumps(content) if as_json else "".join(f"{name}: {json.dumps(value)}\n" for name, value in content.items())
        path = Path(folder) / f"options.{'json' if as_json else 'yaml'}"
        path.write_bytes(mutated(text.encode(), edits))
        count("option files", lambda: _exit_code("task_distill.py", ["--config", str(path)]))
