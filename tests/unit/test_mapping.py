"""Layer maps: the published tables, and every impossible map."""

from __future__ import annotations

import pytest

from tinybert.errors import UserError
from tinybert.mapping import LayerMap


def teacher_entries(name: str, student: int, teacher: int) -> list[int]:
    layer_map = LayerMap.create(name, student, teacher)
    assert [s for s, _ in layer_map.hidden] == list(range(student + 1))
    return [t for _, t in layer_map.hidden]


@pytest.mark.parametrize(
    ("student", "teacher", "entries"),
    [
        (4, 12, [0, 3, 6, 9, 12]),  # TinyBERT, and MUD's t_top12
        (6, 12, [0, 2, 4, 6, 8, 10, 12]),
        (4, 10, [0, 2, 5, 8, 10]),  # MUD's t_top10: 2.5 is rounded to 2, 7.5 to 8
        (6, 10, [0, 2, 3, 5, 7, 8, 10]),
        (4, 8, [0, 2, 4, 6, 8]),  # MUD's t_top8
        (6, 8, [0, 1, 3, 4, 5, 7, 8]),
        (4, 6, [0, 2, 3, 4, 6]),  # 1.5 -> 2 and 4.5 -> 4: half to even
        (3, 3, [0, 1, 2, 3]),
        (1, 12, [0, 12]),
    ],
)
def test_uniform_map_matches_the_published_tables(student, teacher, entries):
    assert teacher_entries("uniform", student, teacher) == entries


@pytest.mark.parametrize(
    ("name", "student", "teacher", "entries"),
    [
        ("top", 4, 12, [0, 9, 10, 11, 12]),
        ("top", 6, 12, [0, 7, 8, 9, 10, 11, 12]),
        ("bottom", 4, 12, [0, 1, 2, 3, 4]),
        ("double", 6, 12, [0, 2, 4, 6, 8, 10, 12]),
        ("double", 4, 12, [0, 2, 4, 6, 8]),  # PaddleNLP's script for a 4-layer student
    ],
)
def test_named_maps_match_their_definitions(name, student, teacher, entries):
    assert teacher_entries(name, student, teacher) == entries


def test_last_maps_only_embedding_and_last_layer():
    layer_map = LayerMap.create("last", 4, 12)
    assert layer_map.hidden == ((0, 0), (4, 12))
    assert layer_map.attention == ((3, 11),)


def test_last_allows_a_student_deeper_than_its_teacher():
    assert LayerMap.create("last", 6, 4).hidden == ((0, 0), (6, 4))


@pytest.mark.parametrize(
    ("name", "student", "teacher", "attention"),
    [
        ("uniform", 4, 12, [2, 5, 8, 11]),
        ("uniform", 6, 12, [1, 3, 5, 7, 9, 11]),
        ("double", 4, 12, [1, 3, 5, 7]),
        ("top", 4, 12, [8, 9, 10, 11]),
        ("uniform", 4, 6, [1, 2, 3, 5]),
    ],
)
def test_attention_layers_are_those_below_the_hidden_entries(name, student, teacher, attention):
    layer_map = LayerMap.create(name, student, teacher)
    assert layer_map.attention == tuple(enumerate(attention))
    assert layer_map.attention == tuple((s - 1, t - 1) for s, t in layer_map.hidden if s)


def test_explicit_pairs_are_used_as_given():
    layer_map = LayerMap.create("1:3,2:6,4:11", 4, 12)
    assert layer_map.hidden == ((1, 3), (2, 6), (4, 11))
    assert layer_map.attention == ((0, 2), (1, 5), (3, 10))
    assert LayerMap.create("0:0", 4, 12).attention == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unifrom", ["unknown layer map 'unifrom'", "uniform, top, bottom, last, double", "0:0,1:3,2:6"]),
        ("", ["unknown layer map"]),
        ("0:0,1", ["unknown layer map"]),
        ("0:0,1:3:4", ["unknown layer map"]),
        ("0:0;1:3", ["unknown layer map"]),
        ("0:0,1:13", ["1:13 is out of range", "0 to 4", "0 to 12"]),
        ("0:0,5:12", ["5:12 is out of range"]),
        ("-1:0", ["-1:0 is out of range"]),
        ("0:3", ["0:3 mixes an embedding with a layer"]),
        ("1:0", ["1:0 mixes an embedding with a layer"]),
        ("1:6,2:3", ["not strictly increasing", "1:6 is followed by 2:3"]),
        ("1:6,1:7", ["not strictly increasing"]),
        ("1:6,2:6", ["not strictly increasing", "its own teacher entry"]),
    ],
)
def test_impossible_explicit_maps_are_refused_with_a_reason(text, words):
    with pytest.raises(UserError) as refusal:
        LayerMap.create(text, 4, 12)
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize("name", ["uniform", "top", "bottom", "double"])
def test_student_deeper_than_its_teacher_is_refused(name):
    with pytest.raises(UserError, match="student of 6 layers onto a teacher of 4"):
        LayerMap.create(name, 6, 4)


def test_double_past_the_last_teacher_layer_is_refused():
    with pytest.raises(UserError, match="4:8 is out of range"):
        LayerMap.create("double", 4, 6)


def test_table_shows_every_pair():
    text = LayerMap.create("uniform", 2, 12).table()
    assert "uniform (2 of 12 layers)" in text
    assert "student embedding <- teacher embedding" in text
    assert "student layer  1   <- teacher layer  6" in text
    assert "student layer  2   <- teacher layer 12" in text
    assert len(text.splitlines()) == 4
