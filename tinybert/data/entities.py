"""How good predicted tags of words are: entities found whole, by seqeval."""

from __future__ import annotations

import numpy as np

from tinybert.data.tagged import TaggedWords


def of_tags(names: tuple[str, ...], predicted: np.ndarray, gold: TaggedWords, labels: tuple[str, ...]) -> dict[str, float]:
    """These metrics of the tags of all words that have a piece `[W]`, as fractions of 1.

    entity_f1, precision, recall: entities with the right words and type, counted as conlleval counts them: an `I-` that follows nothing of
    its type begins an entity. strict_f1: the same where only `B-` begins one, by the scheme IOB2. accuracy: words. Words beyond a
    row's length count as outside. Without any entity all of the first are 0.0.

    Source: seqeval 1.2.2, which ignores `mode="strict"` without a scheme; Tjong Kim Sang and De Meulder 2003 (conlleval).
    """
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    names_of = np.array(labels, object)
    pairs = list(gold.sentences(predicted))
    truth, told = ([names_of[each[side]].tolist() for each in pairs] for side in (0, 1))
    found = any(tag != labels[0] for tags in (*truth, *told) for tag in tags)
    scores = {
        "entity_f1": lambda: f1_score(truth, told, zero_division=0),
        "precision": lambda: precision_score(truth, told, zero_division=0),
        "recall": lambda: recall_score(truth, told, zero_division=0),
        "strict_f1": lambda: f1_score(truth, told, mode="strict", scheme=IOB2, zero_division=0),
    }
    hits = sum(int((one == other).sum()) for one, other in pairs)
    accuracy = hits / max(1, sum(len(one) for one, _ in pairs))
    return {name: accuracy if name == "accuracy" else float(scores[name]()) if found else 0.0 for name in names}


def count_entities(gold: TaggedWords, labels: tuple[str, ...]) -> int:
    """How many entities the gold tags have."""
    begins = np.array([label.startswith("B-") for label in labels])
    return int(begins[np.asarray(gold.tags)].sum())
