"""The folder of a data set: what is named and not there, what leads out of it, and what lies about in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from utils.checking.findings import Findings
from utils.checking.settings import DataSettings
from utils.checking.sniffing import PICKLE, kind_of
from utils.config.yaml_reader import read_mapping
from utils.data.discovery import FEATURES_NAME, GRAPH_NAME, MMREC_KEYS, configured
from utils.data.titles import read_titles
from utils.errors import UserError, did_you_mean

CARD = "card.json"
CACHES = re.compile(r"(.*_adj.*|.*_graph.*)\.(pt|pth|npy|npz)")
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib")
FILES = ("inter_file_name", "vision_feature_file", "text_feature_file", "user_graph_dict_file")
UNSAFE = re.compile(r"tag:yaml\.org,2002:python/|!!python/")


def find_folder(settings: DataSettings, findings: Findings) -> Path | None:
    """The folder with the interactions in it; None where one of the two is missing."""
    folder, path = settings.folder, settings.folder / settings.inter_name
    if not folder.is_dir():
        parent = folder.parent
        known = [other.name for other in parent.iterdir() if other.is_dir()] if parent.is_dir() else []
        what = "it is a file, not a folder" if folder.exists() else "there is no such folder"
        fix = "put the data there, or set data_path=... to where they are"
        if settings["dataset"] == "demo":
            fix = "train once: `demo` is generated when it is first used"
        findings.error(str(folder), f"{what}{did_you_mean(folder.name, known)}", fix)
        return None
    if not path.is_file():
        found = ", ".join(sorted(file.name for file in folder.glob("*.inter"))) or "no .inter"
        what = (
            "a link that leads nowhere"
            if path.is_symlink()
            else "no such file"
            if not path.exists()
            else "no file"
        )
        findings.error(
            settings.inter_name,
            f"{what} in {folder}, found {found}",
            "put it there, or correct inter_file_name",
        )
        return None
    return folder


def check_paths(settings: DataSettings, folder: Path, findings: Findings) -> bool:
    """Whether all files that YAML names are of this data set; what leaves data_path is not opened."""
    inside = True
    for setting, text in _named(settings):
        inside &= _check_inside(settings.origin(setting), setting, text, folder, findings)
    return inside


def _named(settings: DataSettings) -> Iterator[tuple[str, str]]:
    for name in FILES:
        if settings[name]:
            yield name, settings[name]
    if isinstance(settings["modalities"], Mapping):
        for entry in settings["modalities"].values():
            for text in entry.values() if isinstance(entry, Mapping) else [entry]:
                if isinstance(text, str):
                    yield "modalities", text


def _check_inside(origin: str, setting: str, text: str, folder: Path, findings: Findings) -> bool:
    """By the path as it is written; where links lead is looked at below."""
    parts: list[str] = []
    depth, lowest = 0, 0
    for part in Path(text).parts:
        depth += -1 if part == ".." else 1
        lowest = min(lowest, depth)
        parts.append(part)
    fix = f"name a file in {folder}, and copy or link it there"
    if Path(text).is_absolute() or "\0" in text or lowest < -1:
        findings.error(origin, f"{setting} is {text!r}, which leaves the data folder", fix)
        return False
    if lowest == -1:
        findings.warning(origin, f"{setting} is {text!r}, a file of another data set", fix)
    return True


def check_files(settings: DataSettings, folder: Path, findings: Findings) -> None:
    """Links, caches, pickles and files that are none, of everything in the folder."""
    features = [path.stat().st_mtime for path in folder.glob("*_feat.npy") if path.is_file()]
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            _check_link(path, folder, findings)
        if not path.is_file():
            if not path.is_dir() and not path.is_symlink():
                findings.error(path.name, "it is no regular file", "remove it")
            elif FEATURES_NAME.fullmatch(path.name) or GRAPH_NAME.fullmatch(path.name):
                what = "a folder" if path.is_dir() else "a link that leads nowhere"
                findings.warning(
                    path.name, f"it is {what}, so the modality is left out", "put the file there"
                )
        elif path.suffix in PICKLED or CACHES.fullmatch(path.name):
            _report_cache(path, features, findings)
        elif path.suffix == ".npy" and _kind(path) == PICKLE and not FEATURES_NAME.fullmatch(path.name):
            findings.warning(path.name, "it is a Python pickle, which is never loaded here", "remove it")


def _check_link(path: Path, folder: Path, findings: Findings) -> None:
    target = path.resolve()
    if not target.is_relative_to(folder.resolve()):
        findings.warning(
            path.name,
            f"a link that leads out of the folder, to {target}",
            "make sure that you set it; else copy the file",
        )


def _report_cache(path: Path, features: list[float], findings: Findings) -> None:
    what = "a cache of MMRec's or a pickle, never read here"
    if features and path.stat().st_mtime < max(features) and CACHES.fullmatch(path.name):
        findings.warning(
            path.name, f"stale: {what}, and older than the features; MMRec would go on using it", "remove it"
        )
    else:
        findings.note(path.name, what)


def _kind(path: Path) -> str | None:
    try:
        return kind_of(path)
    except OSError:
        return None


def check_yamls(settings: DataSettings, folder: Path, findings: Findings) -> None:
    """YAML in the folder: never read by training, but by whoever copies it to where MMRec looks."""
    for name in settings.unknown:
        findings.warning(
            settings.yaml,
            f"unknown setting '{name}': a model without it refuses to start",
            "correct or remove it",
        )
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if not path.is_file():
            continue
        try:
            content = read_mapping(path, path.name)
        except UserError as error:
            report_yaml(path.name, error, findings)
            continue
        for key in FILES:
            if isinstance(content.get(key), str):
                _check_inside(path.name, key, content[key], folder, findings)
        _compare_yaml(path.name, content, settings, findings)


def report_yaml(where: str, error: UserError, findings: Findings) -> None:
    """An unsafe tag is one of YAML that would call Python; the safe loader refuses it."""
    text = str(error)
    if UNSAFE.search(text):
        what = (
            f"{text.removeprefix(where).lstrip(',: ')}: code where YAML is read unsafely; it is not run here"
        )
        findings.error(where, what, "remove the tag, and mistrust the file")
    else:
        findings.refusal(where, UserError(text.removeprefix(where).lstrip(",: ")))


def _compare_yaml(where: str, content: Mapping[str, Any], settings: DataSettings, findings: Findings) -> None:
    for name in (
        "inter_file_name",
        "USER_ID_FIELD",
        "ITEM_ID_FIELD",
        "inter_splitting_label",
        "field_separator",
    ):
        mine = settings.inter_name if name == "inter_file_name" else settings[name]
        theirs = "\t" if content.get(name) == "\\t" else content.get(name)
        if theirs is not None and theirs != ("\t" if mine == "\\t" else mine):
            findings.warning(
                where,
                f"{name} is {content[name]!r} there and {mine!r} in force: a YAML beside the data is not read",
                f"copy it to src/configs/{settings.yaml}",
            )


def modality_files(
    settings: DataSettings, folder: Path, findings: Findings
) -> dict[str, tuple[Path, dict[int, Path]]]:
    """Features and graphs by modality, there or not, as the program finds them; what is named and absent is told."""
    try:
        sources = configured(settings, folder)
    except UserError as error:
        findings.refusal(settings.origin("modalities"), error)
        return {}
    wanted = settings["modalities"]
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    graphs: dict[str, dict[int, Path]] = {}
    for match in filter(None, map(GRAPH_NAME.fullmatch, files)):
        graphs.setdefault(match["name"], {})[int(match["k"])] = folder / match[0]
    found = {name: (one.features, graphs.get(name, {}) | one.graphs) for name, one in sources.items()}
    for name, one in sources.items():
        for path in one.named:
            if not path.is_file():
                findings.error(
                    settings.origin("modalities"),
                    f"modality {name} names {path.name}, which is not there",
                    "correct the name, or leave it out",
                )
    if isinstance(wanted, list) or not sources:
        named = {match["name"] for match in map(FEATURES_NAME.fullmatch, files) if match} | set(graphs)
        found = {name: (folder / f"{name}_feat.npy", graphs.get(name, {})) for name in sorted(named)} | found
    return _wanted(settings, found, folder, findings)


def _wanted(
    settings: DataSettings, found: dict[str, tuple[Path, dict[int, Path]]], folder: Path, findings: Findings
) -> dict[str, tuple[Path, dict[int, Path]]]:
    wanted = settings["modalities"]
    there = {
        name: files
        for name, files in found.items()
        if any(p.is_file() for p in (files[0], *files[1].values()))
    }
    if isinstance(wanted, list):
        for name in wanted:
            if name not in there:
                findings.error(
                    settings.origin("modalities"),
                    f"no files of modality '{name}'{did_you_mean(name, there)}",
                    f"put {name}_feat.npy into {folder}, or leave it out",
                )
        return {name: there[name] for name in wanted if name in there}
    for name in [name for name in found if name not in there]:
        # A data set without any content may be meant so; one with half of what its YAML names is half a download.
        meant = name in MMREC_KEYS and not settings["modalities"] and not there
        (findings.note if meant else findings.warning)(
            found[name][0].name,
            f"not there, so modality '{name}' is left out",
            "put it there where a model needs it",
        )
    return there


def check_titles(settings: DataSettings, folder: Path, n_items: int, findings: Findings) -> None:
    try:
        read_titles(folder, n_items, settings["ITEM_ID_FIELD"])
    except UserError as error:
        text = str(error).replace(f"{folder}/", "")
        where, _, rest = text.partition(": ")
        if not rest:
            where, _, rest = text.partition(" ")
        findings.refusal(where, UserError(rest))


def read_card(folder: Path, findings: Findings) -> dict[str, Any]:
    """The data card of `prepare`, {} without one."""
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(card, dict):
            return card
        error: object = "no mapping"
    except (OSError, ValueError, RecursionError) as caught:
        error = caught
    findings.warning(CARD, f"cannot be read: {error}", "prepare the data again, or remove the card")
    return {}
