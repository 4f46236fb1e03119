"""BERT tokenisation, with the ids of PaddleNLP's `BertTokenizer` at the speed of the Rust library."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tinybert import storage
from tinybert.data.layout import Flat, bert_rows
from tinybert.data.tokenizer_folder import AddedToken, read_tokenizer_files
from tinybert.errors import UserError
from tinybert.log import logger

_PUBLISHED = ("normalized", "single_word", "special")
_RULES = 1  # increase when ids change for the same vocabulary and settings, to invalidate stored tokens
_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
# PaddleNLP splits at these characters as at symbols, whatever their Unicode category
_EXTRA_SYMBOLS = frozenset("\u00b2\u00ba\u3007\u00b5\u00d8\u014b\u01b1")


class WordPiece:
    """A WordPiece tokenizer: `ids(texts)` without [CLS] and [SEP].

    Attributes: `vocab_size` (lines of the vocabulary, the rows an embedding table needs), `pad_id`, `unk_id`, `cls_id`,
    `sep_id`, `mask_id` (None if the vocabulary has no mask), `do_lower_case`, `added` (tokens that are matched as a whole in any
    text), `fingerprint` (sha256 over vocabulary and settings).

    The ids are those of PaddleNLP's BertTokenizer, which differs from Google's original in one rule: a symbol (`£`, `€`, an emoji) is
    always a separate word. As there, a special token in the text is matched if surrounded by white space. Remaining differences:
    characters with another category in the Unicode tables of Python and the Rust library (a few rare scripts).
    """

    def __init__(
        self,
        vocabulary: list[str],
        do_lower_case: bool = True,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        special: dict[str, str] | None = None,
        model_max_length: int = 512,
        added: dict[str, AddedToken] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.do_lower_case = do_lower_case
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.special = {**_SPECIAL, **(special or {})}
        self.model_max_length = model_max_length
        self.added = added or {}
        index_of = {token: i for i, token in enumerate(vocabulary)}  # of duplicates the last one is used, as in BERT
        missing = [token for role, token in self.special.items() if role != "mask" and token not in index_of]
        if missing:
            raise UserError(
                f"The vocabulary ({len(vocabulary)} lines) lacks {', '.join(missing)}. Is it a BERT vocabulary? "
                "Other names can be given in tokenizer_config.json (unk_token, cls_token, sep_token, pad_token)."
            )
        self.vocab_size = len(vocabulary)
        self.pad_id, self.unk_id = index_of[self.special["pad"]], index_of[self.special["unk"]]
        self.cls_id, self.sep_id = index_of[self.special["cls"]], index_of[self.special["sep"]]
        self.mask_id = index_of.get(self.special["mask"])
        self._special_ids = {token: index_of[token] for token in self.special.values() if token in index_of}
        self._openings = {token[0] for token in self._special_ids}
        self._added_ids = {f"t{i}": entry.id for i, entry in enumerate(self.added.values())}
        self._added_pattern = self._pattern() if self.added else None
        strip = do_lower_case if strip_accents is None else strip_accents
        self._characters = _Characters(do_lower_case, strip, tokenize_chinese_chars)
        self._rust = self._build(index_of)
        self._cleaner = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=tokenize_chinese_chars, strip_accents=False, lowercase=False
        )

    def _pattern(self) -> re.Pattern[str]:
        """Matches the added tokens, the longest if several match; each is a group `t<i>`."""
        parts = {}
        for (token, entry), group in zip(self.added.items(), self._added_ids, strict=True):
            part = re.escape(token)
            part = rf"(?<!\w){part}(?!\w)" if entry.single_word else part
            parts[token] = f"(?P<{group}>(?i:{part}))" if entry.normalized and self.do_lower_case else f"(?P<{group}>{part})"
        return re.compile("|".join(parts[token] for token in sorted(parts, key=len, reverse=True)))

    def _build(self, index_of: dict[str, int]) -> Tokenizer:
        rust = Tokenizer(models.WordPiece(index_of, unk_token=self.special["unk"], max_input_chars_per_word=100))
        rust.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.do_lower_case,
        )
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return rust

    def _settings(self) -> dict[str, object]:
        return {
            "do_lower_case": self.do_lower_case,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "strip_accents": self.strip_accents,
            **{f"{role}_token": token for role, token in self.special.items()},
        }

    @property
    def fingerprint(self) -> str:
        """sha256 over the vocabulary and every setting that affects ids, as a hexadecimal string."""
        added = [{token: vars(entry) for token, entry in sorted(self.added.items())}] if self.added else []
        document = json.dumps([_RULES, self._settings(), self.vocabulary, *added])
        return hashlib.sha256(document.encode("utf-8")).hexdigest()

    @property
    def vocabulary_sha256(self) -> str:
        """sha256 over only the tokens and their order, as a hexadecimal string."""
        return hashlib.sha256("\n".join(self.vocabulary).encode("utf-8")).hexdigest()

    @classmethod
    def from_folder(cls, folder: str | Path, do_lower_case: bool | None = None) -> WordPiece:
        """Read the vocabulary of a model folder (`vocab.txt` or `tokenizer.json`) and the tokenizer settings in its other files.

        An explicit `do_lower_case` overrides the file; with neither, text is lower-cased.

        Raises:
            UserError: another kind of tokenizer, no vocabulary, contradictory files, or missing special tokens of BERT.
        """
        folder = Path(folder)
        found = read_tokenizer_files(folder)
        if do_lower_case is None and found.do_lower_case is None and _looks_cased(found.vocabulary):
            logger.warning(
                f"{folder}: the vocabulary looks cased, but tokenizer_config.json does not say so; text is lower-cased. Use "
                "--do_lower_case False if that is wrong."
            )
        if None not in (do_lower_case, found.do_lower_case) and do_lower_case != found.do_lower_case:
            logger.warning(f"{folder} was made with do_lower_case {found.do_lower_case} and is used with --do_lower_case {do_lower_case}")
        lower = found.do_lower_case if do_lower_case is None else do_lower_case
        return cls(
            found.vocabulary,
            True if lower is None else lower,
            found.tokenize_chinese_chars,
            found.strip_accents,
            found.special,
            found.model_max_length,
            found.added,
        )

    def save(self, folder: str | Path, tokenizer_class: str = "BertTokenizer") -> None:
        """Write vocab.txt, tokenizer_config.json, special_tokens_map.json and, if tokens were added, added_tokens.json, in the format of
        PaddleNLP and Hugging Face.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tokens: dict[str, object] = {f"{role}_token": token for role, token in self.special.items()}
        config = {**self._settings(), "model_max_length": self.model_max_length, "tokenizer_class": tokenizer_class}
        base = len(self.vocabulary)
        while base and self.vocabulary[base - 1] in self.added:
            base -= 1  # tokens added after the original vocabulary; others stay in vocab.txt
        storage.write_file(folder / "vocab.txt", "\n".join(self.vocabulary[:base]) + "\n")
        if self.added:
            config["added_tokens_decoder"] = {str(entry.id): _published(token, entry) for token, entry in self.added.items()}
            special = [token for token, entry in self.added.items() if entry.special]
            tokens |= {"additional_special_tokens": special} if special else {}
            behind = {token: entry.id for token, entry in self.added.items() if entry.id >= base}
            storage.write_json(folder / "added_tokens.json", behind)
        storage.write_json(folder / "tokenizer_config.json", config)
        storage.write_json(folder / "special_tokens_map.json", tokens)

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens and not truncated."""
        plain, parts = [], []
        for i, text in enumerate(texts):
            pieces = self._pieces(text)
            if pieces is not None:
                parts.append((i, pieces))
            plain.append("" if pieces is not None else self._prepared(text))
        ids = [encoding.ids for encoding in self._encode(plain)]
        for i, pieces in parts:
            ids[i] = self._assemble(pieces)
        return ids

    def rows(self, text_a: list[str], text_b: list[str] | None, max_length: int) -> tuple[Flat, np.ndarray, int]:
        """Rows of texts or pairs with special tokens, the lengths of their first segments and the number of truncated rows.

        See `layout.bert_rows`.
        """
        a, b = (None if texts is None else Flat.of(self.ids(texts)) for texts in (text_a, text_b))
        return bert_rows(a, b, max_length, self.cls_id, self.sep_id)

    def with_places(self, text: str) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Token ids of a text, and the character range of each token: begins and ends, int32 `[tokens]`.

        Special tokens in the text are treated as text.
        """
        prepared, origin = text, None
        if not text.isascii():
            parts = [self._characters[ord(character)] for character in text]
            sizes = [len(part) if isinstance(part, str) else 1 for part in parts]
            prepared, origin = text.translate(self._characters), np.repeat(np.arange(len(text)), sizes)
        encoding = self._rust.encode(prepared, add_special_tokens=False)
        places = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        begins, ends = places[:, 0], places[:, 1]
        if origin is not None and len(begins):
            begins, ends = origin[begins].astype(np.int32), (origin[ends - 1] + 1).astype(np.int32)
        return encoding.ids, begins, ends

    def words(self, text: str) -> list[str]:
        """The words before WordPiece splitting: cleaned, lower-cased and without accents if the model does so, split at punctuation; the
        concatenated ids of the words are the ids of the text.
        """
        found: list[str] = []
        for piece in self._pieces(text) or [text]:
            if isinstance(piece, int):
                found.append(self.vocabulary[piece])
            else:
                plain = self._rust.normalizer.normalize_str(self._prepared(piece))
                found += [word for word, _ in self._rust.pre_tokenizer.pre_tokenize_str(plain)]
        return found

    def _pieces(self, text: str) -> list[str | int] | None:
        """The text split into ids of added tokens and the parts in between; None if it contains no such token."""
        if self._added_pattern is None:
            return self._cut_at_special(text)
        found: list[str | int] = []
        at = 0
        for match in self._added_pattern.finditer(text):
            between = text[at : match.start()]
            found += self._cut_at_special(between) or [between]
            found.append(self._added_ids[match.lastgroup])
            at = match.end()
        return found + (self._cut_at_special(text[at:]) or [text[at:]]) if found else self._cut_at_special(text)

    def _encode(self, texts: list[str]) -> list:
        return self._rust.encode_batch_fast(texts, add_special_tokens=False)

    def _prepared(self, text: str) -> str:
        return text if text.isascii() else text.translate(self._characters)

    def _cut_at_special(self, text: str) -> list[str | int] | None:
        """The text split into ids of special tokens and the parts in between; None if it contains no special token."""
        if not any(opening in text for opening in self._openings):
            return None
        if not text.isascii():
            text = text.encode("utf-8", "ignore").decode("utf-8")  # lone surrogates cannot be passed to Rust
        words = self._cleaner.normalize_str(text).split()
        if self._special_ids.keys().isdisjoint(words):
            return None
        pieces: list[str | int] = []
        between: list[str] = []
        for word in words:
            if word in self._special_ids:
                pieces += [" ".join(between), self._special_ids[word]]
                between = []
            else:
                between.append(word)
        return [piece for piece in (*pieces, " ".join(between)) if piece != ""]

    def _assemble(self, pieces: list[str | int]) -> list[int]:
        encoded = self._encode(["" if isinstance(piece, int) else self._prepared(piece) for piece in pieces])
        return [i for piece, encoding in zip(pieces, encoded, strict=True) for i in ([piece] if isinstance(piece, int) else encoding.ids)]


