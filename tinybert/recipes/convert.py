"""Converts a model to Hugging Face's or PaddleNLP's format or to an inference program, and verifies that both are the same model.

Supports classifiers, regressions and bare encoders of all supported classes, from any readable folder; projections of students.
Limits: masked-LM and other heads are omitted and listed; weights are written as float32; programs only for classifiers.
"""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.convert import ConvertConfig
from tinybert.log import logger
from tinybert.models.exporting import check_reading, compared_output, has_head, write_as
from tinybert.models.hub import resolve
from tinybert.models.inference_program import write_program
from tinybert.models.loading import LoadedModel, load_pretrained
from tinybert.models.projections import layouts_of
from tinybert.models.pruned_shapes import describe_architecture
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.output_folder import check_replaceable
from tinybert.recipes.result import Result


def convert(config: ConvertConfig) -> Result:
    """Read `--model_path`, write it to `--output_dir` in the format `--to`, print what was kept, omitted and compared."""
    output = Path(config.output_dir).expanduser()
    source = resolve(config.model_path)
    check_output(config, source, output)
    logger.info(f"converting {source} to {config.to}, output in {output}")
    loaded, model_config = load_pretrained(str(source))
    for line in notes(loaded, config.to):
        logger.info(line)
    reading = check_reading(loaded, source, compared_output(loaded))
    if config.to == "inference":
        verified = write_program(output, loaded)
        logger.info("inputs: input_ids, token_type_ids, int64 [B, T]; output: logits [B, C], in the order of config.json's id2label")
    else:
        verified = write_as(output, loaded, model_config, config.to)
        logger.info(f"verified: {verified.weights} weights are bit-identical")
    logger.info(reading)
    logger.info(f"verified: largest absolute difference of {verified.output} on a fixed batch: {verified.difference}")
    logger.info(f"written: {output}")
    return Result(output, record={"largest difference": verified.difference})


def check_output(config: ConvertConfig, source: Path, output: Path) -> None:
    """Reject an existing output folder unless replacing is requested and it is a model folder that is not read.

    Raises:
        UserError: the output exists and may not be replaced.
    """
    if output.is_dir():
        check_inputs_not_overwritten(config.replace(model_path=str(source)), [output])
    check_replaceable(output, config.overwrite_output_dir, "a model", "config.json")


def notes(loaded: LoadedModel, layout: str) -> list[str]:
    """Notes for users of the result: what was read, what is omitted, and what the other library computes differently."""
    lines = [
        f"model: {loaded.family.model_type} {describe_architecture(loaded.config)}, {loaded.parameters():,} parameters; {loaded.report}"
    ]
    if has_head(loaded):
        labels = ", ".join(loaded.labels) if loaded.labels else f"{loaded.config.num_labels} without names"
        lines.append(f"head: classifier, outputs {labels}")
    else:
        lines.append("head: none; the output is a bare encoder")
    if loaded.report.fresh_in("pooler"):
        lines.append("pooler: not in the source, so not in the output; it will be randomly initialised on loading")
    if loaded.report.unused:
        lines.append(f"skipped: {', '.join(loaded.report.unused)}")
    if any(".predictions." in name or name.startswith("lm_head.") for name in loaded.report.unused):
        lines.append("note: masked-LM heads are not converted; the output cannot predict [MASK]")
    layouts = layouts_of(loaded.projections)
    if layouts:
        lines.append(f"projections: {' and '.join(layouts)}, {'skipped' if layout == 'inference' else 'kept'}")
    if len(layouts) > 1 and layout == "paddlenlp" and layouts[0] == "shared":
        lines.append("note: share_fit_dense is called fit_dense there, and per_layer is used by default: set --projection shared")
    if layout == "huggingface" and loaded.family.relu_head:
        lines.append(
            "note: TinyBERT has a ReLU between pooler and classifier, Hugging Face's BERT does not. The encoder is the same there, but "
            'the logits differ unless you apply it; config.json contains "classifier_activation": "relu"'
        )
    return lines
