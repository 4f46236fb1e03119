"""Which words of a sentence may be replaced."""

from __future__ import annotations

import re

# English function words and the tokens of contractions (don't -> don ' t): the list of the published script without entries that contain
# an apostrophe, since BERT splits there
STOP_WORDS = frozenset(
    """
    a about above after again against ain all am an and any are aren as at be because been before being below between both but by can
    couldn d did didn do does doesn doing don down during each few for from further had hadn has hasn have haven having he her here hers
    herself him himself his i if in into is isn it its itself just ll m ma me mightn more most mustn my myself needn no nor not now o of
    off on once only or other our ours ourselves out over own re s same shan she should shouldn so some such t than that the their theirs
    them themselves then there these they this those through to too under until up ve very was wasn we were weren while will with won
    wouldn y you your yours yourself yourselves
    """.split()  # noqa: SIM905  a list of 150 strings is no easier to read
)
_LETTERS = re.compile(r"[a-z]+")


def is_eligible(word: str, match_case: bool = False) -> bool:
    """Whether a word consists of the letters a to z and is not a stop word.

    match_case: exclude words with capitals, as in PaddleNLP's script; otherwise case is ignored, as in Huawei's.
    """
    plain = word if match_case else word.lower()
    return _LETTERS.fullmatch(plain) is not None and plain not in STOP_WORDS
