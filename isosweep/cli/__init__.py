"""The command line: thin doors, one file a command. Nothing heavy is imported before a command runs."""

from .main import app, main

__all__ = ["app", "main"]
