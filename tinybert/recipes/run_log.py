"""What a run prints and records before it starts: choices, settings, models, data, versions."""

from __future__ import annotations

from pathlib import Path

from tinybert import runtime, storage
from tinybert.config.options import Config
from tinybert.config.resolved import Resolved
from tinybert.data.store import Rows
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import DataEntry, ModelEntry, Setting, now
from tinybert.log import begin_run, logger
from tinybert.models.loading import LoadedModel
from tinybert.models.model_info import ModelInfo
from tinybert.models.pruned_shapes import describe_architecture


def log_once(line: str) -> None:
    """Print a line once, whatever the number of processes."""
    if runtime.rank() == 0:
        logger.info(line)


def log_run_settings(headline: str, resolved: Resolved) -> None:
    """Print the headline, every resolved setting with its source, and warnings."""
    if runtime.rank() != 0:
        return
    begin_run()
    logger.info(headline)
    logger.info(resolved.as_text())
    for warning in resolved.warnings:
        logger.warning(warning)


def describe_model(role: str, loaded: LoadedModel) -> dict:
    """Print a model's load report; returns its entry for run.json."""
    config = loaded.config
    log_once(f"{role}: {loaded.family.model_type} {describe_architecture(config)}, {loaded.parameters():,} parameters; {loaded.report}")
    report = loaded.report
    return {
        "source": report.source,
        "sha256": weights_hash(report.source),
        "type": loaded.family.model_type,
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "parameters": loaded.parameters(),
        "fresh": report.fresh,
        "unused": report.unused,
    }


def describe_model_info(role: str, info: ModelInfo) -> dict:
    """Print the information about a model whose weights are not loaded; returns its entry for run.json."""
    config = info.config
    shape = f"{config.num_hidden_layers} x {config.hidden_size}, {config.num_attention_heads} heads"
    log_once(f"{role}: {info.family.model_type} {shape}; {info.weights or 'no weights'}, loaded if a trace is missing")
    return {
        "source": str(info.weights),
        "sha256": weights_hash(str(info.weights)) if info.weights else None,
        "type": info.family.model_type,
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
    }


def check_type(role: str, option: str, config: Config, loaded: LoadedModel) -> None:
    """Warn if the command line names another family than the model's configuration, which is used."""
    named = getattr(config, option)
    if option in config.given and named is not None and named.lower() != loaded.family.model_type and runtime.rank() == 0:
        logger.warning(f"--{option} {named}, but the {role} is a {loaded.family.model_type}: it is loaded as such")


def weights_hash(source: str) -> str | None:
    """The sha256 of the file a model was loaded from; None if there is none."""
    path = Path(source)
    return storage.known_sha256(path) if path.is_file() else None


def record_start(
    run: RunFolder,
    resolved: Resolved,
    stage: str,
    device: str,
    models: dict[str, dict],
    stores: dict[str, Rows],
    identity: dict,
    **details: object,
) -> None:
    """Write the inputs of a stage to run.json: settings, versions, models, hashes of the data, and details of its method."""
    run.update_record(
        started=now(),
        finished=None,
        settings={name: Setting(value, source) for name, value, source in resolved[stage].as_table()},
        preset=resolved.preset,
        versions=runtime.versions(),
        device=device,
        models={role: ModelEntry(**entry) for role, entry in models.items()},
        data={split: DataEntry(len(store), store.meta["source_sha256"]) for split, store in stores.items()},
        labels=next(iter(stores.values())).meta.get("labels"),
        identity=identity,
        **details,
    )


def record_end(run: RunFolder) -> None:
    """Mark the stage as finished, and let other runs write to the folder."""
    run.update_record(finished=now())
    run.release()
