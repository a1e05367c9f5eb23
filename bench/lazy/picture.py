"""The cold starts as a picture: one bar a row, in SVG, written by hand so that nothing needs to be installed."""
from xml.sax.saxutils import escape

WIDTH, LABEL, BAR, GAP, TITLE = 860, 170, 16, 6, 44
COLOURS = {"local": "#5b8c5a", "eager": "#8a8f98", "containerd": "#8a8f98", "hearth": "#d9622b"}


def colour(row):
    return next((c for name, c in COLOURS.items() if row.startswith(name)), "#8a8f98")


def bars(panel, top, scale):
    parts = [f'<text x="0" y="{top + 18}" class="title">{escape(panel.work)}, {escape(panel.net)}: seconds to the first answer</text>']
    y = top + TITLE - 14
    rows = sorted((r for r in panel.rows if panel.seconds(r)), key=panel.seconds)
    local = panel.seconds("local")
    for row in rows:
        seconds = panel.seconds(row)
        length = max(1.0, seconds * scale)
        label = f"{seconds:.1f} s" + (f", {seconds / local:.1f} × local" if local and row != "local" else "")
        parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" class="name">{escape(row)}</text>')
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour(row)}"/>')
        parts.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 12}">{label}</text>')
        y += BAR + GAP
    return parts, y + 10


def svg(panels):
    """`panels` are tables of cold starts (tables.ColdTable)."""
    panels = [p for p in panels if any(p.seconds(r) for r in p.rows)]
    longest = max((p.seconds(r) or 0 for p in panels for r in p.rows), default=1)
    scale = (WIDTH - LABEL - 140) / longest
    parts, top = [], 0
    for panel in panels:
        more, top = bars(panel, top, scale)
        parts += more
    style = "text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}.name{text-anchor:end}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">\n<style>{style}</style>\n'
            f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")
