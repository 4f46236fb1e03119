"""What `--space` names, and what of it is refused."""

from __future__ import annotations

import pytest

from tinybert.commands.distill import TaskDistillConfig
from tinybert.errors import UserError
from tinybert.search.space import Parameter, read_space


def test_ranges_and_choices_have_the_types_of_their_options():
    pieces = ["learning_rate=1e-5..1e-3:log", "max_steps=10..20", "T=1", "2", "4.5", "layer_map=uniform", "top", "use_att=True", "False"]
    assert read_space(pieces, TaskDistillConfig) == [
        Parameter("learning_rate", 1e-5, 1e-3, log=True),
        Parameter("max_steps", 10, 20),
        Parameter("T", choices=(1.0, 2.0, 4.5)),
        Parameter("layer_map", choices=("uniform", "top")),
        Parameter("use_att", choices=(True, False)),
    ]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (["nothing=1"], "'nothing' cannot be searched"),
        (["output_dir=a"], "'output_dir' cannot be searched"),
        (["learning_rate"], "expected NAME=LOW..HIGH"),
        (["learning_rate=1e-3..1e-5"], "a lower and a higher number"),
        (["weight_decay=0..1:log"], "both above 0"),
        (["learning_rate=0..1"], "--space learning_rate got 0\nexpected a number above 0"),
        (["layer_map=a..b"], "--layer_map is not a number"),
        (["T=1", "1.0"], "expected different values"),
        (["T=1", "T=2"], "names T twice"),
    ],
)
def test_a_malformed_space_is_refused(pieces, message):
    with pytest.raises(UserError) as caught:
        read_space(pieces, TaskDistillConfig)
    assert message in str(caught.value)
