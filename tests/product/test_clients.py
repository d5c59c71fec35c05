"""Programs that people already have hold a conversation with the gateway: streamed, with tools, structured."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from tests.engine_server.servers import script
from tests.product.running import Running

CALL = script("Let me ", "see.", '\n<tool_call>{"name": "weather", ', '"arguments": {"town": "Bonn"}}', "</tool_call>")
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather", "description": "The weather of a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}  # fmt: skip


class Town(BaseModel):
    name: str
    people: int


@pytest.fixture
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def test_openai_streams_a_conversation_with_usage(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(
        model="ppo", messages=[user("hi")], stream=True, stream_options={"include_usage": True},
    ))  # fmt: skip
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: hi"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 2


def test_openai_calls_tools_and_goes_on(client: openai.OpenAI) -> None:
    messages = [user(CALL)]
    first = client.chat.completions.create(model="ppo", messages=messages, tools=[WEATHER])
    message = first.choices[0].message
    assert message.content == "Let me see."
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"town": "Bonn"})
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    second = client.chat.completions.create(model="ppo", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "You said: 21 degrees"


def test_openai_streaming_helper_puts_a_call_together(client: openai.OpenAI) -> None:
    strict = json.loads(json.dumps(WEATHER))
    strict["function"]["strict"] = True
    strict["function"]["parameters"]["additionalProperties"] = False
    with client.chat.completions.stream(model="ppo", messages=[user(CALL)], tools=[strict]) as events:
        kinds = [event.type for event in events]
        final = events.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    assert kinds.count("tool_calls.function.arguments.done") == 1
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments == {"town": "Bonn"}


def test_openai_parses_structured_answers_whole_and_streamed(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(model="ppo", messages=[user("Bonn")], response_format=Town)
    assert parsed.choices[0].message.parsed == Town(name="x", people=1)
    with client.chat.completions.stream(model="ppo", messages=[user("Bonn")], response_format=Town) as events:
        assert events.get_final_completion().choices[0].message.parsed == Town(name="x", people=1)
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="ppo", messages=[user("Bonn")], response_format=Town, max_tokens=3)


def test_openai_sees_logprobs_choices_models_and_errors(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="ppo", messages=[user("roll")], n=2, seed=5, logprobs=True,
                                            top_logprobs=1)  # fmt: skip
    assert [choice.message.content for choice in answer.choices] == ["seed 5", "seed 6"]
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.content is not None
    assert [row.token for row in answer.choices[0].logprobs.content] == list("seed 5")
    assert {model.id for model in client.models.list()} == {"sft-0123", "ppo-0123"}
    assert client.models.retrieve("sft-0123").id == "sft-0123"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=[user("hi")])
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert missing.value.request_id
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="ppo", messages=[user("x" * 500)])
    assert long.value.code == "context_length_exceeded"
    assert client.completions.create(model="ppo", prompt="hi").choices[0].text == "You said: hi"
    assert client.embeddings.create(model="ppo", input="ab").data[0].embedding == [2.0, 97.5, 0.5]
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(input="hi")


def test_openai_async_streams_side_by_side(gateway: Running) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        text = ""
        async for chunk in await client.chat.completions.create(model="ppo", messages=[user(f"{number}")], stream=True):
            text += chunk.choices[0].delta.content or ""
        return text

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
            return await asyncio.gather(*(one(client, number) for number in range(8)))

    assert asyncio.run(all_of_them()) == [f"You said: {number}" for number in range(8)]


def test_openai_responses_stream_in_the_documented_order(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="ppo", input="hi", stream=True))
    kinds = [event.type for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "You said: hi"
    with client.responses.stream(model="ppo", input="hi") as helper:
        assert helper.get_final_response().output_text == "You said: hi"


@pytest.mark.parametrize("more", [{}, {"max_output_tokens": 40}, {"top_logprobs": 1}])
def test_openai_a_stored_response_is_streamed_again(client: openai.OpenAI, more: dict[str, Any]) -> None:
    tool: Any = {"type": "function", "strict": None, **WEATHER["function"]}
    streamed = list(client.responses.create(model="ppo", input=CALL, tools=[tool], stream=True, **more))
    last: Any = streamed[-1]
    events = list(client.responses.retrieve(last.response.id, stream=True))
    assert [e.type for e in events if not e.type.endswith("delta")] == [
        e.type for e in streamed if not e.type.endswith("delta")
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response == last.response == client.responses.retrieve(last.response.id)  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError, match="beginning"):
        client.responses.retrieve(last.response.id, stream=True, starting_after=3)


def test_openai_responses_call_tools_and_remember(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "strict": None, **WEATHER["function"]}
    first = client.responses.create(model="ppo", input=CALL, tools=[tool])
    assert [item.type for item in first.output] == ["message", "function_call"]
    call = first.output[1]
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"town": "Bonn"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    second = client.responses.create(model="ppo", input=[result], previous_response_id=first.id, tools=[tool])
    assert second.output_text == "You said: 21 degrees"
    assert second.usage is not None
    assert second.usage.input_tokens == len("21 degrees")
    assert client.responses.retrieve(second.id).output_text == second.output_text
    assert [item.type for item in client.responses.input_items.list(second.id)] == ["function_call_output"]
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="ppo", input="hi", previous_response_id=second.id)
    streamed = list(client.responses.create(model="ppo", input=CALL, tools=[tool], stream=True))
    assert "response.function_call_arguments.done" in [event.type for event in streamed]
    parsed = client.responses.parse(model="ppo", input="Bonn", text_format=Town)
    assert parsed.output_parsed == Town(name="x", people=1)
    cut = client.responses.create(model="ppo", input="hi", max_output_tokens=3)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


def test_openai_keeps_lists_changes_and_deletes_stored_completions(client: openai.OpenAI) -> None:
    made = [
        client.chat.completions.create(model="ppo", messages=[user(f"{n}")], store=True, metadata={"set": "a"})
        for n in range(3)
    ]
    streamed = list(client.chat.completions.create(model="ppo", messages=[user("3")], store=True,
                                                   metadata={"set": "b"}, stream=True))  # fmt: skip
    unkept = client.chat.completions.create(model="ppo", messages=[user("4")])
    assert client.chat.completions.retrieve(made[0].id).choices == made[0].choices
    assert client.chat.completions.retrieve(streamed[0].id).choices[0].message.content == "You said: 3"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(unkept.id)
    listed = client.chat.completions.list(metadata={"set": "a"}, limit=2)
    assert [row.id for row in listed.data] == [made[0].id, made[1].id]
    assert listed.has_more
    assert [row.id for row in listed] == [row.id for row in made], "the client turns the pages"
    (message,) = client.chat.completions.messages.list(made[1].id)
    assert message.content == "1"
    assert client.chat.completions.update(made[2].id, metadata={"set": "b"}).metadata == {"set": "b"}
    assert {row.id for row in client.chat.completions.list(metadata={"set": "b"})} == {made[2].id, streamed[0].id}
    assert client.chat.completions.delete(made[0].id).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(made[0].id)


def test_openai_uploads_reads_and_deletes_files(client: openai.OpenAI) -> None:
    content = b'{"prompt": "a"}\n' * 100_000
    made = client.files.create(file=("train.jsonl", content), purpose="fine-tune")
    assert (made.bytes, made.filename, made.purpose) == (len(content), "train.jsonl", "fine-tune")
    assert client.files.retrieve(made.id) == made
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        client.files.create(file=b"a", purpose="evals", expires_after={"anchor": "created_at", "seconds": 3600})
    assert client.files.content(made.id).read() == content
    assert made.id in [row.id for row in client.files.list(purpose="fine-tune")]
    assert not client.files.list(purpose="vision").data
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_langchain_streams_calls_tools_and_answers_in_a_structure(gateway: Running) -> None:
    from langchain_core.messages import ToolMessage
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="ppo", base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)  # type: ignore[arg-type]
    assert "".join(str(chunk.content) for chunk in model.stream("hi")) == "You said: hi"
    bound = model.bind_tools([WEATHER])
    for answer in (bound.invoke(CALL), sum_of(bound.stream(CALL))):
        (call,) = answer.tool_calls
        assert (call["name"], call["args"]) == ("weather", {"town": "Bonn"})
    talk = [("user", CALL), answer, ToolMessage("21 degrees", tool_call_id=call["id"])]
    assert bound.invoke(talk).content == "You said: 21 degrees"
    for method in ("json_schema", "function_calling"):
        assert model.with_structured_output(Town, method=method).invoke("Bonn") == Town(name="x", people=1)  # type: ignore[arg-type]


def sum_of(chunks: Iterator[Any]) -> Any:
    total = next(chunks)
    for chunk in chunks:
        total += chunk
    return total


LLM = """
import json, sys
import llm
model = llm.get_model("here")
said = "".join(model.prompt("hi", stream=True))
asked = []
def weather(town: str) -> str:
    asked.append(town)
    return f"21 degrees in {town}"
talk = model.chain(sys.argv[1], tools=[weather], stream=True)
told = "".join(talk)
shape = model.prompt("Bonn", schema={"type": "object", "properties": {"name": {"type": "string"}}}, stream=False)
print(json.dumps({"said": said, "asked": asked, "told": told.split(), "shape": json.loads(shape.text())}))
"""


def test_llm_streams_calls_tools_and_answers_in_a_structure(gateway: Running, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: here\n  model_name: ppo\n  api_base: {gateway.url}/v1\n  supports_tools: true\n"
        "  supports_schema: true\n"
    )
    environment = os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"}
    done = subprocess.run(
        [sys.executable, "-c", LLM, CALL], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "said": "You said: hi", "asked": ["Bonn"], "told": ["Let", "me", "see.", "You", "said:", "21", "degrees", "in",
        "Bonn"], "shape": {"name": "x"},
    }  # fmt: skip
