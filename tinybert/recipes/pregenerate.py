"""Pregeneration: converts raw text to the sequences for general distillation.

1. The corpus is tokenised once, by several processes, into one array on disk: a sentence is a range of it.
2. Its documents are assigned to shards, independent of the number of processes. Every shard of every epoch depends only on (seed, epoch,
   documents): its sequences are selected as ranges, paired, masked and written atomically. An interrupted run continues with the missing
   shards.
3. The record lists every shard with the checksum of its manifest. With `--format json`, shards are joined to the published files instead.

Limits: the tokenised corpus (2 bytes per token) is in the output folder until the run is finished.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from pathlib import Path

from tinybert import runtime, storage
from tinybert.commands.pregenerate import PregenerateConfig
from tinybert.config.resolved import Settings
from tinybert.corpus.documents import TextCorpus, check_output_outside
from tinybert.corpus.masking import Masking
from tinybert.corpus.published import metrics_path
from tinybert.corpus.sequences import SequenceOptions
from tinybert.corpus.shards import FORMAT, RECORD, read_record
from tinybert.corpus.tokens import CorpusTokens, Tokenise, write_tokens
from tinybert.corpus.workers import Workers
from tinybert.corpus.writing import ROWS, Shard, ShardMaker, plan
from tinybert.data.progress import TextProgress
from tinybert.data.tokenizer import WordPiece
from tinybert.data.tokenizer_folder import has_vocabulary
from tinybert.engine import run_lock
from tinybert.engine.checkpoint import differences, raise_for_differences
from tinybert.engine.cluster import ClusterWorkers
from tinybert.engine.run_record import now
from tinybert.engine.signals import StopRequest, graceful_shutdown
from tinybert.errors import Interrupted, UserError
from tinybert.log import logger
from tinybert.models.configuration import config_file, read_config
from tinybert.models.hub import resolve
from tinybert.models.limits import check_length, positions_in
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.result import Result
from tinybert.recipes.settings_log import log_run_settings
from tinybert.report.table import markdown_table
from tinybert.temporaries import is_temporary

TOKENS = ".corpus_tokens"  # the tokenised corpus, in the output folder
MIN_KEPT = 0.75  # share of the corpus tokens below which a warning is shown
AnyWorkers = Workers | ClusterWorkers
_FOLDERS = re.compile(rf"{re.escape(TOKENS)}|epoch_\d+")


def pregenerate(config: PregenerateConfig) -> Result:
    """Write the missing sequences to `--output_dir`, and print what was written, and how fast."""
    resolved = config.resolve()
    settings = resolved["pregenerate"]
    log_run_settings(f"pregenerating {settings.sequences} of {config.train_corpus}, epochs: {settings.epochs_to_generate}", resolved)

    output = config.output_dir
    tokenizer = _tokenizer(config)
    _check_positions(config.bert_model, settings.max_seq_len)
    masking = _masking(settings, tokenizer, config.bert_model)
    check_output_outside(config.train_corpus, output, "--train_corpus")
    check_inputs_not_overwritten(config, [output])
    corpus = TextCorpus(config.train_corpus, False if settings.sequences == "lines" else settings.split_sentences)
    random_next = settings.sequences == "pairs" and not settings.one_seq
    if random_next:
        corpus.check_documents()
    values = {name: value for name, value in settings.as_dict().items() if name not in ("stage", "preset")}
    identity = {"settings": values, "source_sha256": corpus.sha256, "tokenizer": tokenizer.fingerprint}
    if _finished_before(output, identity, config.overwrite_output_dir):
        logger.info(f"already finished: {output}")
        return Result(output, record=read_record(output))
    lines = "paragraphs, which are split into sentences" if corpus.split else "sentences"
    logger.info(f"corpus: {len(corpus.files)} files, {corpus.bytes / 1e6:.1f} MB; lines are {lines}")

    options = SequenceOptions(settings.sequences, settings.max_seq_len, settings.short_seq_prob or 0.0, random_next)
    maker = ShardMaker(output, output / TOKENS, tokenizer, options, masking, settings.seed, settings.format == "json")
    tokenise = Tokenise(tokenizer, corpus.split)
    processes = corpus.processes(config.num_workers or runtime.available_cores())
    begun = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    run_lock.acquire(output)
    with graceful_shutdown() as stop, contextlib.ExitStack() as at_end:
        at_end.callback(run_lock.release, output)
        works = tokenise, maker
        cluster = config.runner == "ray"
        workers = at_end.enter_context(ClusterWorkers(works, config.address, 1) if cluster else Workers(works, processes))
        if not _is_readable(output / TOKENS):
            try:
                _tokenise(output, corpus, tokenise, workers, stop)
            except UserError:
                _leave_nothing(output)
                raise
        tokens = CorpusTokens.map(output / TOKENS)
        documents, fewest = len(tokens.documents) - 1, 2 if random_next else 1
        if documents < fewest:
            _leave_nothing(output)
            raise UserError(
                f"{config.train_corpus} contains {documents} document(s) with known tokens; expected at least {fewest}.\n"
                + ("Separate documents by blank lines, or choose --sequences packed." if random_next else "Is it text of this vocabulary?")
            )
        # files listed in the record are ours: other files must not have these names from now on
        named = [path.name for number in range(settings.epochs_to_generate) for path in _epoch_files(output, number)]
        files = dict.fromkeys(named if maker.as_json else [])
        record = {"format": FORMAT, "finished": None, "files": files, **identity, **_described(tokenizer, settings, corpus, tokens)}
        storage.write_json(output / RECORD, record)
        shards = plan(tokens, settings.epochs_to_generate)
        del tokens  # its pages count as this process's memory
        made, new = _make(maker, shards, workers, stop)
        _finish(output, record, shards, made, maker)
    totals = _totals(shards, made)
    _report(output, totals, new, time.monotonic() - begun)
    _warn_of_lost_text(totals[0], record["corpus"]["tokens"], settings)
    return Result(output, record=read_record(output))


def _tokenizer(config: PregenerateConfig) -> WordPiece:
    """The tokenizer of a model, of a folder with only a vocab.txt, or of that file."""
    named = Path(config.bert_model).expanduser()
    if named.is_file() and named.name != "vocab.txt":
        raise UserError(f"--bert_model {named} is a file. Give a model folder or a folder with a vocab.txt.")
    folder = named.parent if named.name == "vocab.txt" else named
    return WordPiece.from_folder(folder if has_vocabulary(folder) else resolve(config.bert_model), config.do_lower_case)


def _check_positions(model: str, max_seq_len: int) -> None:
    """Reject rows that this model could not read; a plain vocabulary has no limit."""
    folder = Path(model).expanduser()
    positions = positions_in(read_config(folder)) if config_file(folder) is not None else None
    if positions is not None:
        check_length("--max_seq_len", max_seq_len, positions, model)


def _masking(settings: Settings, tokenizer: WordPiece, model: str) -> Masking:
    masking = Masking(
        settings.masked_lm_prob, settings.max_predictions_per_seq or 0, bool(settings.do_whole_word_mask), settings.mask_one_at_least
    )
    if masking.active and tokenizer.mask_id is None:
        raise UserError(f"the vocabulary of {model} has no [MASK]. Disable masking, or choose another model.")
    return masking


# === The output folder ===


def _finished_before(output: Path, identity: dict, overwrite: bool) -> bool:
    """Whether the complete result exists. Clears the folder if `overwrite`.

    Raises:
        UserError: the folder contains the result of other options, or other files.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"--output_dir {output} is a file. Choose a folder.")
    run_lock.check_not_in_use(output)
    record = None
    with contextlib.suppress(UserError) if overwrite else contextlib.nullcontext():
        record = read_record(output) if (output / RECORD).is_file() else None
    ours = _written_before(output, record) if output.is_dir() else []
    if output.is_dir():
        others = sorted(entry.name for entry in output.iterdir() if entry not in ours and (entry.name[0] != "." or entry.name == TOKENS))
        if others:
            raise UserError(
                f"--output_dir {output} contains files not written by this program: {', '.join(others[:5])}.\n"
                "They are kept: choose another folder."
            )
        for folder in (output, *(path for path in ours if path.is_dir())):
            storage.recover(folder)  # leftovers of a killed run
    if overwrite:
        for path in ours:
            storage.remove_own(path) if path.is_dir() else path.unlink()
        return False
    if record is None:
        if any(path.name != TOKENS for path in ours):
            raise UserError(
                f"--output_dir {output} contains pregenerated data of another run. Choose another folder, or use --overwrite_output_dir."
            )
        storage.remove_own(output / TOKENS)  # without a record, their corpus is unknown
        return False
    sources = {name: value for name, value in identity.items() if name != "settings"}
    raise_for_differences(
        differences(record["settings"], identity["settings"]) | differences({name: record[name] for name in sources}, sources),
        f"--output_dir {output} was started with other options or text:",
        "Choose another folder, or replace it with --overwrite_output_dir.",
    )
    if not (record["finished"] and _is_whole(output, record)):
        return False
    _drop_scaffolding(output, record["settings"]["format"] == "json", len(record["shards"]))  # left by a run that was killed at its end
    return True


