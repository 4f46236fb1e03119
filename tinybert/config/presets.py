"""Named sets of conventions and numbers, per stage and task.

`both` holds for the distillation stages, general distillation and pre-training included; `intermediate`, `prediction`, `general`,
`pretrain`, `pregenerate` and `finetune` hold for one each and win over it.
A value is plain, `PerTask` (a number per task, else a default) or `ByDepth` (a table for each depth of the student).
Sources: the TinyBERT paper (Jiao et al. 2020), the scripts and README files of Huawei's TinyBERT, PaddleNLP, BERT-EMD,
MUD and ROSITA.
"""

from __future__ import annotations

from tinybert.config.preset import ByDepth, PerTask, Preset

# paper, settings: 64 word pieces for GLUE's single sentences, 128 for pairs; Chinese texts have a word piece per character, and what
# rows of a user's own are like is not known: short batches are padded to their own length only
_LENGTH = PerTask(128, {"cola": 64, "sst2": 64, "demo": 64})
# paper, settings: 20 epochs, fewer for the three largest sets, more for CoLA
_PAPER_EPOCHS = PerTask(20.0, {"mnli": 10.0, "qqp": 10.0, "qnli": 10.0, "cola": 50.0})
_EPOCHS = PerTask(20.0, {**_PAPER_EPOCHS.tasks, "cmnli": 10.0})  # CMNLI has the size of MNLI
# fine-tuning BERT as its authors do: decay 0.01, clipping at 1, linear decay after a tenth of warm-up
_BERT_FINETUNE = {
    "batch_size": 32, "eval_batch_size": 64, "max_seq_length": _LENGTH, "learning_rate": 2e-5, "num_train_epochs": 3.0,
    "optimizer": "adamw", "weight_decay": 0.01, "adam_epsilon": 1e-6, "max_grad_norm": 1.0, "grad_clip": "global",
    "lr_schedule": "linear", "warmup_proportion": 0.1, "drop_last": False, "pad_to_max_length": False,
    "importance_mode": "eval",  # dropout would add noise to the gradients
}  # fmt: skip
# the Hugging Face script that BERT-EMD and MUD ship for teachers: its defaults, with the numbers of their README files
_HF_FINETUNE = {
    **_BERT_FINETUNE, "max_seq_length": 128, "weight_decay": 0.0, "adam_epsilon": 1e-8, "warmup_proportion": 0.0,
    "pad_to_max_length": True,
}  # fmt: skip
# PaddleNLP's README: its run_glue as called for TinyBERT's teachers
_PADDLENLP_FINETUNE = {
    **_BERT_FINETUNE, "eval_batch_size": 32, "max_seq_length": 128, "weight_decay": 0.0, "max_grad_norm": 0.0,
}  # fmt: skip

# what chooses the best model of STS-B in PaddleNLP's scripts and in MUD's of teachers; elsewhere the mean with Spearman's does
_PEARSON = PerTask(None, {"stsb": "pearson"})

# BERT-EMD's script: the defaults of its flags
_EMD_DEFAULTS = {"beta": 0.01, "theta": 1.0, "reduce_T": 1.0, "emd_rule": "division", "T_emd": 1.0}
# MUD's choices, sound: positions by the layer that is learnt, a mask on both sides, entries compete inside their row
_MUD_DEFAULTS = {"att_ttop12": False, "mud_mask": "both", "mask_threshold": "example", "mask_first_step": True}

