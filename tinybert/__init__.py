"""Distillation of BERT-like encoders in PaddlePaddle: from a large fine-tuned teacher to a small, fast student.

    import tinybert as tb

Public names are loaded on first use, so that the import itself is fast and does not need Paddle.
"""

from __future__ import annotations

import importlib
import sys
import types

__version__ = "0.2.0"

# public name: the module that defines it, below this package
_PUBLIC = {
    "load_task": "api.data", "from_files": "api.data", "from_rows": "api.data", "Data": "api.data",
    "load": "api.models", "Model": "api.models",
    "student_from": "api.students", "student": "api.students", "SoftLabels": "api.soft_labels",
    "Training": "api.training", "Method": "api.methods", "TinyBERT": "api.methods", "MUD": "api.methods", "EMD": "api.methods",
    "Logits": "api.methods", "GoldLabels": "api.methods",
    "distill": "api.procedures", "finetune": "api.procedures", "general_distill": "api.procedures", "evaluate": "api.procedures",
    "predict": "api.procedures", "prune": "api.procedures", "pregenerate": "api.procedures", "augment": "api.procedures",
    "compare": "api.comparison", "Comparison": "api.comparison",
    "auto": "api.searching", "search": "api.searching", "Found": "api.searching",
    "Run": "api.run", "open_run": "api.run",
    "Callback": "user_objects", "TrainingState": "user_objects", "CustomLoss": "user_objects", "Needs": "api.process",
    "set_verbosity": "log",
    "UserError": "errors", "NumericalError": "errors", "Interrupted": "errors",
}  # fmt: skip
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


class _PublicModule(types.ModuleType):
    """Some public functions have the names of packages, such as `prune`: importing these packages does not replace the functions."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _PublicModule


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
