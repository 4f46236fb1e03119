"""Data augmentation end to end: the output does not depend on processes or interruptions, and refused input leaves no files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.recipes.conftest import distill
from tests.tiny import classifier, masked_lm_folder, model_folder, word_pieces
from tinybert import storage
from tinybert.augment import parts
from tinybert.augment.eligible import is_eligible
from tinybert.cli.main import main
from tinybert.errors import Interrupted
from tinybert.models.families import family
from tinybert.models.saving import save_model
from tinybert.recipes import augment as recipe

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"{a}{b}" for a in "klmnp" for b in "aeio"), "##xx", '"', "."]
WORDS = PIECES[5:-3]
PLACES = {"max_position_embeddings": 40, "vocab_size": len(PIECES)}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A masked LM, word vectors, and small SST-2 and RTE."""
    root, random = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    masked_lm_folder(root / "mlm", PIECES, max_position_embeddings=PLACES["max_position_embeddings"])
    model_folder(root / "headless")
    rows = [f"{word} {' '.join(f'{x:.4f}' for x in random.standard_normal(6))}\n" for word in ("kaxx", *WORDS)]
    (root / "glove.txt").write_text("".join(rows))
    lines = [f'"{" ".join(random.choice(WORDS, 4))} kaxx .\t{i % 2}\r\n' for i in range(30)]
    lines[3] = "\t1\r\n"  # an empty text
    (root / "glue/SST-2").mkdir(parents=True)
    (root / "glue/SST-2/train.tsv").write_bytes("\ufeffsentence\tlabel\r\n".encode() + "".join(lines).encode())
    (root / "glue/SST-2/dev.tsv").write_bytes((root / "glue/SST-2/train.tsv").read_bytes())
    (root / "glue/RTE").mkdir()
    pairs = [f"{i}\tka {WORDS[i]} ko\tli {WORDS[-i]}\tentailment\n" for i in range(1, 5)]
    (root / "glue/RTE/train.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + "".join(pairs))
    return root


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "ROWS", 8)
    monkeypatch.setattr("tinybert.recipes.augment.ROWS", 8)


def line(world: Path, out: Path, *more: object, task: str = "SST-2") -> list[str]:
    words = ["augment", "--pretrained_bert_model", world / "mlm", "--glove_embs", world / "glove.txt", "--glue_dir", world / "glue"]
    words += ["--task_name", task, "--output_dir", out, "--output_file", f"{out}.tsv", "--num_workers", 1, "--N", 4, "--device", "cpu"]
    return [str(word) for word in (*words, *more)]


@pytest.mark.both_lanes
def test_original_rows_are_kept_unchanged(world, tmp_path):
    assert main(line(world, tmp_path / "a", "--preview", 2)) == 0
    before = (world / "glue/SST-2/train.tsv").read_bytes().decode("utf-8").split("\r\n")
    after = (tmp_path / "a.tsv").read_bytes().decode("utf-8").split("\r\n")
    assert after[0] == before[0] == "\ufeffsentence\tlabel"
    assert [row for row in after if row in set(before)] == before and len(after) > 2 * len(before)
    assert {row.count("\t") for row in after if row} == {1}
    record = json.loads((tmp_path / "a/augmentation.json").read_text())
    assert record["written"] == len(after) - 2 and record["rows"] == 30 and not (tmp_path / "a/.augmented_parts").exists()
    assert record["replaced"]["masked LM"] and record["replaced"]["word vectors"]
    assert record["eligible"] == {"masked LM": sum(map(is_eligible, re.findall("[a-z]+", " ".join(before[1:])))) - 29, "word vectors": 29}
    assert (tmp_path / "a/augmentation.md").read_text().count("\n**") == 2


def test_only_one_side_of_a_pair_is_varied(world, tmp_path):
    assert main(line(world, tmp_path / "a", "--p", 1, task="RTE")) == 0
    originals = {}
    for row in (world / "glue/RTE/train.tsv").read_text().splitlines()[1:]:
        index, *texts, _ = row.split("\t")
        originals[index] = texts
    for row in (tmp_path / "a.tsv").read_text().splitlines()[1:]:
        index, *texts, _ = row.split("\t")
        assert any(new == old for new, old in zip(texts, originals[index], strict=True))


