"""Models: a folder, the output folder of a run, a name, or a PaddleNLP object."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert import runtime, storage
from tinybert.api.process import in_process, ready, run_command
from tinybert.commands.export import ExportConfig
from tinybert.data.folder_files import read_json_object
from tinybert.data.places import cache_home
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.api.data import Data
    from tinybert.deploy.predictor import Prediction, Predictor
    from tinybert.models.loading import LoadedModel


class Model:
    """A model in a folder; its weights are loaded on first use.

    path: the folder. labels: the names of its outputs in order, None if its configuration has none.
    """

    def __init__(self, path: str | Path, data: Data | None = None) -> None:
        self._data = data  # the training data, if known
        ready()
        from tinybert.models.configuration import labels_of, read_config
        from tinybert.models.hub import resolve

        self.path = resolve(str(path))
        self.config = read_config(self.path)
        self.labels = labels_of(self.config)

    @cached_property
    def loaded(self) -> LoadedModel:
        """The model with its weights, tokenizer and load report; `loaded.model` is the PaddleNLP object.

        Changes to these weights do not affect the folder: `tb.load(model.loaded.model, tokenizer)` turns them into a new model.
        """
        from tinybert.models.loading import load_pretrained

        with in_process():
            return load_pretrained(str(self.path))[0]

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return self.loaded.parameters()

    @cached_property
    def _predictors(self) -> dict[int | None, Predictor]:
        return {}

    def predict(
        self, rows: Sequence[str | tuple[str, str]], *, batch_size: int | None = None, max_seq_length: int | None = None
    ) -> list[Prediction]:
        """Predict texts, or pairs of texts; results are in input order.

        Each has `label`, `probability` and `probabilities` by label (for regression: `score`). batch_size: batch size.
        max_seq_length: maximum number of tokens in a row; None: as in training. Longer rows are truncated.

        Raises:
            UserError: the model has no trained head, texts and pairs are mixed, or the input does not match what the model was trained on.
        """
        from tinybert.deploy.predictor import Predictor

        if isinstance(rows, str):
            raise UserError(f"predict got one text, {rows[:40]!r}\nexpected a list of texts")
        if max_seq_length not in self._predictors:
            with in_process():
                self._predictors[max_seq_length] = Predictor.open(self.path, runtime.threads(), max_seq_length)
        return self._predictors[max_seq_length].predict(rows, batch_size)

    def evaluate(self, data: Data, **options: int) -> dict[str, float]:
        """`tb.evaluate` of this model."""
        from tinybert.api.procedures import evaluate

        return evaluate(self, data, **options)

    def save(self, folder: str | Path) -> Model:
        """Copy the model to a new folder; returns the model there.

        Raises:
            UserError: the folder already exists.
        """
        folder = Path(folder).expanduser()
        if folder.exists():
            raise UserError(f"{folder} exists\nchoose a new folder")
        with storage.new_folder(folder) as temporary:
            for entry in self.path.iterdir():
                if entry.is_file() and entry.name != storage.MANIFEST:
                    shutil.copyfile(entry, temporary / entry.name)
        return Model(folder)

    def export(self, folder: str | Path, format: str | Sequence[str] = "onnx", *, data: Data | None = None, **options: object) -> Model:
        """Export to `paddle`, `onnx` or `openvino`; returns the exported model, which predicts with that engine.

        data: rows on which the exported file is compared with the model; None: the data it was trained on. options: those of
        `tinybert export`, such as `precision`. Several formats or precisions are written to one subfolder each, and this model is
        returned.

        Raises:
            UserError: a missing library, an exported model with different outputs, or a folder that already exists.
        """
        formats = [format] if isinstance(format, str) else list(format)
        data = data or self._data
        rows = {} if data is None else {name: value for name, value in data.options.items() if name in ExportConfig.options()}
        values = {**rows, "model_path": str(self.path), "output_dir": folder, "format": formats}
        output = run_command("export", {**values, **options}).output
        return Model(output) if (output / "config.json").is_file() else self

    def convert(self, folder: str | Path, to: str, **options: object) -> Path:
        """Write the model in another format: `huggingface`, `paddlenlp`, or `inference` (for Paddle Inference); returns the folder.

        Raises:
            UserError: unknown format, one that cannot represent the model, or a folder that already exists.
        """
        return run_command("convert", {"model_path": str(self.path), "output_dir": folder, "to": to, **options}).output

    def __repr__(self) -> str:
        size = f"{self.config.get('num_hidden_layers')} x {self.config.get('hidden_size')}"
        return f"Model({self.path}: {self.config.get('model_type')} {size}{', labels ' + ', '.join(self.labels) if self.labels else ''})"


def load(source: object, tokenizer: object = None, *, labels: Sequence[str] | None = None) -> Model:
    """Load a model by its folder, the output folder of a run (its best model), a name such as `bert-base-uncased`, or a PaddleNLP object.

    source: a path, a name, a `Model`, or a PaddleNLP model together with its `tokenizer`, which is saved to the cache folder
    (TINYBERT_CACHE) in its current state. labels: the names of the outputs in order, if the configuration has none or others; a folder is
    copied to the cache for them.

    Raises:
        UserError: no such model, the object is not a BERT-like encoder, or labels that do not fit the outputs.
    """
    if isinstance(source, (str, Path, Model)):
        known = source if isinstance(source, Model) else Model(source)
        return known if labels is None or tuple(labels) == known.labels else Model(_renamed(known.path, labels))
    ready()
    if not (hasattr(source, "state_dict") and hasattr(source, "config") and hasattr(source, "base_model_prefix")):
        raise UserError(f"a model got {type(source).__name__}\nexpected a folder, a name, or a PaddleNLP model with its tokenizer")
    if tokenizer is None:
        raise UserError("a PaddleNLP model needs its tokenizer\nuse tb.load(model, tokenizer)")
    return Model(_folder_of(source, tokenizer, labels))


def _folder_of(model, tokenizer, labels: Sequence[str] | None) -> Path:
    """A cache folder with this model, named by its content."""
    from tinybert.models.weights import write_pdparams

    arrays = {name: value.astype("float32").numpy() for name, value in model.state_dict().items()}
    with tempfile.TemporaryDirectory() as name:
        described = Path(name)
        model.config.save_pretrained(name)
        tokenizer.save_pretrained(name)
        if not any((described / vocabulary).is_file() for vocabulary in ("vocab.txt", "vocab.json")):
            raise UserError(
                f"the tokenizer {type(tokenizer).__name__} has no vocab.txt or vocab.json\nexpected a WordPiece or byte-level BPE tokenizer"
            )
        config = json.loads((described / "config.json").read_text(encoding="utf-8"))
        config["architectures"] = [type(model).__name__]
        if labels is not None:
            config |= _named(labels, int(model.config.num_labels))
        storage.write_json(described / "config.json", config)
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(described.iterdir())))
        for name in sorted(arrays):
            digest.update(name.encode())
            digest.update(arrays[name].tobytes())
        target = cache_home() / "models" / f"{type(model).__name__}-{digest.hexdigest()[:16]}"
        if not target.is_dir():
            with storage.new_folder(target, replace=True) as folder:  # another process may have written the same content first
                write_pdparams(folder / "model_state.pdparams", arrays)
                for path in described.iterdir():
                    shutil.copyfile(path, folder / path.name)
    return target


def _renamed(folder: Path, labels: Sequence[str]) -> Path:
    """A copy of this model in the cache, whose outputs have these names; the copy is named by its content."""
    from tinybert.deploy.predictor import Predictor
    from tinybert.models.configuration import config_file

    with in_process():
        predictor = Predictor.open(folder, runtime.threads())
    if not predictor.kind.names_labels:
        raise UserError(f"labels got {', '.join(labels)}, but {folder} is a model for {predictor.kind.title}\nleave out labels")
    described = config_file(folder)
    config = read_json_object(described) | _named(labels, len(predictor.labels))
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in (storage.MANIFEST, described.name)]
    content = json.dumps([config, *((path.name, storage.known_sha256(path)) for path in files)])
    target = cache_home() / "models" / f"{folder.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if not target.is_dir():
        with storage.new_folder(target, replace=True) as copy:
            for path in files:
                shutil.copyfile(path, copy / path.name)
            storage.write_json(copy / described.name, config)
    return target


def _named(labels: Sequence[str], outputs: int) -> dict:
    """The entries of config.json that name the outputs."""
    names = [str(label) for label in labels]
    if len(set(names)) != outputs or len(names) != outputs:
        raise UserError(f"labels got {', '.join(names)}\nexpected {outputs} different names, one for each output of the model")
    return {"id2label": {str(i): name for i, name in enumerate(names)}, "label2id": {name: i for i, name in enumerate(names)}}
