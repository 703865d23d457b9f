"""Model bundles: a folder with `bundle.json` and the files it lists, each with its sha256.

`docs/design.md` has the format. A bundle is verified before its first use in a run: a network that is
half-copied or made for other inputs would still give numbers, and they would be wrong.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cgiaa_cli.config import read_config, set_value
from cgiaa_cli.errors import BundleError, UsageError
from cgiaa_cli.paths import escape

__all__ = [
    "ENCODER",
    "FORMAT",
    "MANIFEST",
    "About",
    "Bundle",
    "add",
    "chosen",
    "default_folder",
    "installed",
    "load",
    "models_folder",
    "record",
    "use",
    "verify_files",
    "write_bundle",
]

FORMAT = 1
MANIFEST = "bundle.json"
ENCODER = "encoder.onnx"
DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Bundle:
    """One model bundle.

    Attributes:
        name, version: as its maker called it; two networks may be called the same, see `scorer`.
        folder: where its files are.
        manifest: the parsed bundle.json.
    """

    name: str
    version: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def encoder(self) -> Path:
        """The network."""
        return self.folder / ENCODER

    @property
    def preprocess_hash(self) -> str:
        """Hash of the preprocessing the network was trained with."""
        return str(self.manifest["preprocess_hash"])

    @property
    def scorer(self) -> tuple[str, str, str]:
        """What the cache keeps its scores under: name, version with the network's hash, preprocessing.

        The hash is there because a network that was trained again is easily exported under its old name and
        version, and its scores must not mix with the old one's.
        """
        return self.name, f"{self.version}+{str(self.manifest['files'][ENCODER])[:12]}", self.preprocess_hash

    @property
    def text(self) -> dict[str, Any]:
        """What writes, judges and reads critiques, see docs/design.md; empty: this bundle only scores."""
        return dict(self.manifest.get("text", {}))

    @property
    def results(self) -> dict[str, Any]:
        """What was measured of it, as its makers wrote it down."""
        return dict(self.manifest.get("results", {}))

    def measured(self) -> list[str]:
        """`results` for people, a line each: `oasis_scenes score: srcc 0.769 (95 %: 0.704 to 0.821), n 220`."""
        return [f"{name}: {_described(value)}" for name, value in self.results.items()]


def _described(value: object) -> str:
    if not isinstance(value, dict):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    parts = []
    for name, number in value.items():
        if name.endswith("_95") and name.removesuffix("_95") in value:
            continue  # said beside the number it belongs to
        between = value.get(f"{name}_95")
        limits = f" (95 %: {between[0]:.4g} to {between[1]:.4g})" if isinstance(between, list) else ""
        parts.append(f"{name} {_described(number)}{limits}")
    return ", ".join(parts)


def default_folder() -> Path:
    """The bundle that comes with this program."""
    return Path(__file__).parent / DEFAULT


def models_folder() -> Path:
    """Where added bundles are kept, one folder per name."""
    from platformdirs import user_data_path

    return user_data_path("cgiaa", appauthor=False) / "models"


def chosen() -> str:
    """The name or path in force without --model: CGIAA_MODEL, the config file, or `default`."""
    return os.environ.get("CGIAA_MODEL") or read_config().model or DEFAULT


def installed() -> dict[str, Path]:
    """Every name that `load` knows, with its folder; the bundles are not looked into."""
    found = {DEFAULT: default_folder()} if (default_folder() / MANIFEST).is_file() else {}
    if models_folder().is_dir():
        for folder in sorted(models_folder().iterdir()):
            if _NAME.fullmatch(folder.name) and (folder / MANIFEST).is_file():
                found[folder.name] = folder
    return found


def load(name_or_path: str | None = None, *, verify: bool = True) -> Bundle:
    """Find a bundle and check that it is whole and made for this program.

    Args:
        name_or_path: what --model says: an installed name, or a folder with one bundle in or below it.
            None: see `chosen`.
        verify: compare every file with its sha256.

    Raises:
        BundleError: there is none, or it is damaged, or of an unknown format, or made for other inputs.
    """
    folder = _find(name_or_path or chosen())
    manifest = _read_manifest(folder)
    bundle = Bundle(str(manifest["name"]), str(manifest["version"]), folder, manifest)
    if verify:
        verify_files(bundle)
    return bundle


def _find(name: str) -> Path:
    if name in (known := installed()):
        return known[name]
    if name == DEFAULT:
        raise BundleError(
            "this installation has no model bundle",
            path=escape(default_folder()),
            mend="reinstall cgiaa, or name a bundle with --model",
        )
    path = Path(name).expanduser()  # in the config file no shell does it
    if not os.path.isdir(path):  # unlike Path.is_dir it does not mind a name that is too long
        raise BundleError(
            "no model bundle of that name, and no such folder",
            path=escape(name),
            mend="see: cgiaa models list",
        )
    if (path / MANIFEST).is_file():
        return path
    below = sorted(path.rglob(MANIFEST))
    if len(below) != 1:
        raise BundleError(
            f"{len(below)} model bundles below this folder" if below else f"no {MANIFEST} in or below it",
            path=escape(path),
            mend=f"name the folder that holds the {MANIFEST} you mean",
        )
    return below[0].parent


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    again = "get the bundle again, or choose another with --model"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BundleError(error.strerror or "cannot be read", path=escape(path), mend=again) from error
    except ValueError as error:
        raise BundleError(f"not JSON ({error})", path=escape(path), mend=again) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        said = manifest.get("format") if isinstance(manifest, dict) else None
        raise BundleError(
            f"bundle format {said!r} is not one this version knows (it knows {FORMAT})",
            path=escape(path),
            mend="update cgiaa, or choose another bundle with --model",
        )
    for key, kind in (("name", str), ("version", str), ("preprocess_hash", str), ("files", dict)):
        if not isinstance(manifest.get(key), kind):
            raise BundleError(f"key '{key}' is missing or of the wrong type", path=escape(path), mend=again)
    if ENCODER not in manifest["files"]:
        raise BundleError(f"it lists no {ENCODER}", path=escape(path), mend=again)
    for name in manifest["files"]:
        if not _inside(name):
            raise BundleError(f"file name {name!r} leads out of the bundle", path=escape(path), mend=again)
    _check_preprocess(manifest, path)
    return manifest


def _inside(name: str) -> bool:
    """Whether a file of this name lies in the bundle's folder, or in a folder of it."""
    parts = name.split("/")
    return len(parts) <= 2 and all(part == Path(part).name and part not in ("", ".", "..") for part in parts)


