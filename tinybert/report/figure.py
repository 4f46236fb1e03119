"""A figure that can be saved and shown in a notebook, independent of pyplot and of the user's backend."""

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
    """An empty figure of this size in inches, displayed when it is the last expression of a notebook cell."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """IPython calls this method if pyplot has not registered its own."""

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            _set_fonts(self)
            self.savefig(picture, format="png", dpi=80)
            return picture.getvalue()

    figure = ShownFigure(figsize=(width, height), constrained_layout=True)
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Figure, path: Path) -> Path:
    """Write the figure to the path; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _set_fonts(figure)
    figure.savefig(path, dpi=110)
    return path


def as_svg(figure: Figure) -> str:
    """The figure as an SVG element."""
    _set_fonts(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.S)


def caption(text: str) -> str:
    """A figure text in the selected language, if a font supports it."""
    translated = translate(text)
    return translated if translated == text or chinese_font() else text


@lru_cache(1)
def chinese_font() -> str | None:
    """The name of an installed Chinese font; None, with a warning, if there is none."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    found = next((name for name in _FONTS if name in installed), None)
    if found is None:
        logger.warning(
            "no Chinese font is installed: figures are in English, with Chinese names as code points; install one such as Noto Sans CJK SC"
        )
    return found


def _set_fonts(figure: Figure) -> None:
    """Show Chinese with a font that supports it, or as escapes, never as empty boxes."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if _CHINESE.search(shown := text.get_text()):
            if (font := chinese_font()) is not None:
                text.set_fontfamily([font, "DejaVu Sans"])
            else:
                text.set_text(_CHINESE.sub(lambda match: f"U+{ord(match.group()):04X} ", shown).strip())
