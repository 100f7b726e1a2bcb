"""Policy folders: their marker, their version, and that a write is whole or has not happened."""

import json
import os
from pathlib import Path

import pytest

from arl.errors import ArlError
from arl.policy import MARKER, Policy, link_tree, remove_stale, weights_digest, write_policy

FIELDS = {"family": "toy", "step": 7, "prompt": [1, 4, 3], "audio_token_id": 4, "eos_token_id": 2, "embedding_dim": 8}
DEAD = 2**22 + 1  # above the kernel's largest process id
NODE = os.uname().nodename


def write(path: Path, weights: bytes = b"weights", **fields: object) -> Policy:
    def fill(folder: Path) -> None:
        (folder / "llm").mkdir()
        (folder / "llm" / "model.safetensors").write_bytes(weights)

    return write_policy(path, {**FIELDS, **fields}, fill)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fields_and_places(tmp_path):
    policy = write(tmp_path / "a" / "policy", frontend="abc")
    assert policy == Policy.open(str(tmp_path / "a" / "policy"))
    assert (policy.family, policy.step, policy.prompt) == ("toy", 7, [1, 4, 3])
    assert (policy.audio_token_id, policy.eos_token_id, policy.embedding_dim) == (4, 2, 8)
    assert policy.frontend_id == "abc" and write(tmp_path / "b").frontend_id == ""
    assert policy.llm_dir == policy.path / "llm" and policy.frontend_dir == policy.path / "frontend"
    assert policy.state_dir == policy.path / "state"


def test_one_end_or_several(tmp_path):
    assert write(tmp_path / "one").end_ids == [2]
    several = write(tmp_path / "several", eos_token_id=[5, 2])
    assert (several.end_ids, several.eos_token_id) == ([5, 2], 5)
    with pytest.raises(ArlError, match="eos_token_id is empty"):
        write(tmp_path / "none", eos_token_id=[])


def test_the_version_is_the_step_and_the_weights(tmp_path):
    one, same, other = write(tmp_path / "1"), write(tmp_path / "2"), write(tmp_path / "3", b"others")
    assert one.version == same.version == f"000007-{weights_digest(one.llm_dir)}"
    assert other.version != one.version
    assert write(tmp_path / "4", step=8).version == one.version.replace("000007", "000008")


def test_the_digest_covers_names_bytes_and_every_file(tmp_path):
    digests: set[str] = set()
    for files in ({"a": b"12"}, {"b": b"12"}, {"a": b"1", "b": b"2"}, {"a": b"1", "b": b"3"}):
        folder = tmp_path / str(len(digests))
        folder.mkdir()
        for name, content in files.items():
            (folder / f"{name}.safetensors").write_bytes(content)
        digests.add(weights_digest(folder))
    assert len(digests) == 4
    (tmp_path / "none").mkdir()
    with pytest.raises(ArlError, match=r"no \*.safetensors"):
        weights_digest(tmp_path / "none")


def test_verify(tmp_path):
    policy = write(tmp_path / "policy")
    policy.verify()
    (policy.llm_dir / "model.safetensors").write_bytes(b"edited!")
    with pytest.raises(ArlError, match=f"the weights in llm/ .* are not those of version {policy.version}"):
        policy.verify()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no arl.json, so this policy is half-written"),
        ("{", "arl.json: not JSON"),
        ("[]", "arl.json: not a JSON object"),
        (json.dumps({"family": "toy", "step": 1, "version": "x"}), "lacks audio_token_id, eos_token_id, prompt"),
    ],
)
def test_what_is_no_policy(tmp_path, content, message):
    if content is not None:
        (tmp_path / MARKER).write_text(content)
    with pytest.raises(ArlError, match=message):
        Policy.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("family", [1, ""]), ("version", [None, 5]), ("step", ["1", -1, 1.5, True, None, 2**64]),
        ("prompt", ["text", [1, "2"], [-1], {}, None]), ("audio_token_id", ["4", -1, False]),
        ("eos_token_id", ["2", [2, -1], [[2]], None, 1.0]), ("embedding_dim", ["8", 0, -8]),
        ("embedding_rate_hz", ["25", 0, 1e999]), ("digests", [[], {"llm": 1}]), ("frontend", [7]), ("task", [[]]),
        ("transcript", ["x", {"after": 1}, {"before": "x"}]), ("request", [[], {"language": 1}, {"hotwords": "yes"}]),
        ("probe", [[], {"tokens": [1, 2]}, {"tokens": [1], "logprobs": []}, {"tokens": [1, 2], "logprobs": ["x"]}]),
    ],
)  # fmt: skip
def test_a_field_of_another_form_is_one_line(tmp_path, name, values):
    policy = write(tmp_path)
    for value in values:
        (tmp_path / MARKER).write_text(json.dumps({**policy.fields, name: value}))
        with pytest.raises(ArlError, match=rf"arl.json: {name} is .*take the policy from its source again$"):
            Policy.open(tmp_path)


def test_a_field_that_a_policy_lacks_is_one_line(tmp_path):
    with pytest.raises(ArlError, match="arl.json: lacks acoustic_first"):
        _ = write(tmp_path).acoustic


def test_a_missing_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(ArlError, match="no such policy folder; `arl init"):
        Policy.open(tmp_path / "nowhere")


def test_a_write_replaces_a_policy_whole(tmp_path):
    old, new = write(tmp_path / "policy"), write(tmp_path / "policy", b"new")
    assert new.version != old.version
    assert (new.llm_dir / "model.safetensors").read_bytes() == b"new"
    assert names(tmp_path) == ["policy"]


