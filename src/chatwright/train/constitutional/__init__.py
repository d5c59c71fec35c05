"""Constitutional AI: principles, a critic that puts them to answers, and what is learned from it."""
