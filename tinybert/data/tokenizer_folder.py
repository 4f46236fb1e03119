"""Reads the tokenizer files of a folder, and checks that they describe a BERT WordPiece tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from tinybert.data.folder_files import read_json_object, read_text
from tinybert.errors import UserError

CONFIG, JSON, VOCABULARY = "tokenizer_config.json", "tokenizer.json", "vocab.txt"
ROLES = ("pad", "unk", "cls", "sep", "mask")

# classes, without `Fast`, that use BERT's WordPiece; for the last ones the files decide
_WORD_PIECES = {
    "BertTokenizer", "TinyBertTokenizer", "ErnieTokenizer", "RobertaChineseTokenizer", "ElectraTokenizer", "DistilBertTokenizer",
    "MPNetTokenizer", "MobileBertTokenizer", "ConvBertTokenizer", "SqueezeBertTokenizer", "PPMiniLMTokenizer", "RetriBertTokenizer",
    "DPRQuestionEncoderTokenizer", "DPRContextEncoderTokenizer", "DPRReaderTokenizer", "MacBertTokenizer",
    "RobertaTokenizer", "PreTrainedTokenizer", "TokenizersBackend", "AutoTokenizer",
}  # fmt: skip
# special tokens of classes that differ from BERT's and may be missing in the files
_SPECIAL_OF = {"MPNetTokenizer": {"pad": "<pad>", "unk": "[UNK]", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}}
_SENTENCEPIECE = "splits text with SentencePiece"
_OTHERS = {
    "BertJapaneseTokenizer": "splits Japanese text into words with MeCab, Sudachi or Juman++ first",
    "KoBertTokenizer": _SENTENCEPIECE,
    "KoBERTTokenizer": _SENTENCEPIECE,
    "ErnieTinyTokenizer": "splits text into words with a dictionary, then with SentencePiece",
    "ErnieMTokenizer": _SENTENCEPIECE,
    "AlbertTokenizer": _SENTENCEPIECE,
    "XLMRobertaTokenizer": _SENTENCEPIECE,
    "XLNetTokenizer": _SENTENCEPIECE,
    "CamembertTokenizer": _SENTENCEPIECE,
    "BertGenerationTokenizer": _SENTENCEPIECE,
    "DebertaV2Tokenizer": _SENTENCEPIECE,
    "RoFormerTokenizer": "splits Chinese text into words with jieba first",
    "BertweetTokenizer": "normalises tweets, then splits words with BPE",
    "HerbertTokenizer": "splits words with BPE",
    "RobertaBPETokenizer": "splits bytes with BPE",
    "GPT2Tokenizer": "splits bytes with BPE",
    "ErnieCtmTokenizer": "splits text into characters and has several [CLS] tokens",
    "CharacterBertTokenizer": "reads words as characters",
}
_ADVICE = (
    "Only BERT's WordPiece tokenizers are supported: BERT, TinyBERT, ERNIE, MacBERT, Chinese RoBERTa-wwm. Choose such a model.\n"
    "Other tokenizers are only supported for classification, multi-label and regression, in the form of RoBERTa's byte-level BPE."
)
# classes, without `Fast`, that tokenizer.json (or vocab.json and merges.txt) describes completely
_LIBRARY = {"RobertaTokenizer", "RobertaBPETokenizer", "GPT2Tokenizer", "PreTrainedTokenizer", "TokenizersBackend", "AutoTokenizer"}


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched in the text before it is split into words. normalized: after lower-casing, so that case is ignored."""

    id: int
    normalized: bool = True
    single_word: bool = False
    special: bool = False