def _published(token: str, entry: AddedToken) -> dict[str, object]:
    """A token in the format of Hugging Face's tokenizer_config.json."""
    return {"content": token, "lstrip": False, "rstrip": False, **{name: getattr(entry, name) for name in _PUBLISHED}}


class _Characters(dict):
    """A table for `str.translate` that makes the Rust library treat non-ASCII text like PaddleNLP.

    Filled on demand. Symbols and punctuation are surrounded by spaces (the Rust library does not split at symbols, and uses the
    punctuation of an older Unicode version), as are ideographs; control, unassigned and (with `strip`) combining characters are removed.
    """

    def __init__(self, lower: bool, strip: bool, chinese: bool) -> None:
        super().__init__()
        self.lower, self.strip, self.chinese = lower, strip, chinese

    def __missing__(self, code: int) -> str | int:
        char = chr(code)
        category = unicodedata.category(char)
        shown = char.lower() if self.lower else char
        new: str | int = code
        if category[0] == "C" and char not in "\t\n\r" or code == 0xFFFD or category == "Mn" and self.strip:
            new = ""
        elif not char.isascii() and (category[0] in "PS" or shown in _EXTRA_SYMBOLS):
            new = f" {char} "
        elif self.chinese and 0x2B820 <= code <= 0x2CEAF:
            new = f" {char} "  # tokenizers 0.21 omits the first 256 ideographs of this block
        self[code] = new
        return new


def _looks_cased(vocabulary: list[str]) -> bool:
    # uncased vocabularies have no capital letters outside of special tokens; cased English ones have thousands
    return sum(1 for token in vocabulary if re.fullmatch(r"[A-Z][a-z]+", token)) > 100
