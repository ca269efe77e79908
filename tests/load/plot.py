"""Draws results as SVG: a panel for each server on one time axis, or lines with one scale."""

import html

FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
INK, PALE, GRID, SHADE, GOOD, BAD = "#24292f", "#57606a", "#d8dee4", "#ffe3dc", "#0969da", "#cf222e"
WIDTH = 860


def text(x, y, words, size=12, anchor="start", fill=INK, weight="normal", extra=""):
    """Returns a line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}" {extra}>{html.escape(words)}</text>'


def line(x1, y1, x2, y2, stroke=GRID, extra=""):
    """Returns a thin straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" {extra}/>'


def path(points, stroke, width=2.0, extra=""):
    """Returns a line through points."""
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round" {extra}/>'


def document(height, title, parts):
    """Returns the whole drawing, on white so that it is readable on dark pages, too."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" {FONT}>\n'
            f"<title>{html.escape(title)}</title>\n"
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def panels(title, subtitle, axis, rows, shaded, marks, length):
    """Draws shares in percent over seconds, with one panel for each row.

    `rows` are (label, note, shares by second), with None for a second without a share. `shaded` are
    (start, end, words), and `marks` are (second, words).
    """
    left, right, top, panel, gap = 60, 190, 84, 44, 16
    height = top + len(rows) * (panel + gap) + 44
    across = lambda second: left + (WIDTH - left - right) * second / length
    bottom = top + len(rows) * (panel + gap) - gap
    parts = [text(16, 26, title, 16, weight="600"), text(16, 46, subtitle, 12, fill=PALE)]
    for start, end, words in shaded:
        parts.append(f'<rect x="{across(start):.1f}" y="{top - 8}" width="{across(end) - across(start):.1f}" height="{bottom - top + 12}" fill="{SHADE}"/>')
        parts.append(text((across(start) + across(end)) / 2, top - 13, words, 11, "middle", BAD))
    for second, words in marks:
        parts.append(line(across(second), top - 8, across(second), bottom + 4, BAD, 'stroke-dasharray="3 3"'))
        parts.append(text(across(second), bottom + 34, words, 11, "middle", BAD))
    for index, (label, note, shares) in enumerate(rows):
        base = top + index * (panel + gap) + panel
        down = lambda share: base - panel * share / 100
        for share in (0, 50, 100):
            parts.append(line(left, down(share), WIDTH - right, down(share)))
        for share in (0, 100):
            parts.append(text(left - 6, down(share) + 4, f"{share} %", 10, "end", PALE))
        strokes, current = [], []
        for second, share in enumerate(shares):
            if share is None:
                strokes.append(current)
                current = []
            else:
                current.append((across(second + 0.5), down(share)))
        for points in [*strokes, current]:
            if len(points) > 1:
                parts.append(path(points, GOOD if index == 0 else INK, 2.4 if index == 0 else 1.6))
        head, _, tail = label.partition(", ")
        parts.append(text(WIDTH - right + 10, base - panel + 12, head, 12, weight="600", fill=GOOD if index == 0 else INK))
        parts.append(text(WIDTH - right + 10, base - panel + 26, tail, 10, fill=PALE))
        parts.append(text(WIDTH - right + 10, base - panel + 40, note, 10, fill=PALE))
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if length / step <= 14)
    for second in range(0, int(length) + 1, step):
        parts.append(text(across(second), bottom + 18, f"{second}", 10, "middle", PALE))
    parts.append(text(WIDTH - right + 10, bottom + 18, "seconds", 10, fill=PALE))
    parts.append(text(16, bottom / 2 + top / 2, axis, 11, "middle", PALE, extra=f'transform="rotate(-90 16 {bottom / 2 + top / 2:.1f})"'))
    return document(height, title, parts)


def lines(title, subtitle, axis, series, limits, length, unit="seconds after the heal"):
    """Draws numbers over seconds.

    `series` are (label, colour, [(second, number)]), and `limits` are (number, words).
    """
    left, right, top, bottom, height = 84, 24, 70, 340, 400
    highest = max([number for _, _, points in series for _, number in points] + [number for number, _ in limits] + [1]) * 1.08
    across = lambda second: left + (WIDTH - left - right) * second / length
    down = lambda number: bottom - (bottom - top) * number / highest
    parts = [text(16, 26, title, 16, weight="600"), text(16, 46, subtitle, 12, fill=PALE)]
    magnitude = 10 ** (len(str(int(highest))) - 1)
    step = next(step for step in (magnitude / 5, magnitude / 2, magnitude, 2 * magnitude, 5 * magnitude) if highest / step <= 7)
    for index in range(int(highest / step) + 1):
        number = index * step
        parts += [line(left, down(number), WIDTH - right, down(number)), text(left - 8, down(number) + 4, f"{number:,.0f}".replace(",", " "), 11, "end", PALE)]
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300) if length / step <= 14)
    for second in range(0, int(length) + 1, step):
        parts.append(text(across(second), bottom + 18, f"{second}", 11, "middle", PALE))
    parts.append(text((left + WIDTH - right) / 2, bottom + 38, unit, 11, "middle", PALE))
    parts.append(text(18, (top + bottom) / 2, axis, 11, "middle", PALE, extra=f'transform="rotate(-90 18 {(top + bottom) / 2:.1f})"'))
    for number, words in limits:
        parts += [line(left, down(number), WIDTH - right, down(number), BAD, 'stroke-dasharray="4 3"'), text(WIDTH - right - 4, down(number) - 5, words, 11, "end", BAD)]
    for index, (label, colour, points) in enumerate(series):
        parts.append(path([(across(second), down(number)) for second, number in points], colour, 1.8))
        y = top + 12 + 18 * index
        parts += [line(WIDTH - 330, y - 4, WIDTH - 306, y - 4, colour, 'stroke-width="3"'), text(WIDTH - 300, y, label, 12)]
    return document(height, title, parts)
