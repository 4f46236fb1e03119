"""`python -m tinybert <command>` and the entry point of every script: parse, prepare, run the recipe, return the exit code."""

from __future__ import annotations

import errno
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tinybert import __version__, language
from tinybert.cli.stopping import early
from tinybert.cli.streams import resilient_streams
from tinybert.commands.registry import Command, all_commands, find_command
from tinybert.config.suggestions import did_you_mean
from tinybert.errors import Interrupted, NumericalError, UserError
from tinybert.language import translate

# a full disk, missing permissions, too long names, a file in place of a folder: errors that the user can fix
_OF_THE_SYSTEM = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
    errno.EEXIST, errno.ELOOP, errno.EMFILE, errno.ENFILE, errno.ESTALE,
)  # fmt: skip
_LAUNCH = "run a command in several processes on this machine"
# script names of the published systems and the corresponding commands
OLD_SCRIPTS = {
    "task_distill": "distill",
    "general_distill": "general",
    "pregenerate_training_data": "pregenerate",
    "data_augmentation": "augment",
    "run_glue": "finetune",
    "bert_ft": "finetune",
    "emd_task_distill": "distill --method emd",
    "main": "distill --method mud",
    "pruning": "prune",
    "download_glue_data": "download",
    "export_model": "export",
}
_FLAGS = "print every option as Markdown (docs/flags.md)"


def run_script(command: str | Command, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Parse `argv` (default: this process's), run the recipe of a command, given by name or object, and return the exit code.

    The recipe is imported only after the number of threads is set, because Paddle reads it at import. Exit codes: 0 success, 2 invalid
    arguments or input, 3 numerical failure, 128 + signal when interrupted; other exceptions propagate.
    """
    return _guarded(lambda: _run(command, sys.argv[1:] if argv is None else argv, prog))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m tinybert <command> ...` and return the exit code."""
    return _guarded(lambda: _command(list(sys.argv[1:] if argv is None else argv)))


def _run(command: str | Command, argv: Sequence[str], prog: str | None) -> None:
    language.choose(argv)
    with early() as signals:
        from tinybert.cli.parser import parse

        known = find_command(command) if isinstance(command, str) else command
        config = parse(known.config, argv, prog)
        from tinybert.runtime import prepare

        if config.NEEDS_PADDLE:
            prepare(threads=getattr(config, "threads", None))
        recipe = pkgutil.resolve_name(known.recipe)
        signals.importing = False
        recipe(config)


def _command(words: list[str]) -> int | None:
    language.choose(words)
    if words[:1] == ["--lang"]:  # before the command; after it, the command's own parser reads it
        words = words[2:] + words[:2] if words[2:] else []
    name, rest = (words[0], words[1:]) if words else ("--help", [])
    if name in ("-h", "--help", "help"):
        print(_overview())
    elif name == "--version":
        print(f"tinybert {__version__}")
    elif name == "flags":
        _print_flags(rest)
    elif name == "launch":
        from tinybert.cli.launching import launch

        return launch(rest)
    elif find_command(name) is None:
        raise UserError(_unknown(name))
    else:
        _run(name, rest, f"{_program()} {name}")
    return None


def _program() -> str:
    """How the user started this program: `tinybert` or `python -m tinybert`."""
    return "python -m tinybert" if Path(sys.argv[0]).name == "__main__.py" else "tinybert"


def _unknown(name: str) -> str:
    """The error message for an unknown command."""
    old = name.rsplit("/", 1)[-1].removesuffix(".py")
    if old in OLD_SCRIPTS:
        return f"{name} is a script of a published system\ntoday's command: tinybert {OLD_SCRIPTS[old]} ..."
    if old.startswith("convert") and ("tf" in old or "tensorflow" in old):
        return (
            f"{name} is a script of a published system\n"
            "a TensorFlow checkpoint of BERT is read directly if bert_config.json and vocab.txt are in the same folder:\n"
            "tinybert convert --model_path FOLDER --to paddlenlp --output_dir NEW"
        )
    names = [*all_commands(), "launch", "flags"]
    return f"unknown command {name!r}{did_you_mean(name, names)}\nexpected one of {', '.join(names)}"


def _guarded(work: Callable[[], int | None]) -> int:
    with resilient_streams():
        try:
            return work() or 0
        except (UserError, NumericalError) as problem:
            _say("error: ", problem)
            return problem.exit_code
        except Interrupted as problem:
            _say("interrupted: ", problem)
            return problem.exit_code
        except OSError as problem:
            if problem.errno not in _OF_THE_SYSTEM:
                raise
            _say("error: ", f"{problem}\nfree disk space, or choose a folder that can be read and written")
            return 2
        except KeyboardInterrupt as problem:
            print(f"interrupted{f': {problem}' if str(problem) else ''}", file=sys.stderr)
            return getattr(problem, "exit_code", 130)
        except SystemExit as done:  # raised by argparse after --help and --version
            return done.code if isinstance(done.code, int) else 0 if done.code is None else 1


def _say(before: str, problem: object) -> None:
    print(f"{translate(before)}{translate(str(problem))}", file=sys.stderr)


def _print_flags(rest: Sequence[str]) -> None:
    from tinybert.cli.flags_page import flags_page

    if rest and rest[0].partition("=")[0] != "--lang":
        raise UserError(f"unexpected argument {rest[0]!r}\n`{_program()} flags` accepts only --lang")
    print(flags_page(), end="")


def _overview() -> str:
    summaries = {**{name: entry.summary for name, entry in all_commands().items()}, "launch": _LAUNCH, "flags": _FLAGS}
    lines = "".join(f"  {name:<13}{translate(what)}\n" for name, what in summaries.items())
    usage = translate(f"usage: {_program()} COMMAND --name value ...")
    return f"{usage}\n\n{lines}\n{translate(f'Options of a command: {_program()} COMMAND --help')}"