def _written_before(output: Path, record: dict | None) -> list[Path]:
    """Results of an earlier run: the record, the files it lists, and folders that only contain files of ours."""
    files = record.get("files") if record else None
    named = {RECORD, *(files if isinstance(files, dict) else ())}
    return [entry for entry in output.iterdir() if entry.name in named or _FOLDERS.fullmatch(entry.name) and _is_ours(entry)]


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and (storage.is_own(folder) or all(storage.is_own(e) or is_temporary(e) for e in folder.iterdir()))


def _is_whole(output: Path, record: dict) -> bool:
    return all(storage.is_complete(output / name) for epoch in record["shards"] for name in epoch) and all(
        (output / name).is_file() and storage.sha256_of(output / name) == sha256 for name, sha256 in record["files"].items()
    )


def _drop_scaffolding(output: Path, as_json: bool, epochs: int) -> None:
    """Delete what only an unfinished run needs: the tokenised text, and joined shards."""
    storage.remove_own(output / TOKENS)
    for number in range(epochs if as_json else 0):
        storage.remove_own(output / f"epoch_{number}")


def _leave_nothing(output: Path) -> None:
    """Delete what a rejected run has written: the tokens, and the folder if it is then empty."""
    run_lock.release(output)
    storage.remove_own(output / TOKENS)
    if not any(output.iterdir()):
        output.rmdir()


