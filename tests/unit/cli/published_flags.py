"""The flags of the published scripts, each with a value that is not its default ("" for a switch), and a line on which they make sense.

Read from the scripts: https://github.com/huawei-noah/Pretrained-Language-Model (TinyBERT), https://github.com/PaddlePaddle/PaddleNLP
(tinybert, glue), https://github.com/lxk00/BERT-EMD, https://github.com/llyx97/Marginal-Utility-Diminishes,
https://github.com/llyx97/Rosita.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One published script: our script for its command lines, a basic line, and its flags."""

    script: str
    base: str
    flags: dict[str, str]


def _flags(text: str) -> dict[str, str]:
    """`name value` pairs separated by semicolons; a name alone is a switch."""
    pairs = (entry.strip().partition(" ") for entry in text.split(";"))
    return {name: value for name, _, value in pairs if name}


_HUAWEI = "--teacher_model T --student_model S --data_dir D --task_name cola --output_dir O"
_HF = """
    data_dir D2; model_type ernie; model_name_or_path M2; task_name rte; output_dir O2; config_name C; tokenizer_name K; cache_dir C;
    max_seq_length 77; do_train; do_eval; do_predict; evaluate_during_training; per_gpu_train_batch_size 7; per_gpu_eval_batch_size 7;
    gradient_accumulation_steps 3; learning_rate 7e-5; weight_decay 0.07; adam_epsilon 7e-8; max_grad_norm 0.7; num_train_epochs 7;
    max_steps 77; warmup_steps 7; logging_steps 7; save_steps 7; no_cuda; overwrite_output_dir; overwrite_cache; seed 7;
    fp16; fp16_opt_level O2; local_rank 0
"""
_DISTILL = """
    data_dir D2; teacher_model T2; student_model S2; task_name rte; output_dir O2; cache_dir C; max_seq_length 77; do_eval;
    do_lower_case; train_batch_size 7; eval_batch_size 7; learning_rate 7e-5; weight_decay 0.07; wd 0.07; num_train_epochs 7;
    warmup_proportion 0.7; no_cuda; seed 7; gradient_accumulation_steps 3; aug_train; eval_step 7; pred_distill; data_url U
"""

