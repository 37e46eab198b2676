"""Who sends a request, for those who need to know but not how it is found out."""

from typing import Protocol

from funclet.base.http import Request
from funclet.model.identity import Principal


class Authenticator(Protocol):
    """Tells who sends a request."""

    async def authenticate(self, request: Request, *, project_id: str = "") -> Principal:
        """Return the caller; it acts in `project_id` if it may choose.

        Raises:
            ModelError: the credentials are missing or wrong.
        """
        ...
