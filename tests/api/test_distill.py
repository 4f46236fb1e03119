"""The code of the README, with models of a few thousand parameters."""

from __future__ import annotations

import os
import signal

import numpy as np
import paddle
import pytest

import tinybert as tb
from tests.api.conftest import STEPS
from tinybert.engine import run_lock

TRAINING = tb.Training(**STEPS)


@pytest.fixture(scope="module")
def data(folder) -> tb.Data:
    return tb.load_task("SST-2", folder / "SST-2")


def test_readme_example_trains_a_student_that_predicts(folder, data, tmp_path):
    teacher = tb.load(folder / "teacher")
    student = tb.student_from(teacher, layers=[1, 3])
    before = tb.evaluate(teacher, data)
    run = tb.distill(
        teacher, student, data, method=tb.TinyBERT(attention_weight=0.5), training=TRAINING, output_dir=tmp_path / "run",
        allow_weak_teacher=True,
    )  # fmt: skip
    assert run.stages == ("intermediate", "prediction") and 0 <= run.scores["accuracy"] <= 1
    assert run.record["intermediate"]["settings"]["attention_weight"]["value"] == 0.5
    assert run.teacher is teacher and run.student.path == tmp_path / "run" / "best_model"
    assert run.student.evaluate(data, max_seq_length=16) == pytest.approx({"accuracy": run.scores["accuracy"]})
    found, other = run.student.predict(["word1 word2", "word20 word21"])
    assert found.label in data.labels and sum(found.probabilities.values()) == pytest.approx(1)
    assert found.probability == max(found.probabilities.values()) and other.label in data.labels
    assert run.curves()._repr_png_().startswith(b"\x89PNG")
    assert {"intermediate", "prediction"} == {line["stage"] for line in run.history}
    assert tb.open_run(tmp_path / "run").scores == run.scores
    assert tb.evaluate(teacher, data) == before


def test_existing_run_is_resumed_refused_or_replaced_as_asked(folder, data, tmp_path):
    teacher, output = tb.load(folder / "teacher"), tmp_path / "run"
    arguments = (teacher, tb.student(layers=1, hidden=8, heads=2), data)
    more = {"method": tb.Logits(), "output_dir": output, "allow_weak_teacher": True}

    class Crash(tb.Callback):
        def on_evaluate(self, state):
            if state.step == 2:
                raise RuntimeError("the kernel died")

    training = tb.Training(**STEPS, checkpoint_steps=1)
    with pytest.raises(RuntimeError):
        tb.distill(*arguments, training=training, callbacks=[Crash()], **more)
    assert output.resolve() not in run_lock._held
    with pytest.raises(tb.UserError, match="already holds results of the prediction stage"):
        tb.distill(*arguments, training=training, **more)
    resumed = tb.distill(*arguments, training=training, resume=True, **more)
    plain = tb.distill(*arguments, training=training, **{**more, "output_dir": tmp_path / "plain"})
    assert resumed.scores == plain.scores
    ends = [np.concatenate([value.numpy().ravel() for value in run.student.loaded.model.state_dict().values()]) for run in (resumed, plain)]
    assert np.array_equal(*ends)
    assert tb.distill(*arguments, training=training, overwrite=True, **more).scores == plain.scores