@dataclass
class TokenizerFiles:
    """A vocabulary with its settings; do_lower_case and strip_accents are None if no file defines them."""

    vocabulary: list[str]
    special: dict[str, str]
    added: dict[str, AddedToken] = field(default_factory=dict)
    do_lower_case: bool | None = None
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    model_max_length: int = 512


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder has a vocabulary file."""
    return (folder / VOCABULARY).is_file() or (folder / JSON).is_file()


def is_word_piece(folder: Path) -> bool:
    """Whether a folder's tokenizer is to be read as BERT's; False for byte-level BPE, and for another model in its tokenizer.json.

    Raises:
        UserError: it is another one, and its files do not describe it completely.
    """
    if (folder / VOCABULARY).is_file() or not ((folder / JSON).is_file() or (folder / "merges.txt").is_file()):
        return True
    model = read_json_object(folder / JSON).get("model") if (folder / JSON).is_file() else None
    if isinstance(model, dict) and model.get("type") == "WordPiece":
        return True
    config = read_json_object(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    named = str(config.get("tokenizer_class") or "PreTrainedTokenizer")
    if config.get("auto_map") or named.removesuffix("Fast") not in _LIBRARY:
        what = "custom code (auto_map)" if config.get("auto_map") else f"tokenizer_class {named[:60]}"
        raise UserError(f"{folder / CONFIG} names {what}, which is not supported.\n{_ADVICE}")
    return False


def special_tokens(folder: Path, config: dict) -> dict[str, str]:
    """The special tokens by role in special_tokens_map.json and in tokenizer_config.json, whose content is `config`."""
    path = folder / "special_tokens_map.json"
    table = read_json_object(path) if path.is_file() else {}
    found: dict[str, str] = {}
    for places, where in ((table, path), (config, folder / CONFIG)):
        found |= {role: _content(places[f"{role}_token"], where) for role in ROLES if places.get(f"{role}_token")}
    return found


def check_tokenizer(folder: Path) -> dict:
    """Reject a folder whose tokenizer is known not to be BERT's, without reading its vocabulary; returns its tokenizer_config.json.

    Raises:
        UserError: another class, another way to split words, or the files of BPE or SentencePiece; says what was found and what to do.
    """
    config = read_json_object(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    model = read_json_object(folder / "config.json") if (folder / "config.json").is_file() else {}
    for source, named in ((CONFIG, config.get("tokenizer_class")), ("config.json", model.get("tokenizer_class"))):
        if named is not None:
            _check_class(f"{folder / source}", str(named))
    for key, plain in (("word_tokenizer_type", "basic"), ("subword_tokenizer_type", "wordpiece")):
        if config.get(key) not in (None, plain):
            raise UserError(f"{folder / CONFIG}: '{key}' is {config[key]!r}, which is not implemented; expected '{plain}'.\n{_ADVICE}")
    if _flag(config, "do_basic_tokenize", folder / CONFIG) is False:
        raise UserError(f"{folder / CONFIG}: 'do_basic_tokenize' is false: its text must be split into words beforehand.\n{_ADVICE}")
    if config.get("auto_map"):
        raise UserError(f"{folder / CONFIG} refers to custom tokenizer code (auto_map), which is not executed.\n{_ADVICE}")
    pieces = sorted(path.name for pattern in ("*.model", "*.spm", "dict.wordseg.pickle") for path in folder.glob(pattern))
    if pieces:
        raise UserError(f"{folder} has the files of a SentencePiece tokenizer ({', '.join(pieces[:3])}).\n{_ADVICE}")
    if (folder / "merges.txt").is_file():
        raise UserError(f"{folder} has a tokenizer of byte-level BPE (merges.txt), as RoBERTa and GPT-2 have.\n{_ADVICE}")
    return config


def _check_class(source: str, named: str) -> None:
    name = named.removesuffix("Fast")
    if name in _WORD_PIECES:
        return
    if name in _OTHERS:
        raise UserError(f"{source}: tokenizer_class is {named}, which {_OTHERS[name]}.\n{_ADVICE}")
    raise UserError(
        f"{source}: tokenizer_class is {named[:60]}, which is unknown.\nIf it is equivalent to BERT's WordPiece, write "
        f'"tokenizer_class": "BertTokenizer" there. Otherwise choose another model.'
    )


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read the vocabulary of a folder (vocab.txt, or the library's tokenizer.json) and its settings.

    Raises:
        UserError: see `check_tokenizer`; no vocabulary, two different ones, or contradictory files.
    """
    config = check_tokenizer(folder)
    source = folder / CONFIG
    found, details = _read_tokenizer_json(folder / JSON) if (folder / JSON).is_file() else (TokenizerFiles([], {}), {})
    if not found.vocabulary or (folder / VOCABULARY).is_file():
        vocabulary = read_vocabulary(folder / VOCABULARY)
        if found.vocabulary and vocabulary != found.vocabulary and not _same_ids(vocabulary, found.vocabulary, details):
            raise UserError(
                f"{folder}: {VOCABULARY} and {JSON} have different tokens ({len(vocabulary)} and {len(found.vocabulary)}).\n"
                "Only one of them belongs to the model: remove the other."
            )
        found.vocabulary = vocabulary
    table = read_json_object(folder / "special_tokens_map.json") if (folder / "special_tokens_map.json").is_file() else {}
    special = found.special = _SPECIAL_OF.get(str(config.get("tokenizer_class")).removesuffix("Fast"), {}) | found.special
    special |= special_tokens(folder, config)
    _add_tokens(found, folder, config, table, details)
    try:
        "".join((*found.vocabulary, *special.values())).encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can contain unpaired surrogates
        raise UserError(
            f"{folder}: a token holds {error.object[error.start]!r}, which is not a character.\nDownload the folder again."
        ) from None
    for name in ("do_lower_case", "tokenize_chinese_chars", "strip_accents"):
        if (stated := _flag(config, name, source)) is not None:
            setattr(found, name, stated)
    found.model_max_length = _length(config.get("model_max_length"), source) or found.model_max_length
    whole = {*found.added, *special.values()}
    if config.get("never_split") and not (isinstance(config["never_split"], list) and whole.issuperset(map(str, config["never_split"]))):
        raise UserError(f"{source}: 'never_split' keeps words whole, which is not implemented.\nAdd them as tokens instead.")
    return found


