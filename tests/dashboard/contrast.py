"""Whether the text of a page stands out from what is behind it, as WCAG 2.2 asks for it (1.4.3 and 1.4.11, level AA).

Colours of text are what the browser computes, with the opacity of everything around it. What is behind it is looked up
in a picture of the page that is taken without its text: so it does not matter whether a box, a chart's bar, or a cell
of a graph lies there. Tables are drawn on a canvas: theirs are the colours that the canvas is told.

Not looked at is what Streamlit alone decides, and no theme changes: in a table, the dash or ``None`` of a value that is
missing (``--gdg-text-light``, at 40 %), and in the menu at the top right the line with its version
(``[data-testid="stMainMenuPopover"] span``, at 60 %).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.dashboard.narrow import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

Colour = tuple[float, ...]  # red, green, blue; 0 to 255
NORMAL, LARGE = 4.5, 3.0  # what is asked of text, and of large text and symbols
_LARGE, _LARGE_BOLD, _BOLD = 24.0, 18.66, 700  # CSS pixels: 18 points, and 14 if they are bold
_SAID = 40

_NOT_DRAWN = ':is([data-testid="stPlotlyChart"], [data-testid="stVegaLiteChart"]):not(:has(svg text))'
# Streamlit's page scrolls in an element of its own.
_HEIGHT = """() => Math.max(...[document.scrollingElement, ...document.querySelectorAll(
  '[data-testid="stMain"], [data-testid="stSidebarContent"]')].map(one => one.scrollHeight))"""
# Ends when everything that moves for a time has come to rest.
MOVED = """() => Promise.allSettled(document.getAnimations().filter(one => one.playState === 'running'
  && one.effect.getComputedTiming().endTime !== Infinity).map(one => one.finished))"""
# All text that can be seen and is not that of a disabled control: the largest of the boxes it is in, and its looks.
_TEXTS = """() => {
  const clipped = (box, one) => {
    let { left, top, right, bottom } = box;
    for (let up = one; up; up = up.parentElement) {
      const style = getComputedStyle(up), around = up.getBoundingClientRect();
      if (style.display === 'inline' || up === document.documentElement || up === document.body) continue;
      if (style.overflowX !== 'visible') [left, right] = [Math.max(left, around.left), Math.min(right, around.right)];
      if (style.overflowY !== 'visible') [top, bottom] = [Math.max(top, around.top), Math.min(bottom, around.bottom)];
    }
    return [left, top, right, bottom];
  };
  const opacity = one => one ? Number(getComputedStyle(one).opacity) * opacity(one.parentElement) : 1;
  const popovers = [...document.querySelectorAll('[data-testid="stPopoverBody"]')];
  const covered = (one, box) => popovers.some(over => {
    const lies = over.getBoundingClientRect();
    return !over.contains(one) && lies.left < box.right && box.left < lies.right
      && lies.top < box.bottom && box.top < lies.bottom;
  });
  const found = [];
  const look = (one, text, box, style, faded) => {
    const seen = one.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true });
    const off = one.closest('canvas, [disabled], [aria-disabled="true"]') || one.closest('label')?.control?.disabled;
    if (!seen || off || covered(one, box)) return;
    const place = one.closest('[data-testid]')?.dataset.testid;
    const drawn = one.ownerSVGElement ? style.fill : style.webkitTextFillColor;
    found.push({
      text, box: clipped(box, one), colour: drawn, opacity: opacity(one) * faded, size: parseFloat(style.fontSize),
      weight: Number(style.fontWeight), symbol: style.fontFamily.includes('Material Symbols'),
      where: `${one.tagName.toLowerCase()}.${one.getAttribute('class') ?? ''} in ${place ?? 'the page'}`,
    });
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement, text = texts.currentNode.data.trim();
    if (!text || one.closest('script, style, noscript, title')) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const [box] = [...range.getClientRects()].sort((a, b) => b.width * b.height - a.width * a.height);
    if (box) look(one, text, box, getComputedStyle(one), 1);
  }
  for (const one of document.querySelectorAll(':is(input:not([type]), [type="text"], [type="number"], textarea)')) {
    const style = getComputedStyle(one, one.value ? null : '::placeholder');
    const text = one.value || one.placeholder;
    if (text) look(one, text, one.getBoundingClientRect(), style, one.value ? 1 : Number(style.opacity));
  }
  for (const table of document.querySelectorAll('[data-testid="stDataFrame"] .stDataFrameGlideDataEditor')) {
    const { left, top, right, bottom } = table.getBoundingClientRect(), rows = top + 30;
    const probe = table.appendChild(document.createElement('i'));
    for (const [text, ink, from, to] of [['headings', 'header', top, rows], ['cells', 'dark', rows, bottom]]) {
      probe.style.color = `var(--gdg-text-${ink})`;
      const box = { left, top: from, right, bottom: to };
      look(probe, `the ${text} of a table`, box, getComputedStyle(probe), 1);
    }
    probe.remove();
  }
  return found;
}"""
_WITHOUT_TEXT = """* , ::placeholder { -webkit-text-fill-color: transparent !important; text-shadow: none !important;
  text-decoration-color: transparent !important; transition: none !important; }
