"""A figure that draws itself: for a file, and in a notebook. It leaves pyplot, its windows and the user's choice of backend alone."""

from __future__ import annotations

import io
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.language import translate
from tinybert.log import logger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "SimHei", "PingFang SC", "Heiti SC", "Hiragino Sans GB", "Arial Unicode MS", "Noto Sans CJK JP",
)  # fmt: skip
_CHINESE = re.compile("[\u2e80-\u9fff\uff00-\uffef]")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, whose last expression in a notebook's cell is shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """IPython asks for this method where pyplot has not registered its own."""

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            _set_fonts(self)
            self.savefig(picture, format="png", dpi=80)
            return picture.getvalue()

    figure = ShownFigure(figsize=(width, height), constrained_layout=True)
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Figure, path: Path) -> Path:
    """The path, with the figure written to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _set_fonts(figure)
    figure.savefig(path, dpi=110)
    return path


def caption(text: str) -> str:
    """A text of a figure in the chosen language, where a font can show it."""
    translated = translate(text)
    return translated if translated == text or chinese_font() else text


@lru_cache(1)
def chinese_font() -> str | None:
    """The name of an installed font for Chinese; None, and a warning, where there is none."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    found = next((name for name in _FONTS if name in installed), None)
    if found is None:
        logger.warning(
            "no Chinese font is installed: figures are in English, with Chinese names as code points; install one such as Noto Sans CJK SC"
        )
    return found


def _set_fonts(figure: Figure) -> None:
    """Show Chinese in a font that has it, or as codes: never as empty boxes."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if _CHINESE.search(shown := text.get_text()):
            if (font := chinese_font()) is not None:
                text.set_fontfamily([font, "DejaVu Sans"])
            else:
                text.set_text(_CHINESE.sub(lambda match: f"U+{ord(match.group()):04X} ", shown).strip())
