"""Students from teacher layers and from a shape, and pairs that do not fit."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests.tiny import WORDS, arrays_of, batch, loaded, logits_of, word_pieces
from tinybert.errors import UserError
from tinybert.models.families import family
from tinybert.models.loading import LoadedModel, LoadReport, build
from tinybert.models.students import check_fit, fresh_student, parse_init, student_from_teacher


@pytest.mark.parametrize("model_type", ["bert", "tinybert", "ernie", "roberta", "electra", "distilbert"])
def test_student_from_teacher_layers_has_the_teachers_weights(model_type):
    teacher = loaded(model_type)
    student = student_from_teacher(teacher, (1, 3), outputs=2)
    source, copied = arrays_of(teacher.model), arrays_of(student.model)
    origin = {"0": "0", "1": "2"}
    for name, array in copied.items():
        parts = name.split(".encoder.layers.")
        if len(parts) == 2:
            number, rest = parts[1].split(".", 1)
            name = f"{parts[0]}.encoder.layers.{origin[number]}.{rest}"
        np.testing.assert_array_equal(array, source[name], err_msg=name)
    assert len(copied) == len(source) - 16
    assert student.report.loaded == list(copied) and not student.report.fresh


def test_student_shares_no_memory_with_its_teacher():
    teacher = loaded()
    before = logits_of(teacher.model, batch())
    student = student_from_teacher(teacher, (2,), outputs=2)
    for parameter in student.model.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    np.testing.assert_array_equal(logits_of(teacher.model, batch()), before)


def test_student_with_all_layers_gives_the_teachers_logits():
    teacher = loaded()
    student = student_from_teacher(teacher, (1, 2, 3), outputs=2)
    np.testing.assert_array_equal(logits_of(student.model, batch()), logits_of(teacher.model, batch()))


@pytest.mark.parametrize("text", ["teacher:0,1", "teacher:1,4", "teacher:2,1", "teacher:1,1", "teacher:", "1,2", "teacher:1;2"])
def test_impossible_layers_are_refused(text):
    with pytest.raises(UserError, match=r"--student_init"):
        parse_init(text, 3)


def test_layer_list_is_parsed_with_spaces():
    assert parse_init("teacher: 1, 3", 3) == (1, 3)


# === New students ===


def bare(config: dict) -> LoadedModel:
    return LoadedModel(build(family("bert"), config, 2, "bare"), family("bert"), word_pieces(), None, {}, LoadReport("bare"))


def test_tinybert_student_has_the_published_parameter_count():
    shape = {"hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 2, "type_vocab_size": 2}
    teacher = bare({"vocab_size": 30522, **shape})
    tiny = fresh_student(teacher, 2, layers=4, hidden=312, heads=12, ffn=1200, seed=1)
    assert tiny.parameters() == 14_350_874


def test_bert_base_has_the_published_parameter_count():
    shape = {"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    with paddle.LazyGuard():  # shapes without memory
        model = build(family("bert"), {**shape, "max_position_embeddings": 512, "type_vocab_size": 2}, 2, "BERT-base")
    assert sum(int(np.prod(parameter.shape)) for parameter in model.parameters()) == 109_483_778


def test_unspecified_shape_is_taken_from_the_teacher():
    teacher = loaded()
    student = fresh_student(teacher, 3, layers=None, hidden=None, heads=None, ffn=None, seed=1)
    config = student.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.intermediate_size) == (3, 16, 2, 64)
    assert (config.vocab_size, config.max_position_embeddings, config.type_vocab_size) == (40, 20, 2)
    assert student.tokenizer is teacher.tokenizer
    assert logits_of(student.model, batch()).shape == (3, 3)
    assert student.report.fresh == list(arrays_of(student.model)) and not student.report.loaded


def test_fresh_student_depends_only_on_its_seed():
    def weights(seed: int) -> dict[str, np.ndarray]:
        return arrays_of(fresh_student(loaded(), 2, layers=1, hidden=8, heads=2, ffn=None, seed=seed).model)

    paddle.seed(1)
    first = weights(3)
    paddle.seed(2)
    for name, array in weights(3).items():
        np.testing.assert_array_equal(array, first[name], err_msg=name)
    assert np.abs(weights(4)["classifier.weight"] - first["classifier.weight"]).max() > 0


def test_width_not_divisible_by_heads_is_refused():
    with pytest.raises(UserError, match="width 15 cannot have 2 heads"):
        fresh_student(loaded(), 2, layers=1, hidden=15, heads=None, ffn=None, seed=1)


# === Pairs ===


def fits(teacher, student, length=20, compares_scores=True, heads="match", compares_tokens=True):
    check_fit(teacher, student, length, compares_tokens, compares_scores, heads)


def test_matching_pair_is_accepted():
    fits(loaded(), loaded("tinybert", seed=1))


def test_pairs_with_different_vocabularies_are_refused():
    student = loaded("tinybert")
    student.tokenizer = word_pieces([*WORDS[:-2], WORDS[-1], WORDS[-2]])
    fits(loaded(), student)  # the same tokens in another order are translated
    student.tokenizer = word_pieces([*WORDS[:-1], "other"])
    with pytest.raises(UserError, match="same size that differ"):
        fits(loaded(), student)
    student.tokenizer = word_pieces(WORDS[:-1])
    with pytest.raises(UserError, match="vocabularies of 40 and 39 tokens"):
        fits(loaded(), student)
    fits(loaded(), student, compares_tokens=False)  # each model reads the text with its own tokenizer


@pytest.mark.parametrize("short", ["teacher", "student"])
def test_sequences_beyond_max_positions_are_refused(short):
    models = {role: loaded(max_position_embeddings=12 if role == short else 20) for role in ("teacher", "student")}
    with pytest.raises(UserError, match=f"--max_seq_length 20 exceeds the 12 positions of the {short}"):
        fits(models["teacher"], models["student"])
    fits(models["teacher"], models["student"], length=12)


def test_roberta_has_one_position_less_than_its_table():
    fits(loaded("roberta"), loaded("roberta"), length=19)  # one of the 20 is used for padding
    with pytest.raises(UserError, match="exceeds the 19 positions"):
        fits(loaded("roberta"), loaded("roberta"), length=20)


def test_different_head_counts_are_refused_unless_averaged():
    teacher, student = loaded(num_attention_heads=4), loaded()
    with pytest.raises(UserError, match=r"4.*2|2.*4"):
        fits(teacher, student)
    fits(teacher, student, heads="average")
    fits(teacher, student, compares_scores=False)