SOUND = Preset(
    "sound",
    "padding never counted, teacher without dropout and with its own head, regression learns from the teacher",
    both={
        "batch_size": 32,  # paper
        "eval_batch_size": 64,  # no influence on results
        "max_seq_length": _LENGTH,
        "pad_to_max_length": False,  # GLUE sentences are short: padding to 64 or 128 is mostly wasted work
        "drop_last": False,  # a small set may consist of one such batch
        "optimizer": "adamw",
        "weight_decay": 0.01,  # what the published PyTorch scripts really use
        "adam_epsilon": 1e-6,  # all published scripts
        "max_grad_norm": 1.0,
        "grad_clip": "global",
        "lr_schedule": "linear",
        "warmup_proportion": 0.1,  # PaddleNLP in both stages
        "teacher_mode": "eval",  # dropout in the teacher only adds noise to the target
        "teacher_head": "trained",  # a ReLU that fine-tuning did not have changes the teacher's logits
        "pad_embedding": "free",
        "layer_map": "uniform",  # paper: better than top and bottom
        "projection": "auto",
        "attention_reduction": "masked",  # TextBrewer's form
        "hidden_reduction": "masked",
        "attention_heads": "match",
        "T": 1.0,  # paper
        "alpha": 1.0,  # paper: no gold labels
        "soft_ce_reduction": "sum",  # paper's formula; the mean divides the loss by the number of classes
        "temperature_square": True,  # keeps the gradient's size when T changes (Hinton et al. 2015); no effect at T 1
        "regression_target": "teacher",
        **_EMD_DEFAULTS,
        **_MUD_DEFAULTS,
    },
    intermediate={"learning_rate": 5e-5, "num_train_epochs": _EPOCHS},
    prediction={"learning_rate": 3e-5, "num_train_epochs": 3.0},
    finetune=_BERT_FINETUNE,
    # paper: length, epochs; PaddleNLP, and BERT's own pre-training: the rate
    general={"max_seq_length": 128, "learning_rate": 1e-4, "num_train_epochs": 3.0, "sequences": "packed"},
    # BERT's share; whole words as its authors came to prefer; one pass over plain text, at the rate of general distillation
    pretrain={
        "max_seq_length": 128,
        "learning_rate": 1e-4,
        "num_train_epochs": 1.0,
        "sequences": "packed",
        "mlm_probability": 0.15,
        "whole_word": True,
    },
    pregenerate={"mask_one_at_least": False},  # a probability of 0 means that nothing is masked
)

PAPER = Preset(
    "paper",
    "the TinyBERT paper; where it is silent, the reductions of its authors' code",
    both={
        "batch_size": 32,  # settings
        "eval_batch_size": 64,
        "max_seq_length": _LENGTH,  # settings
        "pad_to_max_length": True,  # silent; the means of the authors' code run over fixed lengths
        "drop_last": False,  # silent
        "optimizer": "adamw",  # silent
        "weight_decay": 0.01,  # silent; the authors' code
        "adam_epsilon": 1e-6,  # silent; the authors' code
        "max_grad_norm": 1.0,  # silent; the authors' code, there per tensor
        "grad_clip": "global",
        "lr_schedule": "linear",  # silent; the authors' prediction stage
        "warmup_proportion": 0.1,  # silent; the authors' prediction stage
        "teacher_mode": "eval",  # silent; a teacher's output is taken as fixed
        "teacher_head": "trained",  # the teacher is BERT as fine-tuned
        "pad_embedding": "free",  # silent
        "layer_map": "uniform",  # g(m) = 3m
        "projection": "shared",  # W_h; the authors' code uses it for the embedding too
        "attention_reduction": "zeroed",  # silent; the authors' code
        "hidden_reduction": "mean",  # L_hidn: one mean over everything
        "attention_heads": "match",  # L_attn compares head by head
        "T": 1.0,  # t = 1 worked well
        "alpha": 1.0,  # L_pred has no gold labels
        "soft_ce_reduction": "sum",  # L_pred
        "temperature_square": False,  # L_pred
        "regression_target": "gold",  # silent; the authors' code
        **_EMD_DEFAULTS,
        **_MUD_DEFAULTS,
    },
    intermediate={"learning_rate": 5e-5, "num_train_epochs": _PAPER_EPOCHS},  # settings
    # settings: 3 epochs, the rate chosen among 1e-5, 2e-5, 3e-5; STS-B on its original rows
    prediction={"learning_rate": 3e-5, "num_train_epochs": 3.0, "use_aug": PerTask(None, {"stsb": False})},
    finetune=_BERT_FINETUNE,  # BERT's own recipe
    # settings: 3 epochs of English Wikipedia, 128 word pieces; else as BERT was pre-trained: batch 256, 1e-4, 10,000 steps of warm-up
    general={
        "max_seq_length": 128,
        "sequences": "packed",
        "num_train_epochs": 3.0,
        "batch_size": 256,
        "learning_rate": 1e-4,
        "warmup_steps": 10000,
    },
)

