"""The training engine: loop, optimizers, schedules, checkpoints, logs. It knows no task and no objective by name."""
