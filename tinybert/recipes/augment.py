"""Data augmentation: writes the training rows of a task and variants of them to a file for `--use_aug`.

1. The whole file is read and checked; models and word vectors are loaded. Nothing is written so far.
2. Its rows are processed in parts of fixed size, each depending only on (seed, row, text) and written atomically, by several processes or
   by the ranks of `paddle.distributed.launch`. The result does not depend on the number of processes, and `--resume` adds missing parts.
3. The parts are joined to the file atomically, and counted for the summary.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

from tinybert import devices, runtime, storage
from tinybert.augment.parts import FILE, ROWS, PartMaker, parts_of
from tinybert.commands.augment import STAGE, AugmentConfig, workers
from tinybert.corpus.workers import Workers
from tinybert.data.chinese import is_chinese
from tinybert.data.places import locate
from tinybert.data.progress import TextProgress
from tinybert.data.readers import UsedRows
from tinybert.data.rewriting import Rewriter
from tinybert.data.tokenizer_folder import read_tokenizer_files
from tinybert.engine import run_lock
from tinybert.engine.checkpoint import differences, raise_for_differences
from tinybert.engine.cluster import ClusterWorkers
from tinybert.engine.processes import wait_for_all
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import now
from tinybert.engine.signals import graceful_shutdown
from tinybert.errors import Interrupted, UserError
from tinybert.log import logger
from tinybert.models.hub import resolve
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.result import Result
from tinybert.recipes.run_log import weights_hash
from tinybert.recipes.settings_log import log_run_settings
from tinybert.recipes.task_data import task_of
from tinybert.report.table import markdown_table

RECORD, SUMMARY, PARTS = "augmentation.json", "augmentation.md", ".augmented_parts"


def augment(config: AugmentConfig) -> Result:
    """Write the augmented rows of one task, according to the options of `tinybert augment`."""
    with contextlib.ExitStack() as at_end:
        return _augment(config, at_end)


def _augment(config: AugmentConfig, at_end: contextlib.ExitStack) -> Result:
    task = task_of(config)
    if task.kind.head != "sequence":
        raise UserError(task.kind.check_variants(task))
    vocabulary = read_tokenizer_files(resolve(config.pretrained_bert_model, "masked-LM model")).vocabulary
    resolved = config.resolve(task.name, not task.is_pair, is_chinese(vocabulary))
    settings = resolved[STAGE]
    split = task.split("train")
    folder = locate(task, config.data_dir, config.glue_dir, ["train"])
    target = (config.output_file or folder / task.split("train_aug").file).expanduser().absolute()
    output = (config.output_dir or Path("runs/augmentation") / task.name).expanduser()
    log_run_settings(f"augmenting {task.name}: {folder / split.file} -> {target}, record in {output}", resolved)
    RunFolder(output, STAGE).check_writable()
    run_lock.check_not_in_use(output)
    _refuse_target(target, folder / split.file, output.absolute())
    check_inputs_not_overwritten(config, [target, output / PARTS])
    if runtime.rank() == 0 and target.parent.is_dir():  # otherwise the run creates it in its own folder
        _exclude_others(target, at_end)

    used = UsedRows(task, folder, "train")
    first, count = "", 0
    for row, _ in used:
        first, count = first or row.raw, count + 1
    rewriter = Rewriter.of(split, used.reader.picked, first, settings.quotes == "published")
    frame = rewriter.frame(used.reader.header, used.reader.source.bom)
    maker = PartMaker(
        output / PARTS, config.pretrained_bert_model, config.glove_embs, task, settings, rewriter, frame,
        config.preview, config.device,
    )  # fmt: skip
    identity = _identity(maker, used.path)
    finished = _judge_folder(output, target, identity, config)
    devices.start_processes()
    wait_for_all()  # all ranks have checked the unchanged folder
    if finished:
        logger.info(f"already finished: {target}")
        return Result(target, record=json.loads((output / RECORD).read_text(encoding="utf-8")))
    writes = runtime.rank() == 0
    if writes:
        for line in used.left_out():
            logger.warning(line)
        output.mkdir(parents=True, exist_ok=True)
        run_lock.acquire(output)
        if not config.resume:
            storage.remove_own(output / PARTS)
        storage.recover(output / PARTS)
        storage.write_json(output / RECORD, {**identity, "finished": None, "versions": runtime.versions()})
    wait_for_all()
    begun = time.monotonic()
    try:
        made = _make(maker, UsedRows(task, folder, "train"), count, config)
        wait_for_all()
        if writes:
            _finish(maker, output, target, {**identity, "resolved": resolved.as_dict()}, count, made, time.monotonic() - begun)
    except UserError:
        if writes:
            storage.remove_empty([output / PARTS])
            if not (output / PARTS).exists():  # finished parts are kept for --resume
                (output / RECORD).unlink(missing_ok=True)
        raise
    finally:
        run_lock.release(output)
        storage.remove_empty([output])
    return Result(target, record=json.loads((output / RECORD).read_text(encoding="utf-8")))


# === Before work starts ===


def _refuse_target(target: Path, source: Path, output: Path) -> None:
    if target.exists() and (target.is_dir() or target.samefile(source)):
        raise UserError(f"--output_file {target} is {'a folder' if target.is_dir() else 'the training file'}. Choose another file.")
    if target.parent == output and not output.exists():
        return  # the run creates it
    if not target.parent.is_dir():
        raise UserError(f"--output_file {target}: the folder {target.parent} does not exist. Create it or choose another file.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UserError(f"--output_file {target}: {target.parent} is not writable. Choose another file with --output_file.")


def _exclude_others(target: Path, at_end: contextlib.ExitStack) -> None:
    try:
        at_end.enter_context(storage.lock(target.with_name(f".{target.name}"), wait=False))
    except BlockingIOError:
        raise UserError(f"--output_file {target} is being written by another run.\nWait until it ends, or choose another file.") from None


def _identity(maker: PartMaker, source: Path) -> dict:
    candidates, teacher = maker.load()
    return {
        "settings": maker.settings.as_dict(),
        "train_sha256": storage.sha256_of(source),
        "train_columns": maker.task.split("train").key,
        "task_labels": list(maker.task.labels),
        "model_sha256": weights_hash(candidates.model.loaded.report.source),
        "tokenizer": candidates.tokenizer.fingerprint,
        "glove_sha256": None if candidates.table is None else candidates.table.meta["source_sha256"],
        "teacher_sha256": None if teacher is None else weights_hash(teacher.teacher.report.source),
        "preview": maker.preview,
    }


def _judge_folder(output: Path, target: Path, identity: dict, config: AugmentConfig) -> bool:
    """Whether the work is already done.

    Raises:
        UserError: the folder or file belongs to another run, or the arguments do not say what to do with existing results.
    """
    record = output / RECORD
    before = json.loads(record.read_text(encoding="utf-8-sig")) if record.is_file() else None
    if config.overwrite_output_dir:
        return False
    if config.resume and before is not None:
        sources = {name: value for name, value in identity.items() if name != "settings"}
        raise_for_differences(
            differences({name: before.get(name) for name in sources} | before["settings"], sources | identity["settings"]),
            f"--resume: {output} was started with other options or data:",
            "Repeat the original command, or start over with --overwrite_output_dir.",
        )
        joined = target.is_file() and storage.sha256_of(target) == before.get("output_sha256")
        if before["finished"]:
            if joined:
                storage.remove_own(output / PARTS)  # of a run that was killed at its end
                return True
            raise UserError(f"--resume: {target} was not written by the run in {output}. Replace it with --overwrite_output_dir.")
        if joined:
            return False  # killed between file and record: the rest is done again
    elif before is not None:
        raise UserError(
            f"--output_dir {output} contains an earlier run.\nResume it with --resume, or start over with --overwrite_output_dir."
        )
    if target.exists():
        raise UserError(f"{target} exists already.\nReplace it with --overwrite_output_dir, or choose another file with --output_file.")
    return False


def _processes(config: AugmentConfig, rows: int) -> int:
    return min(workers(config, runtime.available_cores(), devices.uses_cpu(), runtime.world_size()), -(-rows // ROWS))


# === The work ===


def _make(maker: PartMaker, used: UsedRows, count: int, config: AugmentConfig) -> int:
    """Write the missing parts of this rank; returns the number of rows read for them."""
    rank, ranks = runtime.rank(), runtime.world_size()
    processes = _processes(config, count)
    if processes > 1 or config.runner == "ray":
        maker.release()
    numbers = range(rank, -(-count // ROWS), ranks)
    there = {number for number in numbers if maker.finished(number) is not None}
    if there:
        logger.info(f"kept: {len(there)} parts of an earlier run; {len(numbers) - len(there)} remaining")
    size = sum(min(ROWS, count - ROWS * number) for number in numbers if number not in there)
    missing = (part for part in parts_of(used) if part.number % ranks == rank and part.number not in there)
    progress, done = TextProgress("Augmenting", size, "rows"), 0
    cluster = config.runner == "ray"
    workers = ClusterWorkers((maker,), config.address, maker.settings.threads) if cluster else Workers((maker,), processes)
    with graceful_shutdown() as stop, workers as pool:
        for meta in pool.ordered(maker, missing):
            done += meta["rows"]
            progress.show(done, done)
            if stop.signal is not None and done < size:
                raise Interrupted(stop.signal, f"at least {done} rows are kept; continue with the same command and --resume")
    return done


def _finish(maker: PartMaker, output: Path, target: Path, facts: dict, count: int, made: int, seconds: float) -> None:
    """Join the parts to the file, write record and summary, and delete the parts."""
    total, eligible, replaced, before, after = Counter(), Counter(), Counter(), Counter(), Counter()
    preview: list = []
    with storage.new_file(target) as file:
        file.write(maker.frame.head.encode())
        for number in range(-(-count // ROWS)):
            meta = json.loads((maker.path(number) / "meta.json").read_text(encoding="utf-8"))
            file.write(maker.frame.between.encode() if number else b"")
            with open(maker.path(number) / FILE, "rb") as part:
                shutil.copyfileobj(part, file, 1 << 20)
            total.update({name: meta[name] for name in ("rows", "written", "filtered", "words", "draws", "duplicates")})
            eligible.update(meta["eligible"])
            replaced.update(meta["replaced"])
            before.update(meta["labels"]["before"])
            after.update(meta["labels"]["after"])
            preview += meta["preview"]
        file.write(maker.frame.tail.encode())
        file.flush()
        # recorded before it is renamed: if a run is killed in between, it recognises the file as its own
        sums = {"output": str(target), "output_sha256": storage.sha256_of(file.name)}
        storage.write_json(output / RECORD, {**facts, **sums, "finished": None, "versions": runtime.versions()})
    counts = {**total, "eligible": dict(eligible), "replaced": dict(replaced), "labels": {"before": dict(before), "after": dict(after)}}
    if not maker.task.labels:
        counts.pop("labels")
    speed = {"seconds": round(seconds, 1), "rows_made_now": made}
    storage.write_file(output / SUMMARY, _summary(maker.task.name, counts, preview))
    storage.write_json(output / RECORD, {**facts, **sums, **counts, **speed, "finished": now(), "versions": runtime.versions()})
    storage.remove_own(maker.folder)
    logger.info(
        f"written: {target}; {total['rows']} rows became {total['written']}; {made} rows in {seconds:.1f} s, {made / seconds:.1f} rows/s"
    )
    logger.info(f"summary: {output / SUMMARY}\nnext: tinybert distill --use_aug ...")


def _summary(name: str, counts: dict, preview: list) -> str:
    words, found = max(1, counts["words"]), counts["eligible"]
    lines = [
        f"# Augmented rows of {name}", "",
        f"{counts['rows']} rows became {counts['written']}. Of {counts['draws']} draws, {counts['duplicates']} gave nothing new and were "
        f"dropped; the teacher filter dropped {counts['filtered']} variants.", "",
        markdown_table(["route", "words that may be replaced", "share", "replaced in variants", "share of the words in variants"],
                       [[route, str(n), f"{n / sum(found.values()):.1%}", str(counts["replaced"].get(route, 0)),
                         f"{counts['replaced'].get(route, 0) / words:.1%}"] for route, n in sorted(found.items())]), "",
    ]  # fmt: skip
    if "labels" in counts:
        old, new = counts["labels"]["before"], counts["labels"]["after"]
        table = [
            [label, str(n), f"{100 * n / counts['rows']:.1f}%", str(new[label]), f"{100 * new[label] / counts['written']:.1f}%"]
            for label, n in sorted(old.items())
        ]
        lines += [markdown_table(["label", "rows", "share", "augmented rows", "share"], table), ""]
    for original, *variants in preview:
        lines += ["**" + " | ".join(original) + "**", "", *("* " + " | ".join(variant) for variant in variants), ""]
    return "\n".join(lines) + "\n"
