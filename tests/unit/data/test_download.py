"""Downloads are complete or absent, keep edited files and report errors. They use a server in this process."""

import base64
import hashlib
import http.server
import io
import zipfile

import pytest

from tests.mirror import serving
from tinybert import storage
from tinybert.data import download
from tinybert.data.tasks import CLUE_TASKS, GLUE_TASKS, get_task
from tinybert.errors import UserError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder served over HTTP; TINYBERT_MIRROR points there."""
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(root) as (address, _):
        monkeypatch.setenv("TINYBERT_MIRROR", address)
        yield root


def publish(root, path, content):
    """Put a file on the site; returns its md5."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)
    return hashlib.md5(content).hexdigest()


def zipped(members):
    """A zip archive as bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return data.getvalue()


def table_with(monkeypatch, name, url, md5):
    """Add a made-up entry to PaddleNLP's table."""
    task = get_task(name)
    splits = {split: [f"{task.folder}/{task.splits[split].file}"] for split in task.splits if split != "train_aug"}
    monkeypatch.setattr(download, "_published_table", lambda: {name: {"url": url, "md5": md5, "splits": splits}})


def visible(folder):
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))


def test_mirror_replaces_only_scheme_and_host(monkeypatch):
    monkeypatch.setenv("TINYBERT_MIRROR", "http://127.0.0.1:8000/glue/")
    assert download.mirrored("https://host.com/dataset/SST.zip?x=1") == "http://127.0.0.1:8000/glue/dataset/SST.zip?x=1"
    monkeypatch.setenv("TINYBERT_MIRROR", "127.0.0.1")
    with pytest.raises(UserError, match="TINYBERT_MIRROR"):
        download.mirrored("https://host.com/x")


def test_content_must_match_the_md5_stated_by_the_host(site, tmp_path, monkeypatch):
    publish(site, "a.txt", b"content")
    plain = http.server.BaseHTTPRequestHandler.end_headers
    stated = base64.b64encode(hashlib.md5(b"other").digest()).decode()

    def end_headers(self):
        self.send_header("Content-MD5", stated)
        plain(self)

    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "end_headers", end_headers)
    with pytest.raises(UserError, match="md5 .* expected"):
        download.fetch("http://example.org/a.txt", tmp_path / "a.txt")
    assert visible(tmp_path) == ["site"]


def test_downloaded_file_is_complete(site, tmp_path):
    content = bytes(range(256)) * 4000
    md5 = publish(site, "a/file.bin", content)
    path = download.fetch("https://host.com/a/file.bin", tmp_path / "got" / "file.bin", md5=md5)
    assert path.read_bytes() == content
    assert visible(path.parent) == ["file.bin"]


def test_file_created_by_the_user_during_a_download_is_kept(tmp_path):
    with storage.new_file(tmp_path / "x", keep_existing=True) as out:
        out.write(b"downloaded")
        (tmp_path / "x").write_text("by hand")
    assert (tmp_path / "x").read_text() == "by hand"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_content_with_a_wrong_hash_is_not_kept(site, tmp_path):
    publish(site, "x", b"something else")
    with pytest.raises(download.DownloadError, match="expected"):
        download.fetch("https://host.com/x", tmp_path / "got" / "x", md5="0" * 32)
    assert visible(tmp_path / "got") == []


def test_incomplete_transfer_is_refused(site, tmp_path):
    with pytest.raises(download.DownloadError, match=r"stopped after 9 of 1000|IncompleteRead"):
        download.fetch("https://host.com/broken", tmp_path / "got" / "x")
    assert visible(tmp_path / "got") == []


