"""Data is found where the command line says, and nothing is downloaded into a mistyped path."""

from pathlib import Path

import pytest

from tinybert.data import download
from tinybert.data.places import cache_home, data_home, locate, model_home
from tinybert.data.tasks import get_task
from tinybert.errors import UserError

SST = get_task("sst-2")


@pytest.fixture
def downloads(monkeypatch):
    """Record what would be downloaded, without a network."""
    asked = []

    def fail(task, folder):
        asked.append(Path(folder))
        raise download.DownloadError("no network here")

    monkeypatch.setattr(download, "download_task", fail)
    return asked


def test_homes_follow_their_variable_then_ppnlp_home_then_the_user(monkeypatch, tmp_path):
    for name in ("DATA_HOME", "MODEL_HOME", "TINYBERT_CACHE", "PPNLP_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_home() == tmp_path / ".paddlenlp" / "datasets"
    assert cache_home() == tmp_path / ".paddlenlp" / "tinybert_cache"
    monkeypatch.setenv("PPNLP_HOME", "/p")
    assert (data_home(), model_home(), cache_home()) == (
        Path("/p/datasets"),
        Path("/p/models"),
        Path("/p/tinybert_cache"),
    )
    monkeypatch.setenv("DATA_HOME", "/d")
    monkeypatch.setenv("MODEL_HOME", "/m")
    monkeypatch.setenv("TINYBERT_CACHE", "/c")
    assert (data_home(), model_home(), cache_home()) == (Path("/d"), Path("/m"), Path("/c"))


@pytest.mark.parametrize("name", ["SST-2", "sst-2", "Sst-2"])
def test_task_folder_is_found_in_any_case(tmp_path, name, downloads):
    (tmp_path / name).mkdir()
    (tmp_path / name / "train.tsv").write_text("x")
    assert locate(SST, glue_dir=tmp_path) == tmp_path / name
    assert not downloads


def test_data_dir_overrides_glue_dir_and_the_environment(tmp_path, monkeypatch, downloads):
    for name in ("own", "glue/SST-2", "home/Glue/SST-2"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "dev.tsv").write_text("x")
    monkeypatch.setenv("DATA_HOME", str(tmp_path / "home"))
    assert locate(SST) == tmp_path / "home" / "Glue" / "SST-2"
    assert locate(SST, glue_dir=tmp_path / "glue") == tmp_path / "glue" / "SST-2"
    assert locate(SST, data_dir=tmp_path / "own", glue_dir=tmp_path / "glue") == tmp_path / "own"


def test_mistyped_data_dir_is_refused_without_a_download(tmp_path, downloads):
    with pytest.raises(UserError, match="does not exist"):
        locate(SST, data_dir=tmp_path / "typo")
    (tmp_path / "dev.tsv").write_text("x")
    with pytest.raises(UserError, match=r"lacks train\.tsv \(found: dev\.tsv\)"):
        locate(SST, data_dir=tmp_path, splits=["train", "dev"])
    with pytest.raises(UserError, match="--glue_dir"):
        locate(SST, glue_dir=tmp_path / "typo")
    assert not downloads and not (tmp_path / "typo").exists()


def test_failed_download_lists_the_files_and_their_folder(tmp_path, monkeypatch, downloads):
    monkeypatch.setenv("DATA_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        locate(get_task("mnli"))
    assert downloads == [tmp_path / "Glue" / "MNLI"]
    for part in ("no network here", str(tmp_path / "Glue" / "MNLI"), "dev_mismatched.tsv", "train.tsv", "--data_dir"):
        assert part in str(error.value)
    assert "train_aug" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("tnews", "Clue/TNEWS"),
        ("tnews", "Clue/tnews"),
        ("tnews", "Clue/tnews_public"),
        ("chnsenticorp", "ChnSentiCorp"),
        ("chnsenticorp", "ChnSentiCorp/ChnSentiCorp/ChnSentiCorp"),
    ],
)
def test_chinese_data_is_found_in_all_published_layouts(tmp_path, monkeypatch, downloads, name, folder):
    monkeypatch.setenv("DATA_HOME", str(tmp_path))
    task = get_task(name)
    (tmp_path / folder).mkdir(parents=True)
    for split in ("train", "dev"):
        (tmp_path / folder / task.split(split).file).write_text("x")
    assert locate(task, splits=["train", "dev"]) == tmp_path / folder
    assert not downloads


def test_missing_chinese_data_is_reported_with_files_and_folder(tmp_path, monkeypatch, downloads):
    monkeypatch.setenv("DATA_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        locate(get_task("ocnli"))
    assert downloads == [tmp_path / "Clue" / "OCNLI"]
    assert f"Put these files into {tmp_path / 'Clue' / 'OCNLI'}: train.50k.json, dev.json, test.json" in str(error.value)
    with pytest.raises(UserError, match="ChnSentiCorp: train.tsv, dev.tsv, test.tsv"):
        locate(get_task("chnsenticorp"))
    assert downloads[1] == tmp_path / "ChnSentiCorp"


def test_missing_augmented_file_is_reported_with_its_command(tmp_path, downloads):
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "train.tsv").write_text("x")
    with pytest.raises(UserError, match="tinybert augment writes"):
        locate(SST, glue_dir=tmp_path, splits=["train_aug"])
    assert not downloads


def test_bundled_demo_needs_neither_network_nor_home(monkeypatch, downloads):
    monkeypatch.setenv("DATA_HOME", "/nowhere")
    folder = locate(get_task("demo"), splits=["train", "dev"])
    assert (folder / "train.tsv").is_file()
    assert not downloads
