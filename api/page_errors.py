"""How a page says that something went wrong."""

from api.form_targets import security_headers
from api.pages import ErrorPage, render
from api.problems import Problem


def error_page(problem: Problem, request_id: str) -> tuple[bytes, dict[str, str]]:
    """The problem as an HTML page, and the headers that go with it."""
    page = ErrorPage(title=problem.title, explanation=problem.detail or problem.title, request_id=request_id)
    return render(page), security_headers()
