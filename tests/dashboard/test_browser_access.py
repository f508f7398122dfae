"""Whether everybody can read and use the pages, in a real Chromium: contrast of all text, and the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.core.auth.conftest import PASSWORD
from tests.dashboard import lived
from tests.dashboard.contrast import MOVED, contrast, too_faint
from tests.dashboard.narrow import settled
from tests.dashboard.stack import SERVICES, Stack, in_use, log_in
from tests.dashboard.walk import DRAWN, VIEWS, walk

pytestmark = pytest.mark.slow

LOAN = "5901"
_STOPS = 40  # of the Tab key, at most
# What shows that an element has the focus: a ring around it, or around what it lies in.
_RINGS = """one => {
  const found = [];
  for (let up = one, i = 0; up && i < 3; up = up.parentElement, i++) {
    const style = getComputedStyle(up);
    if (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) found.push(`${i} ${style.outline}`);
    if (style.boxShadow && style.boxShadow !== 'none') found.push(`${i} ${style.boxShadow}`);
  }
  return found;
}"""
# What a page holds, and whether it is too faint. #767676 has 4.54 on white, #777777 4.48, #959595 2.99.
TEXTS = {
    '<p style="color: #767676">x</p>': False,
    '<p style="color: #777777">x</p>': True,
    '<p style="color: #777777; font-size: 24px">x</p>': False,
    '<p style="color: #777777; font-size: 19px">x</p>': True,
    '<p style="color: #777777; font-size: 19px; font-weight: 700">x</p>': False,
    '<p style="color: #959595; font-size: 24px">x</p>': True,
    '<p style="color: #999; background: #ccc">grey on grey</p>': True,
    '<p style="color: rgba(0, 0, 0, .5)">x</p>': True,
    '<p style="color: color-mix(in srgb, #000 50%, transparent)">x</p>': True,
    '<div style="opacity: .5"><p style="color: #000">x</p></div>': True,
    '<div style="background: #000; padding: 9px"><p style="color: #fff">x</p></div>': False,
    '<div style="position: absolute; width: 90px; height: 90px; background: #000"></div><b style="position: relative; '
    'color: #222">on a box that it is not in</b>': True,
    '<svg><rect width="90" height="90" fill="#222"/><text x="9" y="20" fill="#000">x</text></svg>': True,
    '<svg><rect width="90" height="90" fill="#222"/><text x="9" y="20" fill="#fff">x</text></svg>': False,
    '<input style="color: #aaa" value="x">': True,
    '<input placeholder="x"><style>input::placeholder { color: #aaa }</style>': True,
    '<button style="color: #999" disabled>x</button>': False,
    '<p style="color: #999; visibility: hidden">x</p>': False,
    '<div style="width: 1px; height: 1px; overflow: hidden; color: #999">for screen readers</div>': False,
}
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = lived.build(tmp_path_factory.mktemp("access") / "loans").stack
    with in_use(made, *SERVICES, "dashboard"):
        yield made


def test_contrast_is_what_wcag_says():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((255, 255, 255), (255, 255, 255)) == 1
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert contrast((255, 0, 0), (0, 0, 255)) == pytest.approx(2.15, abs=0.01)


@pytest.mark.parametrize("html", TEXTS)
def test_what_cannot_be_read_is_found(browser: Browser, html: str):
    page = browser.new_page()
    page.set_content(f'<body style="background: #fff; margin: 20px">{html}</body>')
    assert bool(too_faint(page)) == TEXTS[html]
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_of_every_page_stands_out(tab: Open, stack: Stack, scheme: str):
    page = tab(color_scheme=scheme)
    faint = {address: too_faint(page) for address in _before_the_log_in(page, stack)}
    log_in(page, stack, "ada", at="/health")
    expect(page.get_by_role("heading", name="prediction", exact=True)).to_be_visible()
    faint |= {address: too_faint(page) for address in walk(page, stack, {**VIEWS, **DRAWN})}
    faint |= {state: too_faint(page) for state in _states(page, stack)}
    assert {where: found for where, found in faint.items() if found} == {}


def test_text_that_a_page_draws_too_faint_is_found(tab: Open, stack: Stack):
    page = tab()
    log_in(page, stack, "ada", at="/monitoring?monitoring-part=Performance")
    expect(page.get_by_test_id("stPlotlyChart").nth(2)).to_be_visible()
    assert too_faint(page) == []
    for spoilt, place in (
        ('[data-testid="stCaptionContainer"] { opacity: .4 !important }', "in stCaptionContainer"),
        (".stPlotlyChart .main-svg .xtick text { fill: #999 !important }", "in stPlotlyChart"),
        (".stDataFrameGlideDataEditor { --gdg-text-header: #aaa !important }", "'the headings of a table'"),
    ):
        added = page.add_style_tag(content=spoilt)
        found = too_faint(page)
        assert found, spoilt
        assert all(place in one for one in found), found
        added.evaluate("one => one.remove()")


def test_a_stop_of_the_keyboard_without_a_ring_is_found(browser: Browser):
    page = browser.new_page()
    page.set_content("<button>a</button><button style='background: #eee'>b</button><button>c</button>")
    tab_to(page, page.get_by_text("c"))
    page.set_content("<button>a</button><button style='outline: none'>b</button><button>c</button>")
    with pytest.raises(AssertionError, match="no ring around BUTTON b"):
        tab_to(page, page.get_by_text("c"))
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_prediction_is_asked_for_with_the_keyboard_alone(tab: Open, stack: Stack, scheme: str):
    page = tab(color_scheme=scheme)
    page.goto(stack.url)
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type("bo")
    tab_to(page, page.get_by_label("Password"))
    page.keyboard.type(PASSWORD)
    tab_to(page, page.get_by_role("button", name="Log in"))
    page.keyboard.press("Enter")
    find, choose = page.get_by_role("textbox", name="Find a loan id"), page.get_by_role("combobox", name="loan id")
    expect(find).to_be_visible()
    settled(page)
    tab_to(page, find)
    page.keyboard.type(LOAN)
    page.keyboard.press("Enter")
    settled(page)
    tab_to(page, choose)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", name=LOAN, exact=True)).to_be_visible()
    page.keyboard.press("Enter")
    ask = page.get_by_role("button", name="Predict")
    expect(ask).to_be_visible()
    settled(page)
    tab_to(page, ask)
    page.keyboard.press("Enter")
    expect(page.get_by_text("What drove it")).to_be_visible()
    expect(page.get_by_text("Probability of missed")).to_be_visible()


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus; each one on the way has a ring while it has it, and not after that."""
    for _ in range(_STOPS):
        here = page.evaluate_handle("document.activeElement")
        name = here.evaluate(
            "one => `${one.tagName} ${one.getAttribute('aria-label') ?? one.textContent.slice(0, 40)}`"
        )
        with_focus = here.evaluate(_RINGS)
        page.keyboard.press("Tab")
        page.evaluate(MOVED)
        assert name.startswith("BODY") or set(with_focus) - set(here.evaluate(_RINGS)), f"no ring around {name}"
        if wanted.evaluate("one => one === document.activeElement"):
            assert wanted.evaluate(_RINGS), f"no ring around {name}"
            return
    raise AssertionError(f"{_STOPS} stops, and {wanted} is none of them")