def _flag(config: dict, key: str, source: Path) -> bool | None:
    value = config.get(key)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{source}: '{key}' is {value!r}; expected true, false or null.")
    return value


def _length(value: object, source: Path) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
        raise UserError(f"{source}: 'model_max_length' is {value!r}; expected a number of tokens.")
    return int(value) if value < 1e6 else None  # Hugging Face writes 1e30 for "no limit"


def _content(token: object, source: Path) -> str:
    token = token.get("content") if isinstance(token, dict) else token  # Hugging Face writes both forms
    if not isinstance(token, str) or not token:
        raise UserError(f"{source}: a special token is {token!r}; expected text.")
    return token


# === Vocabularies ===


def read_vocabulary(path: Path) -> list[str]:
    """The tokens of a vocabulary file, one per line.

    Raises:
        UserError: no such file, it is not UTF-8, or it belongs to another kind of tokenizer.
    """
    if not path.is_file():
        raise UserError(
            f"{path} does not exist. A BERT-like model folder needs its vocab.txt (one token per line) or tokenizer.json; "
            "copy it from the model's source."
        )
    lines = read_text(path).split("\n")  # not splitlines(): some vocabularies contain tokens such as U+2028
    if lines[-1] == "":
        lines.pop()
    vocabulary = [line.removesuffix("\r") for line in lines]
    if len(vocabulary) > 4 and all(line.partition("\t")[2].strip().isdigit() for line in vocabulary):
        raise UserError(f"{path} has a second column of numbers after a tab.\nKeep only the tokens: cut -f1 {path.name} > new.txt")
    for sign, kind in (("\u2581", "SentencePiece"), ("\u0120", "byte-level BPE")):
        marked = sum(piece.startswith(sign) for piece in vocabulary)
        if marked > len(vocabulary) / 20 and marked > sum(piece.startswith("##") for piece in vocabulary):
            raise UserError(f"{path} is a vocabulary of {kind}: {marked} of {len(vocabulary)} pieces begin with '{sign}'.\n{_ADVICE}")
    return vocabulary


