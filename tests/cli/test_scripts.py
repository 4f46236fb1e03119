"""The scripts themselves: the published command lines run, shortened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinybert.cli.main import main, run_script
from tinybert.storage import verify

ROOT = Path(__file__).resolve().parents[2]


def check_stage(folder: Path, stage: str, model: str) -> dict:
    verify(folder / model)
    entry = json.loads((folder / "run.json").read_text())[stage]
    assert entry["finished"] and entry["total_steps"] == 2
    return entry


DISTILL, FINETUNE = "distill", "finetune"


@pytest.fixture
def here(world, monkeypatch, capsys):
    """Run a published command line in this process; returns its stdout and stderr."""
    monkeypatch.setenv("TINYBERT_CACHE", str(world / "cache"))

    def go(script: str, line: str) -> tuple[str, str]:
        code = run_script(script, line.format(world=world).split())
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return shown.out, shown.err

    return go


def test_paddlenlp_command_lines_run(world, here):
    out, _ = here(
        FINETUNE,
        "--model_type bert --model_name_or_path {world}/bert --task_name SST-2 --max_seq_length 64 "
        "--batch_size 32 --learning_rate 2e-5 --num_train_epochs 3 --logging_steps 10 --save_steps 10 --output_dir {world}/SST-2 "
        "--device gpu --glue_dir {world}/glue --max_steps 2",
    )
    assert out.splitlines()[0].startswith("fine-tuning ") and "on SST-2" in out.splitlines()[0]
    check_stage(world / "SST-2", "finetune", "best_model_2")
    common = (
        "--model_type tinybert --max_seq_length 64 --batch_size 32 --T 1 --teacher_model_type bert "
        "--teacher_path {world}/SST-2/best_model_2 --task_name SST-2 --logging_steps 10 --save_steps 10 --device gpu "
        "--glue_dir {world}/glue --max_steps 2 --allow_weak_teacher "
    )
    line = f"{common} --student_model_name_or_path {{world}}/tinybert --intermediate_distill --learning_rate 5e-5 --num_train_epochs 20 "
    words = [sys.executable, "-u", "task_distill.py", *(line + "--output_dir {world}/paddlenlp").format(world=world).split()]
    environment = {**os.environ, "MODEL_HOME": str(world)}  # and the cache of `here`
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "stage intermediate (--intermediate_distill)" in done.stdout.splitlines()[0]
    assert "DEVICE: gpu was requested" in done.stderr and "running on the CPU" in done.stderr
    check_stage(world / "paddlenlp", "intermediate", "best_inter_model")
    out, _ = here(
        DISTILL,
        common + "--student_model_name_or_path {world}/paddlenlp/best_inter_model --learning_rate 3e-5 --num_train_epochs 3 "
        "--output_dir {world}/paddlenlp",
    )
    assert "stage prediction (default with --teacher_path; --stage both trains both)" in out.splitlines()[0]
    entry = check_stage(world / "paddlenlp", "prediction", "best_model")
    assert entry["settings"]["learning_rate"] == {"value": 3e-5, "source": "given"}


def test_huawei_command_lines_run(world, here):
    common = (
        "--teacher_model {world}/bert --data_dir {world}/glue/SST-2 --task_name SST-2 --max_seq_length 128 "
        "--train_batch_size 32 --aug_train --do_lower_case --max_steps 2 --preset huawei --allow_weak_teacher "
    )
    out, _ = here(DISTILL, common + "--student_model {world}/tinybert --output_dir {world}/tmp --num_train_epochs 10")
    assert "stage intermediate (default with --teacher_model; --stage both trains both)" in out.splitlines()[0]
    entry = check_stage(world / "tmp", "intermediate", "best_inter_model")
    assert entry["data"]["train_aug"]["rows"] == 48
    out, _ = here(
        DISTILL,
        common + "--pred_distill --student_model {world}/tmp --output_dir {world}/huawei --learning_rate 3e-5 --num_train_epochs 3 "
        "--eval_step 100",
    )
    assert "stage prediction (--pred_distill)" in out.splitlines()[0]
    entry = check_stage(world / "huawei", "prediction", "best_model")
    assert entry["models"]["student"]["source"] == str(world / "tmp/best_inter_model/model_state.pdparams")
    assert entry["settings"]["save_steps"] == {"value": 100, "source": "given"}


def test_missing_teacher_is_refused_with_exit_code_2(world, capsys):
    line = "--teacher_path {world}/none --student_model_name_or_path {world}/tinybert --task_name SST-2 --output_dir {world}/out0"
    assert run_script(DISTILL, [*line.format(world=world).split(), "--glue_dir", str(world / "glue")]) == 2
    assert f"error: the teacher {world}/none does not exist" in capsys.readouterr().err
    assert not (world / "out0").exists()


def test_bert_emd_command_lines_run(world, here):
    _, notes = here(
        FINETUNE,
        "--model_type bert --model_name_or_path {world}/bert --task_name SST-2 --do_train --do_eval --do_lower_case "
        "--data_dir {world}/glue/SST-2 --max_seq_length 128 --per_gpu_train_batch_size 32 --per_gpu_eval_batch_size 32 "
        "--learning_rate 2e-5 --num_train_epochs 4.0 --output_dir {world}/emd-teacher --evaluate_during_training "
        "--overwrite_output_dir --overwrite_cache "
        "--logging_steps 50 --save_steps 0 --fp16 --fp16_opt_level O1 --local_rank -1 --max_steps 2 --preset emd",
    )
    assert all(f"--{name} has no effect: " in notes for name in ("overwrite_cache", "fp16", "fp16_opt_level", "local_rank"))
    entry = check_stage(world / "emd-teacher", "finetune", "best_model_2")
    assert entry["settings"]["pad_to_max_length"] == {"value": True, "source": "preset emd"}
    out, notes = here(
        DISTILL,
        "--method emd --preset emd --data_dir {world}/glue/SST-2 --teacher_model {world}/emd-teacher --student_model {world}/tinybert "
        "--task_name SST-2 --output_dir {world}/emd --train_batch_size 32 --learning_rate 2e-5 --num_train_epochs 10 --eval_step 50 "
        "--max_seq_length 64 --do_lower_case True --seperate False --add_softmax True --tinybert False --pkd False --use_emd True "
        "--update_weight True --one_step True --new_pred_loss True --beta 0.001 --theta 1 --T 1 --T_emd 1 --alpha 1 --reduce_T 1 "
        "--use_att True --use_rep True --use_embedding True --share_param True --aug_train --max_steps 2 --allow_weak_teacher",
    )
    assert "method emd, stage prediction" in out.splitlines()[0]
    assert "--use_emd has no effect" in notes and "--T_emd 1.0 is not used" in notes
    assert check_stage(world / "emd", "prediction", "best_model")["settings"]["beta"] == {"value": 0.001, "source": "given"}


def test_mud_command_lines_run(world, here):
    here(
        FINETUNE,
        "--model_name_or_path {world}/bert --task_name SST-2 --do_train --do_eval --data_dir {world}/glue/SST-2 --max_seq_length 128 "
        "--per_gpu_train_batch_size 32 --learning_rate 2e-5 --num_train_epochs 5.0 --output_dir {world}/mud-teacher "
        "--evaluate_during_training --save_steps 0 --logging_steps 50 --max_steps 2",
    )
    check_stage(world / "mud-teacher", "finetune", "best_model_2")
    common = (
        "--method mud --preset mud --data_dir {world}/glue/SST-2 --teacher_model {world}/mud-teacher --task_name SST-2 --aug_train "
        "--do_lower_case --train_batch_size 32 --max_steps 2 --allow_weak_teacher "
    )
    out, _ = here(
        DISTILL,
        common + "--repr_distill --student_model {world}/tinybert --output_dir {world}/mud-hsk --num_train_epochs 10 --eval_step 200 "
        "--layer_scheme t_top4 --token_scheme attention_no_sep --hidden_scheme importance_mask_dynamic --config_3d 1l_10t_0.1h",
    )
    assert "method mud, stage intermediate" in out.splitlines()[0]
    check_stage(world / "mud-hsk", "intermediate", "best_inter_model")
    out, _ = here(
        DISTILL,
        common + "--pred_distill --student_model {world}/mud-hsk --output_dir {world}/mud --learning_rate 2e-5 --num_train_epochs 5.0 "
        "--warmup_proportion 0. --eval_step 50",
    )
    assert "method mud, stage prediction" in out.splitlines()[0]
    check_stage(world / "mud", "prediction", "best_model")


def test_rosita_command_lines_run(world, here, capsys):
    shutil.copytree(world / "bert", world / "rosita")
    here(
        FINETUNE,
        "--model_name_or_path {world}/rosita --task_name SST-2 --do_train --data_dir {world}/glue/SST-2 --max_seq_length 64 "
        "--per_gpu_train_batch_size 32 --output_dir {world}/rosita --compute_taylor True --preset rosita",
    )
    line = (
        f"-model_path {world}/rosita -output_dir {world}/pruned -task SST-2 -keep_heads 1 -num_layers 2 -ffn_hidden_dim 8 -emb_hidden_dim 4"
    )
    assert main(["prune", *line.split()]) == 0, capsys.readouterr().err
    verify(world / "pruned")
