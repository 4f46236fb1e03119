"""Tokenizers other than BERT's, as their files describe them, run by the tokenizers library: byte-level BPE and its like."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from tinybert import storage
from tinybert.data.folder_files import read_json_object, read_text
from tinybert.data.layout import Flat
from tinybert.data.tokenizer import WordPiece
from tinybert.data.tokenizer_folder import CONFIG, JSON, is_word_piece, special_tokens
from tinybert.errors import UserError

_FILES = (JSON, "vocab.json", "merges.txt", CONFIG, "special_tokens_map.json", "added_tokens.json")
_ROBERTA = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}


class FastTokenizer:
    """A tokenizer for whole rows, with its own special tokens and arrangement of rows.

    Attributes: `vocab_size` (the rows an embedding table needs), `pad_id`, `unk_id`, `cls_id`, `sep_id`, `fingerprint` (sha256 of all that
    affects ids).
    """

    def __init__(self, rust: Tokenizer, special: dict[str, str], files: dict[str, str], source: Path) -> None:
        rust.no_padding()
        rust.no_truncation()
        if not rust.num_special_tokens_to_add(is_pair=False):
            raise UserError(f"{source} does not say which special tokens surround a text (post_processor).\nSave the tokenizer again.")
        ids = {role: rust.token_to_id(token) for role, token in special.items() if role != "mask"}
        if None in ids.values():
            missing = ", ".join(special[role] for role, number in ids.items() if number is None)
            raise UserError(f"{source} lacks {missing}.\nName its special tokens in {CONFIG} (pad_token, unk_token, cls_token, sep_token).")
        self._rust, self._files = rust, files
        self.pad_id, self.unk_id, self.cls_id, self.sep_id = (ids[role] for role in ("pad", "unk", "cls", "sep"))
        self.vocab_size = max(rust.get_vocab(with_added_tokens=True).values()) + 1
        self.fingerprint = hashlib.sha256(json.dumps([rust.to_str(), special]).encode("utf-8")).hexdigest()

    @classmethod
    def from_folder(cls, folder: Path) -> FastTokenizer:
        """Read tokenizer.json, or vocab.json and merges.txt of byte-level BPE.

        Raises:
            UserError: the library cannot read them, or something is missing.
        """
        files = {name: read_text(folder / name) for name in _FILES if (folder / name).is_file()}
        config = read_json_object(folder / CONFIG) if CONFIG in files else {}
        special = _ROBERTA | special_tokens(folder, config)
        path = folder / (JSON if JSON in files else "vocab.json")
        try:
            rust = _from_json(files[JSON], config) if JSON in files else _byte_level(folder, config, special)
        except BaseException as error:  # the library raises plain Exception, and Rust panics are BaseExceptions
            if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError, UserError)):
                raise
            raise UserError(f"{path} cannot be read by the library tokenizers: {error}.\nDownload it again.") from None
        return cls(rust, special, files, path)

    def save(self, folder: str | Path, tokenizer_class: str = "") -> None:
        """Write the files it was read from; they name their class."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, content in self._files.items():
            storage.write_file(Path(folder) / name, content)

    def rows(self, text_a: list[str], text_b: list[str] | None, max_length: int) -> tuple[Flat, np.ndarray, int]:
        """See `WordPiece.rows`; special tokens and truncation are the library's."""
        self._rust.enable_truncation(max_length)
        texts = [_encodable(text) for text in text_a]
        pairs = texts if text_b is None else list(zip(texts, map(_encodable, text_b), strict=True))
        found = self._rust.encode_batch(pairs)
        first = np.fromiter((len(row.ids) - sum(row.type_ids) for row in found), np.int64, len(found))
        return Flat.of([row.ids for row in found]), first, sum(bool(row.overflowing) for row in found)


def read_tokenizer(folder: Path, do_lower_case: bool | None = None) -> WordPiece | FastTokenizer:
    """The tokenizer of a model folder, BERT's or another one.

    Raises:
        UserError: see `WordPiece.from_folder` and `FastTokenizer.from_folder`.
    """
    return WordPiece.from_folder(folder, do_lower_case) if is_word_piece(folder) else FastTokenizer.from_folder(folder)


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")  # without lone surrogates


def _from_json(text: str, config: dict) -> Tokenizer:
    content = json.loads(text)
    splits = content.get("pre_tokenizer") or {}
    if splits.get("type") == "ByteLevel" and config.get("add_prefix_space") is not None:
        splits["add_prefix_space"] = bool(config["add_prefix_space"])  # transformers follows this file, too
    return Tokenizer.from_str(json.dumps(content))


def _byte_level(folder: Path, config: dict, special: dict[str, str]) -> Tokenizer:
    """Byte-level BPE with RoBERTa's rows, <s> A </s> or <s> A </s></s> B </s>."""
    rust = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    space = bool(config.get("add_prefix_space"))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    added = read_json_object(folder / "added_tokens.json") if (folder / "added_tokens.json").is_file() else {}
    for token, number in sorted(added.items(), key=lambda entry: entry[1]):
        rust.add_tokens([token])
        if rust.token_to_id(token) != number:
            raise UserError(f"{folder}: the added token {token!r} has the id {number}, expected {rust.token_to_id(token)}.")
    present = {role: token for role, token in special.items() if rust.token_to_id(token) is not None}
    rust.add_special_tokens([AddedToken(token, lstrip=role == "mask", special=True) for role, token in present.items()])
    if {"sep", "cls"} <= present.keys():
        ends = ((special[role], rust.token_to_id(special[role])) for role in ("sep", "cls"))
        rust.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=space)
    return rust
