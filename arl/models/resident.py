"""A family's model on the device for one job, and kept for the next one where the process is resident.

decoder = wake(policy.frontend_dir, load, device); ...; sleep(decoder, policy.frontend_dir)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from arl.runtime import offload
from arl.runtime.model_cache import MODEL_CACHE

Model = TypeVar("Model", bound=Any)


def wake(folder: Path, load: Callable[[Path], Model], device: Any) -> Model:
    """The model of a folder on the device: the one kept by the job before, else loaded."""
    kept = MODEL_CACHE.pop(folder)
    model: Model = load(folder) if kept is None else kept
    return model.to(device)


def sleep(model: Any, folder: Path) -> None:
    """Takes the model off the device; kept for the next job."""
    offload.sleep([model])
    MODEL_CACHE.put(model, folder)
