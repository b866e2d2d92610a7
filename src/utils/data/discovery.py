"""Which modalities a data set has: by its settings, or else by the names of the files in its folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.data.modality_files import ModalityFiles
from utils.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from utils.config import Config

MMREC_KEYS = {"image": "vision_feature_file", "text": "text_feature_file"}
NAME = r"[^./\\][^/\\]*"  # a part of file names, and not of hidden ones
FEATURES_NAME = re.compile(rf"(?P<name>{NAME})_feat\.npy")
GRAPH_NAME = re.compile(rf"(?P<name>{NAME})_knn(?P<k>[0-9]+)\.npz")


@dataclass
class Source:
    """Files of a modality, there or not: raw features, and graphs by their number of neighbours."""

    features: Path
    graphs: dict[int, Path] = field(default_factory=dict)
    named: tuple[Path, ...] = ()
    """Those of them that a mapping `modalities` names, which have to be there."""

    @property
    def present(self) -> bool:
        return any(path.is_file() for path in (self.features, *self.graphs.values()))


def find_modalities(
    config: Config, folder: Path, n_items: int, warn: Callable[[str], None]
) -> dict[str, ModalityFiles]:
    """Files of the modalities by name.

    In the order of a list of names, else image, text, then the others as they stand. One that only MMRec's keys
    name, without a file being there, is left out with a warning. Raises UserError.
    """
    wanted = config["modalities"]
    sources = configured(config, folder)
    if isinstance(wanted, list) or not sources:
        sources = _by_name(folder) | sources
    elif wanted is None:
        for name in sorted(set(_by_name(folder)) - set(sources)):
            warn(
                f"modality '{name}' has files in {folder} and is left out; modalities=[...] names all to be read"
            )
    for name in sources:
        _check_named(name, sources[name])
        sources[name].graphs = _graphs(folder, name) | sources[name].graphs
    if isinstance(wanted, list):
        names = _check_known(wanted, [name for name in sources if sources[name].present], folder)
    else:
        names = _leave_out(config, sources, folder, warn)
    found = {name: sources[name] for name in names}
    return {
        name: ModalityFiles(name, config["dataset"], n_items, source.features, source.graphs, warn)
        for name, source in found.items()
    }


def configured(config: Config, folder: Path) -> dict[str, Source]:
    """What MMRec's two keys and a mapping `modalities` name, there or not. Raises UserError."""
    sources = {name: Source(folder / config[key]) for name, key in MMREC_KEYS.items() if config[key]}
    if isinstance(config["modalities"], Mapping):
        entries = config["modalities"].items()
        sources |= {str(name): _read_entry(str(name), entry, folder) for name, entry in entries}
    return sources


def _check_named(name: str, source: Source) -> None:
    for path in source.named:
        if not path.is_file():
            raise UserError(f"modalities: {path} of {name} is not there; correct the name, or leave it out")


def _read_entry(name: str, entry: Any, folder: Path) -> Source:
    """Of the mapping's values `file` and `{features: file, graph: file}`."""
    if isinstance(entry, str):
        entry = {"graph" if entry.endswith(".npz") else "features": entry}
    expected = f"modalities: {name} expects a file, or {{features: file, graph: file}}, got"
    if not (isinstance(entry, Mapping) and entry and all(isinstance(file, str) for file in entry.values())):
        raise UserError(f"{expected} {entry!r}")
    for key in entry:
        if key not in ("features", "graph"):
            raise UserError(f"{expected} '{key}'{did_you_mean(str(key), ('features', 'graph'))}")
    if not re.fullmatch(NAME, name):
        raise UserError(f"modalities: {name!r} is no name; expected one without slashes or a leading dot")
    graphs = _named_graph(name, folder / entry["graph"]) if "graph" in entry else {}
    named = tuple(folder / file for file in entry.values())
    return Source(folder / entry.get("features", f"{name}_feat.npy"), graphs, named)


def _named_graph(name: str, path: Path) -> dict[int, Path]:
    match = re.search(r"knn([0-9]+)\.npz$", path.name)
    if not match:
        raise UserError(
            f"modalities: graph {path.name} of {name} does not say its number of neighbours; "
            f"expected a name that ends in knn<k>.npz, such as {name}_knn10.npz"
        )
    return {int(match[1]): path}


def _by_name(folder: Path) -> dict[str, Source]:
    """Modalities whose files have the usual names."""
    matches = (pattern.fullmatch(file) for file in _files(folder) for pattern in (FEATURES_NAME, GRAPH_NAME))
    names = {match["name"] for match in matches if match}
    return {name: Source(folder / f"{name}_feat.npy") for name in sorted(names)}


def _graphs(folder: Path, name: str) -> dict[int, Path]:
    matches = (GRAPH_NAME.fullmatch(file) for file in _files(folder))
    return {int(match["k"]): folder / match[0] for match in matches if match and match["name"] == name}


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():  # inter_file_name may point to elsewhere
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def _check_known(wanted: Sequence[str], available: Sequence[str], folder: Path) -> list[str]:
    for name in wanted:
        if name not in available:
            known = f"available: {', '.join(available)}" if available else "there is none"
            raise UserError(
                f"modalities: no files of '{name}' in {folder}; {known}{did_you_mean(name, available)}"
            )
    return list(dict.fromkeys(wanted))


def _leave_out(
    config: Config, sources: Mapping[str, Source], folder: Path, warn: Callable[[str], None]
) -> list[str]:
    """Names of the modalities with files, image and text first; a warning for each of the others.

    Raises UserError for one that the run itself names; a data set's YAML names what it may have.
    """
    for name, source in sources.items():
        if not source.present:
            files = f"{source.features.name} or {name}_knn<k>.npz"
            key = MMREC_KEYS.get(name)
            if key and config[key] and not config.origin(key).removesuffix(" (grid)").endswith(".yaml"):
                raise UserError(
                    f"{key}={config[key]} ({config.origin(key)}) is not in {folder}; correct the name, or leave it out"
                )
            warn(f"modality '{name}' left out, as its files are not in {folder}: {files}")
    first = {name: place for place, name in enumerate(MMREC_KEYS)}
    present = [name for name, source in sources.items() if source.present]
    return sorted(present, key=lambda name: first.get(name, len(first)))
