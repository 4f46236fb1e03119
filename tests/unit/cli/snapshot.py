"""What command lines resolve to, as one JSON file: `python -m tests.unit.cli.snapshot` rewrites it.

An outcome is stored as its difference from another one: of a line with one more option from the line without, of a preset from the sound
one. Warnings are stored by their codes, so that their text can change.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.unit.cli.published_flags import PUBLISHED
from tests.unit.cli.settled import outcome
from tinybert.cli.flags_page import scripts
from tinybert.cli.parser import spellings_of
from tinybert.errors import UserError

PATH = Path(__file__).with_name("snapshot.json")
PRESETS = ("sound", "paper", "huawei", "paddlenlp", "emd", "mud", "rosita")
# flags that only have a meaning together with others
BESIDE = {
    "add_softmax": "--seperate True",
    "config_3d": "--token_scheme attention --hidden_scheme rand_mask",
    "keep_tokens": "--token_scheme attention",
    "token_scheme": "--keep_tokens 7",
    "att_ttop12": "--token_scheme attention --keep_tokens 7",
    "keep_hidden": "--hidden_scheme uniform_mask",
    "hidden_scheme": "--keep_hidden 0.5",
    "s_layer_indices": "--t_layer_indices 3 6",
    "t_layer_indices": "--s_layer_indices 1 2",
}
# lines of ours: methods and stages, tasks whose presets differ, and settings that are disabled by others
_TASK = "--teacher_path T --student_model_name_or_path S --output_dir O"
_RUNS = ["", "--stage intermediate", "--stage prediction", "--stage both", "--stage joint", "--method logits", "--method none"]
_RUNS += ["--method emd", "--method emd --emd_rule softmax", "--method mud --stage both", "--method mud --stage joint"]
_TASKS = ("cola", "MNLI", "STS-B", "demo")
_OURS = """
    embedding_weight 0.5; hidden_weight 0.5; hidden_weight 0; attention_weight 0.5; attention_weight 0; use_embedding False; use_rep False;
    use_att False; use_pred False; layer_map top; projection shared; projection none; attention_reduction raw; attention_heads average;
    hidden_reduction mean; pad_embedding frozen; teacher_mode train; teacher_head relu; T 3; alpha 0; alpha 0.5; prediction_weight 0.5;
    prediction_weight 0; soft_ce_reduction mean; temperature_square False; regression_target softmax; regression_target gold; beta 0;
    beta 0.5; theta 0; theta 2; reduce_T 2; T_emd 2; update_weight False; emd_update_steps 3; share_param False; new_pred_loss False;
    seperate True; layer_scheme t_top8; keep_layers 2; config_3d 1l_10t_0.1h; is_rosita True; mud_mask teacher; mask_threshold batch;
    mask_first_step False; token_scheme left_first; ablation embd; ablation hidn; ablation attn; ablation trm; ablation pred; use_aug;
    intermediate_aug; prediction_aug; intermediate_epochs 5; prediction_epochs 5; num_train_epochs 5; intermediate_learning_rate 1e-3;
    prediction_learning_rate 1e-3; learning_rate 1e-3; intermediate_max_steps 9; prediction_max_steps 9; max_steps 9; optimizer bertadam;
    optimizer adam; weight_decay 0.3; max_grad_norm 0; grad_clip tensor; lr_schedule constant; warmup_steps 5; warmup_steps 0;
    warmup_proportion 0.3; batch_size 7; eval_batch_size 7; max_seq_length 33; pad_to_max_length True; drop_last True; metric f1;
    do_lower_case True; seed 7; logging_steps 7; save_steps 7; gradient_accumulation_steps 3; adam_epsilon 1e-3; amp O1; amp_dtype bfloat16;
    checkpoint_steps 5; checkpoint_minutes 5; compact_vocabulary False; data_dir D; glue_dir G; cache_knowledge K; cache_teacher;
    prune_schedule width; prune_schedule depth; keep_heads 2; num_layers 2; emb_hidden_dim 8; prune_period_proportion 0.5;
    teacher_labels a,b;     allow_weak_teacher; do_predict; do_eval; resume auto; preset paper;
    importance_mode train; evaluate_during_training; relation_weight 0.5; relation_weight 0; relation_heads 2; relation_layers 1:2;
    sequences lines; held_out_sequences 5; filter teacher; N 3; pairs published; masked_lm_prob 0.2; layers top; layers 1,3; one_seq;
    mask_one_at_least; epochs_to_generate 1; split_sentences False; ffn_hidden_dim 8; threads 2; format json
