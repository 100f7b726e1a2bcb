"""Folders that are written whole: an input is never the output, links are resolved, and nothing is lost half-way."""

import os

import pytest

from arl.errors import ArlError, UsageError
from arl.shards.durable import refuse_inputs, refuse_unwritable, write_folder


def test_an_output_that_is_holds_or_lies_in_an_input_is_refused(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "file").write_text("x")
    (tmp_path / "link").symlink_to("in")
    for out in ("in", "link", "in/../in", ".", "in/deep", "link/new"):
        with pytest.raises(UsageError, match="is, holds or lies in the input"):
            refuse_inputs(tmp_path / out, [tmp_path / "in"])
    with pytest.raises(UsageError, match="in/file"):
        refuse_inputs(tmp_path / "link", [tmp_path / "in" / "file"])
    refuse_inputs(tmp_path / "out", [tmp_path / "in", tmp_path / "in" / "file"])
    refuse_inputs(tmp_path / "in" / "out", [tmp_path / "in" / "file"])


@pytest.mark.parametrize("target", ["there", "nowhere/yet"])
def test_an_output_that_is_a_link_is_written_where_it_leads(tmp_path, target):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").write_text("old")
    (tmp_path / "link").symlink_to(target)
    write_folder(tmp_path / "link", lambda folder: (folder / "new").write_text("new") and None)
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path / target) == ["new"]


def test_an_output_below_a_file_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArlError, match=r"cannot be written, as .*file is read-only or no folder"):
        refuse_unwritable(tmp_path / "file" / "deep" / "out")
    refuse_unwritable(tmp_path / "new" / "deep" / "out")


def test_a_read_only_place_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: False)  # root may write anywhere else
    with pytest.raises(ArlError, match="is read-only"):
        refuse_unwritable(tmp_path / "out")
