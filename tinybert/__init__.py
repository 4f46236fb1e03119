"""Distillation of BERT-like encoders in PaddlePaddle: a large fine-tuned teacher in, a small fast student out."""

__version__ = "0.1.0"
