"""Chats on the server: trees of messages, answers that outlive the connection which asked for them, sharing, export."""
