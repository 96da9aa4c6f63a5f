"""The built site in browsers: what stops, what stands still, what is said, what overflows, links.

`make test ONLY=browser` runs it. UNBRAID_BROWSERS: names for Playwright, or a path.
"""

import os
from functools import partial
from itertools import product

import numpy as np
import pytest

from tools.files import ROOT

BROWSERS = os.environ.get("UNBRAID_BROWSERS", "").split()
SITE = ROOT / "build" / "site"
LESSONS = ("index.html", "notebooks/00_start_here.html", "notebooks/15_bouncing_digits.html")
PAGES = (*LESSONS, "live.html")
pytestmark = pytest.mark.skipif(not BROWSERS, reason="make test ONLY=browser opens the built site")
FILMS = ":is(.film, p:has(> .stop)):visible"
# What reaches beyond the window, and lies in nothing that scrolls.
OVERFLOW = """() => [...document.querySelectorAll("body *")].filter((part) => {
  const { width, right } = part.getBoundingClientRect();
  if (!width || right <= innerWidth + 1) return false;
  if (!part.checkVisibility({ visibilityProperty: true })) return false;
  for (let above = part; (above = above.parentElement); )
    if (/auto|scroll/.test(getComputedStyle(above).overflowX)) return false;
  return true;
}).map((part) => part.outerHTML.slice(0, 99))"""
FIGURES = """() => [...document.querySelectorAll("main img, main canvas")].filter((image) =>
  !image.closest(".film, p:has(> .stop), .hand > label:not(:has(:checked)) + div")).map((image) =>
  [image.naturalWidth ?? image.width, image.getBoundingClientRect().height])"""
UNFOLD = "document.querySelectorAll('details').forEach((part) => (part.open = true))"
AXE = ROOT / "build" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
VIOLATIONS = """async () => (await axe.run({ preload: false })).violations.map(({ id, nodes }) =>
  [id, ...nodes.map((node) => node.html.slice(0, 99))])"""
# The live page's canvases by name, and what it says; the pictures as text, alike if all pixels are.
STATE = """() => {
  const text = (selector) => document.querySelector(selector).textContent;
  const state = { shown: {}, label: {}, by: text("label:has([name=by]:checked)") };
  const says = ["says", "verdict", "from-s", "from-d", "digit-says"];
  for (const id of says) state[id] = text(`#${id}`);
  state.button = text(".exchange");
  state.link = document.querySelector("#link").hash;
  state.pressed = document.querySelector(".exchange").getAttribute("aria-pressed");
  state.how = text("[data-of=A]") + text("[data-of=B]");
  for (const canvas of document.querySelectorAll("canvas[data-show]")) {
    state.shown[canvas.dataset.show] = canvas.toDataURL();
    state.label[canvas.dataset.show] = canvas.getAttribute("aria-label");
  }
  return state;
}"""
WAIT = """async () => {  // wait_for_function asks for an eval, which the page forbids
  const isDone = () => document.body.dataset.painted === String(wanted) && !waiting.size && latents;
  for (let quiet = 0; quiet < 4; quiet = isDone() ? quiet + 1 : 0)
    await new Promise((resolve) => setTimeout(resolve, 100));
}"""


