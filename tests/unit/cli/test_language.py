"""Help and messages in Chinese: every option is translated, placeholders match, missing texts stay English."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tinybert import language
from tinybert.cli.flags_page import flags_page
from tinybert.cli.main import main
from tinybert.commands.registry import all_commands
from tinybert.config.dialects import TRAINER_NAMES
from tinybert.config.preset import preset_names, read_preset
from tinybert.data.labels import LabelCount, check_labels
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.report import figure

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def chinese():
    """Switch to Chinese, and back to English afterwards."""
    language.choose(["--lang", "zh"])
    yield
    language.choose([], {})


def said_by_commands() -> set[str]:
    """All texts of `--help` and of the page of options."""
    found = {read_preset(name).summary for section in ("distill", "augment", "pregenerate") for name in preset_names(section)}
    found |= set(TRAINER_NAMES.values())
    for command in all_commands().values():
        found |= {command.summary, (command.config.__doc__ or "").strip(), *command.config.GROUPS}
        for option in command.config.options().values():
            found |= {option.help, option.group, option.default_words}
        found |= {entry.reason for entry in command.config.IGNORED}
        found |= {entry.instead for entry in command.config.UNSUPPORTED if entry.instead}
    return {text for text in found if re.search(r"[a-z]{2,} [a-z]{2,}", text)}  # names and values are not translated


def test_every_text_of_the_options_is_translated(chinese):
    missing = sorted(text for text in said_by_commands() if language.translate(text) == text)
    assert not missing, f"add these to tinybert/language/zh_CN.po: {missing}"


def test_placeholders_of_a_translation_are_those_of_the_text():
    for text, translation in language.entries("zh").items():
        translation.format(*["x"] * text.count("{}"))
        assert len(re.findall(r"\{\d?\}", translation)) in (text.count("{}"), 0), text


def test_message_with_values_is_translated(chinese, capsys):
    assert language.translate("step 3: loss 0.5") == "step 3: loss 0.5"
    assert language.translate("resuming the general stage from a/b at step 7") == "从 a/b 恢复 general 阶段，第 7 步"
    assert language.translate("--x is missing\nsome advice that nobody translated") == "缺少 --x\nsome advice that nobody translated"
    missing = "--text_a_column is missing: it gives the text column\na.tsv has the columns label, text"
    assert language.translate(missing) == "缺少 --text_a_column：用它指定文本所在的列\na.tsv 中的列：label, text"
    assert language.translate("unknown option --lr\nuse --learning_rate") == "未知选项 --lr\n请用 --learning_rate"
    assert language.translate("none: gold labels only; logits: logits only") == "none：只学真实标签；logits：只学 logits"
    logger.warning("already finished: out")
    assert capsys.readouterr().err == "警告：已经跑完：out\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--x 1 is not used: the log follows --logging_steps", "--x 1 没有使用：日志按 --logging_steps 写"),
        ("dev: 9 rows; bad 4 (44.4%), good one 5 (55.6%), 0 empty", "dev：9 行；bad 4 (44.4%), good one 5 (55.6%), 空文本 0"),
        ("  ok   2 cores for this process", "  正常  本进程可用 2 个核"),
        ("| engine |  MB |", "| 引擎   |  MB |"),
        (
            "unknown option --batch\nDid you mean --batch_size? All options: --help",
            "未知选项 --batch\n是否想用 --batch_size？所有选项：--help",
        ),
        ("a.tsv has the columns text, label", "a.tsv 中的列：text, label"),
        ("a: 'x' in config.json is 9; expected a whole number from 1 to 5.", "a：config.json 中的 'x' 为 9；应为 1 到 5 的整数。"),
        ("none", "none"),  # a value of the option
    ],
)
def test_reasons_lists_and_table_headings_in_messages_are_translated(chinese, text, expected):
    assert language.translate(text) == expected


@pytest.mark.parametrize(
    ("argv", "environment", "expected"),
    [
        ([], {"LANG": "zh_CN.UTF-8"}, "zh"),
        ([], {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ([], {"LANG": "de_DE"}, "en"),
        (["--lang", "en"], {"LANG": "zh_CN"}, "en"),
        (["--lang=zh_CN"], {}, "zh"),
        ([], {}, "en"),
    ],
)
def test_language_follows_the_option_then_the_environment(argv, environment, expected):
    language.choose(argv, environment)
    assert language.current() == expected
    language.choose([], {})
    with pytest.raises(UserError, match="expected one of en, zh"):
        language.choose(["--lang", "fr"], environment)


def test_python_messages_follow_the_environment(monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert runpy.run_path(language.__file__)["current"]() == "zh"


def test_each_line_of_an_error_is_translated_by_its_own_entry(chinese):
    counts = {"yes": LabelCount(9, 2), "Yes": LabelCount(9, 3), "no": LabelCount(9, 4), "other": LabelCount(1, 9)}
    with pytest.raises(UserError) as refused:
        check_labels(counts, "a.csv")
    assert language.translate(str(refused.value)).split("\n")[:3] == [
        "a.csv：发现",
        "  只有写法不同的标签：'yes'（9 行，首次出现在第 2 行）, 'Yes'（9 行，首次出现在第 3 行）",
        "  只出现一次的标签：'other'（第 9 行）",
    ]


def test_help_and_errors_are_in_the_chosen_language(capsys):
    assert main(["pretrain", "--lang", "zh", "--help"]) == 0
    out = capsys.readouterr().out
    assert "用原始文本训练编码器" in out and "（必填）" in out.replace("(必填)", "（必填）")
    assert main(["--lang", "zh"]) == 0 and "用法" in capsys.readouterr().out
    assert main(["pretrain", "--lang", "zh", "--nonsense"]) == 2
    assert "错误：未知选项 --nonsense" in capsys.readouterr().err
    assert main(["pretrain", "--lang", "xx"]) == 2 and "--lang 的值为 'xx'" in capsys.readouterr().err
    language.choose([], {})


def test_chinese_page_of_options_is_current(chinese):
    page = (ROOT / "docs/flags.zh.md").read_text(encoding="utf-8")
    assert flags_page() == page, "python -m tinybert flags --lang zh > docs/flags.zh.md"


@pytest.mark.parametrize("installed", [[], ["DejaVu Sans", "SimHei"]])
def test_missing_chinese_font_is_reported_once_and_english_is_drawn(tmp_path, chinese, monkeypatch, capsys, installed):
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager, "get_font_names", lambda: installed)
    figure.chinese_font.cache_clear()
    try:
        drawn = figure.new_figure(2, 2)
        axes = drawn.subplots()
        axes.set_title(figure.caption("learning rate"))
        axes.set_xlabel("酒店")
        if installed:
            assert axes.get_title() == "学习率" and figure.chinese_font() == "SimHei"
        else:
            figure.saved(drawn, tmp_path / "a.png")
            figure.saved(drawn, tmp_path / "b.png")
            assert axes.get_title() == "learning rate" and axes.get_xlabel() == "U+9152 U+5E97"
            assert capsys.readouterr().err.count("没有安装中文字体") == 1
    finally:
        figure.chinese_font.cache_clear()
