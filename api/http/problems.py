"""The errors of the JSON API by their former names."""

from api.http import errors

FieldError = errors.FieldError
Problem = errors.HTTPError
Invalid = errors.InvalidRequest
Unauthenticated = errors.InvalidToken
WrongCredentials = errors.SignInRefused
InsufficientScope = errors.InsufficientScope
Denied = errors.AccessDenied
Missing = errors.Missing
WrongMethod = errors.WrongMethod
Clash = errors.Clash
TooLarge = errors.TooLarge
TargetTooLong = errors.TargetTooLong
HeadTooLarge = errors.HeadTooLarge
WrongMediaType = errors.WrongMediaType
Unprocessable = errors.Unprocessable
Throttled = errors.Throttled
Crashed = errors.ServerError
Unavailable = errors.TemporarilyUnavailable
from_refusal = errors.api_error
