"""Chinese words that may be replaced, and their possible replacements, scored by a masked LM's logits for their characters."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tinybert.data import chinese

# function words, negation, modality, pronouns, measure words and question words, in simplified characters: replacing one changes or breaks
# the meaning; written for this project
STOP_WORDS = frozenset(
    """
    的 地 得 了 着 过 吗 呢 吧 啊 呀 哦 哈 嘛 么 之 所 其 此 该 者 们 等 等等 似的 一样 的话 而已 罢了 来说 来讲 不 没 没有 无 非 别 未 莫
    勿 否 不是 不会 不能 不要 不可 不用 不必 不想 不得 不够 不太 不再 不如 不过 不但 不仅 从不 从未 并不 并非 毫无 绝不 决不 不算 不好
    不错 不行 不对 不同 无法 没法 未必 难以 是否 能否 可否 是不是 有没有 能不能 会不会 可不可以 是 有 在 为 被 把 将 让 给 使 对 向 从 到
    由 于 以 用 与 和 跟 同 及 或 并 且 而 但 却 则 若 如 因 故 虽 即 既 又 也 都 还 就 才 再 已 曾 正 刚 只 仅 光 很 太 更 最 极 挺 好 较
    比 非常 十分 特别 比较 更加 最为 极其 相当 几乎 稍微 有点 有些 一些 一点 一下 越 越来越 因为 所以 因此 于是 如果 假如 要是 只要 只有
    除非 虽然 尽管 即使 但是 可是 然而 不管 无论 而且 并且 或者 还是 以及 与其 既然 由于 为了 关于 对于 根据 按照 通过 随着 除了 然后 接着
    同时 此外 另外 甚至 其实 当然 已经 曾经 正在 刚刚 将要 一直 总是 经常 常常 往往 从来 马上 立刻 终于 仍然 依然 会 能 要 想 可 应 须 必
    敢 肯 愿 可以 可能 应该 应当 必须 能够 需要 愿意 也许 或许 大概 一定 肯定 至少 最多 我 你 您 他 她 它 咱 俺 我们 你们 您们 他们 她们
    它们 咱们 自己 别人 人家 大家 各自 彼此 本人 这 那 哪 每 各 某 另 这个 那个 哪个 每个 各个 某个 这些 那些 哪些 这里 那里 哪里 这儿
    那儿 哪儿 这样 那样 怎样 这么 那么 怎么 什么 为什么 为何 如何 谁 何 几 多少 怎么样 怎么办 啥 咋 这种 那种 哪种 这次 那次 此次 其中
    其他 其它 其余 任何 所有 全部 一切 有的 个 次 件 位 名 条 张 本 家 间 层 台 部 辆 款 种 类 块 元 角 分 年 月 日 号 天 时 点 秒 周 岁
    米 斤 克 度 倍 遍 趟 回 下 些 第 上 中 内 外 里 前 后 左 右 东 西 南 北 旁 之前 之后 之间 以前 以后 以上 以下 以内 以外 时候 的时候
    """.split()  # noqa: SIM905  a list of 500 strings is no easier to read
)
_NUMERALS = "零〇一二三四五六七八九十百千万亿两几半数多余廿卅"
_MEASURES = "第年月日号天时点分秒个只次件位名条张本家间层台部辆款种类块元角毛周岁米里斤克度倍遍趟回代期届章节楼线等级成"
_NUMBER = re.compile(f"[{_NUMERALS}{_MEASURES}]*[{_NUMERALS}][{_NUMERALS}{_MEASURES}]*")
_CLASSES = "nvabzstijl"  # jieba's nouns, verbs, adjectives, words of state, place and time, idioms, abbreviations and phrases
_NAMES = ("nr", "ns", "nt", "nz")  # tag prefixes of people, places, organisations and other names
_NEGATIONS = "不无没非未"  # words that start with one of these are only replaced by each other
FREQUENCY = 50  # of a candidate in jieba's dictionary; less frequent ones are mostly names and sayings
SHORTEST, LONGEST = 2, 4  # characters; a single one is often part of a name that jieba splits (花呗), longer ones are sayings


@dataclass(frozen=True)
class _Table:
    """Words of one length and part of speech: `words` `[W]`, and the index of each character in the lexicon, `[W, length]`."""

    words: list[str]
    characters: np.ndarray
    row_of: dict[str, int]


class Script:
    """The tokens for each character of a lexicon in one script.

    forms: for each character the tokens that write it, of which the best is used: a traditional text may have several, or none.
    """

    def __init__(self, forms: list[list[str]], characters: list[str], index_of: dict[str, int]) -> None:
        self._missing = [i for i, group in enumerate(forms) if not group]
        groups = [group or [character] for group, character in zip(forms, characters, strict=True)]
        self._pieces = [piece for group in groups for piece in group]
        self._ids = np.array([index_of[piece] for piece in self._pieces])
        self._starts = np.cumsum([0, *map(len, groups[:-1])])
        self._ends = np.append(self._starts[1:], len(self._pieces))

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """`[P, V]` -> `[P, characters]`; minus infinity for characters without a token."""
        own = logits[:, self._ids]
        if len(self._pieces) == len(self._starts) and not self._missing:
            return own
        best = np.maximum.reduceat(own, self._starts, axis=1)
        best[:, self._missing] = -np.inf
        return best

    def written(self, logits: np.ndarray, characters: np.ndarray) -> str:
        """The characters `[n]` of a word in this script, by the model's logits at its positions, `[n, V]`."""
        found = []
        for row, character in zip(logits, characters, strict=True):
            begin, end = self._starts[character], self._ends[character]
            found.append(self._pieces[begin + int(row[self._ids[begin:end]].argmax())])
        return "".join(found)


