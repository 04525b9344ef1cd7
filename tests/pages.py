"""What an HTML page would load from elsewhere: to be asked of every page that we write.

It reads text; tests/test_browser.py asks a browser the same.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Outside(HTMLParser):
    """`found` names what a page refers to that is not in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.found += re.findall(r"@import|url\((?!#)|\b(?:fetch|XMLHttpRequest|import)\(", page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Takes note of references that do not stay within the page."""
        for name, value in attributes:
            within = (value or "").startswith(("#", "data:"))
            if name in ("src", "href") and not within:
                self.found.append(f"{tag} {name}")
        self.found += [tag] if tag in ("img", "iframe", "object") else []