PUBLISHED = {
    "Huawei task_distill.py": Published("task_distill.py", _HUAWEI + " --stage prediction", _flags(_DISTILL + "; temperature 7")),
    "Huawei general_distill.py": Published(
        "general_distill.py",
        "--pregenerated_data P --teacher_model T --student_model S --output_dir O",
        _flags(
            """pregenerated_data P2; teacher_model T2; student_model S2; output_dir O2; max_seq_length 77; reduce_memory; do_eval;
            do_lower_case; train_batch_size 7; eval_batch_size 7; learning_rate 7e-5; weight_decay 0.07; wd 0.07; num_train_epochs 7;
            warmup_proportion 0.7; no_cuda; local_rank 0; seed 7; gradient_accumulation_steps 3; fp16; continue_train; eval_step 7;
            data_url U"""
        ),
    ),
    "Huawei pregenerate_training_data.py": Published(
        "python -m tinybert pregenerate",
        "--train_corpus C --output_dir O --bert_model M",
        _flags(
            """train_corpus C2; output_dir O2; bert_model M2; do_lower_case; do_whole_word_mask; reduce_memory; num_workers 2;
            epochs_to_generate 7; max_seq_len 77; short_seq_prob 0.7; masked_lm_prob 0.7; max_predictions_per_seq 7; data_url U; one_seq"""
        ),
    ),
    "Huawei data_augmentation.py": Published(
        "data_augmentation.py",
        "--pretrained_bert_model M --glove_embs G --glue_dir D --task_name SST-2",
        _flags("pretrained_bert_model M2; glove_embs G2; glue_dir D2; task_name RTE; N 7; M 7; p 0.7"),
    ),
    "PaddleNLP task_distill.py": Published(
        "task_distill.py",
        "--teacher_path T --student_model_name_or_path S --task_name cola --output_dir O",
        _flags(
            """task_name rte; model_type bert; teacher_model_type ernie; student_model_name_or_path S2; teacher_path T2; output_dir O2;
            glue_dir D2; max_seq_length 77; learning_rate 7e-5; num_train_epochs 7; logging_steps 7; save_steps 7; batch_size 7; T 7;
            use_aug; intermediate_distill; weight_decay 0.07; warmup_steps 7; warmup_proportion 0.7; adam_epsilon 7e-8; max_steps 77;
            seed 7; device cpu"""
        ),
    ),
    "PaddleNLP general_distill.py": Published(
        "general_distill.py",
        "--model_type tinybert --teacher_model_type bert --input_dir I --teacher_model_name_or_path T --student_model_name_or_path S "
        "--output_dir O",
        _flags(
            """model_type bert; teacher_model_type ernie; input_dir I2; teacher_model_name_or_path T2; student_model_name_or_path S2;
            output_dir O2; glue_dir D2; max_seq_length 77; learning_rate 7e-5; num_train_epochs 7; logging_steps 7; save_steps 7;
            batch_size 7; T 7; weight_decay 0.07; warmup_steps 7; warmup_proportion 0.7; adam_epsilon 7e-8; max_steps 77; seed 7;
            device cpu"""
        ),
    ),
    "PaddleNLP data_augmentation.py": Published(
        "data_augmentation.py",
        "--pretrained_bert_model M --glove_embs G --glue_dir D --task_name SST-2",
        _flags("pretrained_bert_model M2; glove_embs G2; glue_dir D2; task_name RTE; N 7; M 7; p 0.7; device cpu"),
    ),
    "PaddleNLP run_glue.py": Published(
        "benchmark/glue/run_glue.py",
        "--model_name_or_path M --task_name cola --output_dir O",
        _flags(
            """task_name rte; model_type ernie; model_name_or_path M2; tokenizer_name_or_path K; output_dir O2; max_seq_length 77;
            learning_rate 7e-5; num_train_epochs 7; logging_steps 7; save_steps 7; batch_size 7; weight_decay 0.07; warmup_steps 7;
            warmup_proportion 0.7; adam_epsilon 7e-8; max_steps 77; seed 7; device cpu"""
        ),
    ),
    "BERT-EMD emd_task_distill.py": Published(
        "task_distill.py",
        _HUAWEI + " --method emd --emd_rule softmax",
        _flags(
            _DISTILL
            + """; seperate True; add_softmax False; tinybert True; pkd True; use_emd True; update_weight False; one_step True;
            new_pred_loss False; beta 7; theta 7; T 7; alpha 0.7; do_predict True; use_att False; use_rep False; use_embedding False;
            emb_linear True; no_pretrain; use_init_weight; share_param False; is_conv; tb_onestep x; T_emd 7; reduce_T 7; is_teacher True"""
        ),
    ),
    "BERT-EMD run_glue.py": Published(
        "benchmark/glue/run_glue.py",
        "--model_name_or_path M --task_name cola --output_dir O --data_dir D",
        _flags(_HF + "; do_lower_case; eval_all_checkpoints; server_ip x; server_port 1"),
    ),
    "MUD main.py": Published(
        "task_distill.py",
        _HUAWEI + " --method mud --repr_distill",
        _flags(
            _DISTILL.replace("pred_distill;", "")
            + """; config_3d 1l_10t_0.1h; hidden_scheme uniform_mask; token_scheme attention; layer_scheme t_top8; is_rosita;
            keep_hidden 0.7; keep_layers 2; keep_tokens 7; s_layer_indices 1 2; t_layer_indices 3 6; att_ttop12 True;
            overwrite_output_dir True;
            repr_distill; pred_distill; multi_gpu; temperature 7"""
        ),
    ),
    "MUD bert_ft.py": Published(
        "benchmark/glue/run_glue.py",
        "--model_name_or_path M --task_name cola --output_dir O --data_dir D",
        _flags(
            _HF
            + """; structured structured; compute_taylor True; logging_dir L; logging_first_step; save_total_limit 7; tpu_num_cores 7;
            tpu_metrics_debug"""
        ),
    ),
    "MUD and ROSITA pruning": Published(
        "python -m tinybert prune",
        "--model_path M --output_dir O",
        _flags("model_path M2; output_dir O2; task rte; keep_heads 3; ffn_hidden_dim 77; num_layers 3; emb_hidden_dim 77"),
    ),
}
