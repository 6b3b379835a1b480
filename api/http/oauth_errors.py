"""OAuth's errors by their former names."""

from api.http import errors

OAuthError = errors.HTTPError
InvalidRequest = errors.InvalidRequest
InvalidClient = errors.InvalidClient
InvalidGrant = errors.InvalidGrant
UnauthorizedClient = errors.UnauthorizedClient
UnsupportedGrantType = errors.UnsupportedGrantType
InvalidScope = errors.InvalidScope
AccessDenied = errors.AccessDenied
Throttled = errors.Throttled
from_refusal = errors.oauth_error
