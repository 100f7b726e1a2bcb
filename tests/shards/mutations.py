"""Damage to shards, chosen by a random generator: to the bytes of the tar, or to what its members say.

    raw = damaged(random, raw)                     # the end marker stays as it was
    members = hostile(random, members)             # to be packed with a true end marker

Left out: reading (stage_readers.py).
"""

import hashlib
import json
import struct
import tarfile
from collections.abc import Callable
from random import Random
from typing import Any

from arl.shards.marker import END, EndMarker, update_digest
from arl.shards.tar import BLOCK, CLOSING, padding

Members = list[tuple[str, bytes]]

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**31, 2**63, 10**400, 1e300, -0.0, "", "x", "\ud800", "\0", "a\nb", "é\u2028",
    "a" * 5000, [], {}, [1], ["a"], [None], [[]], {"a": 1}, {"": None}, [1e39], [-1, "a"], list(range(300)), "nan",
    "zh", "<|xx|>", [True],
)  # fmt: skip
LITERALS = (  # what `json` cannot write
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 5000, b"[" * 150 + b"]" * 150,
    b"[" * 990 + b"]" * 990, b"[" * 5000, b'{"a":' * 900 + b"1" + b"}" * 900, b'"\\ud800"', b'"\xff"',
    b"\xef\xbb\xbf{}", b"", b"\0", b"[1,]", '{"text":"a"}'.encode("utf-16"), b'{"text":"a","text":"b"}', b"1 2",
)  # fmt: skip
MARK = "\x01here\x01"
NUMBERS = (0, 1, 2, 3, 7, 8, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**36 - 1, 2**63, 10**15, 10**30)
NAMES = (
    "../x.json", "/etc/x.json", "utt-00.pkl", "utt-00.npz", "utt-00.JSON", "utt-00", ".json", "__x__.json", "__end__",
    "utt-00.json", "utt-99.json", "utt-00.key", "u\\t.json", "utt-00.00.flac", "utt-00.99999999.wav", "a/b.json",
    "utt-00.x.json", "x" * 300 + ".json", "ü.json", "utt-00.rollout.json", "utt-00.wav.json", "utt-00.npy",
)  # fmt: skip
TYPES = b"\0" + b"0123456789xgLKSVDN"


def pick(random: Random, options: Any) -> Any:
    return options[random.randrange(len(options))]


# ---- the bytes of the tar ---------------------------------------------------------------------------------------


def damaged(random: Random, raw: bytes) -> bytes:
    """One damage or more to the bytes of a shard."""
    for _ in range(random.choice((1, 1, 1, 2))):
        raw = pick(random, DAMAGE)(random, raw or bytes(BLOCK))
    return raw


def flip(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ random.randrange(1, 256)]) + raw[at + 1 :]


def cut(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw) + 1)
    return raw[: at - at % BLOCK if random.random() < 0.5 else at]


def grow(random: Random, raw: bytes) -> bytes:
    return raw + pick(random, (b"\0", b"x", bytes(BLOCK), bytes(20 * BLOCK), bytes(40 * BLOCK), raw, raw[:BLOCK]))


def insert(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw) // BLOCK + 1) * BLOCK
    return raw[:at] + pick(random, (bytes(BLOCK), bytes(2 * BLOCK), raw[:BLOCK], b"x" * BLOCK, b"x")) + raw[at:]


def remove(random: Random, raw: bytes) -> bytes:
    start = random.randrange(len(raw))
    return raw[:start] + raw[start + random.choice((1, 100, BLOCK, 2 * BLOCK)) :]


def swap(random: Random, raw: bytes) -> bytes:
    blocks = [raw[at : at + BLOCK] for at in range(0, len(raw), BLOCK)]
    a, b = random.randrange(len(blocks)), random.randrange(len(blocks))
    blocks[a], blocks[b] = blocks[b], blocks[a]
    return b"".join(blocks)


