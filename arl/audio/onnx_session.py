"""An ONNX file, opened by onnxruntime on the CPU.

opened(Path("campplus.onnx"), "take it from the checkpoint", "recordings need onnxruntime")
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arl.errors import ArlError

HAS_ONNX = find_spec("onnxruntime") is not None
if HAS_ONNX:
    import onnxruntime


def opened(file: Path, missing: str, not_installed: str) -> Any:
    """The session of a file. ArlError where it is `missing` (the way out) or damaged, or onnxruntime is not there."""
    if not file.is_file():
        raise ArlError(f"{file}: missing; {missing}")
    if not HAS_ONNX:
        raise ArlError(not_installed)
    try:
        return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes have no common one but this
        raise ArlError(f"{file}: no ONNX model ({' '.join(str(error).split())[:120]}): fetch it again") from error
