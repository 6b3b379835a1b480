"""Mail to people as the demo keeps it: letters in files, read by the standard library as mail programs would."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from api.letters.postman import FOLDER, Postman
from tests.scenarios.world import World

_LINK = re.compile(r"http://\S+")


class ReceivedLetter:
    """A letter: its head, and what stands in it in either form."""

    def __init__(self, message: EmailMessage) -> None:
        self.message = message
        bodies: Any = {kind: message.get_body((kind,)) for kind in ("plain", "html")}
        self.text: str = bodies["plain"].get_content()
        self.html: str = bodies["html"].get_content()

    @property
    def to(self) -> str:
        return str(self.message["To"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def link(self) -> str:
        """Where its one link leads."""
        found: list[str] = [each for each in _LINK.findall(self.text) if "link=" in each]
        assert len(found) == 1
        return found[0]


async def delivered(world: World) -> list[ReceivedLetter]:
    """Has waiting letters handed on; those that came, which are then taken away."""
    await Postman(world.services).deliver()
    found = []
    for path in sorted((world.settings.data_dir / FOLDER).glob("*.eml"), key=lambda path: path.stat().st_mtime_ns):
        assert path.stat().st_mode & 0o077 == 0
        parsed: Any = message_from_bytes(path.read_bytes(), policy=policy.default)
        found.append(ReceivedLetter(parsed))
        path.unlink()
    return found
