"""Other weights for a running engine: a checkpoint, a base and its adapter merged, or an adapter beside the base.

    adapter = update(connection, state_dir, info, model)     # what requests have to name, "" for none

An engine that keeps adapters apart (`arl engine start --lora-rank`) reads a base once: a policy with another adapter on
the same base is a few megabytes. Any other engine reads the base for every policy, and adds the adapter as it does
(merging.py). Light: no torch, no sglang.
"""

import secrets
from pathlib import Path

from arl.engine.connection import Connection
from arl.engine.served_model import ServedModel
from arl.engine.state import EngineInfo, record_served

UNDEFINED = "undefined"  # the version of an engine whose last weight update broke off


def update(connection: Connection, state_dir: Path, info: EngineInfo, model: ServedModel) -> str:
    """Brings the engine to a model of its own shapes, stamps the version, and forgets cached prompts; the name of its
    adapter there. Refused where the engine cannot; its weights are then undefined."""
    if not info.lora_rank:
        load(connection, model, model.version)
        return ""
    if info.base != model.file_version or not info.awake:
        record_served(state_dir, info.policy, UNDEFINED)
        load(connection, model, UNDEFINED)
    adapter = load_adapter(connection, model.adapter_dir, model.version) if model.adapter_dir else ""
    connection.call("POST", "/update_weight_version", {"new_version": model.version})
    connection.call("POST", "/flush_cache?timeout=30")
    return adapter


def load(connection: Connection, model: ServedModel, version: str) -> None:
    """Has the engine read a folder of weights."""
    body = {"model_path": str(model.llm_dir.absolute()), "weight_version": version, "flush_cache": True}
    connection.call("POST", "/update_weights_from_disk", body)


def load_adapter(connection: Connection, folder: Path, version: str) -> str:
    """Has the engine read an adapter, under a name of its own; the oldest one leaves its memory."""
    name = f"{version}-{secrets.token_hex(4)}"
    connection.call("POST", "/load_lora_adapter", {"lora_name": name, "lora_path": str(folder.absolute())})
    return name
