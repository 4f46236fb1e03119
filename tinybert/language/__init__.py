"""Help and messages in another language: a gettext catalogue, English if an entry is missing.

A catalogue is `<language>.po` beside this file. An entry with `{}` matches any text in the gaps, which is inserted into the translation in
the same order or by number (`{1}`). Messages therefore appear only in English in the code.
"""

from __future__ import annotations

import ast
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
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
    """All texts of a catalogue with their translations."""
    text = Path(__file__).with_name(_FILES[language]).read_text(encoding="utf-8")
    pairs = re.findall(r'^msgid((?: ".*"\n|".*"\n)+)msgstr((?: ".*"\n|".*"\n)+)', text, re.MULTILINE)
    read = [tuple("".join(map(ast.literal_eval, side.split("\n")[:-1])) for side in pair) for pair in pairs]
    return {message: translation for message, translation in read if message}


def _entry(text: str) -> str | None:
    known, patterns = _catalogue(_chosen)
    if text in known:
        return known[text]
    if text.startswith("| ") and text.endswith(" |"):
        return _row(text)
    for pieces, message in patterns:
        if not all(piece in text for piece in pieces):
            continue
        match = re.fullmatch("(.*?)".join(map(re.escape, pieces)), text, re.DOTALL)
        if match is None or "\n" in match[1] + match[match.lastindex]:  # lines with entries of their own
            continue
        if any(")" in gap.partition("(")[0] for gap in match.groups()):  # across two items of a list
            continue
        if pieces[0] or not re.match(r" |.*[,;] ", match[1]):  # a gap at the beginning is a name or a number
            return known[message].format(*map(_gap, match.groups()))
    parts = text.split("; ")  # a list whose parts come from several places, such as the descriptions of the methods
    return "；".join(known[part] for part in parts) if all(part in known for part in parts) else None


def _gap(text: str) -> str:
    """The text of a gap: a reason, further lines, or a list. A single word is left alone, because it may be a name."""
    if "\n" in text:
        return "\n".join(map(_gap, text.split("\n")))
    if " " not in text:
        return text
    whole = _entry(text)
    if whole is not None:
        return whole
    parts = re.split(r"(, |; )(?![^()]*\))", text)
    return "".join((" " in part and _entry(part)) or part for part in parts) if len(parts) > 1 else text


def _row(line: str) -> str:
    """A row of a Markdown table with its known cells translated, as wide as before where there is room (two columns per character)."""
    known, _ = _catalogue(_chosen)
    cells = []
    for cell in line[2:-2].split(" | "):
        text = known.get(cell.strip()) or _gap(cell.strip())
        if text != cell.strip():
            width = len(cell) - sum(unicodedata.east_asian_width(character) in "WF" for character in text)
            cell = text.ljust(width) if cell[:1] != " " else text.rjust(width)
        cells.append(cell)
    return f"| {' | '.join(cells)} |"


@lru_cache
def _catalogue(language: str) -> tuple[dict[str, str], list[tuple[list[str], str]]]:
    known = entries(language)
    gaps = [message for message in known if "{}" in message]
    gaps.sort(key=lambda message: -len(message))  # more specific texts first
    return known, [(message.split("{}"), message) for message in gaps]


choose([])  # from the environment: messages of the Python API; the command line chooses again
