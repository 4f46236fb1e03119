"""Scores of predicted word tags: whole entities, by seqeval."""

from __future__ import annotations

import numpy as np

from tinybert.data.tagged import TaggedWords


def of_tags(names: tuple[str, ...], predicted: np.ndarray, gold: TaggedWords, labels: tuple[str, ...]) -> dict[str, float]:
    """The given metrics of the tags of all words that have a token `[W]`, as fractions of 1.

    entity_f1, precision, recall: entities with correct words and type, counted as by conlleval: an `I-` that does not continue an entity of
    its type starts one. strict_f1: the same, but only `B-` starts an entity (IOB2). accuracy: of words. Words beyond the maximum length
    count as outside. Without any entity, all but the accuracy are 0.0.

    Source: seqeval 1.2.2, which ignores `mode="strict"` without a scheme; Tjong Kim Sang and De Meulder 2003 (conlleval).
    """
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    names_of = np.array(labels, object)
    pairs = list(gold.sentences(predicted))
    truth, predicted_tags = ([names_of[each[side]].tolist() for each in pairs] for side in (0, 1))
    found = any(tag != labels[0] for tags in (*truth, *predicted_tags) for tag in tags)
    scores = {
        "entity_f1": lambda: f1_score(truth, predicted_tags, zero_division=0),
        "precision": lambda: precision_score(truth, predicted_tags, zero_division=0),
        "recall": lambda: recall_score(truth, predicted_tags, zero_division=0),
        "strict_f1": lambda: f1_score(truth, predicted_tags, mode="strict", scheme=IOB2, zero_division=0),
    }
    hits = sum(int((one == other).sum()) for one, other in pairs)
    accuracy = hits / max(1, sum(len(one) for one, _ in pairs))
    return {name: accuracy if name == "accuracy" else float(scores[name]()) if found else 0.0 for name in names}


def count_entities(gold: TaggedWords, labels: tuple[str, ...]) -> int:
    """The number of entities in the gold tags."""
    begins = np.array([label.startswith("B-") for label in labels])
    return int(begins[np.asarray(gold.tags)].sum())
