"""The share of OpenAI's document is counted by hand here, and by the script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "openai_conformance.py"


def operation(body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": {"200": {"content": {"application/json": {"schema": answer}}}},
    }


def test_properties_are_counted_through_references_unions_lists_and_circles(tmp_path: Path) -> None:
    row = {
        "type": "object",
        "properties": {"embedding": {}, "nobody": {}, "again": {"$ref": "#/components/schemas/Row"}},
    }
    data = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}}
    answer = {"allOf": [{"properties": {"object": {}}}, {"anyOf": [{"properties": {"data": data}}, {"type": "null"}]}]}
    asked = {"properties": {"input": {}, "model": {}, "dreams": {"properties": {"deep": {}}}}}
    spec = {
        "info": {"version": "test"}, "components": {"schemas": {"Row": row}},
        "paths": {"/embeddings": {"post": operation(asked, answer)}, "/responses/dream": {"post": operation({}, {})}},
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--spec", str(tmp_path / "spec.json")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert (found["version"], found["endpoints"], found["absent_endpoints"]) == (
        "test",
        [1, 2],
        ["POST /responses/dream"],
    )
    assert found["properties"] == {
        "request_top": [2, 3],  # input, model; dreams is not ours
        "request_all": [2, 4],  # and neither is dreams.deep
        "answer_top": [2, 2],  # object, data
        "answer_all": [3, 5],  # and data[].embedding; not nobody, not again
    }
    assert found["percent"]["answer_all"] == 60.0
    assert found["by_endpoint"]["POST /embeddings"]["request_absent"] == ["dreams"]
