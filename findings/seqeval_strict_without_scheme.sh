#!/usr/bin/env bash
# seqeval: mode="strict" without a scheme changes nothing in f1_score, while classification_report guesses a scheme, and takes tags in IOB1 (as
# in CoNLL-2003, where B- stands only between two entities of one type that touch) for IOB2: of five entities one is left. No warning is given.
# One would have guessed: strict is strict in both functions and gives the same F1, or asks for the missing scheme.
# Source: seqeval/metrics/sequence_labeling.py: f1_score and its kin go the strict way "if mode == 'strict' and scheme", classification_report
# always, with auto_detect, which knows no IOB1. Seen with seqeval 1.2.2.
bash "$(dirname "$0")/with_packages" seqeval==1.2.2 scikit-learn==1.7.2 scipy==1.15.3 numpy==1.26.4 <<'PYTHON'
from importlib.metadata import version

from seqeval.metrics import classification_report, f1_score
from seqeval.scheme import IOB1, IOB2

print("seqeval", version("seqeval"))


def report(gold, told, **options):
    found = classification_report(gold, told, output_dict=True, zero_division=0, **options)["micro avg"]
    return float(found["f1-score"]), int(found["support"])


gold = [["B-PER", "I-PER", "O", "B-LOC"]]
told = [["I-PER", "I-PER", "O", "B-LOC"]]  # the first entity does not begin with B-
plain, loose, strict = f1_score(gold, told), f1_score(gold, told, mode="strict"), f1_score(gold, told, mode="strict", scheme=IOB2)
print(f"f1_score: {plain}; with mode='strict': {loose}; with mode='strict', scheme=IOB2: {strict}")
other = report(gold, told, mode="strict")[0]
print(f"classification_report with mode='strict': {other}")

iob1 = [["I-PER", "I-PER", "O", "I-LOC", "O"], ["I-ORG", "O", "I-LOC", "B-LOC"]]
guessed, given = report(iob1, iob1, mode="strict")[1], report(iob1, iob1, mode="strict", scheme=IOB1)[1]
print(f"entities of IOB1 tags that classification_report counts with mode='strict': {guessed}; with scheme=IOB1: {given}")
raise SystemExit(0 if (plain, loose, strict, other, guessed, given) == (1.0, 1.0, 2 / 3, 2 / 3, 1, 5) else 1)
PYTHON
