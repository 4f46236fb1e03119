"""What a run prints about its models, and what it records before it starts: settings, models, data, versions."""

from __future__ import annotations

from pathlib import Path

from tinybert import devices, runtime, storage
from tinybert.config.options import Config
from tinybert.config.resolved import Settings
from tinybert.data.store import Rows
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import DataEntry, ModelEntry, Setting, now
from tinybert.log import logger
from tinybert.models.loading import LoadedModel
from tinybert.models.model_info import ModelInfo
from tinybert.models.pruned_shapes import describe_architecture


def describe_model(role: str, model: LoadedModel | ModelInfo) -> ModelEntry:
    """Print a model's load report, or the information about one whose weights are not loaded; returns its entry for run.json."""
    config, kind = model.config, model.family.model_type
    shape = (kind, config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    if isinstance(model, ModelInfo):
        words = f"{config.num_hidden_layers} x {config.hidden_size}, {config.num_attention_heads} heads"
        logger.info(f"{role}: {kind} {words}; {model.weights or 'no weights'}, loaded if a trace is missing")
        return ModelEntry(str(model.weights), weights_hash(str(model.weights)), *shape)
    report = model.report
    logger.info(f"{role}: {kind} {describe_architecture(config)}, {model.parameters():,} parameters; {report}")
    return ModelEntry(report.source, weights_hash(report.source), *shape, model.parameters(), report.fresh, report.unused)


def check_type(role: str, option: str, config: Config, loaded: LoadedModel) -> None:
    """Warn if the command line names another family than the model's configuration, which is used."""
    named = getattr(config, option)
    if option in config.given and named is not None and named.lower() != loaded.family.model_type:
        logger.warning(f"--{option} {named}, but the {role} is a {loaded.family.model_type}: it is loaded as such")


def weights_hash(source: str) -> str | None:
    """The sha256 of the file a model was loaded from; None if there is none."""
    path = Path(source)
    return storage.known_sha256(path) if path.is_file() else None


def record_start(
    run: RunFolder, settings: Settings, models: dict[str, ModelEntry], stores: dict[str, Rows], identity: dict[str, str], **details: object
) -> None:
    """Write the inputs of a stage to run.json: settings, versions, models, hashes of the data, and details of its method."""
    run.update_record(
        started=now(),
        finished=None,
        settings={name: Setting(value, source) for name, value, source in settings.as_table()},
        preset=settings.preset,
        versions=runtime.versions(),
        device=devices.current_device(),
        models=models,
        data={split: DataEntry(len(store), store.meta["source_sha256"]) for split, store in stores.items()},
        labels=next(iter(stores.values())).meta.get("labels"),
        identity=identity,
        **details,
    )


def record_end(run: RunFolder) -> None:
    """Mark the stage as finished, and let other runs write to the folder."""
    run.update_record(finished=now())
    run.release()
