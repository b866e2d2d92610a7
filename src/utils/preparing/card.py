"""The data card: `card.json`, the same numbers to be read in `card.md`, and degrees as a plot in `card.svg`."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import atomic_write, write_json
from utils.preparing.facts import describe_modalities

CARD = "card.json"
FEW_DEGREES = 1_000
COLOURS = {"users": "#2a6fdb", "items": "#d9822b"}


def write_card(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the three files. Raises OSError."""
    write_json(folder / CARD, facts)
    atomic_write(folder / "card.md", lambda file: file.write(markdown(facts).encode()))
    atomic_write(folder / "card.svg", lambda file: file.write(plot(facts).encode()))


def refresh_card(folder: Path) -> None:
    """Write the card anew with the modalities that the folder has now: after features were extracted.

    Does nothing where there is no card. Raises UserError for features that do not fit, or a damaged card.
    """
    path = folder / CARD
    if not path.is_file():
        return
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        n_items = facts["items"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no card that prepare has written ({error}); prepare the data again"
        ) from error
    write_card(folder, facts | {"modalities": describe_modalities(folder, n_items)})


def row_steps(counts: Mapping[str, Any], rules: Mapping[str, Any]) -> dict[str, int]:
    """Rows by what became of them, in words; without the steps that changed nothing."""
    rounds = "1 round" if counts["rounds"] == 1 else f"{counts['rounds']} rounds"
    steps = {
        "unreadable lines left out": counts["unreadable"],
        f"duplicates left out ({rules['duplicates']} kept)": counts["duplicates"],
        f"below rating {rules['min_rating']}": counts["below"],
        f"outside the {rules['k_core']}-core ({rounds})": counts["outside_core"],
    }
    changing = {step: rows for step, rows in steps.items() if rows}
    return {"read": counts["rows"], **changing, "kept": counts["interactions"]}


def markdown(facts: Mapping[str, Any]) -> str:
    """The card as a page of Markdown."""
    name, time = facts["name"], facts["time"]
    lines = [
        f"# {name}",
        "",
        f"{facts['users']:,} users, {facts['items']:,} items, {facts['interactions']:,} interactions; density "
        f"{100 * facts['density']:.3g} %, sparsity {100 * facts['sparsity']:.4g} %."
        + (f" From {time['first_date']} to {time['last_date']} (UTC)." if time else " Without times."),
        "",
        f"Made by `prepare {facts['origin']}`; split `{facts['split']['name']}`, seed {facts['split']['seed']}"
        + (f", fold {facts['split']['fold']}" if facts["split"]["fold"] else "")
        + "".join(f"; {line}" for line in facts["split"]["told"])
        + f". Content hash `{facts['hash']}`.",
        "",
        *_table(["split", "interactions", "share", "users", "items", "from", "to"], _split_rows(facts)),
        "",
        f"Cold, in validation or test and never in training: {facts['cold']['users']:,} users (left out of the "
        f"ranking unless filter_out_cod_start_users=False), {facts['cold']['items']:,} items (ranked).",
        "",
        "## Degrees",
        "",
        *_table(
            ["interactions per", "mean", "median", "min", "max", "Gini"],
            [_degree_row(key.removeprefix("per_"), facts[key]) for key in ("per_user", "per_item")],
        ),
        "",
        "![share of users and items with at least so many interactions](card.svg)",
        "",
        "## Where it comes from",
        "",
        *_table(
            ["step", "rows"],
            [[step, f"{rows:,}"] for step, rows in row_steps(facts["rows"], facts["rules"]).items()],
        ),
        "",
        "Read from "
        + ", ".join(f"`{one['name']}` ({one['bytes']:,} bytes)" for one in facts["sources"])
        + ".",
        "",
        "## Modalities",
        "",
        *_modalities(facts["modalities"]),
        "",
        *_items(facts["item_table"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def plot(facts: Mapping[str, Any]) -> str:
    """An SVG of its own: the share of users and of items with at least so many interactions, both axes logarithmic.

    The same facts give the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    style = {"svg.fonttype": "none", "svg.hashsalt": "card", "font.size": 9, "font.family": "sans-serif"}
    with matplotlib.rc_context(style):
        figure, file = Figure(figsize=(4.6, 2.8), layout="constrained"), io.StringIO()
        axes = figure.add_subplot()
        for name, colour in COLOURS.items():
            degrees, counts = np.array(facts["degree_counts"][name])
            at_least = counts[::-1].cumsum()[::-1] / counts.sum()
            axes.step(degrees, at_least, where="pre", color=colour, lw=1.6, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        most = max(degrees[-1] for degrees, _ in facts["degree_counts"].values())
        # In words as everyone reads them, and only as many as do not run into each other.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if most < FEW_DEGREES else (1,)))
        axes.xaxis.set_major_formatter(lambda degree, _: f"{degree:,.0f}")
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("interactions, at least")
        axes.set_title(f"{facts['name']}: share of users and items", loc="left", fontsize=9)
        axes.grid(color="#dddddd", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---" if number == 0 else "---:" for number in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _split_rows(facts: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, part in facts["splits"].items():
        time, n = part["time"], part["interactions"]
        dates = [time["first_date"], time["last_date"]] if time else ["", ""]
        share = f"{100 * n / facts['interactions']:.1f} %"
        rows.append([name, f"{n:,}", share, f"{part['users']:,}", f"{part['items']:,}", *dates])
    return rows


def _degree_row(name: str, degrees: Mapping[str, float]) -> list[str]:
    numbers = [
        f"{degrees[key]:,.{digits}f}" for key, digits in (("mean", 2), ("median", 1), ("min", 0), ("max", 0))
    ]
    return [name, *numbers, f"{degrees['gini']:.3f}"]


def _modalities(modalities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not modalities:
        return ["None yet."]
    rows = []
    for name, one in modalities.items():
        listed = f" (`{one['listed']}`)" if one["listed"] and one["missing"] else ""
        norms = " / ".join(f"{one['norm'][key]:.4g}" for key in ("min", "median", "max"))
        counts = [f"{one['missing']:,}{listed}", f"{one['zero']:,}", f"{one['duplicated']:,}"]
        rows.append([name, f"{one['dimensions']:,}", one["type"], *counts, norms])
    header = [
        "modality",
        "dimensions",
        "type",
        "missing",
        "zero rows",
        "duplicated rows",
        "norm: min / median / max",
    ]
    return _table(header, rows)


def _items(table: Mapping[str, int]) -> list[str]:
    """What `items.csv` has, and what was wrong with its source."""
    if not (table["titles"] or table["texts"] or table["images"] or table["lost_images"]):
        return [f"`items.csv` has the ids of {table['items']:,} items, and no title, text or image."]
    have = ", ".join(
        f"{table[key]:,} with {word}"
        for key, word in (("titles", "a title"), ("texts", "a text"), ("images", "an image"))
    )
    troubles = {
        "repeated": "further lines of an item left out",
        "unreadable": "lines could not be read",
        "shortened": "texts shortened",
        "addresses": "images are addresses, from which nothing is downloaded",
        "lost_images": "images are not where they should be",
    }
    wrong = [f"{table[key]:,} {words}" for key, words in troubles.items() if table[key]]
    return [
        f"Of {table['items']:,} items, `items.csv` has {have}." + (f" {'; '.join(wrong)}." if wrong else "")
    ]