def _described(tokenizer: WordPiece, settings: Settings, corpus: TextCorpus, tokens: CorpusTokens) -> dict:
    """The entries of the record about vocabulary, text and versions."""
    return {
        "vocabulary_sha256": tokenizer.vocabulary_sha256, "vocab_size": tokenizer.vocab_size, "max_seq_len": settings.max_seq_len,
        "corpus": {
            "path": corpus.path, "files": len(corpus.files), "bytes": corpus.bytes, "documents": len(tokens.documents) - 1,
            "sentences": len(tokens.sentences) - 1, "tokens": len(tokens.ids), "split_sentences": corpus.split,
        },
        "versions": runtime.versions(),
    }  # fmt: skip


def _is_readable(tokens: Path) -> bool:
    """Whether the tokens of an earlier run exist and are consistent."""
    with contextlib.suppress(storage.DamagedError):
        return storage.is_complete(tokens) and bool(CorpusTokens.map(tokens))
    return False


# === The work ===


def _tokenise(output: Path, corpus: TextCorpus, tokenise: Tokenise, workers: AnyWorkers, stop: StopRequest) -> None:
    begun, tokens = time.monotonic(), 0
    for done in write_tokens(output / TOKENS, corpus, tokenise, workers):
        tokens = done
        if stop.signal is not None:
            raise Interrupted(stop.signal, "the corpus will be tokenised again next time")
    seconds = time.monotonic() - begun
    logger.info(f"tokenised: {tokens:,} tokens in {seconds:.1f} s, {tokens / seconds:,.0f} tokens/s")


