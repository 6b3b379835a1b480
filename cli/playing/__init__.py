"""The month that the demo plays: who is in it, what they do, and when."""

from typing import Literal

HistoryWish = Literal["required", "if-empty"]
"""What `--history` asks for: a history or a failure, or a history where there is room for one."""
