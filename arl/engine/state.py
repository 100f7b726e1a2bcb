"""engine.json: where the running engine is, written by whoever starts it and read by everyone else.

The state folder (0700; `.arl/engine`, or ARL_ENGINE) holds engine.json (0600: it has the API key),
engine.log, weights.json (names and shapes the engine serves) and engine.lock. A file whose process is gone is
treated as absent.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from arl.errors import ArlError
from arl.policy import as_ids
from arl.runtime.daemon import Daemon
from arl.runtime.private import make_private
from arl.runtime.warm.state import FOLDER as WARM
from arl.runtime.warm.state import warm_folder

FOLDER = ".arl/engine"
ENVIRONMENT = "ARL_ENGINE"
KNOWN = "engines"  # in the warm folder: the state folders of engines on GPUs, a JSON text each


@dataclass(frozen=True)
class EngineInfo:
    """One engine. `state` is "starting" or "ready"; `started` is its process's start in clock ticks since boot;
    `policy` is the absolute path of the policy folder last served, `version` that policy's version;
    `temporary` and `shared_memory` are what the server leaves behind when it is killed; `awake` is False while it has
    given its device memory back. `dp` is the number of its replicas, each on `tp` devices. `lora_rank`: the largest
    rank of adapters that it keeps apart from the weights, 0 where it merges them. `base`: the version of the weights in
    it, an adapter left out; `adapter`: its name for the adapter that it serves, "" for none. `node_rank`: this node's
    number among the `nnodes` that share it; it answers on node 0."""

    state: str
    pid: int
    pgid: int
    started: int
    port: int
    api_key: str
    policy: str
    version: str
    log: str
    device: str
    dtype: str
    audio_token_id: int
    eos_token_id: int | list[int]
    temporary: str
    shared_memory: tuple[str, ...] = ()
    awake: bool = True
    lora_rank: int = 0
    base: str = ""
    adapter: str = ""
    tp: int = 1
    dp: int = 1
    nnodes: int = 1
    node_rank: int = 0

    @property
    def end_ids(self) -> list[int]:
        """Token ids that end a response; engines of version 0.1 wrote down one."""
        return as_ids(self.eos_token_id)

    @property
    def devices(self) -> int:
        """How many devices of this node it is on, those from `device` on."""
        return self.tp * self.dp // self.nnodes

    def uses(self, device: str) -> bool:
        """Whether it is on this GPU: "cuda" or "cuda:N"."""
        if self.device == "cpu" or device == "cpu":
            return False
        first, asked = (int(name.partition(":")[2] or 0) for name in (self.device, device))
        return first <= asked < first + self.devices

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def public(self) -> dict[str, Any]:
        """What may be shown: everything but the key."""
        return {name: value for name, value in asdict(self).items() if name != "api_key"}


def state_folder(state_dir: str | Path | None) -> Path:
    """The given folder, else ARL_ENGINE, else `.arl/engine` under the current folder; absolute."""
    return Path(state_dir or os.environ.get(ENVIRONMENT) or FOLDER).absolute()


def remember(folder: Path) -> None:
    """Notes an engine on a GPU in the warm folder, so that a stage that needs its memory finds it by whatever name it
    was started."""
    known = Path(warm_folder() or WARM) / KNOWN
    make_private(str(known.parent))
    if folder not in known_engines():
        with known.open("a") as file:
            file.write(f"{json.dumps(str(folder))}\n")


def known_engines() -> list[Path]:
    """The state folders of this run's engines: the one that is used by default, and those remembered."""
    known = Path(warm_folder() or WARM) / KNOWN
    lines = known.read_text().splitlines() if known.is_file() else []
    return list(dict.fromkeys([state_folder(None), *(Path(json.loads(line)) for line in lines)]))


def engine_process(folder: Path) -> Daemon:
    """The engine of this state folder, whether or not it runs."""
    return Daemon(folder, "engine", "the engine")


def read_info(folder: Path) -> EngineInfo | None:
    """The engine of this state folder, or None when there is none or its process is gone."""
    info = last_info(folder)
    return info if info is not None and engine_process(folder).runs(asdict(info)) else None


def last_info(folder: Path) -> EngineInfo | None:
    """What engine.json says, whether or not the process still runs. ArlError when it is not readable, and where others
    can write to the folder."""
    engine = engine_process(folder)
    try:
        record = engine.last()
        return None if record is None else replace(_checked(EngineInfo(**record)), log=str(engine.log_path))
    except (ValueError, TypeError) as error:
        path = engine.record_path
        raise ArlError(f"{path}: not an engine's state ({error}); remove it after ending that engine") from error


def _checked(info: EngineInfo) -> EngineInfo:
    """ValueError for values of another kind: they end up in addresses, headers and paths."""
    texts = [info.state, info.api_key, info.policy, info.version, info.log, info.device, info.dtype, info.temporary,
             info.base, info.adapter]  # fmt: skip
    if not all(isinstance(text, str) for text in [*texts, *info.shared_memory]):
        raise ValueError("a text is missing")
    if not all(type(count) is int and count > 0 for count in (info.tp, info.dp)):
        raise ValueError("tp and dp are not counts")
    if type(info.port) is not int or not 0 < info.port < 65536 or info.pgid != info.pid:
        raise ValueError("no port, or another process group than its own")
    return info


def write_info(folder: Path, info: EngineInfo) -> None:
    """Atomic, mode 0600."""
    engine_process(folder).write(asdict(info))


def record_served(folder: Path, policy: str, version: str, base: str = "", adapter: str = "") -> None:
    """Note what a weight update has put into the engine; without a base, that its weights are not known."""
    info = last_info(folder)
    if info is not None:
        write_info(folder, replace(info, policy=policy, version=version, base=base, adapter=adapter))


def record_awake(folder: Path, awake: bool) -> None:
    """Note that the engine has released, or taken again, its device memory."""
    info = last_info(folder)
    if info is not None:
        write_info(folder, replace(info, awake=awake))