def test_custom_loss_is_trained_and_logged_beside_the_method(folder, data, tmp_path):
    def cosine(student, teacher, inputs):
        return 1 - paddle.nn.functional.cosine_similarity(student.logits, teacher.logits).mean()

    class Mean(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.map = paddle.nn.Linear(16, 16)

        def forward(self, student, teacher, inputs):
            return ((self.map(student.hidden[1]) - teacher.hidden[2]) ** 2).mean()

    def distill(output, **more):
        return tb.distill(
            folder / "teacher", tb.student_from(folder / "teacher", [2]), data, training=TRAINING, output_dir=output,
            allow_weak_teacher=True, method=tb.Logits(), **more,
        )  # fmt: skip

    hidden = tb.CustomLoss("mean", Mean(), 0.1, student=tb.Needs(hidden=frozenset([1])), teacher=tb.Needs(hidden=frozenset([2])))
    run = distill(tmp_path / "a", losses=[tb.CustomLoss("cosine", cosine, weight=0.5), hidden])
    assert "0.5 cosine + 0.1 mean" in run.record["prediction"]["objective"]
    assert all(np.isfinite([line["cosine"], line["mean"]]).all() for line in run.history if "lr" in line)
    assert run.history[0]["loss"] != distill(tmp_path / "b").history[0]["loss"]
    with pytest.raises(tb.UserError, match="expected a scalar tensor"):
        distill(tmp_path / "c", losses=[tb.CustomLoss("rows", lambda student, teacher, inputs: student.logits)])
    with pytest.raises(tb.UserError, match="expected one of intermediate, prediction, general"):
        distill(tmp_path / "d", losses=[tb.CustomLoss("rows", cosine, stage="last")])


def test_callback_reads_scores_and_ends_the_run(folder, data, tmp_path):
    class Stop(tb.Callback):
        seen: list = []

        def on_evaluate(self, state):
            self.seen.append((state.stage, state.step, state.scores["accuracy"]))
            state.stop()

    run = tb.finetune(folder / "teacher", data, training=TRAINING, output_dir=tmp_path / "run", callbacks=[Stop()])
    assert Stop.seen == [("finetune", 2, run.scores["accuracy"])]
    assert run.record["finetune"]["steps"] == 2 and run.record["finetune"]["finished"]
    assert run.model.predict(["word1"])[0].label in data.labels


def test_paddlenlp_model_object_can_be_the_teacher(folder, data, tmp_path):
    from tinybert.models.families import family
    from tinybert.models.loading import load_pretrained

    loaded, _ = load_pretrained(str(folder / "teacher"))
    kind = family("bert")
    with pytest.raises(tb.UserError, match="needs its tokenizer"):
        tb.load(loaded.model)
    tokenizer = _paddlenlp_tokenizer(folder / "teacher")
    model = kind.head_class().from_pretrained(str(folder / "teacher"))
    teacher = tb.load(model, tokenizer, labels=["0", "1"])
    texts = ["word1 word2 word3", "word20"]
    expected = [list(found.probabilities.values()) for found in tb.predict(folder / "teacher", texts)]
    assert np.allclose([list(found.probabilities.values()) for found in teacher.predict(texts)], expected, atol=1e-6)
    run = tb.distill(
        teacher, tb.student_from(teacher, [1]), data, method=tb.Logits(), training=TRAINING, output_dir=tmp_path, allow_weak_teacher=True
    )
    assert run.scores["accuracy"] >= 0
    assert tb.load(model, tokenizer, labels=["0", "1"]).path == teacher.path  # identical content is written once


def _paddlenlp_tokenizer(folder):
    from tinybert import runtime

    return runtime.paddlenlp("transformers.bert.tokenizer").BertTokenizer.from_pretrained(str(folder))


def test_run_leaves_seed_signals_and_environment_unchanged(folder, data, tmp_path, monkeypatch):
    import sys

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    paddle.seed(7)
    expected = paddle.rand([3]).numpy()
    paddle.seed(7)
    run = tb.finetune(folder / "teacher", data, training=TRAINING, output_dir=tmp_path / "run")
    run.model.predict(["word1"])
    run.curves()
    assert np.array_equal(paddle.rand([3]).numpy(), expected)
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert os.environ["OMP_NUM_THREADS"] == "3" and (tmp_path / "run").resolve() not in run_lock._held
    assert "matplotlib.pyplot" not in sys.modules or sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_interrupt_saves_a_checkpoint_and_raises(folder, data, tmp_path):
    class Interrupt(tb.Callback):
        def on_log(self, state):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(tb.Interrupted, match="stopped after step"):
        tb.finetune(folder / "teacher", data, training=TRAINING, output_dir=tmp_path, callbacks=[Interrupt()])
    assert issubclass(tb.Interrupted, KeyboardInterrupt) and tmp_path.resolve() not in run_lock._held
    assert tb.finetune(folder / "teacher", data, training=TRAINING, output_dir=tmp_path, resume=True).record["finetune"]["steps"] == 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tb.Training(max_step=3), "unknown option --max_step; did you mean --max_steps?"),
        (lambda: tb.Training(learning_rate=-1), "--learning_rate got -1\nexpected a number above 0"),
        (lambda: tb.TinyBERT(attention_weight="much"), "--attention_weight got 'much'\nexpected a number at least 0"),
        (lambda: tb.TinyBERT(T_emd=1.0), "--T_emd belongs to --method emd"),
        (lambda: tb.TinyBERT(max_steps=1), "TinyBERT does not take --max_steps"),
        (lambda: tb.Training(T=1.0), "Training does not take --T"),
        (lambda: tb.load("nowhere/at/all/"), "there is no such folder"),
        (lambda: tb.load(3), "a model got int"),
        (lambda: tb.load_task("SST-3"), "SST-2"),
    ],
)
def test_wrong_value_raises_at_once_with_the_command_lines_message(make, words):
    with pytest.raises(tb.UserError) as problem:
        make()
    assert words in str(problem.value)


def test_layers_missing_from_the_teacher_and_other_teachers_are_refused(folder, data, tmp_path):
    with pytest.raises(tb.UserError, match="the teacher has layers 1 to 3"):
        tb.student_from(folder / "teacher", [2, 4])
    plan = tb.student_from(folder / "teacher", [2])
    with pytest.raises(tb.UserError, match="give the same teacher"):
        tb.distill(None, plan, data, method=tb.GoldLabels(), output_dir=tmp_path / "x")
    assert not (tmp_path / "x").exists()
