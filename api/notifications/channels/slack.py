"""Chat rooms: a line of text for each event, as the incoming webhooks of Slack, Mattermost and others take it."""

import msgspec

from api.config.settings import Settings
from api.http.outgoing_requests import OutgoingRequests
from api.notifications.channels.webhook import post
from api.notifications.message import Failed, NotificationMessage, SendNotification, where_to_look

HEADERS = {"Content-Type": "application/json", "User-Agent": "Grantlog"}

# What their markup takes for more than text ("Formatting text for app surfaces", Slack).
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def to_room(url: str, outgoing: OutgoingRequests, settings: Settings) -> SendNotification:
    """Says it in the room of an incoming webhook, whose address is what lets it in."""

    async def send(message: NotificationMessage) -> Failed | None:
        event = message.event
        named = [name for name in (event.names or {}).values() if name]
        about = f" ({', '.join(named)})" if named else ""
        text = f"{event.meaning}{about} {event.type} at {event.time}: ".translate(_ESCAPES)
        body = msgspec.json.encode({"text": f"{text}{where_to_look(event, settings)}"})
        return await post(outgoing, url, HEADERS, body)

    return send