def _read_tokenizer_json(path: Path) -> tuple[TokenizerFiles, dict[str, dict]]:
    """The vocabulary and settings in a tokenizer.json, and the entries of its added tokens.

    Raises:
        UserError: the library cannot read it, or it does not use BERT's WordPiece.
    """
    text = read_text(path)
    try:
        content = json.loads(Tokenizer.from_str(text).to_str())
    except BaseException as error:  # the library raises plain Exception, and Rust panics are BaseExceptions
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise UserError(f"{path} cannot be read by the library tokenizers: {error}.\nDownload it again, or use vocab.txt.") from None
    model, normalizer = content["model"], content["normalizer"] or {}
    parts = (("model", "WordPiece", model), ("normalizer", "BertNormalizer", normalizer))
    for name, wanted, part in (*parts, ("pre_tokenizer", "BertPreTokenizer", content["pre_tokenizer"] or {})):
        if part.get("type") != wanted:
            raise UserError(f"{path}: its {name} is {part.get('type') or 'missing'}; expected {wanted}.\n{_ADVICE}")
    for key, wanted in (("continuing_subword_prefix", "##"), ("max_input_chars_per_word", 100)):
        if model.get(key) != wanted:
            raise UserError(f"{path}: '{key}' is {model.get(key)!r}, which is not implemented; expected {wanted!r}.\n{_ADVICE}")
    if normalizer.get("clean_text") is False:
        raise UserError(f"{path}: 'clean_text' is false, which is not implemented.\n{_ADVICE}")
    added = {token["content"]: token for token in content["added_tokens"]}
    by_id = {number: piece for piece, number in model["vocab"].items()}
    between = {token["id"]: piece for piece, token in added.items() if by_id and token["id"] <= max(by_id)}
    by_id = {**between, **by_id}
    if sorted(by_id) != list(range(len(by_id))):
        raise UserError(f"{path}: the ids of its {len(by_id)} tokens are not 0 to {len(by_id) - 1}.\nDownload it again.")
    found = TokenizerFiles([by_id[number] for number in range(len(by_id))], {"unk": model["unk_token"]})
    found.do_lower_case, found.strip_accents = normalizer.get("lowercase"), normalizer.get("strip_accents")
    found.tokenize_chinese_chars = normalizer.get("handle_chinese_chars", True)
    return found, added


def _same_ids(vocabulary: list[str], other: list[str], added: dict[str, dict]) -> bool:
    """Whether both vocabularies assign the same ids: of duplicate lines the last one is used, and added tokens may be included."""
    index_of = {piece: number for number, piece in enumerate(vocabulary)}
    theirs = {piece: number for number, piece in enumerate(other)} | {piece: token["id"] for piece, token in added.items()}
    return all(theirs.get(piece) == number for piece, number in index_of.items()) and all(
        index_of.get(piece) == number for piece, number in theirs.items() if number < len(vocabulary)
    )


# === Added tokens ===


def _add_tokens(found: TokenizerFiles, folder: Path, config: dict, table: dict, details: dict[str, dict]) -> None:
    """Extend the vocabulary by the added tokens, and collect the tokens that are matched as a whole in any text.

    details: how tokenizer.json describes them.

    Raises:
        UserError: an added token has the id of another token, or ids have a gap.
    """
    path = folder / "added_tokens.json"
    ids = {str(token): number for token, number in (read_json_object(path) if path.is_file() else {}).items()}
    decoder = config.get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        details[_content(token, folder / CONFIG)] = {**(token if isinstance(token, dict) else {}), "id": number}
    index_of = {piece: number for number, piece in enumerate(found.vocabulary)}
    for token, entry in details.items():
        ids.setdefault(token, entry.get("id"))
    more = {_content(token, folder): True for token in _listed(config, table)}
    ids |= {token: index_of[token] for token in more if token in index_of and token not in ids}
    try:
        ordered = sorted((int(number), token) for token, number in ids.items())
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{folder}: the id of an added token is not a whole number (added_tokens.json, {CONFIG} or {JSON}).") from None
    for number, token in ordered:
        if number == len(found.vocabulary):
            found.vocabulary.append(token)
        elif not 0 <= number < len(found.vocabulary) or found.vocabulary[number] != token:
            there = repr(found.vocabulary[number]) if 0 <= number < len(found.vocabulary) else "behind a gap"
            raise UserError(
                f"{folder}: the added token {token!r} has the id {number}, which is {there} in the vocabulary of {len(index_of)}.\n"
                "The files of the tokenizer belong to different models: download the whole folder again."
            )
        if token in found.special.values() or (token.startswith("[") and token[1:-1].lower() in ROLES):
            continue
        entry = details.get(token, {})
        special = bool(entry.get("special", token in more))
        normalized = bool(entry.get("normalized", not special))
        found.added[token] = AddedToken(number, normalized, bool(entry.get("single_word")), special)


def _listed(config: dict, table: dict) -> Iterable[object]:
    """The additional special tokens that files list without an id."""
    for content in (config, table):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            tokens = content.get(key) or ()
            yield from tokens.values() if isinstance(tokens, dict) else tokens if isinstance(tokens, list) else ()