def test_missing_address_and_unreachable_host_are_reported(site, tmp_path, monkeypatch):
    with pytest.raises(download.DownloadError, match="404"):
        download.fetch("https://host.com/none", tmp_path / "x")
    monkeypatch.setenv("TINYBERT_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(download.DownloadError, match="could not be downloaded"):
        download.fetch("https://host.com/none", tmp_path / "x")


def test_unpacking_a_task_keeps_edited_files(site, tmp_path, monkeypatch):
    members = {"SST-2/train.tsv": "new train", "SST-2/dev.tsv": "new dev", "SST-2/test.tsv": "new test"}
    md5 = publish(site, "g/SST.zip", zipped({**members, "../evil.txt": "x", "SST-2/original/big.txt": "x"}))
    table_with(monkeypatch, "sst-2", "https://host.com/g/SST.zip", md5)
    folder = tmp_path / "home" / "SST-2"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("edited by hand")
    written = download.download_task(get_task("sst-2"), folder)
    assert [path.name for path in written] == ["dev.tsv", "test.tsv"]
    assert (folder / "train.tsv").read_text() == "edited by hand"
    assert (folder / "dev.tsv").read_text() == "new dev"
    assert visible(folder) == ["dev.tsv", "test.tsv", "train.tsv"]
    assert visible(folder.parent) == ["SST-2"]


def test_complete_folder_needs_no_download(site, tmp_path, monkeypatch):
    table_with(monkeypatch, "sst-2", "https://host.com/none.zip", "0")
    for file in ("train.tsv", "dev.tsv", "test.tsv"):
        (tmp_path / file).write_text("x")
    assert download.download_task(get_task("sst-2"), tmp_path) == []


def test_html_page_in_place_of_a_zip_is_refused(site, tmp_path, monkeypatch):
    md5 = publish(site, "SST.zip", b"<html>log in first</html>")
    table_with(monkeypatch, "sst-2", "https://host.com/SST.zip", md5)
    with pytest.raises(download.DownloadError, match="zip"):
        download.download_task(get_task("sst-2"), tmp_path / "SST-2")
    assert visible(tmp_path / "SST-2") == []


def test_mrpc_is_assembled_with_a_dev_set_and_test_without_labels(site, tmp_path, monkeypatch):
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    rows = ["1\t1\t2\tone\ttwo\r\n", '0\t3\t4\t"three\tfour\u2028 x\r\n', "1\t2\t1\tfive\tsix\r\n"]
    parts = {
        "train_data": ("t.txt", header + "".join(rows)),
        "dev_id": ("dev_ids.tsv", "3\t4\n"),
        "test_data": ("e.txt", header + "1\t7\t8\tseven\teight\r\n0\t9\t9\tnine\tten\r\n"),
    }
    md5 = {part: publish(site, file, text.encode()) for part, (file, text) in parts.items()}
    table_with(monkeypatch, "mrpc", {part: f"https://host.com/{file}" for part, (file, _) in parts.items()}, md5)
    folder = tmp_path / "MRPC"
    download.download_task(get_task("mrpc"), folder)
    own_header = header.replace("\r", "")
    assert (folder / "train.tsv").read_bytes().decode() == own_header + "1\t1\t2\tone\ttwo\n1\t2\t1\tfive\tsix\n"
    assert (folder / "dev.tsv").read_bytes().decode() == own_header + '0\t3\t4\t"three\tfour\u2028 x\n'
    expected = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\tseven\teight\n1\t9\t9\tnine\tten\n"
    assert (folder / "test.tsv").read_bytes().decode() == expected


@pytest.mark.parametrize("inside", ["tnews_public/", "", "__MACOSX/tnews_public/"])
def test_archives_with_or_without_a_folder_give_the_same_files(site, tmp_path, monkeypatch, inside):
    members = {f"{inside}train.json": "t", f"{inside}dev.json": "d", f"{inside}test.json": "e", f"{inside}labels.json": "x"}
    md5 = publish(site, "tnews_public.zip", zipped(members))
    splits = {split: [f"tnews_public/{split}.json", ""] for split in ("train", "dev", "test", "labels")}
    entry = {"url": "https://host.com/tnews_public.zip", "md5": md5, "splits": splits}
    monkeypatch.setattr(download, "_published_table", lambda: {"tnews": entry})
    written = download.download_task(get_task("tnews"), tmp_path / "TNEWS")
    if inside.startswith("__"):
        assert not written  # a metadata file of the archiver is not data
    else:
        assert [(tmp_path / "TNEWS" / f"{name}.json").read_text() for name in ("train", "dev", "test")] == ["t", "d", "e"]
        assert visible(tmp_path / "TNEWS") == ["dev.json", "test.json", "train.json"]


def test_all_downloads_glue_and_clue_downloads_clue(monkeypatch):
    from tinybert.commands.download import DownloadConfig
    from tinybert.recipes import download as recipe

    asked = []
    monkeypatch.setattr(recipe, "locate", lambda task, *_: asked.append(task.name))
    for tasks, names in (
        ("all", list(GLUE_TASKS)),
        ("CLUE", list(CLUE_TASKS)),
        ("clue, rte,tnews,ChnSentiCorp", [*CLUE_TASKS, "RTE", "ChnSentiCorp"]),
    ):
        recipe.download(DownloadConfig(tasks=tasks))
        assert asked == names
        asked.clear()


def test_failed_task_does_not_stop_the_other_downloads(tmp_path, monkeypatch, capsys):
    from tinybert.commands.download import DownloadConfig
    from tinybert.recipes import download as recipe

    monkeypatch.setenv("TINYBERT_MIRROR", "http://127.0.0.1:9")  # no server is listening there
    monkeypatch.setenv("DATA_HOME", str(tmp_path / "home"))
    table_with(monkeypatch, "sst-2", "https://host.com/SST.zip", "0")
    (tmp_path / "home" / "Glue" / "RTE").mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (tmp_path / "home" / "Glue" / "RTE" / f"{split}.tsv").write_text("x")
    with pytest.raises(UserError, match="2 of 3 tasks could not be downloaded: CoLA, SST-2"):
        recipe.download(DownloadConfig(tasks="cola,sst-2,rte"))
    shown = capsys.readouterr()
    assert f"RTE: {tmp_path}/home/Glue/RTE" in shown.out and "could not be downloaded: [Errno 111]" in shown.err
    assert [path.name for path in (tmp_path / "home" / "Glue").iterdir()] == ["RTE"]  # no empty folder, no lock


def test_failed_download_leaves_no_folders_or_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_MIRROR", "http://127.0.0.1:9")
    table_with(monkeypatch, "sst-2", "https://host.com/SST.zip", "0")
    with pytest.raises(download.DownloadError, match="could not be downloaded"):
        download.download_task(get_task("sst-2"), tmp_path / "home" / "Glue" / "SST-2")
    assert not list(tmp_path.iterdir())


def test_unwritable_data_home_is_reported(tmp_path, monkeypatch):
    table_with(monkeypatch, "sst-2", "https://host.com/SST.zip", "0")
    monkeypatch.setattr(download.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=f"{tmp_path}/home/SST-2 cannot be written: no permission in {tmp_path}.") as problem:
        download.download_task(get_task("sst-2"), tmp_path / "home" / "SST-2")
    assert ".lock" not in str(problem.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: a file exists at"):
        download.download_task(get_task("sst-2"), tmp_path / "file" / "SST-2")


def test_every_task_has_a_published_address():
    pytest.importorskip("paddlenlp", reason="PaddleNLP is not installed")
    table = download._published_table()
    assert {name.lower() for name in (*GLUE_TASKS, *CLUE_TASKS, "ChnSentiCorp")} <= set(table)
    assert set(table["mrpc"]["url"]) == set(table["mrpc"]["md5"]) == {"train_data", "dev_id", "test_data"}


def test_own_tasks_are_not_looked_up_on_the_network():
    with pytest.raises(download.DownloadError, match="no published address"):
        download.download_task(get_task("demo"), "/nowhere/demo")


@pytest.mark.parametrize("address", [
    "http://[::1", "http://h:99999", "http://h:abc", "http://h:0", "ftp://h", "file:///etc", "http://", "h", "http://h h", "http://\n",
    "//",
    "http://h?a=b", "http://h#a", "gopher://h", "http://\x00",
])  # fmt: skip
def test_unusable_mirror_address_is_refused(monkeypatch, address):
    monkeypatch.setattr(download.os, "environ", {"TINYBERT_MIRROR": address})
    with pytest.raises(UserError, match="TINYBERT_MIRROR=.* is not an address such as"):
        download.mirrored("https://host.com/x")


ENTRY = {"url": "https://host.com/data.zip", "md5": None, "splits": {"train": ("SST-2/train.tsv", None)}}


def odd_archive(**changes) -> bytes:
    """A zip archive with bytes replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SST-2/train.tsv", "sentence\tlabel\n" + "good\t1\n" * 50)
    content = bytearray(out.getvalue())
    central = content.index(b"PK\x01\x02")
    for at, value in {"encrypted": ((6, central + 8), b"\1"), "method": ((8, central + 10), b"\x63"),
                      "size": ((central + 24,), b"\xf0\xff\xff\xff"), "stream": ((60, 70), b"\xff\xff")}.items():  # fmt: skip
        for place in value[0] if changes.get(at) else ():
            content[place : place + len(value[1])] = value[1]
    return bytes(content)


@pytest.mark.parametrize("change", ["encrypted", "method", "size", "stream", "cut", "nothing"])
def test_damaged_archive_is_refused_and_leaves_no_file(site, tmp_path, change):
    content = odd_archive(**{change: True})
    publish(site, "data.zip", content[: len(content) // 2] if change == "cut" else b"" if change == "nothing" else content)
    (tmp_path / "got").mkdir()
    with pytest.raises(download.DownloadError, match="is not a readable zip archive|unpacks to"):
        download._write_from_zip(ENTRY, tmp_path / "got", ["train.tsv"])
    assert list((tmp_path / "got").iterdir()) == []


def test_intact_archive_is_unpacked(site, tmp_path):
    publish(site, "data.zip", odd_archive())
    (tmp_path / "got").mkdir()
    download._write_from_zip(ENTRY, tmp_path / "got", ["train.tsv"])
    assert (tmp_path / "got/train.tsv").read_text().count("good") == 50


def test_mutated_archives_are_unpacked_or_refused(site, tmp_path):
    import random

    source, refused = random.Random(5), 0
    (tmp_path / "got").mkdir()
    for _ in range(200):
        content = bytearray(odd_archive())
        for _ in range(source.randint(1, 3)):
            content[source.randrange(len(content))] = source.randrange(256)
        (tmp_path / "got/data.zip").write_bytes(content)
        try:
            download._write_from_zip(ENTRY, tmp_path / "got", ["train.tsv"])
        except download.DownloadError:
            refused += 1
        (tmp_path / "got/train.tsv").unlink(missing_ok=True)
    assert 50 < refused < 200 and [p.name for p in (tmp_path / "got").iterdir()] == ["data.zip"]
