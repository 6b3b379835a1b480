"""The bar of a command that takes its time."""

from typing import Any, Self


class Bar:
    """A bar on standard error with rate and time left, where that is a terminal."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("", total=None, rate="")
        return self

    def __call__(self, done: int, goal: int) -> None:
        """So far, of so much."""
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, completed=done, total=goal, rate=f"{speed:,.0f}/s" if speed else "")

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
