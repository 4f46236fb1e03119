"""A method and a command defined in one class each are listed, documented, checked and run."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import logged
from tests.tiny import learnable_rows, model_folder
from tinybert.cli.flags_page import flags_page
from tinybert.cli.main import main
from tinybert.cli.parser import parse
from tinybert.commands import registry as commands
from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.options import Config, option
from tinybert.errors import UserError
from tinybert.methods import registry as methods
from tinybert.methods.method import DistillationMethod
from tinybert.recipes.task_distill import task_distill


class Pooled(DistillationMethod):
    """The student's score of class 1 is trained towards the teacher's."""

    name = "toy"
    help = "one logit, for a test"
    stages = ("prediction",)

    toy_weight: float = option(1.0, help="weight of the toy loss", group="method toy", setting=True, learnt="logits", above=0)

    def objective(self, settings, kind, student, teacher):
        from tinybert.methods.stage_objective import StageObjective
        from tinybert.models.trace import Needs
        from tinybert.objectives.objective import Loss, Objective, Part

        class OneLogit(Loss):
            needs_student = needs_teacher = Needs(logits=True)

            def forward(self, student, teacher, inputs):
                return ((student.logits[:, 1] - teacher.logits[:, 1]) ** 2).mean()

        return StageObjective(Objective([Part("toy", OneLogit(), settings.toy_weight)]))


@pytest.fixture
def toy_method(monkeypatch):
    methods.methods_of("distill")  # registers the package's own methods, which must outlast the patched registry
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    return methods.register(Pooled)


def test_method_defined_in_one_class_trains(toy_method, tmp_path):
    model_folder(tmp_path / "teacher")
    learnable_rows(tmp_path / "rows", {"train": 16, "dev": 8}, seed=1)
    common = {"task_name": "sst-2", "data_dir": tmp_path / "rows", "teacher_path": tmp_path / "teacher", "student_layers": 1}
    common |= {"student_hidden": 8, "student_heads": 2, "max_steps": 3, "logging_steps": 1, "batch_size": 8, "max_seq_length": 16}
    common |= {"allow_weak_teacher": True, "device": "cpu", "learning_rate": 1e-2}
    result = task_distill(TaskDistillConfig(method="toy", toy_weight=2.0, output_dir=tmp_path / "run", **common))
    assert result.final.is_dir() and result.record["prediction"]["settings"]["toy_weight"] == {"value": 2.0, "source": "given"}
    assert [line["loss"] for line in logged(tmp_path / "run", "prediction")] == [
        pytest.approx(2 * line["toy"], rel=1e-5) for line in logged(tmp_path / "run", "prediction")
    ]
    with pytest.raises(UserError, match="--toy_weight belongs to --method toy"):
        TaskDistillConfig(output_dir=tmp_path, toy_weight=2.0, **common)
    with pytest.raises(UserError, match="--toy_weight got -1\nexpected a number above 0"):
        TaskDistillConfig(method="toy", output_dir=tmp_path, toy_weight=-1, **common)


def test_method_defined_in_one_class_is_in_the_help_and_on_the_page(toy_method, capsys):
    with pytest.raises(SystemExit):
        parse(TaskDistillConfig, ["--help"])
    assert "--toy_weight" in capsys.readouterr().out and "`--toy_weight`" in flags_page()


def count(config: Config) -> None:
    """The recipe of the toy command."""
    print("counted", config.to)


def test_command_defined_in_one_class_is_listed_and_runs(monkeypatch, capsys):
    monkeypatch.setattr(commands, "_COMMANDS", dict(commands._COMMANDS))

    @commands.command("count", summary="count, for a test", recipe=f"{__name__}:count")
    class CountConfig(Config):
        """Count."""

        NEEDS_PADDLE = False
        to: int = option(3, help="how far", group="run", at_least=1)

    assert main(["count", "--to", "5"]) == 0 and "counted 5" in capsys.readouterr().out
    assert main(["count", "--to", "0"]) == 2 and "--to got 0" in capsys.readouterr().err
    assert main([]) == 0 and "count, for a test" in capsys.readouterr().out
    assert "`tinybert count`" in flags_page()
