"""Masked-LM training on raw text: adapts an encoder to a language or domain, with the head needed for data augmentation.

Supports whole-word masking, also for Chinese; different masks in every epoch; text of any size, tokenised once into a memory-mapped
store; resuming; several processes. Limits: encoders whose head PaddleNLP calls `cls.predictions` (BERT, MacBERT, ERNIE); no next-sentence
loss.
"""

from __future__ import annotations

import math
from pathlib import Path

from tinybert import runtime
from tinybert.commands.pretrain import PretrainConfig
from tinybert.config.resolved import Settings
from tinybert.corpus.documents import TextCorpus, check_output_outside
from tinybert.corpus.masked_rows import MaskedRows
from tinybert.corpus.masking import Masking, Pieces
from tinybert.corpus.raw import tokenised
from tinybert.data.chinese import is_chinese
from tinybert.data.row_range import without_last
from tinybert.data.store import Rows
from tinybert.data.tokenizer import WordPiece
from tinybert.log import logger
from tinybert.models.limits import check_length, max_positions
from tinybert.models.masked_lm import load_masked_lm
from tinybert.models.saving import save_model
from tinybert.objectives.masked_lm import MaskedLMLoss
from tinybert.objectives.objective import Objective, Part
from tinybert.objectives.trained_layer import TrainedLayer
from tinybert.recipes.disk_space import check_disk_space
from tinybert.recipes.evaluate import held_out_loss
from tinybert.recipes.fingerprints import describe_student
from tinybert.recipes.preflight import open_run, start_device
from tinybert.recipes.result import Result, result_of
from tinybert.recipes.resume import finished_before
from tinybert.recipes.run_log import describe_model
from tinybert.recipes.settings_log import log_run_settings
from tinybert.recipes.training import Evaluation, Origin, StageData, train_stage

STAGE = "pretrain"
FOLDERS = ("best_masked_lm", "final_masked_lm")


def pretrain(config: PretrainConfig) -> Result:
    """Train a masked LM, according to the options of `tinybert pretrain`."""
    output = Path(config.output_dir)
    run = open_run(config, output, STAGE, FOLDERS)
    check_output_outside(config.input_dir, output, "--input_dir")
    start_device(config)

    # === Model and data ===
    resolved = config.resolve()
    settings = resolved[STAGE]
    model = load_masked_lm(config.model_name_or_path, config.do_lower_case, fresh_head=True)
    loaded = model.loaded
    log_run_settings(f"masked-LM training on {config.input_dir}, output in {output}", resolved)
    check_length("--max_seq_length", settings.max_seq_length, max_positions(loaded), "the model")
    models = {"model": describe_model("model", loaded)}
    train, held_out, data = _rows(config, settings, loaded.tokenizer)
    identity = {
        "data": data, "tokenizer": loaded.tokenizer.fingerprint, "model": describe_student(loaded),
        "model_weights": str(models["model"].sha256),
    }  # fmt: skip
    if config.resume == "auto" and finished_before(run, resolved, config.resume_changed, FOLDERS, identity):
        logger.info(f"masked-LM training is finished: {output / FOLDERS[0]}")
        return result_of(run, *FOLDERS)
    check_disk_space(run, FOLDERS, loaded.parameters(), config.keep_checkpoints)

    # === Train ===
    layers = int(loaded.config.num_hidden_layers)
    layer = TrainedLayer(loaded.model, Objective([Part("mlm", MaskedLMLoss(model.head, layers))]))

    def save(folder: Path) -> Path:
        save_model(folder, loaded.model, loaded.family, loaded.tokenizer, None, head=model.head.arrays())
        return folder

    return train_stage(
        config,
        settings,
        run,
        layer,
        StageData(train),
        Evaluation(
            lambda step: held_out_loss(layer, None, held_out, settings.eval_batch_size),
            ("held_out_loss", "min"),
            lambda step: save(output / FOLDERS[0]),
            lambda: save(output / FOLDERS[1]),
            {"data": data},
        ),
        Origin(FOLDERS, models, {"train": train[0], "held_out": held_out}, identity, config.resume),
    )


def _rows(config: PretrainConfig, settings: Settings, tokenizer: WordPiece) -> tuple[list[MaskedRows], MaskedRows, str]:
    """The rows of each epoch, the held-out rows with fixed masks, and a hash of the text."""
    corpus = TextCorpus(config.input_dir, split=False if settings.sequences == "lines" else None)
    processes = corpus.processes(max(1, runtime.available_cores() // runtime.local_processes()))
    words = settings.whole_word and is_chinese(tokenizer.vocabulary)
    store = tokenised(corpus, tokenizer, settings.max_seq_length, sequences=settings.sequences, processes=processes, whole_words=words)
    logger.info(f"{corpus.path}: {len(store):,} rows, {int(store.lengths.sum()):,} tokens" + (", words by jieba" if words else ""))
    rows, last = without_last(store, settings.held_out_sequences)
    steps = -(-len(rows) // (settings.batch_size * settings.gradient_accumulation_steps * runtime.world_size()))
    epochs = settings.max_steps / steps if settings.max_steps > 0 else settings.num_train_epochs
    rule = Masking(settings.mlm_probability, most=settings.max_seq_length, whole_word=settings.whole_word)
    pieces = Pieces(tokenizer)

    def masked(which: Rows, epoch: int) -> MaskedRows:
        return MaskedRows(which, rule, pieces, tokenizer.vocab_size, settings.seed, epoch)

    # drop_last makes epochs shorter, so there may be one more
    return [masked(rows, epoch) for epoch in range(1, math.ceil(epochs) + 2)], masked(last, 0), corpus.sha256
