"""Cases of one test that share what its fixtures made.

Where a test has many cases and each leaves everything as it was, a server for each takes many times what the case does.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Test = Callable[..., Any]


def cases(names: str | Sequence[str], values: Iterable[Any], ids: Any = None) -> Callable[[Test], Test]:
    """Runs the test for all values in one go, otherwise as `pytest.mark.parametrize` does. Each case is run, and those
    that fail are named; a skipped one ends the test."""
    arguments = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
    sets = [dict(zip(arguments, each, strict=True)) for each in _sets(values, len(arguments))]
    named = (
        list(ids)
        if isinstance(ids, Iterable)
        else [ids and "-".join(map(str, map(ids, each.values()))) for each in sets]
    )

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def one_by_one(**given: Any) -> None:
            failures: list[Exception] = []
            for name, case in zip(named, sets, strict=True):
                with _collecting(failures, name, case):
                    test(**given, **case)
            _tell(failures)

        @functools.wraps(test)
        async def one_after_the_other(**given: Any) -> None:
            failures: list[Exception] = []
            for name, case in zip(named, sets, strict=True):
                with _collecting(failures, name, case):
                    await test(**given, **case)
            _tell(failures)

        wrapped: Any = one_after_the_other if inspect.iscoroutinefunction(test) else one_by_one
        signature = inspect.signature(test)
        left = [each for name, each in signature.parameters.items() if name not in arguments]
        wrapped.__signature__ = signature.replace(parameters=left)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def _sets(values: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    for each in values:
        if hasattr(each, "values") and hasattr(each, "marks"):
            yield each.values
        else:
            yield (each,) if size == 1 else each


@contextmanager
def _collecting(failures: list[Exception], named: str | None, case: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note("with " + (named or ", ".join(f"{name}={value!r}" for name, value in case.items())[:500]))
        failures.append(error)


def _tell(failures: list[Exception]) -> None:
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup(f"{len(failures)} cases failed", failures)
