"""The page, in a real browser."""

from __future__ import annotations

import re
import shutil

import pytest
from boards import Lab

from utils.leaderboard import drawing
from utils.leaderboard.foreign import add_foreign
from utils.leaderboard.insights import insights
from utils.leaderboard.page import page
from utils.leaderboard.selection import leaderboard

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    root = tmp_path_factory.mktemp("lab")
    lab = Lab(root)
    lab.data_set("baby")
    lab.data_set("tiny", seed=2)
    for seed in (1, 2):
        lab.trial("BPR", "baby", 0.5, seed)
        for size in (16, 32, 64):
            lab.trial("VBPR", "baby", 1 - size / 100, seed, point={"embedding_size": size}, cost=9.0)
    lab.trial("BPR", "tiny")
    lists = root / "lists.csv"
    lists.write_text(
        "userID,itemID\n" + "".join(f"{user},{item}\n" for user in range(60) for item in range(50))
    )
    baby, tiny = leaderboard(lab.store)
    return [add_foreign(baby, "<i>Other & Co</i>", lists), tiny]


def looked_into(boards):
    return {board.dataset: insights(board) for board in boards}


@pytest.fixture(scope="module")
def text(boards):
    return page(boards, looked_into(boards))


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no chromium or google-chrome")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(params=["light", "dark", "narrow"])
def tab(request, browser, text, tmp_path):
    """The page, open, with what it complained of and asked for."""
    (tmp_path / "page.html").write_text(text)
    width = 390 if request.param == "narrow" else 1280
    scheme = "dark" if request.param == "dark" else "light"
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.complaints, tab.requests = [], []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda one: tab.requests.append(one.url))
    tab.goto((tmp_path / "page.html").as_uri())
    yield tab
    tab.close()


def column(tab, number, table="#board-1 table.sortable >> nth=0"):
    return tab.locator(table).locator(f"tbody tr td:nth-child({number})").all_inner_texts()


def test_it_renders_without_complaint_or_request(tab, boards):
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []
    assert tab.locator("h2").all_inner_texts() == ["baby", "tiny"]
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.get_by_text(boards[0].sentences()[0]).count() == 1
    assert column(tab, 1)[0] == boards[0].rows[0].model and "<i>Other & Co</i>" in column(tab, 1)


def test_a_click_sorts_and_a_second_one_reverses(tab):
    header = tab.locator("#board-1 table.sortable >> nth=0").locator("th", has_text="recall@20").first
    number = 1 + tab.locator("#board-1 table.sortable >> nth=0").locator("th").all_inner_texts().index(
        "recall@20"
    )
    header.get_by_role("button").click()
    falling = [float(value.split()[0]) for value in column(tab, number)]
    assert falling == sorted(falling, reverse=True) and header.get_attribute("aria-sort") == "descending"
    header.get_by_role("button").click()
    rising = [float(value.split()[0]) for value in column(tab, number)]
    assert rising == sorted(falling) and header.get_attribute("aria-sort") == "ascending"

    model = tab.locator("#board-1 th", has_text="model").first
    model.get_by_role("button").click()
    assert column(tab, 1) == sorted(column(tab, 1), key=str.casefold)
    assert header.get_attribute("aria-sort") is None
    assert tab.complaints == []


def test_what_is_missing_is_last_in_either_order(tab):
    table = tab.locator("#board-1 table.sortable >> nth=0")
    number = 1 + table.locator("th").all_inner_texts().index("peak MB")
    for _ in range(2):
        table.locator("th", has_text="peak MB").get_by_role("button").click()
        assert column(tab, number)[-1] == "-" and column(tab, number).count("-") == 1


def test_plots_are_there_with_names_and_text(tab):
    names = [svg.get_attribute("aria-label") for svg in tab.locator("svg").all()]
    for part in (
        "by model",
        "lead of",
        "by epoch",
        "against the time",
        "by embedding_size",
        "interactions",
        "popular",
    ):
        assert any(part in name for name in names)
    assert tab.locator("svg").first.locator("text").count() > 3
    assert all(box["width"] > 100 for box in (svg.bounding_box() for svg in tab.locator("svg").all()))


def test_text_and_axes_have_the_colour_of_the_page(tab):
    ink = tab.evaluate("getComputedStyle(document.body).color")
    fills = tab.evaluate(
        "[...document.querySelectorAll('svg text')].map(text => getComputedStyle(text).fill)"
    )
    assert ink in fills and "rgb(0, 0, 0)" not in fills


def test_it_is_one_file_and_the_same_for_the_same_store(text, boards):
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", text.replace('xlink:href="#', ""))
    assert "<i>Other" not in text and "&lt;i&gt;Other" in text
    assert page(boards, looked_into(boards)) == text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)


def test_placeholders_of_colours_are_gone(text):
    assert not any(colour in text for colour in drawing.VARIABLES)


def test_a_board_of_one_model_without_anything_kept(tmp_path):
    lab = Lab(tmp_path)
    lab.data_set("tiny")
    lab.trial("BPR", kept=(), test={"recall@20": 0.0})
    boards = leaderboard(lab.store)
    html = page(boards, looked_into(boards))
    assert "No analysis of the lists of BPR" in html and "by model" in html