class Lexicon:
    """Words of jieba's dictionary: which may be replaced, and their replacements of the same length and part of speech; negations are
    only replaced by negations.

    Raises:
        UserError: jieba or OpenCC is not installed.
    """

    def __init__(self, vocabulary: list[str]) -> None:
        index_of = {piece: i for i, piece in enumerate(vocabulary) if len(piece) == 1}
        self._class_of: dict[str, tuple[int, str, bool]] = {}  # length, part of speech and negation of a word that may be replaced
        by_class: dict[tuple[int, str, bool], list[str]] = {}
        for word, frequency, tag in chinese.dictionary():
            fits = (
                SHORTEST <= len(word) <= LONGEST
                and tag[0] in _CLASSES
                and not tag.startswith(_NAMES)
                and chinese.IDEOGRAPHS.fullmatch(word)
            )
            if fits and chinese.simplified(word) == word and is_content_word(word):
                kind = self._class_of[word] = len(word), tag[0], word[0] in _NEGATIONS
                if frequency >= FREQUENCY and all(character in index_of for character in word):
                    by_class.setdefault(kind, []).append(word)
        characters = sorted({character for words in by_class.values() for word in words for character in word})
        place = {character: i for i, character in enumerate(characters)}
        self._tables = {
            kind: _Table(words, np.array([[place[c] for c in word] for word in words]), {word: i for i, word in enumerate(words)})
            for kind, words in by_class.items()
        }
        forms: dict[str, list[str]] = {character: [] for character in characters}
        for piece in index_of:
            if (plain := chinese.simplified(piece)) in forms and not chinese.is_simplified_only(piece):
                forms[plain].append(piece)
        self.simplified = Script([[character] for character in characters], characters, index_of)
        self.traditional = Script([forms[character] for character in characters], characters, index_of)

    def is_replaceable(self, word: str) -> bool:
        """Whether a word, in either script, is a content word of the dictionary: not a single character, function word, number or name,
        and without letters.
        """
        return self._class_of.get(chinese.simplified(word)) in self._tables

    def is_like(self, other: str, word: str) -> bool:
        """Whether another word, in either script, is in the dictionary with the same length, part of speech and negation as a
        replaceable word.
        """
        plain, own = chinese.simplified(other), chinese.simplified(word)
        return plain != own and self._class_of.get(plain) == self._class_of[own]

    def best(self, word: str, logits: np.ndarray, scores: np.ndarray, script: Script, count: int) -> list[str]:
        """The best other words of the same length and part of speech, best first, by the sum of their characters' scores.

        logits `[n, V]`, scores `[n, characters]`: from the model and `script` at the positions of its n characters.
        """
        plain = chinese.simplified(word)
        table = self._tables[self._class_of[plain]]
        total = sum(np.take(row, column) for row, column in zip(scores, table.characters.T, strict=True))
        own = table.row_of.get(plain)
        if own is not None:
            total[own] = -np.inf
        count = min(count, int(np.isfinite(total).sum()))
        some = np.argpartition(total, -count)[-count:] if count else np.empty(0, np.int64)
        order = some[np.lexsort((some, -total[some]))]
        return [script.written(logits, table.characters[i]) for i in order]


def is_content_word(word: str) -> bool:
    """Whether a word in simplified characters is neither a function word nor a number."""
    return word not in STOP_WORDS and not _NUMBER.fullmatch(word)