def header(random: Random, raw: bytes) -> bytes:
    """A field of a header changed, most of the time with a checksum that is right."""
    starts = [at for at in range(0, len(raw) - BLOCK + 1, BLOCK) if raw[at + 257 : at + 262] == b"ustar"]
    if not starts:
        return raw[:-1]
    at = pick(random, starts)
    block = bytearray(raw[at : at + BLOCK])
    start, size = pick(
        random, ((0, 100), (100, 8), (124, 12), (136, 12), (148, 8), (156, 1), (157, 100), (257, 8), (345, 155))
    )
    if start == 156:
        block[156] = pick(random, TYPES)
    elif start == 124:
        number = pick(random, NUMBERS)
        block[124:136] = b"%011o\0" % number if number < 8**11 else b"\x80" + (number % 2**88).to_bytes(11, "big")
    elif start in (0, 345):
        name = pick(random, NAMES).encode()[: size - 1]
        block[start : start + size] = name + bytes(size - len(name))
    else:
        block[start + random.randrange(size)] ^= random.randrange(1, 256)
    if random.random() < 0.8:
        sign(block)
    return raw[:at] + bytes(block) + raw[at + BLOCK :]


def sign(block: bytearray) -> None:
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))


def pax(random: Random, raw: bytes) -> bytes:
    """An extended header put before a member."""
    starts = [at for at in range(0, len(raw) - BLOCK + 1, BLOCK) if raw[at + 257 : at + 262] == b"ustar"]
    at = pick(random, starts) if starts else 0
    data = pick(random, PAX)
    info = tarfile.TarInfo("PaxHeader")
    info.type, info.size = bytes([pick(random, b"xxxgLK")]), pick(random, (len(data), len(data), 2**33, 10**12, 0))
    block = bytearray(info.tobuf(format=tarfile.GNU_FORMAT))
    sign(block)
    return raw[:at] + bytes(block) + data + bytes(padding(len(data))) + raw[at:]


PAX = (
    b"20 path=utt-00.json\n", b"19 path=../x.json\n", b"16 path=__end__\n", b"9999999999999999999 path=x\n",
    b"29 size=18446744073709551616\n", b"10 size=1\n", b"12 size=-1 \n", b"junk", b"", b"15 linkpath=xx\n",
    b"25 GNU.sparse.major=1.0 \n", b"11 mtime=1\n", b"9 path=\0\n",
)  # fmt: skip
DAMAGE: tuple[Callable[[Random, bytes], bytes], ...] = (
    flip,
    flip,
    cut,
    grow,
    insert,
    remove,
    swap,
    header,
    header,
    pax,
)


# ---- what the members say ---------------------------------------------------------------------------------------


def hostile(random: Random, members: Members) -> Members:
    """The members with one thing in them that is not as it should be."""
    number = random.randrange(len(members))
    name, data = members[number]
    roll = random.random()
    if roll < 0.12:
        return pick(random, REORDER)(random, members)
    if roll < 0.2:
        added = pick(random, ((f"{name.partition('.')[0]}.x.npy", hostile_npy(random)),
                              (f"{name.partition('.')[0]}.x.json", pick(random, LITERALS)),
                              (pick(random, NAMES), data)))  # fmt: skip
        return [*members[: number + 1], added, *members[number + 1 :]]
    return [*members[:number], (name, changed(random, name, data)), *members[number + 1 :]]


def changed(random: Random, name: str, data: bytes) -> bytes:
    """The bytes of a member, changed by what kind it is; now and then by none."""
    kind = name.rpartition(".")[2]
    if random.random() < 0.85:
        if kind == "json":
            return hostile_json(random, data)
        if kind == "safetensors":
            return hostile_safetensors(random, data)
        if kind in ("wav", "flac"):
            return hostile_audio(random, data)
    return pick(random, (flip, flip, cut, grow, remove))(random, data or b"\0")


def hostile_json(random: Random, data: bytes) -> bytes:
    """A value somewhere in the tree replaced, a field left out, or text that is no JSON."""
    if random.random() < 0.1:
        return pick(random, LITERALS)
    tree = {"": json.loads(data)}
    parent: Any = tree
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = pick(random, keys)
        if not isinstance(parent[key], dict | list) or not parent[key] or random.random() < 0.15:
            break
        parent = parent[key]
    roll = random.random()
    if roll < 0.15 and parent is not tree:
        del parent[key]
    elif roll < 0.8:
        parent[key] = pick(random, VALUES)
    elif roll < 0.9:
        parent[key] = MARK
        return json.dumps(tree[""]).encode().replace(json.dumps(MARK).encode(), pick(random, LITERALS))
    else:
        parent[key] = [parent[key]] * random.randrange(3)
    return json.dumps(tree[""]).encode()


