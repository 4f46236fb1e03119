#!/usr/bin/env bash
# tokenizers: a token added by add_tokens is matched in the lower-cased text and inside longer words ("Covid-19" in "covid-190"), one added by
# add_special_tokens in the text as it stands and inside words as well; the text "<USER>" is not the token "<user>" for a lower-casing tokenizer.
# One would have guessed: both are found in the same way, either in the lower-cased text or not, and as whole words, as a vocabulary's words are.
# Source: https://github.com/huggingface/tokenizers/pull/309: "normalized" is true for added tokens and false for special ones unless it is
# given, and "single_word" is false. Seen with tokenizers 0.21.4.
bash "$(dirname "$0")/with_packages" tokenizers==0.21.4 <<'PYTHON'
from importlib.metadata import version

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

print("tokenizers", version("tokenizers"))
pieces = ["[UNK]", "see", "covid", "-", "19", "190", "<", "user", ">"]
tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
tokenizer.add_tokens(["Covid-19"])
tokenizer.add_special_tokens(["<user>"])
added, special = len(pieces), len(pieces) + 1
expected = {
    "COVID-19": [added],
    "see covid-190": [1, added, 0],
    "see <user>": [1, special],
    "see<user>19": [1, special, 4],
    "SEE <USER>": [1, 6, 7, 8],
}
found = {text: tokenizer.encode(text).ids for text in expected}
for text, ids in found.items():
    print(f"{text!r}: {[tokenizer.id_to_token(number) for number in ids]}")
raise SystemExit(0 if found == expected else 1)
PYTHON