def _check_preprocess(manifest: dict[str, Any], path: Path) -> None:
    from cgiaa_cli.imaging.preprocess import preprocess_hash

    if manifest["preprocess_hash"] != preprocess_hash():
        raise BundleError(
            f"made for preprocessing {manifest['preprocess_hash']}, this program has {preprocess_hash()}",
            path=escape(path),
            mend="use the version of cgiaa it was made with, or train it again",
        )


def verify_files(bundle: Bundle) -> None:
    """Compare every file of the bundle with its sha256.

    Raises:
        BundleError: a file is missing or not the one that was written.
    """
    again = "get the bundle again, or choose another with --model"
    for name, expected in bundle.manifest["files"].items():
        path = bundle.folder / name
        try:
            actual = _sha256(path)
        except FileNotFoundError:
            raise BundleError("missing from the bundle", path=escape(path), mend=again) from None
        except OSError as error:
            raise BundleError(error.strerror or "cannot be read", path=escape(path), mend=again) from error
        if actual != expected:
            raise BundleError(
                f"sha256 is {actual[:12]}..., {MANIFEST} says {str(expected)[:12]}...",
                path=escape(path),
                mend=again,
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add(path: str, *, name: str | None = None, force: bool = False) -> Bundle:
    """Copy the bundle in or below `path` into the user's data folder, under `name` or its own name.

    It appears there whole or not at all. Adding the same bundle twice changes nothing.

    Raises:
        BundleError: the bundle is not sound, or (without `force`) another one has that name.
        UsageError: the name is not one that can be given.
    """
    source = load(str(Path(path).absolute()))
    name = name or source.name
    if not _NAME.fullmatch(name) or name == DEFAULT:
        raise UsageError(f"'{name}' cannot be the name of an added bundle", mend="give another with --name")
    target = models_folder() / name
    if target.exists() and not force:
        if not _same(source.folder, target):
            raise BundleError(
                f"another bundle is named '{name}' already",
                path=escape(target),
                mend="give another name with --name, or replace it with --force",
            )
        return load(name)
    try:
        with _appearing(target) as temporary:
            for file in (MANIFEST, *source.manifest["files"]):
                (temporary / file).parent.mkdir(exist_ok=True)
                shutil.copyfile(source.folder / file, temporary / file)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the command line has words for a full disk
        cause = f"it cannot be written: {error.strerror or error}"
        raise BundleError(cause, path=escape(target), mend="make its folder writable") from error
    return load(name)


def _same(one: Path, other: Path) -> bool:
    """The manifest holds the hash of every file, so equal manifests are equal bundles."""
    try:
        return (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
    except OSError:
        return False


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `target` when the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):  # a rename may reach the disk before the bytes do
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if target.exists():
            os.rename(target, old)
        os.rename(temporary, target)
    except BaseException:
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def use(name: str) -> Path:
    """Make `name` (or the bundle in a folder) the one for later runs; returns the config file written."""
    bundle = load(name)
    return set_value("model", name if name in installed() else str(bundle.folder.absolute()))


def record(bundle: Bundle, results: Mapping[str, Any]) -> None:
    """Write measured results into the manifest, beside those of other names that stand there."""
    path = bundle.folder / MANIFEST
    manifest = bundle.manifest | {"results": bundle.results | dict(results)}
    temporary = path.with_name(f".{MANIFEST}.{os.getpid()}")
    temporary.write_text(_manifest_text(manifest), "utf-8")
    os.replace(temporary, path)


def _manifest_text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class About:
    """What the maker of a bundle says of it in bundle.json.

    Attributes:
        training_data, weights: `{"name", "licence", "use"}` of everything that shaped the network.
        results: what was measured of it.
        more: further keys: `precision`, `text`.
    """

    name: str
    version: str
    licence: str
    embedding_dim: int
    training_data: list[dict[str, str]]
    weights: list[dict[str, str]]
    outputs: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def write_bundle(folder: Path, about: About, files: Mapping[str, Path | bytes]) -> Bundle:
    """Write a bundle with this program's preprocessing, replacing what is in `folder`.

    Args:
        files: name in the bundle -> a file to copy, or its bytes; `encoder.onnx` must be among them.

    Returns:
        The bundle, read back and verified.
    """
    from cgiaa_cli.imaging.preprocess import PREPROCESS, preprocess_hash

    with _appearing(folder) as temporary:
        for file, content in files.items():
            (temporary / file).parent.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                (temporary / file).write_bytes(content)
            else:
                shutil.copyfile(content, temporary / file)
        manifest = {
            "format": FORMAT,
            "name": about.name,
            "version": about.version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "licence": about.licence,
            "training_data": about.training_data,
            "weights": about.weights,
            "preprocess": PREPROCESS,
            "preprocess_hash": preprocess_hash(),
            "embedding_dim": about.embedding_dim,
            "outputs": about.outputs,
            "results": about.results,
            **about.more,
            "files": {file: _sha256(temporary / file) for file in files},
        }
        (temporary / MANIFEST).write_text(_manifest_text(manifest), "utf-8")
    return load(str(folder.absolute()))
