"""Augmentation against the published script: candidates in order, samples, and the rows of three kinds of table."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.parity.fixtures import HERE, fixtures, part, read
from tinybert.augment.candidates import KEPT, MASKED_LM, VECTORS, Candidates
from tinybert.augment.eligible import is_eligible
from tinybert.augment.rows import augmented_rows
from tinybert.augment.sampling import Tally, variants
from tinybert.augment.word_vectors import open_word_vectors
from tinybert.data.fields import FieldReader
from tinybert.data.rewriting import Rewriter
from tinybert.data.tasks import get_task
from tinybert.models.masked_lm import load_masked_lm


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Load the model and table next to a fixture with our own readers: a Hugging Face folder, a text file of vectors."""

    @functools.cache
    def beside(source: Path) -> Candidates:
        return _candidates(source / "augment_model.npz", tmp_path_factory.mktemp("published"))

    return lambda path: beside(path.parent)


def _candidates(source: Path, folder: Path) -> Candidates:
    from safetensors.numpy import save_file

    config, arrays = read(source)
    names = {"hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads", "ffn": "intermediate_size"}
    shape = {new: config[old] for old, new in names.items()} | {key: config[key] for key in ("vocab_size", "max_position_embeddings")}
    (folder / "config.json").write_text(json.dumps({**shape, "model_type": "bert", "type_vocab_size": 2, "layer_norm_eps": 1e-12}))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in arrays["vocab"]))
    save_file(part(arrays, "model/"), folder / "model.safetensors")
    rows = zip(arrays["glove_words"], arrays["glove_vectors"], strict=True)
    (folder / "glove.txt").write_text("".join(f"{word} {' '.join(repr(float(x)) for x in vector)}\n" for word, vector in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYBERT_CACHE", str(folder))
        table = open_word_vectors(folder / "glove.txt")
    return Candidates(load_masked_lm(str(folder)), table, config["M"], match_case=False, words_only=False)


def test_each_fixture_uses_the_model_beside_it(published, tmp_path):
    for name in ("augment_model.npz", "augment_model.json"):
        (tmp_path / name).write_bytes((HERE / name).read_bytes())
    one, other = (published(folder / "augment_candidates.json") for folder in (HERE, tmp_path))
    assert one is not other and published(HERE / "augment_rows.json") is one


def sentences_of(path: Path) -> list[dict]:
    return json.loads(path.read_text())["sentences"]


@pytest.mark.parametrize("path", fixtures("augment_candidates*.json"), ids=lambda path: path.stem)
def test_candidates_match_the_published_ones_in_order(path, published):
    sentences, published = sentences_of(path), published(path)
    found = published.find([entry["sentence"] for entry in sentences])  # all at once: batches mix sentences
    compared = {MASKED_LM: 0, VECTORS: 0, KEPT: 0}
    for number, entry in enumerate(sentences):
        words = published.tokenizer.words(entry["sentence"])
        assert words == entry["words"]
        assert [i for i, word in enumerate(words) if is_eligible(word)] == entry["eligible"]
        choices = published.choices(words, found[found[:, 0] == number])
        assert [choice.word for choice in choices] == [known["index"] for known in entry["words_augmented"]]
        for choice, known in zip(choices, entry["words_augmented"], strict=True):
            assert choice.candidates == known["candidates"], (entry["sentence"], known["word"])
            assert choice.route == (MASKED_LM if known["route"] == "mlm" else VECTORS if known["in_glove"] else KEPT)
            compared[choice.route] += 1
    assert compared[MASKED_LM] > 20 and compared[VECTORS] > 3


def test_logits_match_the_published_ones(published):
    (entry, *_) = sentences_of(HERE / "augment_candidates.json")
    published = published(HERE / "augment_candidates.json")
    known = entry["words_augmented"][0]
    ids = published.tokenizer.ids([entry["sentence"]])[0]
    pair = published.reader.ids(ids)[None]
    pair[0, known["mask_position"]] = published.tokenizer.mask_id
    segments = (np.arange(pair.shape[1]) >= len(ids) + 2)[None].astype("int64")
    hidden = published.model.hidden(pair, segments, np.array([0]), np.array([known["mask_position"]]))
    logits = published.model.logits(hidden).numpy()[0]
    assert np.abs(np.sort(logits)[::-1][: len(known["top_logits"])] - known["top_logits"]).max() < 1e-4


@pytest.mark.parametrize("path", fixtures("augment_candidates*.json"), ids=lambda path: path.stem)
def test_samples_are_drawn_in_the_published_order(path, published):
    config, published = json.loads(path.read_text()), published(path)
    for entry in config["sentences"]:
        random = Random(config["sampling_python_random_seed"])
        text = entry["sentence"]
        drawn = variants(text, published.of([text])[0], config["sampling_N"], config["p"], random, Tally(), unchanged=True)
        assert [text, *drawn] == entry["sampled_with_python_random_seed"]


@pytest.mark.parametrize("path", fixtures("augment_rows*.json"), ids=lambda path: path.stem)
def test_rows_match_the_published_files(path, published, tmp_path):
    published = published(path)
    for entry in json.loads(path.read_text())["tasks"].values():
        file = tmp_path / "train.tsv"
        file.write_text("".join("\t".join(row) + "\n" for row in entry["input_rows"]))
        split = get_task(entry["task"]).split("train")
        reader = FieldReader(file, split, entry["task"], lambda _: False)
        random = Random(entry["python_random_seed"])
        lines, rewriter = [], None

        def vary(_side: int, text: str, entry=entry, random=random) -> list[str]:
            return variants(text, published.of([text])[0], entry["N"], entry["p"], random, Tally(), unchanged=True)

        for row in reader:
            rewriter = rewriter or Rewriter.of(split, reader.picked, row.raw, published=True)
            texts = (row.text_a,) if row.text_b is None else (row.text_a, row.text_b)
            lines += [rewriter.row(row.raw, *new) for new in augmented_rows(texts, vary, "published")]
        head = rewriter.frame(reader.header, reader.source.bom).head
        expected = ["\t".join(row) + "\r\n" for row in entry["output_rows"]]
        assert [*([head] if split.header else []), *lines] == expected, entry["task"]
