"""A hook of the documentation's builder: cross-reference roles in docstrings become plain code."""

import re
from typing import Any

ROLE = re.compile(r":(?:class|data|func|meth|mod|attr):(<code>)~?(?:[\w.]+\.)?(\w+</code>)")


def on_page_content(html: str, **_: Any) -> str:
    """Return the page with ``:class:`~a.b.C``` shown as ``C``."""
    return ROLE.sub(r"\1\2", html)