def _before_the_log_in(page: Page, stack: Stack) -> Iterator[str]:
    for path in ("/forgot", "/reset", "/login"):
        page.goto(stack.url + path)
        yield path
    log_in(page, stack, "ada", "not the password")
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    yield "a wrong password"


def _states(page: Page, stack: Stack) -> Iterator[str]:
    """Bring pages into states that one sees after a click alone."""
    page.goto(f"{stack.url}/password")
    yield "/password"
    page.goto(f"{stack.url}/users")
    page.get_by_role("combobox", name="User").fill("bo")
    page.get_by_role("option", name="bo", exact=True).click()
    page.get_by_role("button", name="Role").last.click()
    expect(page.get_by_role("button", name="Make bo admin")).to_be_visible()
    yield "a menu of /users"
    page.goto(f"{stack.url}/predict")
    box = page.get_by_role("combobox", name="loan id")
    for loan, seen in (("999999999", "knows no loan_id"), (LOAN, "What is known")):
        box.fill(loan)
        expect(page.get_by_role("option").filter(has_text=loan).first).to_be_visible()
        box.press("Enter")
        expect(page.get_by_text(seen)).to_be_visible()
        yield f"loan {loan}"
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("What drove it")).to_be_visible()
    page.get_by_text("What if …").click()
    yield "a prediction"