def test_an_exception_while_filling_leaves_the_old_policy(tmp_path):
    old = write(tmp_path / "policy")

    def fill(folder: Path) -> None:
        (folder / "llm").mkdir()
        (folder / "llm" / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_policy(tmp_path / "policy", FIELDS, fill)
    with pytest.raises(KeyboardInterrupt):
        write_policy(tmp_path / "other", FIELDS, fill)
    assert names(tmp_path) == ["policy"]
    Policy.open(old.path).verify()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_but_a_policy_is_replaced(tmp_path, kind):
    target = tmp_path / "data"
    if kind == "folder":
        target.mkdir()
        (target / "precious").write_text("data")
    else:
        target.write_text("data")
    with pytest.raises(ArlError, match="exists and is no policy, so it is not replaced"):
        write(target)
    assert names(tmp_path) == ["data"] and (target if kind == "file" else target / "precious").read_text() == "data"


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "policy").mkdir()
    write(tmp_path / "policy").verify()


def test_what_killed_writers_left_is_removed_and_living_ones_stay(tmp_path):
    path = tmp_path / "policy"
    living = [f".policy.tmp-{mark}" for mark in (os.getppid(), f"{os.getppid()}@{NODE}", f"{DEAD}@{NODE}2")]
    for name in (f".policy.tmp-{DEAD}", f".policy.tmp-{DEAD}@{NODE}", *living):
        (tmp_path / name).mkdir()
    (tmp_path / ".policy.checkpoint").mkdir()  # not ours to remove
    (tmp_path / f".policy2.tmp-{DEAD}").mkdir()
    remove_stale(path)
    assert names(tmp_path) == sorted([".policy.checkpoint", *living, f".policy2.tmp-{DEAD}"])


def test_a_writer_killed_between_its_two_renames_loses_nothing(tmp_path):
    old = write(tmp_path / "policy")
    os.rename(old.path, tmp_path / f".policy.old-{DEAD}")  # the old one moved aside, the new one not yet in place
    (tmp_path / f".policy.tmp-{DEAD}").mkdir()
    remove_stale(tmp_path / "policy")
    assert names(tmp_path) == ["policy"]
    Policy.open(tmp_path / "policy").verify()
    os.rename(write(tmp_path / "elsewhere").path, tmp_path / f".policy.old-{DEAD}")  # and not yet removed
    remove_stale(tmp_path / "policy")
    assert names(tmp_path) == ["policy"]


def test_link_tree_copies_folders_too(tmp_path, monkeypatch):
    (tmp_path / "from" / "deep" / "empty").mkdir(parents=True)
    (tmp_path / "from" / "deep" / "file").write_text("x")
    link_tree(tmp_path / "from", tmp_path / "linked")
    assert (tmp_path / "linked" / "deep" / "file").stat().st_ino == (tmp_path / "from" / "deep" / "file").stat().st_ino
    assert (tmp_path / "linked" / "deep" / "empty").is_dir()

    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    link_tree(tmp_path / "from", tmp_path / "copied")
    assert (tmp_path / "copied" / "deep" / "file").read_text() == "x"


@pytest.mark.parametrize("place", ["secret", "frontend/secret"])
def test_a_link_out_of_a_policy_is_not_followed(tmp_path, place):
    (tmp_path / "secret").write_text("key")
    policy = write(tmp_path / "policy")
    (policy.path / "frontend").mkdir()
    (policy.path / place).symlink_to(tmp_path / "secret")
    with pytest.raises(ArlError, match="a link out of the policy's folder"):
        Policy.open(policy.path)
    (policy.path / place).unlink()
    (policy.path / place).symlink_to(policy.path / MARKER)
    Policy.open(policy.path)


def test_a_pipe_in_a_policy_is_not_read(tmp_path):
    policy = write(tmp_path / "policy")
    os.mkfifo(policy.llm_dir / "config.json")
    with pytest.raises(ArlError, match="neither a file nor a folder"):
        Policy.open(policy.path)


def test_a_policy_is_written_where_a_link_leads(tmp_path):
    write(tmp_path / "there", b"old")
    (tmp_path / "link").symlink_to("there")
    policy = write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and policy.version == Policy.open(tmp_path / "there").version
    policy.verify()


def test_a_flipped_bit_anywhere_in_a_policy_is_noticed(tmp_path):
    def fill(folder: Path) -> None:
        for part in ("llm", "frontend", "state"):
            (folder / part).mkdir()
            (folder / part / "model.safetensors").write_bytes(b"weights")
        (folder / "llm" / "tokenizer.json").write_text("{}")

    policy = write_policy(tmp_path / "policy", FIELDS, fill)
    policy.verify()
    (policy.llm_dir / "tokenizer.json").write_text("{ }")
    with pytest.raises(ArlError, match="policy/llm: not the files that this policy was written with"):
        Policy.open(policy.path)
    (policy.llm_dir / "tokenizer.json").write_text("{}")
    (policy.llm_dir / "config.json").write_text("{}")  # one that was not there
    with pytest.raises(ArlError, match="policy/llm: not the files that this policy was written with"):
        Policy.open(policy.path)
    (policy.llm_dir / "config.json").unlink()
    policy.verify_part("state")
    for part in ("frontend", "state"):
        file = policy.path / part / "model.safetensors"
        file.write_bytes(b"weighus")
        with pytest.raises(ArlError, match=f"policy/{part}: not the files that this policy was written with"):
            policy.verify_part(part)
        (policy.path / MARKER).write_text(json.dumps({**policy.fields, "digests": {}}))
        Policy.open(policy.path).verify_part(part)  # as a policy of a version that had none
