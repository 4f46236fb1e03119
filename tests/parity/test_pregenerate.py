"""The invariants and distributions of the published pregeneration, on the documents of its golden runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.parity.fixtures import fixtures
from tinybert.corpus.documents import TextCorpus
from tinybert.corpus.masking import Masking
from tinybert.corpus.sequences import SequenceOptions
from tinybert.corpus.tokens import CorpusTokens, Tokenise, write_tokens
from tinybert.corpus.workers import Workers
from tinybert.corpus.writing import ROWS, ShardMaker, plan
from tinybert.data.tokenizer import WordPiece

RUNS = 40  # with other seeds on the same documents, for the distributions


class Made:
    """Our pregeneration of a fixture's documents, in the published format, for `RUNS` epochs."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.golden = json.loads(path.read_text())
        config = self.config = self.golden["config"]
        self.tokenizer = WordPiece(self.golden["vocab"], do_lower_case=config["do_lower_case"])
        (folder / "text").write_text("\n\n".join("\n".join(document) for document in self.golden["documents"]))
        tokenise = Tokenise(self.tokenizer, split=False)
        list(write_tokens(folder / "tokens", TextCorpus(folder / "text", split=False), tokenise, Workers((tokenise,), 1)))
        options = SequenceOptions("pairs", config["max_seq_len"], config["short_seq_prob"], not config["one_seq"])
        masking = Masking(config["masked_lm_prob"], config["max_predictions_per_seq"], config["whole_word_mask"], always=True)
        maker = ShardMaker(folder, folder / "tokens", self.tokenizer, options, masking, 7, as_json=True)
        self.tokens = CorpusTokens.map(folder / "tokens")
        self.runs = []
        for (shard,) in plan(self.tokens, RUNS):
            maker(shard)
            self.runs.append([json.loads(line) for line in (folder / shard.name / ROWS).read_text().splitlines()])
        self.rows = [row for run in self.runs for row in run]


@pytest.fixture(scope="module", params=fixtures("pregenerate_*.json"), ids=lambda path: path.stem)
def made(request, tmp_path_factory) -> Made:
    return Made(request.param, tmp_path_factory.mktemp("pregenerate"))


def originals(row: dict) -> tuple[list[str], list[str]]:
    """The two parts of a row with its masks undone, without [CLS] and [SEP]."""
    tokens = list(row["tokens"])
    for place, label in zip(row["masked_lm_positions"], row["masked_lm_labels"], strict=True):
        tokens[place] = label
    first = row["segment_ids"].count(0)
    return tokens[1 : first - 1], tokens[first:-1]


def documents_with(part: list[str], documents: list[list[str]]) -> set[int]:
    """The documents that contain a part contiguously."""
    needle = " " + " ".join(part) + " "
    return {number for number, text in enumerate(documents) if needle in text}


def test_documents_become_the_published_word_pieces(made):
    vocabulary = made.golden["vocab"]
    ids, ends = made.tokens.ids, made.tokens.sentences
    found = [[vocabulary[i] for i in ids[a:b]] for a, b in zip(ends[:-1], ends[1:], strict=True)]
    assert found == [sentence for document in made.golden["document_tokens"] for sentence in document]
    assert np.diff(made.tokens.documents).tolist() == [len(document) for document in made.golden["document_tokens"]]


def test_rows_are_two_segments_within_the_maximum_length(made):
    for row in made.rows:
        tokens, segments = row["tokens"], row["segment_ids"]
        first = tokens.index("[SEP]") + 1
        assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]" and tokens.count("[SEP]") == 2
        assert segments == [0] * first + [1] * (len(tokens) - first)
        assert len(tokens) <= made.config["max_seq_len"]
        assert 1 < first < len(tokens) - 1