def _make(maker: ShardMaker, shards: list[list[Shard]], workers: AnyWorkers, stop: StopRequest) -> tuple[dict[str, dict], int]:
    """The `meta.json` of every shard by name, and the number of tokens written now; complete shards are kept."""
    made = {shard.name: meta for epoch in shards for shard in epoch if (meta := maker.finished(shard)) is not None}
    missing = [shard for epoch in shards for shard in epoch if shard.name not in made]
    if made:
        logger.info(f"kept: {len(made)} shards of an earlier run; {len(missing)} remaining")
    progress = TextProgress("Making sequences", sum(shard.tokens for shard in missing), "tokens")
    done = part = 0
    for shard, meta in workers.ordered(maker, missing):
        made[shard.name] = meta
        done, part = done + meta["tokens"], part + shard.tokens
        progress.show(done, part)
        if stop.signal is not None:
            raise Interrupted(stop.signal, f"{len(made)} shards are kept; continue with the same command")
    return made, done


def _finish(output: Path, record: dict, shards: list[list[Shard]], made: dict[str, dict], maker: ShardMaker) -> None:
    """Join JSON lines to the published files, complete the record, and delete the tokens."""
    files: dict[str, str] = {}
    if maker.as_json:
        for number, epoch in enumerate(shards):
            joined = _join(output, number, epoch, sum(made[shard.name]["rows"] for shard in epoch), maker.options.max_seq_len)
            files |= {path.name: storage.sha256_of(path) for path in joined}
    listed = [{} if maker.as_json else {s.name: storage.sha256_of(output / s.name / storage.MANIFEST) for s in epoch} for epoch in shards]
    storage.write_json(output / RECORD, {**record, "finished": now(), "shards": listed, "files": files, "made": _totals(shards, made)})
    _drop_scaffolding(output, maker.as_json, len(shards))


def _epoch_files(output: Path, number: int) -> tuple[Path, Path]:
    """The published files of an epoch: its rows, and its metrics."""
    rows = output / f"epoch_{number}.json"
    return rows, metrics_path(rows)


def _join(output: Path, number: int, epoch: list[Shard], rows: int, max_seq_len: int) -> tuple[Path, Path]:
    final, metrics = _epoch_files(output, number)
    with storage.new_file(final) as joined:
        for shard in epoch:
            with open(output / shard.name / ROWS, "rb") as file:
                shutil.copyfileobj(file, joined, 1 << 20)
    storage.write_json(metrics, {"num_training_examples": rows, "max_seq_len": max_seq_len})
    return final, metrics


def _totals(shards: list[list[Shard]], made: dict[str, dict]) -> list[dict[str, int]]:
    counts = ("rows", "tokens", "random_next", "masked")
    return [{name: sum(made[shard.name][name] for shard in epoch) for name in counts} for epoch in shards]


def _report(output: Path, totals: list[dict[str, int]], new: int, seconds: float) -> None:
    lines = []
    for number, total in enumerate(totals):
        shares = [f"{100 * total['random_next'] / total['rows']:.1f}%", f"{100 * total['masked'] / total['tokens']:.1f}%"]
        lines.append([str(number), f"{total['rows']:,}", f"{total['tokens']:,}", f"{total['tokens'] / total['rows']:.1f}", *shares])
    logger.info(markdown_table(["epoch", "sequences", "tokens", "mean length", "random second segment", "masked"], lines))
    logger.info(f"written: {output}; {new:,} tokens in {seconds:.1f} s including tokenisation: {new / seconds:,.0f} tokens/s")
    logger.info(f"next: tinybert general --pregenerated_data {output} ...")


def _warn_of_lost_text(total: dict[str, int], corpus_tokens: int, settings: Settings) -> None:
    """Warn if sequences contain much less than the text: sentences or lines that are longer than a row are truncated."""
    special = 3 if settings.sequences == "pairs" else 2
    share = (total["tokens"] - special * total["rows"]) / corpus_tokens
    if share < MIN_KEPT:
        logger.warning(
            f"an epoch contains {100 * share:.0f}% of the text's tokens: sentences longer than a row are truncated\n"
            "--sequences packed keeps the whole text; --split_sentences True splits lines at the end of sentences"
        )
