"""From raw text to the rows for general distillation; does not import Paddle."""