def test_masking_option_changes_the_augmented_rows(world, tmp_path):
    for masking in ("each", "none"):
        assert main(line(world, tmp_path / masking, "--masking", masking)) == 0
        assert json.loads((tmp_path / masking / "augmentation.json").read_text())["replaced"]["masked LM"]
    assert (tmp_path / "each.tsv").read_bytes() != (tmp_path / "none.tsv").read_bytes()


def test_processes_do_not_change_the_output(world, tmp_path):
    for workers in (1, 2):
        assert main(line(world, tmp_path / str(workers), "--num_workers", workers)) == 0
    assert (tmp_path / "1.tsv").read_bytes() == (tmp_path / "2.tsv").read_bytes()


def chinese_line(folder: Path, out: Path, *more: object) -> list[str]:
    """A small AFQMC in JSON lines, and a masked LM with Chinese characters."""
    if not folder.exists():
        characters = dict.fromkeys("酒店饭馆宾馆房间早餐电视电脑頭髮乾淨便宜价格环境音乐朋友老师学生很好的是")
        masked_lm_folder(folder / "mlm", [*PIECES[:5], *characters, "12", "vip", "."], max_position_embeddings=40)
        texts = ["酒店的房间很便宜", "老师12是朋友的VIP.", "電視很乾淨", "音乐  学生", "...", "饭馆环境好"]
        rows = [{"sentence1": texts[i % 6], "sentence2": texts[(i + 1) % 6], "label": str(i % 2)} for i in range(20)]
        (folder / "rows").mkdir()
        for split in ("train", "dev"):
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"rows/{split}.json").write_text(lines, encoding="utf-8")
    words = ["augment", "--pretrained_bert_model", folder / "mlm", "--data_dir", folder / "rows", "--task_name", "AFQMC", "--N", 4]
    words += ["--output_dir", out, "--output_file", f"{out}.json", "--device", "cpu"]
    return [str(word) for word in (*words, *more)]


