"""Token classification: fine-tuning, distillation by every method, conlleval scoring, and every tagging scheme."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.recipes.conftest import distill, logged, record
from tests.recipes.kinds.conftest import QUICK, assert_compares, assert_resumes_exactly, train_teacher, write_files
from tests.tiny import word_pieces
from tinybert.cli.main import main
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.entities import of_tags
from tinybert.data.store import TokenStore
from tinybert.data.tagged import NO_WORD, TaggedWords, encoded, iter_sentences
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS
from tinybert.models.trace import EncoderTrace, Inputs

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
OWN = ("--task_name", "names", "--kind", "token_classification")


def write_sentences(path: Path, count: int, seed: int, labelled: bool = True) -> Path:
    """Sentences in which word0 and word1 are a person of two words, and word2 is a place."""
    random = np.random.default_rng(seed)
    lines = ["-DOCSTART- O", ""]
    for _ in range(count):
        for _ in range(random.integers(2, 6)):
            which = random.integers(0, 4)
            for word, tag in ((("word0", "B-PER"), ("word1", "I-PER")), (("word2", "B-LOC"),), ((f"word{random.integers(3, 30)}", "O"),))[
                min(which, 2)
            ]:
                lines.append(f"{word} x {tag}" if labelled else word)
        lines.append("")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("names"), "{}.conll", write_sentences, 120, 40, 8)


@pytest.fixture(scope="module")
def teacher(words_encoder, files, tmp_path_factory) -> Path:
    return train_teacher(words_encoder, OWN, files, 60, tmp_path_factory.mktemp("runs") / "teacher")


def test_teacher_tags_every_word_of_the_test_file(teacher, files):
    assert record(teacher, "finetune")["best"]["entity_f1"] > 0.9
    config = json.loads((next(teacher.glob("best_model_*")) / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"] and config["id2label"]["3"] == "B-PER"
    written = [line.split("\t") for line in (teacher / "names.conll").read_text().splitlines()]
    words = [line for line in files["test"].read_text().splitlines() if not line.startswith("-DOCSTART-")]
    assert [line[0] for line in written if line[0]] == [word for word in words if word]
    assert all(tag == "B-LOC" for word, tag in (line for line in written if line[0]) if word == "word2")


def test_teacher_finds_entities_with_their_characters_in_plain_text(teacher, tmp_path, capsys):
    text = "Word0  word1 word5 word2"
    model = next(teacher.glob("best_model_*"))
    found = Predictor.open(model).predict([text, "word7", ""])
    assert [(span.label, span.text, span.begin) for span in found[0].spans] == [("PER", "Word0  word1", 0), ("LOC", "word2", 19)]
    assert all(0.5 < span.score <= 1 for span in found[0].spans) and found[1].spans == found[2].spans == ()
    assert [row.spans for row in Predictor.open(model).predict(["", " "])] == [(), ()]  # no word in any row
    (tmp_path / "new.csv").write_text(f'id,text\na,"{text}"\nb,word7\n')
    line = ("predict", "--model_path", str(model), "--input", str(tmp_path / "new.csv"), "--output")
    assert main([*line, str(tmp_path / "out.csv")]) == 2
    assert "one prediction per row; expected JSON lines" in capsys.readouterr().err
    assert main([*line, str(tmp_path / "out.jsonl"), "--proba"]) == 2
    assert "--proba applies only to labels of whole texts" in capsys.readouterr().err
    assert main([*line, str(tmp_path / "out.jsonl")]) == 0
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert [span["text"] for span in first["spans"]] == ["Word0  word1", "word2"] and second == {"id": "b", "spans": []}


@pytest.mark.parametrize(
    ("method", "stage", "student"),
    [
        ("tinybert", "both", ("--student_layers", "1")),
        ("logits", "prediction", ("--student_init", "teacher:1")),
        ("emd", "prediction", ("--student_init", "teacher:1")),
        ("mud", "both", ("--student_init", "teacher:1", "--keep_hidden", "0.5", "--hidden_scheme", "uniform_mask")),
        ("none", "prediction", ("--student_init", "teacher:1")),
    ],
)
def test_every_method_distils_a_token_classifier(method, stage, student, teacher, rows, tmp_path):
    distill(
        "--teacher_path", teacher, *student, *rows, *QUICK, "--max_steps", 60, "--method", method, "--stage", stage,
        "--output_dir", tmp_path, "--alpha", "0.5",
    )  # fmt: skip
    assert record(tmp_path, "prediction")["best"]["entity_f1"] > 0.7
    config = json.loads((tmp_path / "best_model" / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]  # a TinyBERT without its head is a BERT


def test_several_taggers_are_averaged_by_their_probabilities(teacher, rows, tmp_path):
    second = shutil.copytree(next(teacher.glob("best_model_*")), tmp_path / "second")
    student = ("--student_init", "teacher:1", *rows, *QUICK, "--max_steps", 2, "--logging_steps", 1, "--method", "logits")
    for name, more in {"one": (), "both": (second,)}.items():
        distill("--teacher_path", teacher, *more, *student, "--output_dir", tmp_path / name)
    one, both = ([line["pred"] for line in logged(tmp_path / name, "prediction")] for name in ("one", "both"))
    np.testing.assert_allclose(both, one, rtol=1e-4)


def test_stopped_run_resumes_exactly(teacher, rows, tmp_path):
    line = ("--teacher_path", teacher, "--student_init", "teacher:1", *rows, *QUICK, "--method", "logits", "--checkpoint_steps", 10)
    assert_resumes_exactly(line, tmp_path)


def test_unsupported_uses_of_a_tagger_are_refused(teacher, rows, words_encoder, tmp_path):
    with pytest.raises(UserError, match="cannot be stored"):
        distill(
            "--teacher_path", teacher, "--student_init", "teacher:1", *rows, *QUICK, "--teacher_traces", "store", "--max_steps", 2,
            "--output_dir", tmp_path / "o",
        )  # fmt: skip
    single = tmp_path / "single.tsv"
    single.write_text("text\tlabel\n" + "".join(f"word{i % 5} word9\t{LABELS[i % 5]}\n" for i in range(10)))
    own = ("--task_name", "x", "--text_a_column", "text", "--label_column", "label", "--labels", ",".join(LABELS))
    with pytest.raises(UserError, match="trained for token classification"):
        distill(
            "--teacher_path", teacher, "--student_init", "teacher:1", *own, "--train_file", single, "--dev_file", single, *QUICK,
            "--max_steps", 2, "--output_dir", tmp_path / "o",
        )  # fmt: skip


# === Reading ===


def sentences_of(path: Path, **more) -> tuple[list, list]:
    task = custom_task("names", CustomFiles(path, kind="token_classification", **more))
    parts = list(iter_sentences(path, task.split("train")))
    return [s for part in parts for s in part.words], [t for part in parts for t in part.tags]


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("BIO", "B-PER I-PER O B-LOC B-LOC I-LOC"),
        ("IOB1", "I-PER I-PER O I-LOC B-LOC I-LOC"),
        ("BIOES", "B-PER E-PER O S-LOC B-LOC E-LOC"),
        ("BILOU", "B-PER L-PER O U-LOC B-LOC L-LOC"),
        ("BMES", "B-PER E-PER O S-LOC B-LOC E-LOC"),
    ],
)
def test_every_tagging_scheme_becomes_bio(scheme, tags, tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- -X- O\n\n" + "".join(f"w{i}\tNN\t{tag}\n" for i, tag in enumerate(tags.split())) + "\n\n")
    words, found = sentences_of(path)
    assert words == [[f"w{i}" for i in range(6)]]
    assert found == [["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-LOC"]]


def test_json_lines_hold_words_and_tags(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"tokens": ["a", "b"], "ner": ["O", "I-PER"]}) + "\n")
    assert sentences_of(path, text_a_column="tokens", label_column="ner") == ([["a", "b"]], [["O", "B-PER"]])
    path.write_text(json.dumps({"words": ["a", "b"], "tags": ["O"]}) + "\n" + json.dumps({"words": ["c"], "tags": ["B-X"]}) + "\n")
    with pytest.raises(UserError, match="line 1: found 2 words and 1 tags"):
        sentences_of(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a O\nb X-PER\n", "line 1: found the tag 'X-PER'"),
        ("a O\nb\n", "line 2: found 1 columns"),
        ("a O\nb O\n", "has no entity"),
        ("\n\n", "has no sentences"),
    ],
)
def test_file_without_tagged_text_is_refused(text, message, tmp_path):
    (tmp_path / "a.conll").write_text(text)
    with pytest.raises(UserError, match=message):
        sentences_of(tmp_path / "a.conll")


def test_first_piece_of_a_word_has_its_tag_and_lost_words_are_counted():
    tokenizer = word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "c"])
    tags = [np.array([1, 2, 3, 4]), np.array([5])]
    rows, _, labels, counts, cut = encoded([["ab", "c", "\u200b", "a"], ["c"]], tags, tokenizer, 6)
    none = NO_WORD
    assert rows.lengths.tolist() == [6, 3] and counts.tolist() == [3, 1] and cut == 1
    assert labels.tolist() == [none, 1, none, 2, 3, none, none, 5, none]


def test_known_file_formats_need_no_kind_and_labels_are_padded(files, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path))
    task = custom_task("names", CustomFiles(files["train"], files["dev"]))
    assert task.kind is KINDS["token_classification"] and task.labels == LABELS
    store = TokenStore.build_or_open(task, "/", "train", word_pieces(), 16)
    from tinybert.data.batches import Batches

    batches = Batches(store, 8, seed=1, accumulation=2).step(0, 0)
    assert sum(batch.share["words"] for batch in batches) == pytest.approx(1.0)
    for batch in batches:
        assert batch.labels.shape == batch.input_ids.shape and (batch.labels[batch.attention_mask == 0] == NO_WORD).all()
        assert ((batch.labels >= 0).sum(1) == store.words.counts[batch.rows]).all()


# === Scores and losses ===


def gold_of(tags: list[list[str]], counts: list[int] | None = None) -> TaggedWords:
    flat = np.array([LABELS.index(tag) for row in tags for tag in row])
    ends = np.concatenate([[0], np.cumsum([len(row) for row in tags])])
    return TaggedWords(flat, np.array(counts or [len(row) for row in tags]), flat, ends)


def score(told: list[str], gold: TaggedWords) -> dict[str, float]:
    names = KINDS["token_classification"].metrics(LABELS)
    return of_tags(names, np.array([LABELS.index(tag) for tag in told]), gold, LABELS)


def test_entities_are_counted_like_conlleval_and_strictly_by_scheme():
    gold = gold_of([["B-PER", "I-PER", "O", "B-LOC"]])
    found = score(["I-PER", "I-PER", "O", "B-LOC"], gold)  # the first entity has no B-
    assert found["entity_f1"] == 1.0 and found["strict_f1"] == pytest.approx(2 / 3) and found["accuracy"] == 0.75
    wrong = score(["B-PER", "O", "O", "B-LOC"], gold)
    assert wrong["entity_f1"] == wrong["precision"] == wrong["recall"] == 0.5


def test_words_beyond_the_maximum_length_count_as_outside():
    gold = gold_of([["O", "B-PER", "B-LOC"], ["B-LOC", "O"]], [2, 2])
    found = score(["O", "B-PER", "B-LOC", "O"], gold)
    assert found["accuracy"] == 0.8 and found["recall"] == pytest.approx(2 / 3) and found["precision"] == 1.0


def test_dev_set_without_entities_scores_zero():
    assert score(["O", "O"], gold_of([["O", "O"]])) == {
        "entity_f1": 0.0, "strict_f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 1.0,
    }  # fmt: skip


def test_word_losses_average_over_words_only():
    from tinybert.objectives.words import WordGoldLoss, WordSoftLoss

    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((2, 2, 4, 3)).astype("float32")
    labels = np.array([[-1, 2, -1, 0], [-1, 1, -1, -1]])
    inputs = Inputs(*(paddle.zeros([2, 4], "int64"),) * 2, paddle.ones([2, 4]), paddle.to_tensor(labels))
    traces = EncoderTrace(logits=paddle.to_tensor(student)), EncoderTrace(logits=paddle.to_tensor(teacher))
    logs = student - np.log(np.exp(student).sum(-1, keepdims=True))
    places = list(zip(*np.nonzero(labels >= 0), strict=True))
    assert float(WordGoldLoss()(*traces, inputs)) == pytest.approx(np.mean([-logs[at][labels[at]] for at in places]), rel=1e-5)
    shares = np.exp(teacher) / np.exp(teacher).sum(-1, keepdims=True)
    assert float(WordSoftLoss()(*traces, inputs)) == pytest.approx(np.mean([-(shares[at] * logs[at]).sum() for at in places]), rel=1e-5)


# === Other commands ===


def test_tagger_is_pruned_converted_and_read_by_paddlenlp(teacher, rows, tmp_path):
    from paddlenlp.transformers import BertForTokenClassification

    from tinybert.models.exporting import write_as
    from tinybert.models.loading import load_pretrained
    from tinybert.models.students import student_from_teacher
    from tinybert.models.trace import Needs, trace
    from tinybert.prune.reduction import Shape, choose, pruned

    folder = next(teacher.glob("best_model_*"))
    loaded, config = load_pretrained(str(folder))
    assert loaded.kind is KINDS["token_classification"] and loaded.labels == LABELS
    assert write_as(tmp_path / "hf", loaded, config, "huggingface").difference <= 1e-6
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["architectures"] == ["BertForTokenClassification"]
    ids = paddle.to_tensor([[2, 5, 6, 7, 3], [2, 9, 8, 7, 3]])
    theirs = BertForTokenClassification.from_pretrained(str(folder))
    theirs.eval()
    inputs = Inputs(ids, paddle.zeros_like(ids), paddle.ones([2, 5]), padded=False)
    ours = trace(loaded.model.eval() or loaded.model, inputs, Needs(logits=True)).logits
    np.testing.assert_allclose(ours.numpy(), theirs(ids).numpy(), atol=1e-5)
    shape = Shape((1, 2), 1, 16, None)
    importance = {name: np.ones(weight.shape) for name, weight in _matrices(loaded).items()}
    smaller, _ = pruned(loaded, shape, choose(loaded, shape, importance))
    assert smaller.head == "token" and trace(smaller.model, inputs, Needs(logits=True)).logits.shape == [2, 5, 5]
    assert student_from_teacher(loaded, (2,), 5).head == "token"


def _matrices(loaded) -> dict:
    from tinybert.prune.importance import matrices_of

    return matrices_of(loaded.model)


def test_conll_2003_has_its_published_number_of_entities(real_data):
    path = real_data / "Ner" / "conll2003"
    if not path.is_dir():
        pytest.skip(f"no {path} here")
    dev = next(file for file in sorted(path.iterdir()) if "dev" in file.name or "testa" in file.name)
    _, tags = sentences_of(dev, file_format="conll")
    assert len(tags) == 3250 and sum(tag.startswith("B-") for row in tags for tag in row) == 5942


def test_taggers_are_compared(teacher, rows, runs_in_this_process, tmp_path):
    assert_compares(teacher, rows, 32, tmp_path / "out")