@pytest.fixture(scope="module", params=BROWSERS or [""])
def browser(request):
    """A browser, started once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as kinds:
        kind = kinds.firefox if "firefox" in request.param else kinds.chromium
        path = request.param if "/" in request.param else None
        yield kind.launch(executable_path=path, timeout=120_000)


@pytest.fixture
def visit(browser):
    """A function that opens a page of the site, unfolded; an error of a script fails the test."""
    pages, errors = [], []

    def open_page(path, width=1280, dark=False, still=False):
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
        )
        pages.append(page)
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path if "://" in path else (SITE / path).as_uri())
        page.evaluate(UNFOLD)
        if path == "live.html":
            page.wait_for_selector("body[data-ready=yes]")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not errors


def watch(page, films):
    """Of each animation: whether it moves, its word, and its height without its picture."""
    looks = []
    for film in page.locator(films).all():
        picture = film.locator("img:visible")
        picture.scroll_into_view_if_needed()
        page.wait_for_timeout(300)  # the header moves, too
        first, moves = picture.screenshot(), False
        for _ in range(3):
            page.wait_for_timeout(150)
            moves = moves or picture.screenshot() != first
        height = picture.bounding_box()["height"]
        assert height > 40
        word = film.locator("i").evaluate("(part) => getComputedStyle(part, '::after').content")
        looks.append((moves, word[1:5], film.bounding_box()["height"] - height))
    return looks


@pytest.mark.parametrize(("path", "still"), [*product(LESSONS, (False, True))])
def test_an_animation_stops_and_plays_in_its_place(visit, path, still):
    page = visit(path, still=still)
    choices = page.locator(".hand > label > input").all()  # each shows its own animation
    steps = [(page.title, FILMS)] + [(choice.check, f".hand {FILMS}") for choice in choices[1:]]
    for step, films in steps:
        step()
        boxes = page.locator(films).locator("input").all()
        rooms = []
        for is_checked in (False, True, False):
            for box in boxes:
                box.set_checked(is_checked)
            moves, words, room = zip(*watch(page, films), strict=True)
            assert {*moves} == {is_checked == still} and len(moves) == len(boxes)
            assert {*words} == {"play" if still else "stop"}
            rooms.append(room)
        assert (
            np.ptp(rooms, 0).max() < 2
        )  # a strip is higher than its animation; nothing else moves


@pytest.mark.parametrize(("path", "dark"), [*product(PAGES, (False, True))])
def test_a_phone_shows_all_of_a_page(visit, path, dark):
    page = visit(path, width=390, dark=dark, still=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(OVERFLOW) == []
    assert all(width and height > 8 for width, height in page.evaluate(FIGURES))


@pytest.mark.parametrize(("path", "width", "dark"), [*product(PAGES, (390, 1280), (False, True))])
def test_axe_finds_nothing(visit, path, width, dark):
    page = visit(path, width, dark, still=True)
    page.add_script_tag(path=AXE)
    assert page.evaluate(VIOLATIONS) == []


def settle(page):
    """The state of the live page after all that was asked for is done."""
    page.evaluate(WAIT)
    return page.evaluate(STATE)


def check_said(state):
    """What the live page says is true of the pictures that it shows."""
    shown, said = state["shown"], state["says"]
    exchanged = shown["nowA"] != shown["realA"]
    assert exchanged == (shown["nowB"] != shown["realB"])
    assert exchanged == ("Exchanged" in said) == ("back" in state["button"])
    assert exchanged == (state["pressed"] == "true") == (state["how"] == "BA")
    assert exchanged or "Ready" in said and "decoded" not in said
    second = "second" in state["by"]
    assert not exchanged or second == ("second model" in said)
    for letter in "AB":
        of = f"for {letter} it is the right one"
        is_right = of in state["verdict"].replace("For", "for")
        assert not exchanged or is_right == (f"{letter}: as asked" in said)
    assert not exchanged or said.split(".")[0].split(" the ")[1] in state["label"]["nowA"]


def test_the_live_page_says_what_it_shows_after_each_button(visit):
    page = visit("live.html", still=True)  # the pictures wait, so that they can be compared
    exchange = page.locator(".stage .exchange").click
    by = {name: page.locator(f"[name=by][value={name}]").check for name in ("decoder", "twin")}
    choose = {letter: page.locator(f"[name={letter}]").nth(5).check for letter in "AB"}
    surprise = page.locator("#surprise").click
    follow = [partial(page.evaluate, f"location.hash = '#a=3&b=7&by={name}'") for name in by]
    steps = [exchange, by["twin"], exchange, exchange, by["decoder"], choose["A"], by["twin"]]
    steps += [surprise, *follow, surprise, choose["B"], exchange, by["twin"], by["decoder"]]
    pictures = {}  # of each exchange and model
    for step in [page.title, *steps]:
        step()
        state = settle(page)
        check_said(state)
        if state["pressed"] == "true":
            picture = state["shown"]["nowA"]
            assert pictures.setdefault(state["link"], picture) == picture
    assert len({*pictures.values()}) == len(pictures) > 5  # no model shows what another one does


@pytest.mark.parametrize("still", (False, True))
def test_the_live_page_pauses_and_plays(visit, still):
    page = visit("live.html", still=still)
    button = page.locator("#play")
    for playing in (not still, still, not still):
        page.wait_for_timeout(300)  # until a digit's frame that was asked for has come
        states = []
        for _ in range(8):
            page.wait_for_timeout(150)
            states.append(page.evaluate(STATE))
        for name in states[0]["shown"]:
            moves = len({state["shown"][name] for state in states}) > 1
            assert moves == playing, name
        assert ("Pause" if playing else "Play") in button.text_content()
        assert ("next frame" in states[-1]["digit-says"]) != playing
        button.click()
