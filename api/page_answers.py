"""Pages and redirects as answers: a page with its own headers, a redirect as 303, each with the cookies it sets."""

from collections.abc import Mapping, Sequence

from litestar import Response
from litestar.datastructures import Cookie

from api.form_targets import security_headers
from api.pages import Page, render


def page_answer(
    page: Page,
    *,
    status: int = 200,
    form_action: Sequence[str] = (),
    cookies: Sequence[Cookie] = (),
    headers: Mapping[str, str] | None = None,
) -> Response[bytes]:
    """The page as HTML. `form_action` are redirect URIs to which its forms may lead (see `security_headers`)."""
    return Response(
        render(page),
        status_code=status,
        # The framework adds the charset to text by itself.
        media_type="text/html",
        headers={**security_headers(form_action, script=page.script), **(headers or {})},
        cookies=list(cookies),
    )


def see_other(location: str, cookies: Sequence[Cookie] = ()) -> Response[bytes]:
    """A redirect that a browser follows with GET, so that no form is ever posted on (RFC 9700 §4.12).

    `location` is visible ASCII: a redirect URI with parameters, or a path on this server.
    """
    return Response(
        b"",
        status_code=303,
        headers={"location": location, "cache-control": "no-store"},
        cookies=list(cookies),
        media_type="text/html",
    )
