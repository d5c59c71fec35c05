"""How much of OpenAI's OpenAPI document ours has: endpoints, and the properties of requests and answers.

    python benchmarks/openai_conformance.py --spec openapi.json

The document is the file or the address that --spec names (openai/openai-openapi on GitHub has it as openapi.json); it
is read, never kept. Ours is made by the code of this checkout. For every endpoint in both, the properties of the
request (query and body) and of the answer (200, JSON) are collected by name, through references, unions and lists, at
the top and at every depth (`choices[].message.content`); a property counts where ours has one of the same name at the
same place. Types and values are not compared, nor events of streams. Endpoints that ours does not have count in the
share of endpoints only.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _common import parser, report

METHODS = ("get", "post", "put", "patch", "delete")
OF_INTEREST = ("/chat/", "/completions", "/embeddings", "/files", "/models", "/moderations", "/responses")
"""The endpoints of a server of language models, as the coverage table has them."""
Schema = Mapping[str, Any]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--spec", required=True, help="file or address of OpenAI's document, in JSON")
    theirs = read(options.parse_args().spec)
    figures = compare(theirs, own_document())
    report("openai_conformance", version=theirs["info"]["version"], **figures)


def read(where: str) -> dict[str, Any]:
    if where.startswith("https://"):
        import httpx

        return httpx.get(where, follow_redirects=True, timeout=60).raise_for_status().json()
    return json.loads(Path(where).read_text("utf-8"))


def own_document() -> dict[str, Any]:
    from chatwright.config import ServeConfig
    from chatwright.product.gateway import create_app
    from chatwright.product.serving import Serving

    with tempfile.TemporaryDirectory() as folder:
        return create_app(ServeConfig(), Path(folder), models=Serving()).openapi()


def compare(theirs: Schema, ours: Schema) -> dict[str, Any]:
    """Shares for each endpoint in both, and over all of them: [properties of theirs that ours has, all of theirs]."""
    here, there = endpoints(ours, "/v1"), endpoints(theirs, "")
    there = {name: row for name, row in there.items() if name.split(" ")[1].startswith(OF_INTEREST)}
    rows: dict[str, dict[str, Any]] = {}
    total = {f"{part}_{depth}": [0, 0] for part in ("request", "answer") for depth in ("top", "all")}
    for name in sorted(set(here) & set(there)):
        row: dict[str, Any] = {}
        for part, collect in (("request", request_of), ("answer", answer_of)):
            wanted, found = collect(theirs, there[name]), collect(ours, here[name])
            for depth, kept in (("top", re.compile(r"[^.\[]*\Z")), ("all", re.compile(""))):
                counted = {path for path in wanted if kept.match(path)}
                row[f"{part}_{depth}"] = [len(counted & found), len(counted)]
            row[f"{part}_absent"] = sorted(path for path in wanted - found if "." not in path and "[" not in path)
        rows[name] = row
        total = {key: [total[key][0] + row[key][0], total[key][1] + row[key][1]] for key in total}
    shares = {key: round(100 * has / of, 1) if of else None for key, (has, of) in total.items()}
    absent = sorted(set(there) - set(here))
    return {
        "endpoints": [len(rows), len(there)], "percent": shares, "properties": total, "absent_endpoints": absent,
        "by_endpoint": rows,
    }  # fmt: skip


def endpoints(document: Schema, prefix: str) -> dict[str, dict[str, Any]]:
    """Operations by "METHOD /path/{}". Paths with a query of their own (?beta=true) are left out."""
    return {
        f"{method.upper()} {re.sub('{[^}]*}', '{}', path.removeprefix(prefix))}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in METHODS and "?" not in path
    }


def request_of(document: Schema, operation: Schema) -> set[str]:
    parameters = [resolved(document, one) for one in operation.get("parameters", ())]
    found = {one["name"].removesuffix("[]") for one in parameters if one["in"] == "query"}
    content = resolved(document, operation.get("requestBody", {})).get("content", {})
    for media in ("application/json", "multipart/form-data"):
        if media in content:
            return found | set(properties(document, content[media].get("schema", {})))
    return found


def answer_of(document: Schema, operation: Schema) -> set[str]:
    content = resolved(document, operation["responses"].get("200", {})).get("content", {})
    return set(properties(document, content.get("application/json", {}).get("schema", {})))


def resolved(document: Schema, part: Schema) -> Schema:
    while "$ref" in part:
        target: Any = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


def properties(document: Schema, schema: Schema, within: str = "", chain: tuple[str, ...] = ()) -> Iterator[str]:
    """Paths of all properties; of a schema that contains itself, once around."""
    if (ref := schema.get("$ref")) is not None:
        if ref in chain:
            return
        yield from properties(document, resolved(document, schema), within, (*chain, ref))
        return
    for kind in ("allOf", "anyOf", "oneOf"):
        for one in schema.get(kind, ()):
            yield from properties(document, one, within, chain)
    if isinstance(items := schema.get("items"), dict):
        yield from properties(document, items, f"{within}[]", chain)
    for name, one in schema.get("properties", {}).items():
        path = f"{within}.{name}" if within else name
        yield path
        yield from properties(document, one, path, chain)


if __name__ == "__main__":
    main()
    sys.exit(0)
