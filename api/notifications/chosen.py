"""Destinations that administrators chose, beside those of the settings."""

from collections.abc import Mapping

from api.config.settings import Settings
from api.http.outgoing_requests import OutgoingRequests
from api.notifications.channels import mail, slack, webhook
from api.notifications.channels.webhook import Subscription, signing_keys
from api.notifications.message import Failed, NotificationMessage, SendNotification, chosen
from commands.destinations import DestinationSecrets
from domain.notifying.destination import DestinationTerms
from projections import outbox
from security.clock import Clock


def subscribed(destinations: Mapping[str, DestinationTerms]) -> list[outbox.Destination]:
    """Who is notified of which types."""
    return [outbox.Destination(name, chosen(each.types)) for name, each in destinations.items()]


def sender(
    name: str,
    terms: DestinationTerms,
    secrets: DestinationSecrets | None,
    settings: Settings,
    outgoing: OutgoingRequests,
    clock: Clock,
) -> SendNotification:
    """How one of them is told. Whose address the vault has lost is told nothing, which stands among the deliveries."""
    if secrets is None:
        return _nowhere
    if terms.kind == "mail":
        return mail.to_mailbox(settings, clock, secrets.to) if settings.mail_host else _no_mail
    if terms.kind == "slack":
        return slack.to_room(secrets.url or "", outgoing, settings)
    keys = signing_keys(secrets.signing_key or "")
    return webhook.to_webhook(Subscription(name, secrets.url or "", chosen(terms.types), keys), outgoing, clock)


async def _nowhere(_: NotificationMessage) -> Failed | None:
    return Failed("the vault has no address of it")


async def _no_mail(_: NotificationMessage) -> Failed | None:
    return Failed("no mail server is set (GRANTLOG_MAIL_HOST)")
