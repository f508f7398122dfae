"""Whether a page fits the window that it is in: what sticks out of it on the right, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

PHONE = {"width": 390, "height": 844}

# Streamlit's page scrolls in an element of its own, in which the document does not become wider; the log-in's scrolls
# as pages do. What lies in an element that scrolls by itself, as a table does, may be wider than the window.
_STICKS_OUT = """() => {
  const page = document.querySelector('[data-testid="stMain"]') ?? document.scrollingElement;
  const found = [];
  if (page.scrollWidth > page.clientWidth)
    found.push(`the page can be scrolled sideways by ${page.scrollWidth - page.clientWidth} pixels`);
  const inside = one => {
    for (let up = one.parentElement; up && up !== page; up = up.parentElement)
      if (['auto', 'scroll'].includes(getComputedStyle(up).overflowX)) return true;
    return false;
  };
  for (const one of page.querySelectorAll('*')) {
    const box = one.getBoundingClientRect();
    const seen = box.width > 0 && box.height > 0 && !one.ownerSVGElement
      && one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (seen && box.right > window.innerWidth + 1 && !inside(one))
      found.push(`${one.tagName} ${one.dataset.testid ?? one.className} ends at ${Math.round(box.right)}: `
        + one.textContent.slice(0, 40));
  }
  return found;
}"""


def settled(page: Page) -> None:
    """Wait until a page waits for nothing any more."""
    for waits in ("stStatusWidget", "stSkeleton", "stSpinner"):
        expect(page.get_by_test_id(waits)).to_have_count(0)
    expect(page.locator(".busy")).to_have_count(0)


def sticks_out(page: Page) -> list[str]:
    """Return what of a page reaches beyond the window's right edge, in words; nothing where all of it fits."""
    settled(page)
    return [str(one) for one in page.evaluate(_STICKS_OUT)]