HUAWEI = Preset(
    "huawei",
    "Huawei's task_distill.py as it runs, with its per-task table applied",
    both={
        "batch_size": 32,
        "eval_batch_size": 32,
        "max_seq_length": PerTask(128, {"cola": 64, "sst2": 64}),  # the table in its code, which never takes effect there
        "pad_to_max_length": True,
        "drop_last": True,
        "optimizer": "bertadam",
        "weight_decay": 0.01,  # fixed in the code; its flag is never read
        "adam_epsilon": 1e-6,
        "max_grad_norm": 1.0,
        "grad_clip": "tensor",
        "teacher_mode": "train",  # eval() is never called on it
        "teacher_head": "relu",
        "pad_embedding": "frozen",  # its embedding has a padding row: no gradient
        "layer_map": "uniform",
        "projection": "shared",
        "attention_reduction": "zeroed",
        "hidden_reduction": "mean",
        "attention_heads": "match",
        "T": 1.0,
        "alpha": 1.0,
        "soft_ce_reduction": "mean",
        "temperature_square": False,
        "regression_target": "gold",
        **_EMD_DEFAULTS,
        **_MUD_DEFAULTS,
    },
    intermediate={
        "learning_rate": 5e-5,  # README
        "lr_schedule": "constant",
        "warmup_proportion": 0.0,
        # the table in its code, which never takes effect there; 10 is the README's number
        "num_train_epochs": PerTask(
            10.0,
            {
                "cola": 50.0,
                "mnli": 5.0,
                "mrpc": 20.0,
                "sst2": 10.0,
                "stsb": 20.0,
                "qqp": 5.0,
                "qnli": 10.0,
                "rte": 20.0,
            },
        ),
    },
    prediction={
        "learning_rate": 3e-5,
        "num_train_epochs": 3.0,
        "lr_schedule": "linear",
        "warmup_proportion": 0.1,
    },  # README
    finetune=_PADDLENLP_FINETUNE,  # the repository has no fine-tuning script: rates and lengths as PaddleNLP's
    general={
        "max_seq_length": 128,  # of raw text, which it does not read; its own data decides by its metrics file
        "sequences": "packed",
        "learning_rate": 5e-5,
        "num_train_epochs": 3.0,
        "lr_schedule": "linear",
        "warmup_proportion": 0.1,
    },
    pregenerate={"mask_one_at_least": True, "split_sentences": False},
)

PADDLENLP = Preset(
    "paddlenlp",
    "PaddleNLP's task_distill.py as it runs, with the numbers of its README",
    both={
        "batch_size": 32,
        "eval_batch_size": 32,
        "max_seq_length": PerTask(128, {"cola": 64, "sst2": 64}),  # README
        "pad_to_max_length": False,  # pads to the longest row of the batch
        "drop_last": False,
        "optimizer": "adamw",
        "weight_decay": 0.0,
        "adam_epsilon": 1e-6,
        "max_grad_norm": 0.0,
        "grad_clip": "global",
        "lr_schedule": "linear",
        "warmup_proportion": 0.1,
        "teacher_mode": "train",
        "teacher_head": "trained",
        "pad_embedding": "free",  # its embedding has no padding row
        "layer_map": "double",  # fixed in the code: right for 6 of 12 layers only
        "projection": "per_layer",
        "attention_reduction": "raw",
        "hidden_reduction": "mean",
        "attention_heads": "match",
        "T": 1.0,
        "alpha": 1.0,
        "soft_ce_reduction": "sum",
        "temperature_square": False,
        "regression_target": "softmax",  # of one class: the loss is always 0
        "metric": _PEARSON,
        **_EMD_DEFAULTS,
        **_MUD_DEFAULTS,
    },
    intermediate={
        "learning_rate": 5e-5,
        "num_train_epochs": PerTask(20.0, {"qqp": 10.0, "mnli": 10.0, "qnli": 10.0, "cola": 50.0}),  # README
    },
    prediction={"learning_rate": 3e-5, "num_train_epochs": 3.0},  # README
    finetune={**_PADDLENLP_FINETUNE, "metric": _PEARSON},
    general={
        "max_seq_length": 128,
        "sequences": "lines",
        "learning_rate": 1e-4,
        "num_train_epochs": 3.0,
        "optimizer": "adam",  # with an L2 penalty on every parameter
        "weight_decay": 0.01,
        "adam_epsilon": 1e-8,
        "warmup_steps": 10000,
        "warmup_proportion": 0.0,
    },
)


def _emd_table(default: object, four: dict[str, object], six: dict[str, object]) -> ByDepth:
    return ByDepth({4: PerTask(default, four), 6: PerTask(default, six)})