def test_second_segment_follows_the_first_or_is_random(made):
    texts = [" " + " ".join(piece for sentence in document for piece in sentence) + " " for document in made.golden["document_tokens"]]
    for row in made.runs[0] + made.runs[1]:
        a, b = originals(row)
        homes = documents_with(a, texts)
        assert homes
        if row["is_random_next"]:
            assert not made.config["one_seq"]
            assert documents_with(b, texts) - homes or len(homes) > 1
        elif b != ["."]:
            joint = [texts[home] for home in homes if _follows(a, b, texts[home])]
            assert joint, row


def _follows(a: list[str], b: list[str], text: str) -> bool:
    """Whether b occurs somewhere after a; truncated text may lie in between."""
    first, second = " " + " ".join(a) + " ", " " + " ".join(b) + " "
    return text.rfind(second) >= text.find(first) + len(first) - 1


def test_each_document_is_used_once_by_first_segments_and_continuations(made):
    used = Counter()
    for row in made.runs[0]:
        a, b = originals(row)
        used.update(a)
        if not row["is_random_next"] and b != ["."]:
            used.update(b)
    whole = Counter(piece for document in made.golden["document_tokens"] for sentence in document for piece in sentence)
    assert not used - whole  # no text occurs twice
    assert used.total() > 0.8 * whole.total()  # the rest was truncated


def test_as_many_tokens_are_masked_as_published_and_no_special_ones(made):
    rule = made.config
    for row in made.rows:
        wanted = min(rule["max_predictions_per_seq"], max(1, round(len(row["tokens"]) * rule["masked_lm_prob"])))
        places = row["masked_lm_positions"]
        assert places == sorted(set(places)) and len(row["masked_lm_labels"]) == len(places)
        assert len(places) <= wanted if rule["whole_word_mask"] else len(places) == wanted
        assert not {"[CLS]", "[SEP]"} & {*row["masked_lm_labels"]}
        last_of_first = row["segment_ids"].count(0) - 1
        assert not {0, last_of_first, len(row["tokens"]) - 1} & {*places}


WHOLE_WORDS = [path for path in fixtures("pregenerate_*.json") if json.loads(path.read_text())["config"]["whole_word_mask"]]


@pytest.mark.parametrize("made", WHOLE_WORDS, indirect=True, ids=lambda path: path.stem)
def test_whole_words_are_masked_whole(made):
    for row in made.rows:
        restored = list(row["tokens"])
        for place, label in zip(row["masked_lm_positions"], row["masked_lm_labels"], strict=True):
            restored[place] = label
        chosen = set(row["masked_lm_positions"])
        for place in range(1, len(restored)):
            if restored[place].startswith("##") and restored[place - 1] != "[SEP]" and restored[place - 1] != "[CLS]":
                assert (place in chosen) == (place - 1 in chosen)


def test_masks_are_80_10_10(made):
    kinds = Counter()
    for row in made.rows:
        for place, label in zip(row["masked_lm_positions"], row["masked_lm_labels"], strict=True):
            token = row["tokens"][place]
            kinds["mask" if token == "[MASK]" else "same" if token == label else "random"] += 1
    shares = {kind: count / kinds.total() for kind, count in kinds.items()}
    assert shares["mask"] == pytest.approx(0.8, abs=0.03)
    assert shares["same"] == pytest.approx(0.1, abs=0.02) and shares["random"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("name", "of_run"),
    [
        ("num_instances", len),
        ("length_mean", lambda run: np.mean([len(row["tokens"]) for row in run])),
        ("share_random_next", lambda run: np.mean([row["is_random_next"] for row in run])),
        ("masked_total", lambda run: sum(len(row["masked_lm_positions"]) for row in run)),
        ("segment_b_only_dot", lambda run: sum(originals(row)[1] == ["."] for row in run)),
    ],
)
def test_published_statistics_lie_within_our_distribution(made, name, of_run):
    """The published value is within four standard deviations of ours over many seeds."""
    ours = np.array([of_run(run) for run in made.runs], float)
    assert abs(made.golden["invariants"][name] - ours.mean()) <= 4 * ours.std() + 1e-9
    assert ours.std() < 0.25 * ours.mean() + 3  # otherwise the bound would be meaningless
