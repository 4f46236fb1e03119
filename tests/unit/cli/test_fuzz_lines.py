"""Any list of words and any option file is understood or refused in words, never with a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path

import pytest

from tinybert.cli.parser import parse
from tinybert.commands.convert import ConvertConfig
from tinybert.commands.demo import DemoConfig
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.commands.general import GeneralDistillConfig
from tinybert.errors import UserError
from tinybert.kinds.registry import DEFAULT

LINES = {
    TaskDistillConfig: "--task_name SST-2 --teacher_path t --student_layers 3 --output_dir o --stage both --T 2 --batch_size 8",
    FinetuneConfig: "--task_name cola --model_name_or_path m --learning_rate 3e-5 --num_train_epochs 2 --max_seq_length 64",
    GeneralDistillConfig: "--pregenerated_data d --teacher_model t --student_layers 3 --output_dir o --relation_weight 1",
    ConvertConfig: "--model_path m --to paddlenlp --output_dir o",
    DemoConfig: "--task_name demo --quick --seed 3",
}
VALUES = ["", "-1", "0", "1e400", "nan", "-inf", "True", "none", "teacher:0", "teacher:1,1", "0:0,9:1", "é", "--", "-", "="]
VALUES += ["a" * 3000, "1 2", "\t"]


def _mutated(words: list[str], names: list[str], draw: random.Random) -> list[str]:
    words = list(words)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(words) + 1)
        match draw.randrange(6):
            case 0:
                words.insert(place, "--" + draw.choice(names))
            case 1:
                words.insert(place, draw.choice(VALUES))
            case 2 if words:
                words.pop(min(place, len(words) - 1))
            case 3 if words:
                word = words[min(place, len(words) - 1)]
                at = draw.randrange(len(word) + 1)
                words[min(place, len(words) - 1)] = (
                    word[:at] + chr(draw.choice([0, 9, 45, 61, 955, 0x1F600, draw.randrange(32, 127)])) + word[at:]
                )
            case 4:
                words.insert(place, f"--{draw.choice(names)}={draw.choice(VALUES)}")
            case _:
                draw.shuffle(words)
    return words


def _answer(arguments_class: type, words: list[str]) -> bool:
    """Whether the line was understood, down to its settings; anything but a UserError or --help's end escapes."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            parsed = parse(arguments_class, words)
            if arguments_class is TaskDistillConfig:
                parsed.resolve("SST-2", DEFAULT).as_text()
            elif arguments_class is FinetuneConfig:
                parsed.resolve("CoLA").as_text()
            elif arguments_class is GeneralDistillConfig:
                parsed.resolve(None).as_text()
    except (UserError, SystemExit):
        return False
    return True


def _walk(count: int, seed: int) -> tuple[int, int]:
    draw = random.Random(seed)
    understood = refused = 0
    for i in range(count):
        arguments_class = list(LINES)[i % len(LINES)]
        if _answer(arguments_class, _mutated(LINES[arguments_class].split(), sorted(arguments_class.options()), draw)):
            understood += 1
        else:
            refused += 1
    return understood, refused


def test_the_lines_that_are_mutated_are_not_understood_themselves():
    assert all(_answer(arguments_class, line.split()) for arguments_class, line in LINES.items())


def test_a_mutated_line_ends_in_a_traceback():
    understood, refused = _walk(2500, 5)
    assert understood > 50 and refused > 500


@pytest.mark.long
def test_many_mutated_lines_end_in_a_traceback():
    understood, refused = _walk(20_000, 6)
    assert understood + refused == 20_000


CONFIG = {"task_name": "SST-2", "teacher_path": "t", "student_layers": 3, "output_dir": "o", "stage": "both", "T": 2.0, "use_att": True}
ODD = [None, [], {}, "x", 1e308, -5, [1, "a"], {"a": 1}, True, "nan", "", [[1]]]


def _config(draw: random.Random, path: Path) -> None:
    content: object = dict(CONFIG)
    for _ in range(draw.randint(1, 3)):
        name = draw.choice([*CONFIG, "learning_rate", "seed", "layer_map", "nonsense", ""])
        if draw.random() < 0.2:
            content.pop(name, None)
        else:
            content[name] = draw.choice(ODD)
    if draw.random() < 0.1:
        content = draw.choice([[], "text", 3, None])
    text = json.dumps(content)
    if draw.random() < 0.3:
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(["{", "\x00", ":", "- ", "!!python/object:os.system ", "&a ", "*a", "\t"]) + text[at:]
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_mutated_option_file_ends_in_a_traceback(tmp_path, suffix):
    draw = random.Random(7)
    path = tmp_path / f"options.{suffix}"
    results = []
    for _ in range(600):
        _config(draw, path)
        results.append(_answer(TaskDistillConfig, ["--config", str(path)]))
    assert any(results) and not all(results)
