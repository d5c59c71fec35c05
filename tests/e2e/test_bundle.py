"""What a browser fetches before it shows the first page."""

from __future__ import annotations

import gzip
import re

from tests.e2e.conftest import STATIC

MOST_BYTES = 250_000


def test_the_pages_are_small_before_what_is_loaded_later() -> None:
    """Everything that index.html names, and what these files import at once."""
    seen: set[str] = set()
    waiting = re.findall(r'(?:src|href)="/(assets/[^"]+)"', STATIC.read_text())
    assert waiting
    total = 0
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        content = (STATIC.parent / name).read_bytes()
        total += len(gzip.compress(content, 9))
        if name.endswith(".js"):
            imports = re.findall(r'(?:^|[;}\n])import(?:[^"\'();]*from)?["\']\./([^"\']+)["\']', content.decode())
            waiting += [f"assets/{found}" for found in imports]
    print(f"{total:,} bytes in {len(seen)} files")
    assert total <= MOST_BYTES
    assert not any(re.search("katex|highlight|page-", name) for name in seen if name.endswith(".js"))
