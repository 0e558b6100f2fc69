"""What every page is checked by in a browser: sizes, rules of accessibility, contrasts of its texts."""

from __future__ import annotations

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE, DESK = (360, 740), (1280, 900)
OPEN_ALL = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })"
# Every text that can be seen, after the contrast of its colour with its ground (the nearest one that is painted).
CONTRASTS = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    const text = walker.currentNode.textContent.trim();
    if (!text || box.width < 2 || box.height < 2 || element.closest("script, style")) continue;
    const style = getComputedStyle(element);
    const colour = channels(element.closest("svg") ? style.fill : style.color);
    const [dark, bright] = [light(colour), light(ground(element))].sort((a, b) => a - b);
    found.push([(bright + 0.05) / (dark + 0.05), text.slice(0, 40)]);
  }
  return found;
}"""