svg text, svg tspan { fill: transparent !important; stroke: transparent !important; }"""


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def too_faint(page: Page) -> list[str]:
    """Return which texts of a page do not stand out enough, in words; nothing where all can be read."""
    settled(page)
    expect(page.locator(_NOT_DRAWN)).to_have_count(0)
    size = page.viewport_size or {"width": 1280, "height": 1000}
    page.set_viewport_size({**size, "height": max(size["height"], page.evaluate(_HEIGHT))})
    page.evaluate(MOVED)
    texts = page.evaluate(_TEXTS)
    picture = page.screenshot(style=_WITHOUT_TEXT, animations="disabled", scale="css")
    shown = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.int32)
    # A pixel is one number: NumPy counts those seventy times as fast as triples.
    return list(dict.fromkeys(_judged(texts, shown @ np.array([1 << 16, 1 << 8, 1], np.int32))))


def _judged(texts: Iterable[Mapping[str, Any]], picture: np.ndarray) -> Iterator[str]:
    for one in texts:
        left, top, right, bottom = (round(edge) for edge in one["box"])
        behind = picture[max(top, 0) : bottom, max(left, 0) : right]
        if right - left < 2 or bottom - top < 2 or not behind.size:
            continue  # cut off, or for screen readers alone
        colours, counts = np.unique(behind, return_counts=True)
        paper = tuple(map(float, int(colours[counts.argmax()]).to_bytes(3)))
        *ink, alpha = _parsed(one["colour"])
        share = alpha * one["opacity"]
        seen = tuple(share * a + (1 - share) * b for a, b in zip(ink, paper, strict=True))
        large = one["size"] >= (_LARGE_BOLD if one["weight"] >= _BOLD else _LARGE)
        asked = LARGE if large or one["symbol"] else NORMAL
        found = contrast(seen, paper)
        if found < asked:
            yield f"{found:.2f} of {asked}: {one['text'][:_SAID]!r}, {_hex(seen)} on {_hex(paper)}, {one['where']}"


def _parsed(colour: str) -> Colour:
    """Return red, green and blue, 0 to 255, and how opaque it is, 0 to 1, of a colour as browsers compute it."""
    kind, _, given = colour.rstrip(")").partition("(")
    numbers = [float(one) for one in given.removeprefix("srgb").replace(",", " ").replace("/", " ").split()]
    assert kind in ("rgb", "rgba", "color"), f"a way to write colours that is not known here: {colour}"
    scale = 255 if kind == "color" else 1
    return (*(scale * one for one in numbers[:3]), numbers[3] if len(numbers) > 3 else 1.0)


def _luminance(colour: Colour) -> float:
    """Return the relative luminance of a colour (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = (one / 255 for one in colour)
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(one):02x}" for one in colour)
