"""The encoders, rows and updates shared by the training benchmarks."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

TEACHER = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}  # BERT-base
SMALL_TEACHER = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
STUDENTS = {
    "4x312": {"num_hidden_layers": 4, "hidden_size": 312, "num_attention_heads": 12, "intermediate_size": 1200},
    "6x768": {"num_hidden_layers": 6, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
REST = {"vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2}


def encoder(kind: str, shape: dict, outputs: int):
    """An encoder of family `kind` with random weights: speed does not depend on them."""
    from tinybert.models.families import family
    from tinybert.models.loading import build

    return build(family(kind), {**REST, **shape}, outputs, "benchmark")


def projection(student: dict, teacher: dict):
    """A new projection between two shapes, shared by all entries."""
    from tinybert.models.projections import Projection

    return Projection("shared", student["num_hidden_layers"], student["hidden_size"], teacher["hidden_size"])


def first_stage(student: dict, teacher: dict, outputs: int):
    """Teacher, student, the objective of TinyBERT's first stage under the uniform map, and its projection."""
    from tinybert.mapping import LayerMap
    from tinybert.objectives.tinybert import intermediate_objective

    linear = projection(student, teacher)
    layer_map = LayerMap.create("uniform", student["num_hidden_layers"], teacher["num_hidden_layers"])
    return encoder("bert", teacher, outputs), encoder("tinybert", student, outputs), intermediate_objective(layer_map, linear), linear


def longest(task) -> int:
    """The maximum length for rows of a GLUE task: 64 tokens, 128 for pairs."""
    return 128 if task.is_pair else 64


def training_rows(name: str, data: str):
    """The training rows of a GLUE task as a token store, created if missing."""
    from tinybert.data.store import TokenStore
    from tinybert.data.tasks import get_task
    from tinybert.data.tokenizer import WordPiece
    from tinybert.models import hub

    task = get_task(name)
    tokenizer = WordPiece.from_folder(hub.resolve("all-minilm-l6-v2", "tokenizer"))
    return TokenStore.build_or_open(task, Path(data) / "Glue" / task.name, "train", tokenizer, longest(task))


def optimizer_of(layer):
    """AdamW with the settings of the sound preset."""
    from tinybert.engine.optimizers import create_optimizer

    return create_optimizer(layer, "adamw", weight_decay=0.01, epsilon=1e-6, max_grad_norm=1.0, grad_clip="global")


def train_rows_of(layer, used) -> None:
    """Reduce the student's word embedding in `layer` to the tokens `[U]` of its texts, as in a run; before the optimizer is created."""
    from tinybert.models.compact import CompactVocabulary

    CompactVocabulary(layer, layer.student, used, lambda step: 1.0)


def update(loss, optimizer, end_step: Callable[[], None] = lambda: None) -> float:
    """The rest of a step after the forward pass: backward, optimizer, and reading the loss as in a run."""
    loss.backward()
    value = float(loss)
    optimizer.set_lr(1e-5)
    optimizer.step()
    optimizer.clear_grad()
    end_step()
    return value


def peak_mb() -> float:
    """The peak resident set of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
