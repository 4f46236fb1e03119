"""The sequences for general distillation: their source, the training rows of each epoch, and the held-out rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinybert import runtime
from tinybert.commands.general import GeneralDistillConfig
from tinybert.config.resolved import Settings
from tinybert.corpus.documents import TextCorpus, check_output_outside
from tinybert.corpus.raw import tokenised
from tinybert.corpus.shards import open_pregenerated
from tinybert.data.row_range import RowRange, without_last
from tinybert.data.store import Rows
from tinybert.log import logger
from tinybert.models.limits import max_positions
from tinybert.models.loading import LoadedModel


@dataclass
class GeneralData:
    """A source of sequences: `source` as text, their `length` if it is fixed, and a function that reads one store per epoch.

    identity: what must match when resuming; known after `split` has read the data.
    """

    source: str
    length: int | None
    read: Callable[[Settings], list[Rows]]
    identity: str = ""

    @classmethod
    def open(cls, config: GeneralDistillConfig, teacher: LoadedModel, student: LoadedModel) -> GeneralData:
        """The data given by the options, checked against both models.

        Raises:
            UserError: the data is missing, damaged, has another vocabulary, or is longer than a model's positions.
        """
        tokenizer = teacher.tokenizer
        if config.input_dir is not None:
            check_output_outside(config.input_dir, Path(config.output_dir), "--input_dir")
            text = TextCorpus(config.input_dir)
            cores = max(1, runtime.available_cores() // runtime.local_processes())

            def read(settings: Settings) -> list[Rows]:
                corpus = TextCorpus(config.input_dir, split=False) if settings.sequences == "lines" else text
                processes = corpus.processes(cores)
                store = tokenised(corpus, tokenizer, settings.max_seq_length, sequences=settings.sequences, processes=processes)
                logger.info(f"{corpus.path}: {len(store):,} sequences, {int(store.lengths.sum()):,} tokens")
                return [store]

            return cls(f"text in {len(text.files)} file(s) of {text.path}", None, read)
        pregenerated = open_pregenerated(config.pregenerated_data, tokenizer)
        longest = min(max_positions(teacher), max_positions(student))
        pregenerated.check(tokenizer, longest, config.max_seq_length)
        stores = [pregenerated.epoch(number) for number in range(pregenerated.epochs)]
        source = f"sequences of up to {pregenerated.max_seq_len} tokens in {pregenerated.folder}, epochs: {pregenerated.epochs}"
        return cls(source, pregenerated.max_seq_len, lambda settings: stores)

    def split(self, settings: Settings) -> tuple[list[RowRange], RowRange]:
        """The training rows of each epoch, and the held-out rows of the first.

        The last rows of every epoch are held out: sequences are in the order of their text, which is split differently in every epoch, so
        these rows cover about the same text.
        """
        stores = self.read(settings)
        contents = [
            [store.meta["source_sha256"], store.meta.get("shards"), len(store), hashlib.sha256(store.lengths.tobytes()).hexdigest()]
            for store in stores
        ]
        self.identity = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
        pairs = [without_last(store, settings.held_out_sequences) for store in stores]
        return [train for train, _ in pairs], pairs[0][1]
