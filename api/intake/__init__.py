"""Reports of leaked secrets by services that found them: GitHub and GitLab."""

from typing import Any

from api.intake import github, gitlab

ROUTES: list[Any] = [*github.ROUTES, *gitlab.ROUTES]
