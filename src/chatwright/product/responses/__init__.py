"""/v1/responses over chat completions: requests and answers are translated, conversations are kept."""

from chatwright.product.responses.routes import add_responses

__all__ = ["add_responses"]
