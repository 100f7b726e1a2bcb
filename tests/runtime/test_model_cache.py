"""What a resident process keeps between jobs, and when it loads anew."""

import os
from pathlib import Path

from arl.runtime.model_cache import ModelCache


def test_a_process_that_is_not_resident_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    cache = ModelCache()
    cache.put("model", tmp_path)
    assert cache.pop(tmp_path) is None and not cache.entries


def test_what_was_put_is_popped_once(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    cache = ModelCache(is_resident=True)
    cache.put("model", tmp_path)
    assert cache.holds(tmp_path) and not ModelCache(entries=cache.entries).holds(tmp_path)
    assert cache.pop(tmp_path) == "model"
    assert cache.pop(tmp_path) is None and not cache.holds(tmp_path)
    cache.put("model", tmp_path)
    cache.clear()
    assert cache.pop(tmp_path) is None


def test_a_folder_that_has_changed_is_loaded_anew(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"1")
    cache = ModelCache(is_resident=True)
    cache.put("model", tmp_path)
    before = path.stat().st_mtime_ns
    path.write_bytes(b"2")
    os.utime(path, ns=(before, before))  # the same size and time of modification, but another time of change
    assert cache.pop(tmp_path) is None
