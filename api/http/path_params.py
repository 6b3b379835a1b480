"""What stands in the paths of the API, with its longest form. Ids beyond it are a 400 that names the parameter.

Where a rule of its own decides what can stand there, and answers 404 to everything else, the limit is only told.
"""

from typing import Annotated

from litestar.params import PathParameter

from domain import role, scope
from domain.rules import registration

LONGEST_ID = 128
"""Ours are shorter. What is named here ends up in keys of the database."""

ClientId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The client's id.")]
SecretId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The id of a version of its secret.")]
AccountId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The person's id.")]
GrantId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The grant's id.")]
IncidentId = Annotated[str, PathParameter(max_length=LONGEST_ID, description="The incident's id.")]
Slug = Annotated[
    str, PathParameter(max_length=registration.SLUG_MAXIMUM, description="The dashboard's name in addresses.")
]
Realm = Annotated[str, PathParameter(description="The role's realm.", schema_extra={"enum": list(registration.REALMS)})]
RoleName = Annotated[str, PathParameter(max_length=role.NAME_MAXIMUM, description="The role's name.")]
ScopeName = Annotated[
    str,
    # The framework would count the slash before it.
    PathParameter(
        description="The scope's name; it may hold slashes.", schema_extra={"max_length": scope.NAME_MAXIMUM}
    ),
]
Digest = Annotated[
    str,
    PathParameter(
        description="The lower-case hex SHA-256 of the whole secret.",
        schema_extra={"min_length": 64, "max_length": 64, "pattern": "^[0-9a-f]{64}$"},
    ),
]
