"""Help and messages in another language: a gettext catalogue, English if an entry is missing.

A catalogue is `<language>.po` beside this file. An entry with `{}` matches any text in the gaps, which is inserted into the translation in
the same order or by number (`{1}`). Messages therefore appear only in English in the code.
"""

from __future__ import annotations

import ast
import gettext
import io
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from tinybert.errors import UserError

LANGUAGES = ("en", "zh")
_FILES = {"zh": "zh_CN.po"}
_chosen = "en"


def choose(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Select the language from `--lang`, else from LC_ALL, LC_MESSAGES or LANG, for all further output.

    Raises:
        UserError: `--lang` names an unsupported language.
    """
    global _chosen
    asked = next((argv[i + 1] if word == "--lang" else word[7:] for i, word in enumerate(argv[:-1]) if word == "--lang"), None)
    asked = asked or next((word[7:] for word in argv if word.startswith("--lang=")), None)
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    found = asked or locale
    known = found.lower().partition(".")[0].replace("-", "_").partition("_")[0]
    if asked and known not in LANGUAGES:
        raise UserError(f"--lang got {asked!r}\nexpected one of {', '.join(LANGUAGES)}")
    _chosen = known if known in LANGUAGES else "en"


def current() -> str:
    """The chosen language."""
    return _chosen


def translate(text: str) -> str:
    """Translate a text into the selected language; a text of several lines without its own entry is translated line by line."""
    if _chosen == "en" or not text:
        return text
    whole = _entry(text)
    if whole is None and "\n" in text:
        return "\n".join(map(translate, text.split("\n")))
    return text if whole is None else whole


def entries(language: str) -> dict[str, str]:
    """Text and translation for a whole catalogue."""
    return dict(_read(Path(__file__).with_name(_FILES[language])))


def _entry(text: str) -> str | None:
    catalogue, patterns = _catalogue(_chosen)
    found = catalogue.gettext(text)
    if found != text:
        return found
    for pattern, message in patterns:
        if match := pattern.fullmatch(text):
            gaps = (translate(text) if "\n" in text else text for text in match.groups())  # advice in further lines
            return catalogue.gettext(message).format(*gaps)
    parts = text.split("; ")  # a list whose parts come from several places, such as the descriptions of the methods
    found = [catalogue.gettext(part) for part in parts]
    return "；".join(found) if len(parts) > 1 and all(map(str.__ne__, parts, found)) else None


@lru_cache
def _catalogue(language: str) -> tuple[gettext.GNUTranslations, list[tuple[re.Pattern[str], str]]]:
    known = entries(language)
    gaps = [message for message in known if "{}" in message]
    gaps.sort(key=lambda message: -len(message))  # more specific texts first
    patterns = [(re.compile("(.*?)".join(map(re.escape, message.split("{}"))), re.DOTALL), message) for message in gaps]
    return gettext.GNUTranslations(io.BytesIO(_compiled(known))), patterns


def _read(path: Path) -> Iterator[tuple[str, str]]:
    """Pairs of msgid and msgstr of a .po file."""
    message: list[str] = []
    parts = message
    translation: list[str] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), 'msgid ""']:
        keyword, _, quoted = line.partition(" ")
        if keyword == "msgid":
            if message and "".join(message):
                yield "".join(message), "".join(translation)
            message, translation = [ast.literal_eval(quoted)], []
            parts = message
        elif keyword == "msgstr":
            parts = translation
            parts.append(ast.literal_eval(quoted))
        elif line.startswith('"'):
            parts.append(ast.literal_eval(line))


def _compiled(known: dict[str, str]) -> bytes:
    """The catalogue in gettext's binary format (.mo)."""
    pairs = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **known}.items())
    keys, values = ([pair[i].encode() for pair in pairs] for i in (0, 1))
    begin = 28 + 16 * len(pairs)
    tables, text = [], b""
    for group in (keys, values):
        for item in group:
            tables.append(struct.pack("<2I", len(item), begin + len(text)))
            text += item + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0) + b"".join(tables) + text
