"""What a file is by its first bytes, whatever its name says. Nothing is unpacked and nothing unpickled."""

from __future__ import annotations

from pathlib import Path

HEAD = 512
TAR_AT = 257  # where a tar archive says what it is

KINDS = (
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"<!DOCTYPE", "a web page, as a download that needs a login leaves"),
    (b"<!doctype", "a web page, as a download that needs a login leaves"),
    (b"<html", "a web page, as a download that needs a login leaves"),
    (b"version https://git-lfs", "a Git LFS pointer, which stands for the file"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
PICKLE = "a Python pickle"
PICKLE_OPCODES = b"}]()cKX\x8c\x95c"  # what follows the two bytes of the protocol


def kind_of(path: Path) -> str | None:
    """In words; None for what has no mark, such as plain text. Raises OSError.

    A zip archive is what an .npz is too, and what torch.save writes.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD)
    for mark, kind in KINDS:
        if head.startswith(mark):
            return kind
    if head[TAR_AT : TAR_AT + 5] == b"ustar":
        return "a tar archive"
    if len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5 and head[2:3] in PICKLE_OPCODES:
        return PICKLE
    return None


def advice(kind: str, wanted: str) -> str:
    """How to make of it what is wanted."""
    if "archive" in kind or kind.split()[1] in ("gzip", "bzip2", "xz", "zstd"):
        return f"unpack it yourself and put {wanted} in its place; nothing is unpacked here"
    if kind == PICKLE:
        return f"never load a pickle of others, it can run any code; get {wanted} from its maker"
    if "download" in kind or "LFS" in kind:
        return f"download the file again, so that it is {wanted}"
    return f"put {wanted} in its place"