"""


def published() -> Iterator[tuple[str, str, str, str | None]]:
    """(key, script, line, key of the reference outcome) of every published line with every preset, and with each flag."""
    for name, entry in PUBLISHED.items():
        base = entry.base.replace(" --emd_rule softmax", "")
        for preset in PRESETS:
            line = f"{base} --preset {preset}"
            yield f"{name} | {preset}", entry.script, line, None if preset == "sound" else f"{name} | sound"
            for flag, value in entry.flags.items() if preset in (name.split()[0].lower().replace("bert-", ""), "sound") else ():
                beside = f"{line} {BESIDE.get(flag, '')}"
                rest = " ".join(f"--{part}" for part in re.split(r"\s*--", beside)[1:] if part.split()[0] != flag)
                yield f"{name} | {preset} | {flag}", entry.script, f"{rest} --{flag} {value}", f"{name} | {preset}"


def ours() -> Iterator[tuple[str, str, str, str | None]]:
    """The same for lines that cover tasks, methods and stages, and each option in combination with them."""
    options = [option.strip() for option in _OURS.split(";")]
    known = [option for option in options if option.split()[0] in spellings_of(scripts()["task_distill.py"])]
    for run in _RUNS:
        first = f"distill {run}"
        yield first, "task_distill.py", f"{_TASK} --task_name mrpc {run}", None
        for task in _TASKS:
            for preset in PRESETS:
                yield f"{first} | {task} | {preset}", "task_distill.py", f"{_TASK} --task_name {task} --preset {preset} {run}", first
        for option in known:
            yield f"{first} | {option}", "task_distill.py", f"{_TASK} --task_name mrpc {run} --{option}", first
    for kind in ("stsb", "mrpc"):
        for option in known:
            for run in _RUNS[2:3] + _RUNS[7:8]:
                key = f"distill {run} | {kind} {option}"
                yield key, "task_distill.py", f"{_TASK} --task_name {kind} {run} --{option} --hidden_reduction masked", f"distill {run}"
    for base, script in (
        ("--model_name_or_path M --task_name mrpc", "benchmark/glue/run_glue.py"),
        ("--model_name_or_path M --task_name mrpc --compute_taylor", "benchmark/glue/run_glue.py"),
        ("--pregenerated_data P --teacher_path T --student_layers 3 --output_dir O", "general_distill.py"),
        ("--input_dir P --teacher_path T --student_layers 3 --output_dir O --method relation", "general_distill.py"),
        ("--pretrained_bert_model M --glove_embs G --task_name SST-2", "data_augmentation.py"),
        ("--train_corpus C --output_dir O --bert_model M", "python -m tinybert pregenerate"),
        ("--model_name_or_path M --input_dir P --output_dir O", "python -m tinybert pretrain"),
        ("--model_path M --output_dir O", "python -m tinybert prune"),
    ):
        first = f"{script} {base}"
        yield first, script, base, None
        spellings = spellings_of(scripts()[script])
        for option in (option for option in options if option.split()[0] in spellings):
            yield f"{first} | {option}", script, f"{base} --{option}", first


def _parts(result: dict) -> dict[str, object]:
    named = {f"{kind}:{name}": value for kind in ("values", "given") for name, value in result.get(kind, {}).items()}
    return named | {kind: result[kind] for kind in ("unused", "codes", "stage") if result.get(kind)}


def outcomes() -> dict[str, dict[str, object]]:
    """The outcome of every line by its key, as a flat table; null: missing, although the reference has it."""
    whole: dict[str, dict[str, object]] = {}
    stored: dict[str, dict[str, object]] = {}
    for key, script, line, beside in (*published(), *ours()):
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                whole[key] = _parts(json.loads(json.dumps(outcome(script, shlex.split(line)), default=str)))
        except UserError:
            whole[key] = {"refused": True}
        before = whole.get(beside or "", {})
        if "refused" in whole[key]:
            stored[key] = {"refused": True}
        else:
            stored[key] = {name: whole[key].get(name) for name in {**before, **whole[key]} if whole[key].get(name) != before.get(name)}
    return stored


def written(found: dict[str, dict[str, object]]) -> str:
    """The file content: one line per command line."""
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in found.items()) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(written(outcomes()), encoding="utf-8")
