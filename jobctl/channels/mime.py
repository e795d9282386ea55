"""Messages as MIME: what the mail server gets, and what `.eml` files hold."""

import re
import string
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import idna

from jobctl.channels.protocol import Message
from jobctl.settings import Settings

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# The header parser of `email` decodes encoded words, line ends included, and writes them out unencoded.
ENCODED_WORD = "=?"
LONGEST_QUOTED = 60  # characters of a name
LONGEST_SUBJECT, LONGEST_ADDRESS = 500, 320  # characters; RFC 5321, 4.5.3.1: 64 and 255 of an address
LOCAL_PART = re.compile(r'[^\s@<>()\[\]\\,;:"]+')
# RFC 5321 allows more between quotes; neither brackets nor backslashes, which could end the address early.
QUOTED_LOCAL = re.compile(r'"([\w !#$%&\'*+/=?^`{|}~.,;:@()-]{1,62})"', re.ASCII)
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*")


NO_UNICODE = "the message holds what is no valid Unicode"


class UnwritableError(ValueError):
    """A message that no e-mail can be made of."""


@dataclass(frozen=True)
class Letter:
    """A message as the mail server gets it."""

    sender: str
    recipient: str
    written: str  # the recipient's address as we were given it
    message_id: str
    content: bytes
    international: bool  # an address goes beyond ASCII even with its domain in IDNA


class AsItIs(UnstructuredHeader, BaseHeader):
    """A header that is never folded or encoded: `email` makes encoded words of links over 78 characters."""

    def fold(self, *, policy: "Policy[Any]") -> str:
        return f"{self.name}: {self}{policy.linesep}"


class Headers(HeaderRegistry):
    """Makes the class of a header once, and the headers that most messages have alike once too."""

    ALIKE = frozenset({"auto-submitted", "content-transfer-encoding", "content-type", "mime-version"})

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, Any] = {}
        self.alike = lru_cache(super().__call__)

    def __getitem__(self, name: str) -> Any:
        known = name.lower()
        if known not in self.made:
            self.made[known] = super().__getitem__(known)
        return self.made[known]

    def __call__(self, name: str, value: Any) -> Any:
        return self.alike(name, value) if name.lower() in self.ALIKE else super().__call__(name, value)


HEADERS = Headers()
HEADERS.map_to_type("List-Unsubscribe", AsItIs)
HEADERS.map_to_type("Message-ID", AsItIs)
POLICY = SMTP.clone(cte_type="7bit", header_factory=HEADERS)  # 7bit: not every server takes 8-bit lines


def check(message: Message) -> None:
    """Raise UnwritableError where no e-mail can be made of the message, at far less than making it costs."""
    address(message.address, fit("name", message.recipient))
    try:
        for each in (message.recipient, message.subject, message.text, message.html or ""):
            each.encode()
    except UnicodeError as error:
        raise UnwritableError(NO_UNICODE) from error


def compose(message: Message, settings: Settings) -> EmailMessage:
    """Write the message as MIME, the same on every attempt but for the date; raises UnwritableError."""
    assert settings.email_from
    sender = mailbox(settings.email_from)
    mail = EmailMessage(policy=POLICY)
    try:
        mail["From"] = mailbox_header("From", settings.email_from)
        mail["To"] = address(message.address, fit("name", message.recipient))
        if settings.email_reply_to:
            mail["Reply-To"] = mailbox_header("Reply-To", settings.email_reply_to)
        mail["Subject"] = subject(message.subject)
        mail["Date"] = datetime.now(UTC)
        mail["Message-ID"] = f"<{fit('key', message.key)}@{sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if message.category != "transactional":
            unsubscribing(mail, message, settings)
        mail.set_content(message.text)
        if message.html:
            # A boundary that is given need not be looked for in the content by a regular expression.
            mail.make_alternative(boundary=boundary(message))
            mail.add_alternative(message.html, subtype="html")
    except UnicodeError as error:
        raise UnwritableError(NO_UNICODE) from error
    return mail


def unsubscribing(mail: EmailMessage, message: Message, settings: Settings) -> None:
    assert settings.email_from
    user, category = (quote(str(each or ""), safe="") for each in (message.user_id, message.category))
    if settings.email_unsubscribe:
        link = settings.email_unsubscribe.format(user_id=user, category=category)
    else:
        link = f"mailto:{mailbox(settings.email_from).addr_spec}?subject=unsubscribe%20{category}"
    link = quote(link, safe=string.punctuation)
    mail["List-Unsubscribe"] = f"<{link}>"
    if link.startswith("https://"):
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"


def seal(mail: EmailMessage, message: Message) -> Letter:
    """Bring a composed message to its bytes; raises UnwritableError."""
    sender, recipient = (mail[name].addresses[0].addr_spec for name in ("From", "To"))
    international = not (sender + recipient).isascii()
    try:
        content = mail.as_bytes(policy=POLICY.clone(utf8=international))
    except UnicodeError as error:
        raise UnwritableError(NO_UNICODE) from error
    return Letter(sender, recipient, message.address, str(mail["Message-ID"]), content, international)


def fit(what: str, text: str) -> str:
    """Refuse what could end a header line and begin another."""
    if CONTROL.search(text):
        raise UnwritableError(f"the {what} holds a line end or another control character")
    if ENCODED_WORD in text:
        raise UnwritableError(f"the {what} holds an encoded word (=?...?=)")
    return text


def subject(text: str) -> str:
    """Bring a subject into one line, in which nothing is taken for an encoded word."""
    words = " ".join(CONTROL.sub(" ", text).split()).replace(ENCODED_WORD, "= ?")
    return words if len(words) <= LONGEST_SUBJECT else words[: LONGEST_SUBJECT - 1] + "…"


def address(text: str, name: str = "") -> Address:
    if len(text) > LONGEST_ADDRESS:
        raise UnwritableError(f"an e-mail address has no more than {LONGEST_ADDRESS} characters")
    local, _, domain = fit("address", text).rpartition("@")
    with suppress(UnicodeError):  # of which idna's errors are
        # Not Python's own codec: by the old rules it makes strasse.example of straße.example.
        ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
        quoted = QUOTED_LOCAL.fullmatch(local)
        if (quoted or LOCAL_PART.fullmatch(local)) and DOMAIN.fullmatch(ascii_domain):
            return Address(cut(name), quoted[1] if quoted else local, ascii_domain)
    raise UnwritableError("no valid e-mail address")


def cut(name: str) -> str:
    """Cut a name so that its header need not be folded within it: `email` would lose its quotes there."""
    while len(name) + sum(map(name.count, '"\\')) > LONGEST_QUOTED:
        name = name[:-1]
    return name.rstrip()


def boundary(message: Message) -> str:
    """Return what separates the parts: `=_` occurs in no encoded body, all of it in hardly any other."""
    found = "=_next_part"
    while found in message.text or found in (message.html or ""):
        found += "_"
    return found


@lru_cache
def mailbox_header(name: str, text: str) -> Any:
    """Parse the header of a setting, once for all messages."""
    return HEADERS(name, mailbox(text))


@lru_cache
def mailbox(text: str) -> Address:
    """Read a setting such as `Marketplace, Inc. <hello@example.com>`."""
    name, _, rest = text.rpartition("<")
    return address(rest.removesuffix(">"), name.strip().strip('"'))
