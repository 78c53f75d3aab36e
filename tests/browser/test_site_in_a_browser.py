"""The site in a real browser, opened as files: clicks, keys, questions, and without scripts."""

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from mlruntime.cli import main
from mlruntime.matrix.model import Matrix
from mlruntime.matrix.questions import Asker
from mlruntime.site.questions import choices
from mlruntime.workflows.inputs import read_matrix
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.documents import CHECKOUT, DEFINITIONS

pytestmark = [pytest.mark.extra, pytest.mark.browser, pytest.mark.starts]
# One of each kind.
PAGES = (
    "index.html",
    "runtimes/5.0-ml.html",
    "runtimes/6.0-ml.html",
    "images/6.0-ml-cpu-ml.html",
    "compare/index.html",
    "compare/6.0-ml-cpu--7.0-ml-cpu.html",
    "packages.html",
    "matrix/index.html#tensorflow=2.18&python=3.12",
    "matrix/tensorflow.html",
    "rules.html",
    "get.html",
    "docs/index.html",
    "docs/releasing.html",
    "search.html?q=numpy",
)
QUESTIONS = 40


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a site in a folder with a name that addresses must escape."""
    folder: Path = tmp_path_factory.mktemp("browser") / "a site, #1 ü"
    assert main(["--root", str(CHECKOUT), "site", "--output", str(folder)]) == 0
    return folder.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("not run: there is no chromium; `./dev test --all` installs it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found)
        yield started
        started.close()


@pytest.fixture(params=["light"])
def context(request: pytest.FixtureRequest, browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900})
    made.set_default_timeout(10_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, site: str) -> Iterator[Page]:
    """Return a page that may say nothing on its console, and load nothing but files of the site."""
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request",
        lambda r: None if r.url.startswith((site, "data:,")) else wrong.append(r.url),
    )
    opened.on("requestfailed", lambda r: wrong.append(f"{r.url}: {r.failure}"))
    yield opened
    assert wrong == []


def ask(page: Page, text: str) -> None:
    page.get_by_label("What goes with", exact=True).fill(text)
    page.get_by_role("button", name="Ask").click()


def answered(page: Page) -> dict[str, int] | None:
    rows = page.locator("#answer tbody tr").evaluate_all(
        "rows => rows.map(r => [r.dataset.component, r.dataset.releases])"
    )
    return {name: int(mask, 16) for name, mask in rows} or None


# questions


def test_answers_are_those_of_the_solver(page: Page, site: str) -> None:
    page.goto(f"{site}/matrix/index.html")
    asker, chance = Asker(read_matrix(DEFINITIONS)), random.Random(20261128)
    components, nothing = asker.matrix.components, 0
    for _ in range(QUESTIONS):
        names = chance.sample(sorted(components), chance.randint(1, 4))
        picked = {name: chance.choice(list(choices(components[name]))) for name in names}
        ask(page, " and ".join(f"{components[n].title} {picked[n][0]}" for n in names))
        expected = asker.together({name: mask for name, (_, mask) in picked.items()})
        assert answered(page) == expected, picked
        if expected is None:
            nothing += 1
            blamed = page.locator("#answer li a").all_inner_texts()
            check_blame(asker, {n: mask for n, (_, mask) in picked.items()}, set(blamed))
    assert 3 < nothing < QUESTIONS - 10  # both kinds of answers were seen


def check_blame(asker: Asker, question: dict[str, int], ids: set[str]) -> None:
    """The rules that were named leave nothing; without any one of them something is left."""
    rules = asker.matrix.rules_by_id
    assert ids, question

    def left(named: set[str]) -> bool:
        kept = tuple(rule for rule in asker.matrix.rules if rule.id in named)
        fewer = Matrix(
            components=asker.matrix.components, preference=asker.matrix.preference, rules=kept
        )
        return Asker(fewer).together(question) is not None

    assert ids <= rules.keys() and not left(ids)
    assert all(left(ids - {one}) for one in ids)


@pytest.mark.parametrize(
    "text",
    [
        "TensorFlow 2.18",
        "What goes with TensorFlow 2.18?",
        "tensorflow==2.18.*",
        "tensorflow 2.18,",
    ],
)
def test_a_question_may_be_written_in_several_ways(page: Page, site: str, text: str) -> None:
    page.goto(f"{site}/matrix/index.html")
    ask(page, text)
    found = answered(page)
    assert found is not None
    component = read_matrix(DEFINITIONS).components["tensorflow"]
    assert found["tensorflow"] == dict(choices(component))["2.18"]
    expect(page.locator("#answer caption")).to_have_text("What goes with TensorFlow 2.18")


def test_what_is_not_known_is_said(page: Page, site: str) -> None:
    page.goto(f"{site}/matrix/index.html")
    ask(page, "TensorFlow 9.9 and pytorch")
    expect(page.locator("#understood")).to_contain_text("Not known here: TensorFlow 9.9, pytorch")
    assert answered(page) is None


def test_an_address_has_the_question_and_leads_to_runtimes(page: Page, site: str) -> None:
    page.goto(f"{site}/matrix/index.html")
    ask(page, "tensorflow 2.15 and spark 3.5")
    asked, answer = page.url, answered(page)
    assert "#tensorflow=2.15&spark=3.5" in asked or "#spark=3.5&tensorflow=2.15" in asked
    page.goto("about:blank")
    page.goto(asked)
    assert answered(page) == answer is not None
    page.get_by_role("link", name="6.0-ml").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runtime 6.0-ml")


def test_releases_can_be_chosen_from_lists(page: Page, site: str) -> None:
    page.goto(f"{site}/matrix/index.html")
    page.get_by_text("Choose releases from lists").click()
    page.get_by_label("Apache Spark", exact=True).select_option("4.1.4")
    page.get_by_label("Scala", exact=True).select_option("2.12")
    expect(page.get_by_label("What goes with", exact=True)).to_have_value(
        "Apache Spark 4.1.4 and Scala 2.12"
    )
    expect(page.locator("#answer")).to_contain_text("These rules, together, leave nothing")
    page.get_by_label("Scala", exact=True).select_option("2.13")
    assert answered(page) is not None
    page.get_by_role("button", name="Start again").click()
    assert answered(page) is None
    expect(page.get_by_label("Scala", exact=True)).to_have_value("")


# by keyboard and by mouse


def test_the_keyboard_is_enough_to_search(page: Page, site: str) -> None:
    page.goto(f"{site}/index.html")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("horovod package")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"\d+ results? for"))
    page.locator("#results a").first.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"packages\.html#native-wheel-horovod"))
    expect(page.locator("tr:target")).to_contain_text("horovod")


def test_every_result_of_a_search_has_all_words(page: Page, site: str) -> None:
    page.goto(f"{site}/search.html?q=keras+2.15")
    items = page.locator("#results li").all_inner_texts()
    assert items and all("keras" in i.lower() and "2.15" in i for i in items)
    page.goto(f"{site}/search.html?q=%3Cb%3Ezzz")
    expect(page.get_by_role("status")).to_have_text("Nothing has “<b>zzz” in it.")


def test_a_table_can_be_filtered(page: Page, site: str) -> None:
    page.goto(f"{site}/images/6.0-ml-cpu.html")
    rows = page.locator("table[data-filter] tbody tr")
    every = rows.count()
    page.get_by_label("Filter packages").fill("tensorflow wheel")
    shown = page.locator("table[data-filter] tbody tr:visible")
    texts = shown.all_inner_texts()
    assert 0 < len(texts) < every and all("tensorflow" in t and "wheel" in t for t in texts)
    expect(page.locator(".filter [role=status]")).to_have_text(f"{len(texts)} of {every}")
    page.get_by_label("Filter packages").fill("")
    assert shown.count() == every


def test_two_images_are_chosen_in_either_order(page: Page, site: str) -> None:
    for first, second in (("6.0-ml:cpu", "7.0-ml:gpu"), ("7.0-ml:gpu", "6.0-ml:cpu")):
        page.goto(f"{site}/compare/index.html")
        page.get_by_label("From").select_option(label=first)
        page.get_by_label("To", exact=True).select_option(label=second)
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("From 6.0-ml:cpu to 7.0-ml:gpu")
    page.goto(f"{site}/compare/index.html")
    page.get_by_label("To", exact=True).select_option(label="6.0-ml:cpu")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("status").first).to_contain_text("not the same")


# for everybody


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("context", ["light", "dark"], indirect=True)
def test_nothing_is_in_the_way_of_anybody(context: BrowserContext, site: str, path: str) -> None:
    page = context.new_page()  # not watched: axe itself asks for the style sheet
    page.goto(f"{site}/{path}")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.set_viewport_size({"width": 360, "height": 700})
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"scrolls sideways by {wide} pixels"


@pytest.mark.parametrize("context", ["light", "dark"], indirect=True)
def test_colours_follow_the_reader(page: Page, site: str, request: pytest.FixtureRequest) -> None:
    page.goto(f"{site}/images/6.0-ml-cpu.html")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, re.findall(r"\d+", colour)[:3])) < 200
    assert dark == ("dark" in request.node.name)
    picture = page.locator("figure svg").bounding_box()
    assert picture is not None and picture["width"] > 1000 and picture["height"] > 400


@pytest.fixture
def scriptless(browser: Browser, site: str) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_without_scripts_a_page_says_the_same(scriptless: Page, site: str, path: str) -> None:
    scriptless.goto(f"{site}/{path}")
    expect(scriptless.get_by_role("heading", level=1)).to_be_visible()
    expect(scriptless.locator("form.ask:visible")).to_have_count(0)
    if path.startswith(("matrix/index", "search")):
        expect(scriptless.locator("noscript .note")).to_be_visible()
    tables = scriptless.locator("main table")
    for index in range(min(tables.count(), 3)):
        expect(tables.nth(index)).to_be_visible()


def test_without_scripts_any_two_images_can_be_compared(scriptless: Page, site: str) -> None:
    scriptless.goto(f"{site}/index.html")
    scriptless.get_by_role("link", name="Compare", exact=True).click()
    scriptless.get_by_role(
        "link", name=re.compile("differ between 6.0-ml:cpu and 7.0-ml:cpu$")
    ).click()
    expect(scriptless.get_by_role("heading", level=1)).to_have_text("From 6.0-ml:cpu to 7.0-ml:cpu")
    expect(scriptless.locator("main")).to_contain_text("tensorflow-cpu")
