#!/usr/bin/env python3
"""Checks a published log with nothing but Python's standard library.

    python3 docs/audit/tiles.py FOLDER

FOLDER holds `checkpoint` and `tile/` as https://c2sp.org/tlog-tiles lays them out: the folder `log` of a data folder,
or a copy of what a server shows below /log/. Every entry is hashed again; every tile of hashes must be what follows
from the entries, and the root what the checkpoint says. Ed25519 is not in the standard library: the signature is checked
by `aevir log checkpoint --log-key VKEY`, or by any other tool that knows signed notes.
"""

import base64
import hashlib
import pathlib
import sys

WIDTH = 256


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1: the left subtree is the largest power of two below the size."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node(root(hashes[:split]), root(hashes[split:]))


def tile(folder: pathlib.Path, level: str, index: int, width: int) -> bytes:
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    path = folder / "tile" / level / "/".join(groups)
    if width < WIDTH:
        path = path.with_name(path.name + ".p") / str(width)
    return path.read_bytes()


def entries(bundle: bytes) -> list[bytes]:
    found = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entry, bundle = bundle[2 : 2 + length], bundle[2 + length :]
        if len(entry) != length:
            raise ValueError("a bundle is cut")
        found.append(entry)
    return found


def check(folder: pathlib.Path) -> None:
    origin, size, expected = (folder / "checkpoint").read_text().split("\n")[:3]
    size = int(size)
    hashes = []
    for first in range(0, size, WIDTH):
        width = min(WIDTH, size - first)
        bundle = entries(tile(folder, "entries", first // WIDTH, width))
        if len(bundle) != width:
            raise ValueError(f"bundle {first // WIDTH} has {len(bundle)} entries, not {width}")
        hashes += map(leaf, bundle)
    found = root(hashes)
    level = 0
    while hashes:
        for first in range(0, len(hashes), WIDTH):
            part = hashes[first : first + WIDTH]
            if tile(folder, str(level), first // WIDTH, len(part)) != b"".join(part):
                raise ValueError(f"tile {level}/{first // WIDTH} does not follow from the entries")
        hashes = [root(hashes[n : n + WIDTH]) for n in range(0, len(hashes) - WIDTH + 1, WIDTH)]
        level += 1
    if base64.b64encode(found).decode() != expected:
        raise ValueError(f"the root of {size} entries is {found.hex()}, not the checkpoint's")
    print(f"{origin}: {size} entries, {level} levels of tiles, root {found.hex()}: consistent")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        check(pathlib.Path(sys.argv[1]))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"NOT consistent: {error}")
