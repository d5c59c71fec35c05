"""Generation: one engine for rollouts in-process and for people behind a server.

Names are imported when they are first used: the gateway reads this room's protocol and must not pay for torch.
"""

from typing import TYPE_CHECKING, Any

from chatwright.engine.request import Completion, Request, SamplingParams, Step

if TYPE_CHECKING:
    from chatwright.engine.answering import answer, seeds
    from chatwright.engine.core import Engine

__all__ = ["Completion", "Engine", "Request", "SamplingParams", "Step", "answer", "seeds"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "Engine":
        return import_module("chatwright.engine.core").Engine
    if name in ("answer", "seeds"):
        return getattr(import_module("chatwright.engine.answering"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
