"""What letters to people say: in English, with `%(name)s` where something is filled in, and looked up in catalogues."""

from collections.abc import Mapping
from typing import NamedTuple

from api.languages import ENGLISH, LANGUAGES, Language, Words
from eventstore.pending.letters import LetterKind

RECOVER = "/account/recover"
"""Where somebody goes who has forgotten their password."""

REGISTER = "/account/register"
"""Where somebody goes who has no account, in a realm that is open."""

CONFIRM = "/account/email/confirm"
LINKS: Mapping[LetterKind, str] = {
    "recovery": "/account/recover/password",
    "invitation": "/account/invitation",
    "verification": CONFIRM,
    "email_present": CONFIRM,
    "email_new": CONFIRM,
    "registration": f"{REGISTER}/confirm",
}
"""Where the link of a letter leads on this server; the secret follows as `link`."""


GREETING = Words("Hello,")
GREETING_BY_NAME = Words("Hello %(name)s,")
WHY = Words("You get this letter because you have an account at %(issuer)s.")
WHY_NO_ACCOUNT = Words("You get this letter because somebody gave this address at %(issuer)s.")
"""What stands around every letter."""


class LetterText(NamedTuple):
    """One letter. `button` is what its link says, None where it has none; `why` says how its reader came to get it."""

    subject: Words
    paragraphs: tuple[Words, ...]
    button: Words | None = None
    closing: tuple[Words, ...] = ()
    why: Words = WHY


LETTERS: dict[LetterKind, LetterText] = {
    "recovery": LetterText(
        Words("A new password"),
        (Words("Somebody, probably you, asked for a new password for your account at %(issuer)s."),),
        Words("Choose a new password"),
        (
            Words("The link is good for %(minutes)s minutes and once, and takes the place of any before."),
            Words("If it was not you, do nothing: your password stays as it is."),
        ),
    ),
    "invitation": LetterText(
        Words("Your account at %(host)s"),
        (Words("There is an account for you at %(issuer)s. To use it, choose a password."),),
        Words("Choose a password"),
        (Words("The link is good for %(days)s days and once. If you know nothing of it, do nothing."),),
    ),
    "registration": LetterText(
        Words("Register at %(host)s"),
        (Words("Somebody, probably you, wants an account with this e-mail address at %(issuer)s."),),
        Words("Make the account"),
        (Words("The link is good for %(hours)s hours. If you know nothing of it, do nothing."),),
        WHY_NO_ACCOUNT,
    ),
    "registered_already": LetterText(
        Words("You have an account at %(host)s"),
        (Words("Somebody, probably you, wanted to register at %(issuer)s with this address. It has an account."),),
        Words("Set a new password"),
        (Words("Sign in with the password that you have, or set a new one. Otherwise do nothing."),),
    ),
    "verification": LetterText(
        Words("Is this your address?"),
        (Words("Confirm that this e-mail address belongs to your account at %(issuer)s."),),
        Words("Confirm the address"),
        (Words("The link is good for %(hours)s hours. If you know nothing of it, do nothing."),),
    ),
    "email_present": LetterText(
        Words("Your e-mail address is to be changed"),
        (
            Words("The address of your account at %(issuer)s is to be changed from this one to %(email)s."),
            Words("That happens when it is confirmed by this letter and by the one to the new address."),
        ),
        Words("Confirm the change"),
        (
            Words("The link is good for %(hours)s hours."),
            Words("If it was not you, do not follow it: set a new password, since somebody knows yours."),
        ),
    ),
    "email_new": LetterText(
        Words("Your new e-mail address"),
        (Words("This is to be the address of an account at %(issuer)s."),),
        Words("Confirm the change"),
        (Words("The link is good for %(hours)s hours. If you know nothing of it, do nothing."),),
        WHY_NO_ACCOUNT,
    ),
}

NEW_PASSWORD = Words("Set a new password")
NOT_YOU = Words("If it was not you, set a new password at once, and look at what is signed in to your account.")

STILL = Words("You still sign in at %(providers)s too. On the page of your password you can end that.")

NOTICES: dict[LetterKind, LetterText] = {
    "new_device": LetterText(
        Words("A new sign-in to your account"),
        (
            Words("Somebody signed in to your account at %(issuer)s, from a network or device that is new for it."),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        NEW_PASSWORD,
        (Words("If it was you, there is nothing to do."), NOT_YOU),
    ),
    "password_changed": LetterText(
        Words("Your password was changed"),
        (
            Words("The password of your account at %(issuer)s was changed."),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        NEW_PASSWORD,
        (Words("If it was you, there is nothing to do."), NOT_YOU),
    ),
    "factor_changed": LetterText(
        Words("Your second factor was changed"),
        (
            Words("A second factor of your account at %(issuer)s was set up, replaced or taken away."),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        NEW_PASSWORD,
        (Words("If it was you, there is nothing to do."), NOT_YOU),
    ),
    "upstream_changed": LetterText(
        Words("Another way to sign in was changed"),
        (
            Words("Your account at %(issuer)s was linked to another provider at which you sign in, or the link ended."),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        NEW_PASSWORD,
        (Words("If it was you, there is nothing to do."), NOT_YOU),
    ),
    "erasure_requested": LetterText(
        Words("Your account is to be erased"),
        (
            Words("Somebody, probably you, asked for your account at %(issuer)s to be erased."),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        NEW_PASSWORD,
        (Words("If it was not you, set a new password at once and keep your account on the page of your data."),),
    ),
    "passkey_copied": LetterText(
        Words("A passkey of yours was refused"),
        (
            Words("A passkey for your account at %(issuer)s counted backwards: there may be a copy of it."),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        NEW_PASSWORD,
        (Words("Take it away on the page of your second factors, and set up another."),),
    ),
    "refresh_replayed": LetterText(
        Words("An application of yours was signed out"),
        (
            Words(
                "A token of an application that acts for you at %(issuer)s was used twice, as a thief would do. So "
                "everything that this application was given has ended."
            ),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        None,
        (Words("Sign in to the application again. Nobody has learnt your password by it."),),
    ),
    "contained": LetterText(
        Words("Something of yours had leaked, and has ended"),
        (
            Words(
                "A secret by which somebody could act for you at %(issuer)s got into other hands. Whatever it opened "
                "has ended, so you may have to sign in again."
            ),
            Words("Time: %(at)s."),
        ),
        None,
        (Words("If you are in doubt about your password, set a new one."),),
    ),
    "factor_failed": LetterText(
        Words("Somebody knows your password"),
        (
            Words("Somebody gave the right password for your account at %(issuer)s, and not the second factor."),
            Words("Time: %(at)s. Address: %(address)s. Device: %(agent)s."),
        ),
        NEW_PASSWORD,
        (Words("If it was you, there is nothing to do."), NOT_YOU),
    ),
}
"""What people hear about their accounts. The link of such a letter leads to the page for a new password."""

TEXTS: Mapping[LetterKind, LetterText] = {**LETTERS, **NOTICES}
UNKNOWN = Words("unknown")


def language_of(locale: str | None) -> Language:
    """The language for somebody with this locale (BCP 47, as in the claim `locale`)."""
    primary = (locale or "").replace("_", "-").partition("-")[0].lower()
    return LANGUAGES.get(primary, LANGUAGES[ENGLISH])
