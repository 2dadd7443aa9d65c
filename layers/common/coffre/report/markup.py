"""HTML out of values: everything that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def markup(value: object) -> Markup:
    """``value`` as HTML: text is escaped, markup stays."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def element(name: str, *content: object, **attributes: object) -> Markup:
    """An element; an attribute's name may end in an underscore, and holds a hyphen where ours has one."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{told}>{''.join(map(markup, content))}</{name}>")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> Markup:
    """A table; the columns in ``numbers`` are set to the right."""
    right = [name in numbers for name in head]

    def row(cell: str, values: Sequence[object]) -> Markup:
        cells = (
            element(cell, value, class_="n") if to_right else element(cell, value)
            for value, to_right in zip(values, right, strict=True)
        )
        return element("tr", *cells)

    body = element("tbody", *(row("td", values) for values in rows))
    return element("div", element("table", element("thead", row("th", head)), body), class_="scroll")


def badge(text: str, tone: str) -> Markup:
    """A word in a colour: ``good``, ``bad``, ``fair`` or ``dim``."""
    return element("span", text, class_=f"badge {tone}")


def page(title: str, *content: object) -> str:
    """A whole page, which needs nothing from elsewhere."""
    return fill("page.html", title=markup(title), content=Markup("\n".join(map(markup, content))))


def fill(template: str, **values: str) -> str:
    """One of the templates beside this module, filled in."""
    text = resources.files("coffre.report").joinpath("templates", template).read_text("utf-8")
    return Template(text).substitute(values)