@pytest.mark.long
def test_chinese_rows_do_not_depend_on_the_number_of_workers(world, tmp_path):
    for workers in (1, 2):
        assert main(chinese_line(world / "zh", tmp_path / str(workers), "--num_workers", workers)) == 0
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_chinese_variants_keep_numbers_letters_and_function_words(world, tmp_path):
    assert main(chinese_line(world / "zh", tmp_path / "1", "--num_workers", 1)) == 0
    files = (world / "zh/rows/train.json", tmp_path / "1.json")
    rows, made = ([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in files)
    assert [row for row in made if row in rows] == rows and len(made) > 2 * len(rows)
    untouched = "..的..很..|..12是..的VIP\\.|..很..|..  ..|\\.\\.\\.|....好"  # numbers, letters, function words, white space
    assert all(re.fullmatch(untouched, row[side]) for row in made for side in ("sentence1", "sentence2"))
    record = json.loads((tmp_path / "1/augmentation.json").read_text())
    assert record["settings"]["masking"] == "none" and record["glove_sha256"] is None and set(record["eligible"]) == {"masked LM"}


def test_english_without_word_vectors_is_refused(world, tmp_path, capsys):
    words = line(world, tmp_path / "a")
    at = words.index("--glove_embs")
    assert main(words[:at] + words[at + 2 :]) == 2 and "--glove_embs is missing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_resumed_run_writes_the_same_file(world, tmp_path, monkeypatch, capsys):
    assert main(line(world, tmp_path / "through")) == 0
    make = parts.PartMaker.__call__
    made = []

    def cut_short(maker, part):
        if len(made) == 2:
            raise Interrupted(15, "as by SIGTERM")
        made.append(part)
        return make(maker, part)

    with monkeypatch.context() as patch:
        patch.setattr(parts.PartMaker, "__call__", cut_short)
        assert main(line(world, tmp_path / "cut")) == 143
    assert not (tmp_path / "cut.tsv").exists()
    assert main(line(world, tmp_path / "cut")) == 2 and "--resume" in capsys.readouterr().err
    assert main(line(world, tmp_path / "cut", "--resume", "--seed", 7)) == 2 and "seed: was 42" in capsys.readouterr().err
    assert main(line(world, tmp_path / "cut", "--resume")) == 0
    assert "kept: 2 parts" in capsys.readouterr().out
    assert (tmp_path / "cut.tsv").read_bytes() == (tmp_path / "through.tsv").read_bytes()
    assert main(line(world, tmp_path / "cut", "--resume")) == 0 and "already finished" in capsys.readouterr().out


class Killed(BaseException):
    """An exception that is never caught."""


def test_parts_made_from_other_columns_are_not_reused(world, tmp_path, monkeypatch, capsys):
    (tmp_path / "rows.tsv").write_text("a\tb\tlabel\n" + "".join(f"ka {word} ko\tli {word} le\t{i % 2}\n" for i, word in enumerate(WORDS)))
    words = line(world, tmp_path / "cut", "--train_file", tmp_path / "rows.tsv", "--label_column", "label", task="mine")
    at = words.index("--glue_dir")
    del words[at : at + 2]

    def interrupted(maker, part):
        raise Interrupted(15, "as by SIGTERM")

    with monkeypatch.context() as patch:
        patch.setattr(parts.PartMaker, "__call__", interrupted)
        assert main([*words, "--text_a_column", "a"]) == 143
    assert main([*words, "--text_a_column", "b", "--resume"]) == 2 and "train_columns: was ['a'" in capsys.readouterr().err
    assert (
        main([*words, "--text_a_column", "a", "--labels", "1,0", "--resume"]) == 2
        and "task_labels: was ['0', '1']" in capsys.readouterr().err
    )
    assert main([*words, "--text_a_column", "a", "--resume"]) == 0


def killing(function, part: str = "", at: int = 1):
    """A function of a path that kills the run at call number `at` with this in the path's name."""
    calls = []

    def killed(path, *arguments):
        calls.extend([path] if part in str(path) else [])
        if len(calls) == at:
            raise Killed
        return function(path, *arguments)

    return killed


@pytest.mark.parametrize("moment", ["before the file", "before the record", "before the end"])
def test_run_killed_while_joining_parts_can_be_resumed(world, tmp_path, monkeypatch, capsys, moment):
    assert main(line(world, tmp_path / "through")) == 0
    with monkeypatch.context() as patch:
        if moment == "before the file":
            patch.setattr(storage, "sha256_of", killing(storage.sha256_of, ".cut.tsv.tmp-"))
        elif moment == "before the record":
            patch.setattr(recipe, "_summary", killing(recipe._summary))
        else:
            patch.setattr(storage, "remove_own", killing(storage.remove_own, ".augmented_parts", at=2))
        with pytest.raises(Killed):
            main(line(world, tmp_path / "cut"))
    assert (tmp_path / "cut.tsv").exists() == (moment != "before the file")
    assert main(line(world, tmp_path / "cut", "--resume")) == 0
    assert (tmp_path / "cut.tsv").read_bytes() == (tmp_path / "through.tsv").read_bytes()
    assert json.loads((tmp_path / "cut/augmentation.json").read_text())["finished"]
    assert not (tmp_path / "cut/.augmented_parts").exists() and not list(tmp_path.glob(".*"))


def test_second_run_into_the_same_file_is_refused(world, tmp_path, capsys):
    with storage.lock(tmp_path / ".a.tsv"):  # held by another run; a lock of the same process counts too
        assert main(line(world, tmp_path / "a")) == 2
    assert f"--output_file {tmp_path / 'a.tsv'} is being written by another run" in capsys.readouterr().err
    assert not (tmp_path / "a").exists() and not (tmp_path / "a.tsv").exists()


def test_folders_of_the_user_are_kept(world, tmp_path):
    (tmp_path / "a/parts").mkdir(parents=True)
    (tmp_path / "a/parts/notes").write_text("mine")
    assert main(line(world, tmp_path / "a", "--overwrite_output_dir")) == 0
    assert (tmp_path / "a/parts/notes").read_text() == "mine"


def test_teacher_filter_drops_rows_but_no_originals(world, tmp_path):
    teacher = ("--filter", "teacher", "--teacher_path", world / "teacher", "--filter_length", 20)
    save_model(world / "teacher", classifier(**PLACES), family("bert"), word_pieces(PIECES), ("0", "1"))
    assert main(line(world, tmp_path / "all")) == 0
    assert main(line(world, tmp_path / "some", *teacher, "--filter_keep", 0.95)) == 0
    every, some = ((tmp_path / f"{name}.tsv").read_text().splitlines() for name in ("all", "some"))
    assert len(some) < len(every) and set(some) < set(every)
    assert set((world / "glue/SST-2/train.tsv").read_text().splitlines()) <= set(some)


def test_distillation_reads_the_augmented_rows(world, tmp_path):
    save_model(world / "student", classifier(**PLACES), family("bert"), word_pieces(PIECES), ("0", "1"))
    folder = tmp_path / "SST-2"
    folder.mkdir()
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").write_bytes((world / f"glue/SST-2/{name}.tsv").read_bytes())
    assert main(line(world, tmp_path / "a")) == 0
    distill(
        "--task_name", "SST-2", "--data_dir", folder, "--teacher_path", world / "student", "--student_model", world / "student",
        "--stage", "prediction", "--use_aug", "--aug_file", tmp_path / "a.tsv",
        "--max_steps", 2, "--batch_size", 8, "--max_seq_length", 20, "--output_dir", tmp_path / "d",
        "--device", "cpu",
    )  # fmt: skip
    data = json.loads((tmp_path / "d/run.json").read_text())["prediction"]["data"]
    assert data["train_aug"]["rows"] == json.loads((tmp_path / "a/augmentation.json").read_text())["written"]


@pytest.mark.parametrize(
    ("glove", "message"),
    [
        ("ka 1 2 3\nko 1 2\nla 1 2 3\n", "line 2"),
        ("ka 1 2 3\nko nan 2 3\n", "line 2: found 'nan'"),
        ("3 2\nka 1 2 3\n", "line 2: found 3 numbers, expected 2"),
        ("", "has no rows"),
    ],
)
def test_bad_word_vectors_are_refused_and_leave_no_files(world, tmp_path, glove, message, capsys):
    (tmp_path / "bad.txt").write_text(glove)
    assert main(line(world, tmp_path / "a", "--glove_embs", tmp_path / "bad.txt")) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt"]


def test_word_vectors_with_spaces_are_reported(world, tmp_path, capsys):
    (tmp_path / "spaced.txt").write_text((world / "glove.txt").read_text() + "a b 1 2 3 4 5 6\n")
    assert main(line(world, tmp_path / "a", "--glove_embs", tmp_path / "spaced.txt")) == 0
    assert "1 words containing a space" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--pretrained_bert_model", "headless"), "no masked-LM head"),
        (("--long_texts", "refuse"), "positions"),
        (("--output_file", "absent/x.tsv"), "does not exist"),
        (("--output_file", "glue/SST-2/train.tsv"), "is the training file"),
        (("--glue_dir", "short"), "line 3: found 1 columns"),
    ],
)
def test_refused_input_leaves_no_files(world, tmp_path, more, message, capsys):
    (world / "short/SST-2").mkdir(parents=True, exist_ok=True)
    (world / "short/SST-2/train.tsv").write_text("sentence\tlabel\nka\t1\nko\n")
    (world / "long/SST-2").mkdir(parents=True, exist_ok=True)
    (world / "long/SST-2/train.tsv").write_text(f"sentence\tlabel\n{'ka ' * 30}\t1\n")
    name, value = more
    words = line(world, tmp_path / "a") + (["--glue_dir", str(world / "long")] if name == "--long_texts" else [])
    replaced = [*words, name, value if name == "--long_texts" else str(world / value)]
    assert main(replaced) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
