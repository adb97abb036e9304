"""Where a model's files are: turns the `model` setting into a path on this machine.

    package://PACKAGE/FILE     a file shipped inside an installed Python package
    file:///PATH               an absolute path
    pvc://CLAIM/PATH           a Kubernetes volume, mounted at /models/CLAIM
    hf://ORG/REPO[/FILE]       a Hugging Face repository (or one file of it), downloaded and cached
    PATH                       a .gguf file, or a folder with config.json and *.safetensors

A folder without config.json that holds exactly one .gguf file stands for that file. No weights
are read here, and no torch is imported.
"""

import importlib.util
from pathlib import Path
from urllib.parse import unquote

from pagelet_engine.errors import ModelLoadError

DUMMY_SCHEME = "dummy://"
SCHEMES = "package://, file://, pvc://, hf://, dummy:// or a plain path"
VOLUME_ROOT = Path("/models")
_HUB_PATTERNS = ("*.safetensors", "*.json", "tokenizer*", "*.jinja", "merges.txt", "vocab.txt")


def is_dummy(source: str) -> bool:
    """Whether `source` asks for random weights of a known shape, which have no files."""
    return source.startswith(DUMMY_SCHEME)


def resolve_source(source: str, revision: str | None = None) -> Path:
    """Return the .gguf file or the model folder that `source` names, downloading if it must.

    Args:
        source: One of the forms in the module docstring.
        revision: Commit, branch or tag of a hub repository; ignored by the other schemes.

    Raises:
        ModelLoadError: Nothing usable is there; the message says where was looked and what to do.
    """
    scheme, separator, rest = source.partition("://")
    if not separator:
        return _model_at(Path(source).expanduser(), source)
    match scheme:
        case "package":
            return _model_at(_package_path(source, rest), source)
        case "file":
            return _model_at(_file_path(source, rest), source)
        case "pvc":
            return _model_at(_contained(VOLUME_ROOT, rest, source), source)
        case "hf":
            return _model_at(_hub_path(source, rest, revision), source)
    raise ModelLoadError(f"Model source {source!r} cannot be read here; use {SCHEMES}.")


def _model_at(path: Path, source: str) -> Path:
    if path.is_file():
        if path.suffix == ".gguf":
            return path
        raise ModelLoadError(
            f"Model source {source!r} is the file {path}, which is not a .gguf file. Name a .gguf "
            f"file, or the folder that holds config.json and *.safetensors."
        )
    if not path.is_dir():
        raise ModelLoadError(f"Model source {source!r}: there is no file or folder {path}.")
    if (path / "config.json").is_file():
        return path
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return files[0]
    found = ", ".join(file.name for file in files[:5]) or "no .gguf file"
    raise ModelLoadError(
        f"Model source {source!r}: the folder {path} holds no config.json and {found}. Point at "
        f"one .gguf file, or at a folder with config.json and *.safetensors."
    )


def _package_path(source: str, rest: str) -> Path:
    package, _, file = rest.partition("/")
    if not package.isidentifier() or not file:
        raise ModelLoadError(f"Model source {source!r} must read package://PACKAGE/FILE.")
    # A top-level name only: finding a dotted one would import, and so run, its parent.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelLoadError(
            f"Model source {source!r}: no Python package {package!r} is installed; install the "
            f"distribution that ships the model."
        )
    return _contained(Path(next(iter(spec.submodule_search_locations))), file, source)


def _file_path(source: str, rest: str) -> Path:
    path = Path(unquote(rest))
    if not path.is_absolute():
        raise ModelLoadError(
            f"Model source {source!r} must hold an absolute path, as in file:///srv/model.gguf."
        )
    return path


def _contained(root: Path, relative: str, source: str) -> Path:
    parts = Path(unquote(relative)).parts
    if not parts or ".." in parts or Path(*parts).is_absolute():
        raise ModelLoadError(f"Model source {source!r} must name a path below {root}.")
    return root.joinpath(*parts)


def _hub_path(source: str, rest: str, revision: str | None) -> Path:
    parts = rest.strip("/").split("/")
    if len(parts) < 2 or not all(parts):
        raise ModelLoadError(
            f"Model source {source!r} must read hf://ORG/REPO or hf://ORG/REPO/FILE."
        )
    # Imported late: it takes a tenth of a second, and most sources never need it.
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, file = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        if file:
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=list(_HUB_PATTERNS)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelLoadError(
            f"Model source {source!r} could not be downloaded: {error}. Check the name, the "
            f"revision ({revision or 'default'}), the network, and HF_TOKEN for gated models."
        ) from error
    return Path(folder)