EMD = Preset(
    "emd",
    "BERT-EMD's emd_task_distill.py as it runs, with its README's table per task and depth; fine-tuning as its teachers'",
    both={
        "batch_size": 32,
        "eval_batch_size": 64,
        "max_seq_length": 64,  # the flag's default; the table in its code is never read
        "pad_to_max_length": True,
        "drop_last": True,
        "optimizer": "bertadam",
        "weight_decay": 0.01,  # fixed in the code; its flag is never read
        "adam_epsilon": 1e-6,
        "max_grad_norm": 1.0,
        "grad_clip": "tensor",
        "lr_schedule": "constant",  # its schedule reads pred_distill, which its one stage never sets
        "warmup_proportion": 0.0,
        "num_train_epochs": 10.0,
        "teacher_mode": "train",  # eval() is never called on it
        "teacher_head": "relu",
        "pad_embedding": "frozen",
        "projection": "shared",  # share_param
        "attention_reduction": "zeroed",
        "hidden_reduction": "mean",
        "attention_heads": "match",
        "alpha": 1.0,  # forced by the code, whatever its flag says
        "soft_ce_reduction": "mean",
        "temperature_square": True,
        "regression_target": "teacher",
        **_EMD_DEFAULTS,
        # README, "best" table; tasks that it leaves out take the defaults of the flags
        "beta": _emd_table(
            0.01,
            {"cola": 0.001, "mnli": 0.005, "mrpc": 0.001, "qqp": 0.005, "qnli": 0.005, "rte": 0.005, "sst2": 0.001, "stsb": 0.005},
            {"cola": 0.001, "mnli": 0.005, "mrpc": 0.005, "qqp": 0.005, "qnli": 0.001, "rte": 0.005, "sst2": 0.001, "stsb": 0.005},
        ),
        "T_emd": _emd_table(1.0, {"cola": 5.0, "mrpc": 10.0}, {}),
        "T": _emd_table(1.0, {"mnli": 3.0, "qqp": 3.0, "qnli": 3.0}, {"cola": 7.0}),
        "learning_rate": _emd_table(
            3e-5,
            {"mnli": 5e-5, **dict.fromkeys(("cola", "mrpc", "qqp", "qnli", "rte", "sst2"), 2e-5)},
            {"mnli": 5e-5, "qnli": 5e-5, **dict.fromkeys(("cola", "mrpc", "qqp", "rte", "sst2"), 2e-5)},
        ),
    },
    finetune={**_HF_FINETUNE, "num_train_epochs": 4.0},
)
MUD = Preset(
    "mud",
    "MUD's main.py as it runs; fine-tuning as its teachers'",
    both={
        "batch_size": 32,
        "eval_batch_size": 32,
        "max_seq_length": PerTask(128, {"cola": 64, "sst2": 64}),  # the table in its code, which beats its flag
        "pad_to_max_length": True,
        "drop_last": True,
        "optimizer": "bertadam",
        "weight_decay": 0.01,  # fixed in the code; its flag is never read
        "adam_epsilon": 1e-6,
        "max_grad_norm": 1.0,
        "grad_clip": "tensor",
        "teacher_mode": "train",  # eval() is never called on it
        "teacher_head": "relu",
        "pad_embedding": "frozen",
        "projection": "shared",
        "hidden_reduction": "mean",  # over everything, chosen or not
        "T": 1.0,
        "alpha": 1.0,
        "soft_ce_reduction": "mean",
        "temperature_square": False,
        "regression_target": "gold",
        "att_ttop12": True,
        "mud_mask": "teacher",
        "mask_threshold": "batch",
        "mask_first_step": False,
    },
    intermediate={
        "learning_rate": 5e-5,
        "lr_schedule": "constant",
        "warmup_proportion": 0.0,
        # the table in its code, which beats its flag
        "num_train_epochs": PerTask(
            20.0,
            {"cola": 30.0, "mnli": 5.0, "mrpc": 20.0, "sst2": 10.0, "stsb": 20.0, "qqp": 5.0, "qnli": 5.0, "rte": 20.0},
        ),
    },
    prediction={"learning_rate": 2e-5, "num_train_epochs": 5.0, "lr_schedule": "linear", "warmup_proportion": 0.0},  # README
    finetune={**_HF_FINETUNE, "num_train_epochs": 5.0, "importance_mode": "train", "metric": _PEARSON},
)
ROSITA = Preset(
    "rosita",
    "ROSITA's fine-tuning of teachers, its importance pass and its pruning script as they run",
    finetune={
        **_HF_FINETUNE,
        "max_seq_length": PerTask(128, {"cola": 64, "sst2": 64}),  # README
        "num_train_epochs": PerTask(5.0, {"cola": 20.0}),  # README
        "importance_mode": "train",
    },
)

PRESETS = {preset.name: preset for preset in (SOUND, PAPER, HUAWEI, PADDLENLP, EMD, MUD, ROSITA)}