def hostile_safetensors(random: Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = pick(random, list(head))
    field = pick(random, ("dtype", "shape", "data_offsets", "name", "length", "body", "many"))
    if field == "name":
        head[pick(random, ("x", "", "__metadata__", "emb", "feat"))] = head[name] if random.random() < 0.5 else 1
    elif field == "body":
        body = pick(random, (b"", body[:-1], body + b"\0", b"\xff" * len(body), b"\0\0\xc0\x7f" * (len(body) // 4)))
    elif field == "many":
        head |= {
            f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(random.choice((1, 3000)))
        }
    elif field != "length":
        some = (
            VALUES,
            ([0, 10**15], [10**9, 10**9], [-1, 8], [2**63, 2], [0, 0], [4, 8, 2]),
            ("F16", "BF16", "F64", "F8_E4M3"),
        )
        head[name][field] = pick(random, pick(random, some))
    packed = json.dumps(head).encode()
    stated = pick(random, NUMBERS) % 2**64 if field == "length" else len(packed)
    return stated.to_bytes(8, "little") + packed + body


def hostile_npy(random: Random) -> bytes:
    shape = pick(
        random, ("(2, 3)", "(1000000000000000,)", "(-1,)", "(2**40,)", "(0,)", "()", "((((", "(1e9,)", "(True,)")
    )
    kind = pick(random, ("<f4", "|O", "O", "<U1000000000", "<f99", "x", ""))
    text = pick(
        random, ("{'descr': '%s', 'fortran_order': False, 'shape': %s}\n", "{'descr': \"%s\", 'shape': %s", "[" * 900)
    )
    head = (text % (kind, shape) if "%" in text else text).encode()
    magic = pick(random, (b"\x93NUMPY\1\0", b"\x93NUMPY\2\0", b"\x93NUMPY\3\0", b"PK\3\4", b""))
    size = struct.pack("<H" if magic[6:7] == b"\1" else "<I", len(head) if random.random() < 0.8 else 60_000)
    return magic + size + head + bytes(pick(random, (0, 24, 8)))


def hostile_audio(random: Random, data: bytes) -> bytes:
    """A number in the header of a FLAC or WAV file replaced."""
    found = bytearray(data)
    if data[:4] == b"fLaC":
        at, size = pick(random, ((4, 4), (8, 2), (10, 2), (12, 3), (15, 3), (18, 4), (18, 8), (22, 4), (26, 16)))
    else:
        at, size = pick(
            random, ((4, 4), (8, 4), (12, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (40, 4))
        )
    if random.random() < 0.5:
        number = pick(random, NUMBERS) % 256**size
        found[at : at + size] = number.to_bytes(size, "big" if data[:4] == b"fLaC" else "little")
    else:
        found[at + random.randrange(size)] ^= random.randrange(1, 256)
    return bytes(found)


def shuffled(random: Random, members: Members) -> Members:
    order = list(members)
    random.shuffle(order)
    return order


def doubled(random: Random, members: Members) -> Members:
    return [*members, pick(random, members)]


def dropped(random: Random, members: Members) -> Members:
    at = random.randrange(len(members))
    return members[:at] + members[at + 1 :]


def renamed(random: Random, members: Members) -> Members:
    at = random.randrange(len(members))
    return [*members[:at], (pick(random, NAMES), members[at][1]), *members[at + 1 :]]


REORDER: tuple[Callable[[Random, Members], Members], ...] = (shuffled, doubled, dropped, renamed)


def packed(members: Members) -> bytes:
    """A tar of the members with an end marker that is true of them, whatever they are called."""
    digest, raw = hashlib.sha256(), b""
    for name, data in members:
        update_digest(digest, name, data)
        raw += one(name, data)
    keys = {name.partition(".")[0] for name, _ in members}
    return raw + one(END, EndMarker(len(keys), digest.hexdigest(), "").to_json()) + bytes(CLOSING)


def one(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(format=tarfile.PAX_FORMAT, encoding="utf-8") + data + bytes(padding(len(data)))
