"""Tells a model's files from other files, without reading all of them.

Weights are gigabytes and a server starts in seconds, so a digest covers each file's size and pages
spread evenly over it: files of another model, another fine-tune or another quantization differ on
nearly every page. It is a name, not a proof of integrity.
"""

import hashlib
from pathlib import Path

_PAGE_BYTES = 4096
_NUM_PAGES = 64
_SUFFIXES = frozenset({".gguf", ".safetensors", ".json", ".jinja"})


def digest_of(path: Path) -> str:
    """Return hex that is the same for the same files, wherever they lie and whatever their age.

    Args:
        path: A model's file, or the folder with its weights, configuration and tokenizer.

    Raises:
        OSError: A file cannot be read.
    """
    found = hashlib.sha256()
    files = [path] if path.is_file() else sorted(path.iterdir())
    for file in files:
        if file.suffix in _SUFFIXES and file.is_file():
            found.update(_sampled(file, b"" if path.is_file() else file.name.encode()))
    return found.hexdigest()


def _sampled(file: Path, name: bytes) -> bytes:
    size = file.stat().st_size
    found = hashlib.sha256(name + size.to_bytes(8, "big"))
    step = max(size // _NUM_PAGES, _PAGE_BYTES)
    with file.open("rb") as pages:
        for start in range(0, size, step):
            pages.seek(start)
            found.update(pages.read(_PAGE_BYTES))
        pages.seek(max(size - _PAGE_BYTES, 0))  # where trained values surely lie
        found.update(pages.read(_PAGE_BYTES))
    return found.digest()
