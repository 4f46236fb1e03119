"""From raw text to the rows that general distillation learns from; imports no Paddle."""
