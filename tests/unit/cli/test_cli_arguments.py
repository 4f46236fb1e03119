"""The command lines of both scripts: published ones keep their meaning, contradictions are refused before anything is written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tinybert.cli.flags_page import scripts
from tinybert.cli.parser import parse
from tinybert.commands.augment import AugmentConfig
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.config.runs import Actions, actions
from tinybert.config.stages import infer_stage
from tinybert.errors import UserError

PADDLE = "--task_name SST-2 --output_dir out --teacher_path T --student_model_name_or_path S"
HUAWEI = "--task_name SST-2 --output_dir out --teacher_model T --student_model S"


def distill(line: str):
    return parse(TaskDistillConfig, shlex.split(line))


def finetune(line: str):
    return parse(FinetuneConfig, shlex.split(line))


def stage_of(line: str) -> str:
    parsed = distill(line)
    return infer_stage(parsed).stage


def refused(line: str, *pieces: str, kind=distill) -> None:
    with pytest.raises(UserError) as caught:
        kind(line)
    text = str(caught.value)
    assert all(piece in text for piece in pieces), text
    assert len(text.splitlines()) <= 3


PUBLISHED_DISTILL = {
    "PaddleNLP intermediate": (
        "--model_type tinybert --student_model_name_or_path tinybert-6l-768d-v2 --task_name SST-2 --intermediate_distill "
        "--max_seq_length 64 --batch_size 32 --T 1 --teacher_model_type bert --teacher_path ../glue/tmp/SST-2/best "
        "--learning_rate 5e-5 --num_train_epochs 20 --logging_steps 10 --save_steps 10 --output_dir ./tmp/SST-2/ --device gpu",
        "intermediate",
    ),
    "PaddleNLP prediction": (
        "--model_type tinybert --student_model_name_or_path ./tmp/SST-2/intermediate_distill_model_final.pdparams "
        "--task_name SST-2 --max_seq_length 64 --batch_size 32 --T 1 --teacher_model_type bert "
        "--teacher_path ../glue/tmp/SST-2/best --learning_rate 3e-5 --num_train_epochs 3 --logging_steps 10 --save_steps 10 "
        "--output_dir ./tmp/SST-2/ --device gpu",
        "prediction",
    ),
    "PaddleNLP with augmented rows": (
        "--model_type tinybert --student_model_name_or_path S --task_name RTE --intermediate_distill --use_aug --glue_dir G "
        "--teacher_model_type bert --teacher_path T --weight_decay 0.0 --warmup_steps 0 --warmup_proportion 0.1 "
        "--adam_epsilon 1e-6 --max_steps -1 --seed 42 --output_dir O --device cpu",
        "intermediate",
    ),
    "Huawei intermediate": (
        "--teacher_model X --student_model Y --data_dir Z --task_name MRPC --output_dir O --max_seq_length 128 "
        "--train_batch_size 32 --num_train_epochs 10 --aug_train --do_lower_case",
        "intermediate",
    ),
    "Huawei prediction": (
        "--pred_distill --teacher_model X --student_model Y --data_dir Z --task_name MRPC --output_dir O --aug_train "
        "--do_lower_case --learning_rate 3e-5 --num_train_epochs 3 --eval_step 100 --max_seq_length 128 --train_batch_size 32",
        "prediction",
    ),
    "Huawei every flag": (
        "--data_dir D --teacher_model X --student_model Y --task_name cola --output_dir O --cache_dir C --max_seq_length 128 "
        "--do_lower_case --train_batch_size 32 --eval_batch_size 32 --learning_rate 5e-5 --wd 1e-4 --num_train_epochs 3.0 "
        "--warmup_proportion 0.1 --no_cuda --seed 42 --gradient_accumulation_steps 1 --aug_train --eval_step 50 "
        "--data_url u --temperature 1.0",
        "intermediate",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED_DISTILL)
def test_published_distillation_commands_keep_their_stage(name):
    line, stage = PUBLISHED_DISTILL[name]
    assert stage_of(line) == stage


def test_huawei_evaluation_needs_no_teacher():
    parsed = distill("--do_eval --student_model Y --data_dir Z --task_name MRPC --output_dir O --eval_batch_size 32 --do_lower_case")
    assert actions(parsed) == Actions(train=False, evaluate=True, predict=False)


def test_published_bert_emd_command_keeps_its_meaning(capsys):
    parsed = distill(
        "--data_dir D --teacher_model T --student_model S --task_name MRPC --output_dir O --method emd --preset emd --train_batch_size 32 "
        "--learning_rate 3e-5 --num_train_epochs 10.0 --eval_step 50 --max_seq_length 64 --do_lower_case --seperate False "
        "--add_softmax True --use_emd True --update_weight True --one_step True --new_pred_loss True --beta 0.001 --theta 1 --T 1 "
        "--alpha .8 --use_att True --use_rep True --use_embedding True --share_param True "
        "--eval_batch_size 64 --wd 1e-4 --T_emd 10 --reduce_T 1 --is_teacher True"
    )
    arguments = parsed
    assert infer_stage(arguments).stages == ("prediction",)
    assert (arguments.beta, arguments.alpha, arguments.T_emd, arguments.save_steps, arguments.share_param) == (0.001, 0.8, 10, 50, True)
    assert "--use_emd has no effect: --method emd enables it" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["--tinybert False --pkd no", "--tb_onestep=", "--tinybert=0"])
def test_unsupported_switch_set_to_off_is_accepted_with_a_warning(written, capsys):
    distill(f"{HUAWEI} --method emd {written}")
    assert "has no effect: it would switch BERT-EMD's own script to another procedure, and is off" in capsys.readouterr().err


PUBLISHED_FINETUNE = [
    "--model_type bert --model_name_or_path bert-base-uncased --task_name SST-2 --max_seq_length 128 --batch_size 32 "
    "--learning_rate 2e-5 --num_train_epochs 3 --logging_steps 10 --save_steps 10 --output_dir ./tmp/SST-2/ --device gpu",
    "--model_name_or_path M --task_name sst-2 --tokenizer_name_or_path M --output_dir O --weight_decay 0.0 --warmup_steps 0 "
    "--warmup_proportion 0.1 --adam_epsilon 1e-6 --max_steps -1 --seed 42 --device xpu:1",
    # BERT-EMD's teachers
    "--data_dir D --model_type bert --model_name_or_path M --task_name MRPC --output_dir O --max_seq_length 128 --do_train "
    "--do_eval --do_lower_case --per_gpu_train_batch_size 32 --learning_rate 2e-5 --num_train_epochs 4.0 "
    "--overwrite_output_dir --overwrite_cache --evaluate_during_training --logging_steps 50 --save_steps 0 --fp16 "
    "--fp16_opt_level O1 --local_rank -1 --server_ip '' --server_port '' --config_name C --tokenizer_name T --cache_dir C "
    "--eval_all_checkpoints --max_grad_norm 1.0 --no_cuda",
    # MUD's teachers
    "--model_name_or_path M --task_name CoLA --do_train --do_eval True --data_dir D --output_dir O --max_seq_length 128 "
    "--per_gpu_train_batch_size 32 --per_gpu_eval_batch_size 32 --learning_rate 2e-5 --num_train_epochs 5.0 "
    "--evaluate_during_training True --logging_steps 50 --save_steps 0 --structured unstructured --save_total_limit 1 "
    "--logging_dir L --logging_first_step --tpu_num_cores 8 --tpu_metrics_debug",
]


@pytest.mark.parametrize("line", PUBLISHED_FINETUNE)
def test_published_fine_tuning_commands_parse(line):
    assert finetune(line).model_name_or_path


def test_hugging_face_names_set_our_options(capsys):
    arguments = finetune(PUBLISHED_FINETUNE[3])
    assert (arguments.batch_size, arguments.eval_batch_size, arguments.keep_checkpoints) == (32, 32, 1)
    assert "--logging_dir has no effect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (PADDLE, "prediction"),
        (HUAWEI, "intermediate"),
        (PADDLE + " --stage both", "both"),
        (HUAWEI + " --stage both", "both"),
        (PADDLE + " --intermediate_distill", "intermediate"),
        (PADDLE + " --intermediate_distill False", "prediction"),
        (HUAWEI + " --pred_distill", "prediction"),
        (HUAWEI + " --pred_distill False", "intermediate"),
        (PADDLE + " --stage intermediate --intermediate_distill", "intermediate"),
        (HUAWEI + " --method logits", "prediction"),
        (HUAWEI + " --method none", "prediction"),
        ("--task_name x --output_dir o --student_model S --method none", "prediction"),
        ("--task_name x --output_dir o --teacher_model T --student_init teacher:1,3,5", "intermediate"),
        ("--task_name x --output_dir o --teacher_path T --student_layers 3", "prediction"),
        ("--task_name x --output_dir o --teacher_path T --student_model S --stage prediction", "prediction"),
    ],
)
def test_stage_is_inferred_from_the_command_line(line, stage):
    assert stage_of(line) == stage


def test_stage_both_runs_the_intermediate_stage_first():
    parsed = distill(PADDLE + " --stage both")
    choice = infer_stage(parsed)
    assert choice.stages == ("intermediate", "prediction") and choice.reason == "--stage both"


def test_stage_is_inferred_from_the_spellings_in_a_config_file(tmp_path):
    (tmp_path / "a.yaml").write_text("task_name: x\noutput_dir: o\nteacher_path: T\nstudent_model_name_or_path: S\n")
    (tmp_path / "b.yaml").write_text("task_name: x\noutput_dir: o\nteacher_model: T\nstudent_model: S\n")
    assert stage_of(f"--config {tmp_path}/a.yaml") == "prediction"
    assert stage_of(f"--config {tmp_path}/b.yaml") == "intermediate"


@pytest.mark.parametrize(
    ("more", "pieces"),
    [
        ("--intermediate_distill --pred_distill", ["different stages", "--stage both"]),
        ("--stage prediction --intermediate_distill", ["different stages"]),
        ("--method logits --stage both", ["no intermediate stage", "--stage both"]),
        ("--method none --intermediate_distill", ["no intermediate stage"]),
        ("--method mud --layer_scheme top10", ["expected none, or t_topX"]),
        ("--preset mud", ["--preset mud contains the values of --method mud"]),
        ("--preset emd", ["--preset emd contains the values of --method emd"]),
        ("--method emd --stage both", ["no intermediate stage"]),
        ("--method emd --beta -0.1", ["--beta got -0.1", "at least 0"]),
        ("--method emd --theta -1", ["--theta got -1", "at least 0"]),
        ("--method emd --alpha 1.2", ["at least 0 and at most 1"]),
        ("--method emd --reduce_T 0", ["--reduce_T got 0", "above 0"]),
        ("--method emd --emd_update_steps 0", ["at least 1"]),
        ("--method emd --emd_rule divide", ["did you mean division?"]),
        ("--method emd --share_param False --projection shared", ["--share_param False means --projection per_layer"]),
        ("--method emd --tinybert True", ["belongs to BERT-EMD's own script", "--method tinybert"]),
        ("--beta 0.01", ["--beta belongs to --method emd"]),
        ("--seperate True", ["--seperate belongs to --method emd", "add --method emd"]),
        ("--separate", ["--separate belongs to --method emd"]),
        ("--s_layer_indices 1 2 3", ["--s_layer_indices belongs to --method mud"]),
        ("--repr_distill", ["--repr_distill belongs to --method mud", "add --method mud"]),
        ("--config_3d 1l_10t_0.1h", ["--config_3d belongs to --method mud"]),
        ("--device cuda", ["--device got 'cuda'", "gpu"]),
        ("--resume auto --overwrite_output_dir", ["contradict"]),
        ("--resume_changed", ["needs --resume"]),
        ("--layer_map uniforn", ["--layer_map got 'uniforn'", "uniform"]),
        ("--layer_map 0:0,1-3", ["--layer_map got", "0:0,1:3"]),
        ("--ablation attn --use_att True", ["--ablation attn means --use_att False"]),
        ("--student_layers 4", ["--student_layers describes a new student"]),
        ("--student_init teacher:1,2", ["--student_init describes a new student"]),
        ("--T 0", ["--T got 0", "at least 0.001"]),
        ("--temperature -1e-2", ["--temperature got -1e-2", "at least 0.001"]),
        ("--alpha 1.5", ["--alpha got 1.5", "at least 0 and at most 1"]),
        ("--alpha -.5", ["--alpha got -.5"]),
        ("--warmup_proportion 1", ["--warmup_proportion got 1", "below 1"]),
        ("--max_seq_length 3", ["--max_seq_length got 3", "at least 4"]),
        ("--batch_size 0", ["--batch_size got 0", "at least 1"]),
        ("--gradient_accumulation_steps 0", ["at least 1"]),
        ("--threads 0", ["at least 1"]),
        ("--save_steps -1", ["at least 0"]),
        ("--batch_size 16 --train_batch_size 32", ["both are spellings of --batch_size"]),
        ("--teacher_model U", ["both are spellings of --teacher_path"]),
    ],
)
def test_contradictions_and_impossible_values_are_refused(more, pieces):
    refused(f"{PADDLE} {more}", *pieces)


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("--task_name x --output_dir o --teacher_path T --student_model S", ["different scripts", "--stage"]),
        (
            "--task_name x --output_dir o --teacher_model T --student_model_name_or_path S",
            ["different scripts", "--stage"],
        ),
        ("--task_name x --output_dir o --student_model_name_or_path S", ["--teacher_path", "--method none"]),
        ("--task_name x --output_dir o --teacher_path T", ["--student_model_name_or_path", "--student_layers"]),
        ("--task_name x --teacher_path T --student_model_name_or_path S", ["--output_dir is missing"]),
        ("--output_dir o --teacher_path T --student_model_name_or_path S", ["--task_name is missing"]),
        ("--task_name x --output_dir o --teacher_path T --student_init 1,3", ["teacher:1,3,5"]),
        ("--task_name x --output_dir o --teacher_path T --student_init teacher:0,3", ["counted from 1"]),
        ("--task_name x --output_dir o --teacher_path T --student_init teacher:3,1", ["ascending"]),
        (
            "--task_name x --output_dir o --teacher_path T --student_init teacher:1 --student_heads 4",
            ["--student_heads"],
        ),
        (
            "--task_name x --output_dir o --teacher_path T --student_layers 4 --student_hidden 312 --student_heads 5",
            ["multiple"],
        ),
        (
            "--task_name x --output_dir o --method none --student_init teacher:1",
            ["--teacher_path", "copies its layers"],
        ),
        ("--task_name x --output_dir o --method none --student_layers 2", ["--student_hidden"]),
    ],
)
def test_missing_or_impossible_models_are_refused(line, pieces):
    refused(line, *pieces)


@pytest.mark.parametrize("name", ["reduce_memory", "cache_dir", "data_url", "local_rank", "overwrite_cache", "emb_linear", "multi_gpu"])
def test_obsolete_options_are_accepted_with_a_warning(name, capsys):
    value = " -1" if name == "local_rank" else " x" if name in ("cache_dir", "data_url", "emb_linear") else ""
    distill(f"{PADDLE} --{name}{value}")
    assert capsys.readouterr().err.startswith(f"warning: --{name} has no effect: ")


def test_batch_size_counted_differently_is_reported(capsys):
    distill(f"{HUAWEI} --train_batch_size 32 --gradient_accumulation_steps 2")
    assert "one update sees 32 x 2 rows" in capsys.readouterr().err


def test_default_actions_are_training_and_evaluation():
    line = "--model_name_or_path M --task_name x"
    assert actions(finetune(line)) == Actions(train=True, evaluate=True, predict=False)
    assert actions(finetune(line + " --do_predict")) == Actions(train=False, evaluate=False, predict=True)
    assert actions(finetune(line + " --do_train")) == Actions(train=True, evaluate=False, predict=False)


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu", "gpu:1", "xpu", "xpu:0", "npu:1", "mlu"])
def test_device_names_are_accepted(device):
    assert distill(f"{PADDLE} --device {device}").device == device


def test_no_cuda_means_cpu():
    assert distill(f"{HUAWEI} --no_cuda").device == "cpu"


def test_threads_have_the_same_bounds_and_their_documented_default():
    found = {script: arguments_class.options().get("threads") for script, arguments_class in scripts().items()}
    options = {script: option for script, option in found.items() if option is not None}
    assert {option.expected for option in options.values()} == {"a whole number at least 1 and at most 1024"}
    said = {script: option.default_words for script, option in options.items()}
    augmenting = said.pop("data_augmentation.py")
    assert set(said.values()) == {"all available cores"} and len(said) >= 5
    arguments = AugmentConfig(pretrained_bert_model="b", glove_embs=Path("g"), task_name="SST-2")
    assert augmenting.split(";")[0] == str(arguments.resolve("sst2", True)["augmentation"].threads) == "1"
