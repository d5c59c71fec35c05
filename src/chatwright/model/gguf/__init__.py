"""GGUF, the one-file format of llama.cpp and Ollama: our checkpoints written as one, and such files read.

    shape.py       the decoder's shape as metadata
    vocabulary.py  tokens, merges, special tokens and the chat template as metadata
    tensors.py     names, layout and number formats of the weights
    files.py       whole files, in both directions

Needs the `gguf` package, the format's own reader and writer (`pip install 'chatwright[gguf]'`).
"""

from chatwright.model.gguf.files import export_gguf, import_gguf
from chatwright.model.gguf.tensors import NUMBER_FORMATS

__all__ = ["NUMBER_FORMATS", "export_gguf", "import_gguf"]
