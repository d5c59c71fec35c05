"""The gateway people and programs talk to: chat and build pages, the OpenAI API, and engines behind them."""

from chatwright.product.run import Background, serve, start_background
from chatwright.product.serving import SERVING_FILE, ServedModel

__all__ = ["SERVING_FILE", "Background", "ServedModel", "serve", "start_background"]
