"""One answer to one prompt as tokens: what DPO compares, a reward model reads and PPO closes its rollouts like."""

from __future__ import annotations

from collections.abc import Sequence

from chatwright.errors import InputError
from chatwright.model.chat import ChatTemplate
from chatwright.model.packing import Example
from chatwright.records import Message


def answer_example(template: ChatTemplate, prompt: Sequence[Message], response: str) -> Example:
    """Prompt given, answer and end token predicted.

    What a template writes after the end (a line break, say) is left out: no sampled answer has it. Raises InputError
    where the template does not show the answer behind the prompt.
    """
    given = len(template.render(prompt, add_generation_prompt=True).tokens)
    rendered = template.render((*prompt, Message("assistant", response)))
    spoken = [at for at in range(given, len(rendered.mask)) if rendered.mask[at]]
    if not spoken:
        raise InputError("the chat template of this model rewrites what came before an answer; it cannot be trained so")
    tokens = rendered.tokens[: spoken[-1] + 1]
    return Example(tokens, [0.0] * given + [1.0] * (len(tokens) - given))


def end_of_answer(template: ChatTemplate) -> int:
    """The token with which this template ends an answer, where several would stop one."""
    return int(answer_example(template, (Message("user", "?"),), "!").tokens[-1])
