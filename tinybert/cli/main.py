"""`python -m tinybert <verb>`, and what stands behind every script: parse, prepare, run the recipe, exit code."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable, Sequence

from tinybert import __version__
from tinybert.cli.stopping import early
from tinybert.config.suggestions import did_you_mean
from tinybert.errors import Interrupted, NumericalError, UserError

# verb: what it does, its class in tinybert.config (module arguments, or another one by name), its recipe in tinybert.recipes; names,
# so that --help is fast
_VERBS = {
    "finetune": ("fine-tune a teacher or a baseline (run_glue.py)", "FinetuneArguments", "finetune:finetune"),
    "distill": (
        "distil a teacher into a student (task_distill.py)", "TaskDistillArguments", "task_distill:task_distill",
    ),
    "general": (
        "distil a pre-trained teacher into a general student (general_distill.py)",
        "GeneralDistillArguments", "general_distill:general_distill",
    ),
    "pregenerate": (
        "turn raw text into the sequences that general distillation learns from",
        "pregenerate:PregenerateArguments", "pregenerate:pregenerate",
    ),
    "demo": ("fine-tune and distil in small, on the data that comes with the package", "DemoArguments", "demo:demo"),
    "augment": ("write variants of training rows (data_augmentation.py)", "augment:AugmentArguments", "augment:augment"),
    "prune": ("cut a fine-tuned model down to a student", "prune:PruneArguments", "prune:prune"),
    "convert": ("write a model in another layout, or as a program for serving", "ConvertArguments", "convert:convert"),
    "predict": ("predict rows with a trained or an exported model", "predict:PredictArguments", "predict:predict"),
    "doctor": ("say what stands in the way of a run on this machine", "DoctorArguments", "doctor:doctor"),
    "download": ("fetch the data of known tasks ahead of a run", "DownloadArguments", "download:download"),
}  # fmt: skip
_FLAGS = "print every option as Markdown (docs/flags.md)"


def run_script(arguments_class: type, recipe_path: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Parse `argv` (default: this process's), run the recipe `module:function`, and return the exit code.

    The recipe is called as `recipe(arguments, given, spelled)` and imported only after the threads are set, because
    Paddle reads them when it loads. Exit codes: 0 done, 2 wrong arguments or input, 3 numerical failure, 128 + signal
    when interrupted; anything else is left to raise.
    """

    def work() -> None:
        with early() as signals:
            from tinybert.cli.parser import parse

            parsed = parse(arguments_class, argv, prog)
            from tinybert.runtime import prepare

            if arguments_class.NEEDS_PADDLE:
                prepare(threads=getattr(parsed.arguments, "threads", None))
            signals.listen_again()
            module, _, function = recipe_path.partition(":")
            recipe = getattr(importlib.import_module(module), function)
            signals.importing = False
            recipe(parsed.arguments, parsed.given, parsed.spelled)

    return _guarded(work)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m tinybert <verb> ...` and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb, rest = (words[0], words[1:]) if words else ("--help", [])
    if verb in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if verb == "--version":
        print(f"tinybert {__version__}")
        return 0
    if verb == "flags":
        return _guarded(lambda: _print_flags(rest))
    if verb not in _VERBS:
        names = [*_VERBS, "flags"]
        return _guarded(lambda: _refuse(f"unknown verb {verb!r}{did_you_mean(verb, names)}\nexpected one of {', '.join(names)}"))
    _, class_name, recipe_path = _VERBS[verb]
    module, _, class_name = class_name.rpartition(":")
    arguments_class = getattr(importlib.import_module(f"tinybert.config.{module or 'arguments'}"), class_name)
    return run_script(arguments_class, f"tinybert.recipes.{recipe_path}", rest, prog=f"python -m tinybert {verb}")


def _guarded(work: Callable[[], None]) -> int:
    try:
        work()
    except (UserError, NumericalError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return problem.exit_code
    except Interrupted as problem:
        print(f"interrupted: {problem}", file=sys.stderr)
        return problem.exit_code
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        print(f"error: {problem}\nmake room, or name a folder that can be read and written", file=sys.stderr)
        return 2
    except KeyboardInterrupt as problem:
        print(f"interrupted{f': {problem}' if str(problem) else ''}", file=sys.stderr)
        return getattr(problem, "exit_code", 130)
    except SystemExit as done:  # argparse, after --help and --version
        return done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    return 0


def _refuse(message: str) -> None:
    raise UserError(message)


def _print_flags(rest: Sequence[str]) -> None:
    from tinybert.cli.flags_page import flags_page

    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}\n`python -m tinybert flags` takes none")
    print(flags_page(), end="")


def _overview() -> str:
    verbs = {**{verb: what for verb, (what, _, _) in _VERBS.items()}, "flags": _FLAGS}
    lines = [f"  {verb:<13}{what}" for verb, what in verbs.items()]
    return "\n".join(
        [
            "usage: python -m tinybert VERB --name value ...",
            "",
            *lines,
            "",
            "Options of a verb: python -m tinybert VERB --help",
        ]
    )
