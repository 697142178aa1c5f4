"""A report of sections, written as Markdown and as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#22303c}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.3em .8em;border-bottom:1px solid #e4e9ee;text-align:left}"
    "img{max-width:100%}h1,h2{line-height:1.2}"
)


@dataclass
class Section:
    """A part of the report.

    Args:
        title: its heading.
        sentences: paragraphs.
        head: of a table; empty for none.
        rows: of the table.
        picture: name of a PNG in the report's folder; None for none.
    """

    title: str
    sentences: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    picture: str | None = None

    def without(self, column: str) -> Section:
        """The same with one column less, where the table has it."""
        if column not in self.head:
            return self
        kept = [k for k, name in enumerate(self.head) if name != column]
        rows = [[row[k] for k in kept] for row in self.rows]
        return replace(self, head=[self.head[k] for k in kept], rows=rows)


def markdown(title: str, parts: Sequence[Section]) -> str:
    """The report as Markdown; pictures are named, not held.

    Args:
        title: of the whole.
        parts: in their order.
    """
    lines = [f"# {title}", ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        lines += [text for sentence in part.sentences for text in (sentence, "")]
        if part.rows:
            table = [
                part.head,
                ["---"] * len(part.head),
                *([cell.replace("|", "\\|") for cell in row] for row in part.rows),
            ]
            lines += ["| " + " | ".join(row) + " |" for row in table] + [""]
        if part.picture:
            lines += [f"![{part.title}]({part.picture})", ""]
    return "\n".join(lines)


def html_page(title: str, parts: Sequence[Section], folder: Path) -> str:
    """The report as one HTML page that holds its pictures; those that are not there are left out.

    Args:
        title: of the whole.
        parts: in their order.
        folder: with the pictures.
    """
    title = html.escape(title)
    body = [f"<h1>{title}</h1>"]
    for part in parts:
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        body += [f"<p>{html.escape(sentence)}</p>" for sentence in part.sentences]
        if part.rows:
            body += ["<table>", _tr(part.head, "th"), *(_tr(row, "td") for row in part.rows), "</table>"]
        if part.picture and (folder / part.picture).is_file():
            data = base64.b64encode((folder / part.picture).read_bytes()).decode()
            body.append(f'<img alt="{html.escape(part.title)}" src="data:image/png;base64,{data}">')
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _tr(cells: Sequence[str], kind: str) -> str:
    return f"<tr>{''.join(f'<{kind}>{html.escape(cell)}</{kind}>' for cell in cells)}</tr>"
