"""What somebody says yes to. Whoever changes the text changes VERSION, which every yes and no names."""

VERSION = "2026-11"
WORDING = (
    "My chats, and what I say of answers from now on, may be used to train and measure models of this installation. "
    "I can take this back at any time: nothing of mine is then part of the next training set, and I am told which "
    "models learned from it before. Temporary chats are never used."
)
