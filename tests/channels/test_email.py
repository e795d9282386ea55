import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from jobctl.channels.email import Email
from jobctl.channels.mime import CONTROL
from jobctl.channels.protocol import Answer, Message, Refused, Sent
from jobctl.errors import MisconfiguredError
from jobctl.job import Lost, NotBegunError, ScopeDownError
from jobctl.settings import Settings
from tests.servers import DROP, Certificate, MailServer, Stage, closed_port

ADA = "ada@example.org"
MESSAGE = Message(
    id=7,
    channel="email",
    key="abcd1234.notification-7",
    user_id=42,
    recipient="Ada",
    address=ADA,
    template="welcome",
    category="transactional",
    subject="Welcome",
    text="Hello Ada\n",
    html=None,
    queued_at=datetime(2026, 1, 2, tzinfo=UTC),
)
MESSAGE_ID = "<abcd1234.notification-7@shop.example>"

Open = Callable[..., Email]


def settings(server: MailServer, **changed: Any) -> Settings:
    usual = {
        "smtp_host": "127.0.0.1",
        "smtp_port": server.port,
        "smtp_tls": server.tls,
        "smtp_ca_file": server.certificate.ca_file if server.certificate else None,
        "smtp_timeout": timedelta(seconds=5),
        "email_from": "Marketplace, Inc. <hello@shop.example>",
    }
    return Settings(**{**usual, **changed})


@pytest.fixture
def channel() -> Iterator[Open]:
    """Open a channel to a server, closed when the test ends."""
    with ExitStack() as closing:

        def opened(server: MailServer, **changed: Any) -> Email:
            email = Email(settings(server, **changed))
            closing.callback(email.close)
            return email

        yield opened


def down(email: Email, message: Message = MESSAGE) -> str:
    """Send what must close the channel, and return the reason."""
    with pytest.raises(ScopeDownError) as caught:
        email.send(message)
    assert caught.value.scope == "email"
    return caught.value.reason


def refused(answer: Answer) -> Refused:
    assert isinstance(answer, Refused)
    return answer


# What is sent


def test_a_message_arrives_as_it_was_rendered(server: MailServer, channel: Open) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    email = channel(server, email_reply_to="Help <help@shop.example>")
    assert email.send(MESSAGE) == Sent(MESSAGE_ID)
    (mail,) = server.messages
    got = mail.parsed
    assert (mail.sender, mail.recipients) == ("hello@shop.example", (ADA,))
    assert got["From"] == '"Marketplace, Inc." <hello@shop.example>'
    assert got["To"] == "Ada <ada@example.org>"
    assert got["Reply-To"] == "Help <help@shop.example>"
    assert got["Subject"] == "Welcome"
    assert got["Message-ID"] == MESSAGE_ID
    assert got["Auto-Submitted"] == "auto-generated"
    assert before <= parsedate_to_datetime(got["Date"]) <= datetime.now(UTC)
    assert got.get_content() == "Hello Ada\n"


def test_html_is_the_alternative_to_the_text(server: MailServer, channel: Open) -> None:
    channel(server).send(replace(MESSAGE, html="<p>Hello Ådä</p>"))
    plain, html = server.messages[0].parsed.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert html.get_content() == "<p>Hello Ådä</p>\n"


@pytest.mark.parametrize("name", ["Jörg Müller", 'Ada "the first", <x@evil.example>', "Ада " * 40, ""])
def test_any_name_arrives_cut_if_need_be_and_names_nobody_else(
    server: MailServer, channel: Open, name: str
) -> None:
    channel(server).send(replace(MESSAGE, recipient=name))
    (to,) = server.messages[0].parsed["To"].addresses
    assert "".join(name.split()).startswith("".join(to.display_name.split()))
    assert to.display_name == name or len(name) > len(to.display_name) > 50
    assert to.addr_spec == ADA


def test_what_goes_out_is_ascii_whatever_it_says(server: MailServer, channel: Open) -> None:
    channel(server).send(replace(MESSAGE, subject="Přihlášení " * 20, text="Dobrý den\n"))
    mail = server.messages[0]
    assert mail.content.isascii()
    assert mail.parsed["Subject"] == ("Přihlášení " * 20).rstrip()
    assert mail.parsed.get_content() == "Dobrý den\n"


def test_a_lone_dot_does_not_end_the_message(server: MailServer, channel: Open) -> None:
    text = "one\n.\n..\n.three\nQUIT\n"
    channel(server).send(replace(MESSAGE, text=text))
    assert server.messages[0].parsed.get_content() == text


def test_a_text_that_quotes_another_mail_ends_no_part(server: MailServer, channel: Open) -> None:
    email = channel(server)
    email.send(replace(MESSAGE, html="<p>Hello</p>"))
    boundary = server.messages[0].parsed.get_boundary()
    text = f"--{boundary}\nContent-Type: text/html\n\n--{boundary}--\n"
    email.send(replace(MESSAGE, text=text, html="<p>Hello</p>"))
    plain, html = server.messages[1].parsed.iter_parts()
    assert (plain.get_content(), html.get_content()) == (text, "<p>Hello</p>\n")


def test_a_domain_beyond_ascii_goes_out_as_idna_2008(server: MailServer, channel: Open) -> None:
    assert isinstance(channel(server).send(replace(MESSAGE, address="ada@straße.example")), Sent)
    assert server.messages[0].recipients == ("ada@xn--strae-oqa.example",)


def test_a_local_part_beyond_ascii_goes_out_where_the_server_takes_it(
    server: MailServer, channel: Open
) -> None:
    email = channel(server)
    assert isinstance(email.send(replace(MESSAGE, address="jörg@example.org")), Sent)
    assert isinstance(email.send(MESSAGE), Sent)
    first, second = server.messages
    assert first.recipients == ("jörg@example.org",)
    assert "SMTPUTF8" in first.options
    assert second.options == ()


def test_a_local_part_beyond_ascii_is_refused_where_the_server_does_not(channel: Open) -> None:
    with MailServer(utf8=False) as server:
        email = channel(server)
        assert refused(email.send(replace(MESSAGE, address="jörg@example.org"))).permanent
        assert isinstance(email.send(MESSAGE), Sent)
        assert server.connections == 1


# Unsubscribing

LINK = "https://shop.example/preferences/" + "long/" * 20 + "?user={user_id}&category={category}"


def test_mail_that_is_not_transactional_tells_how_to_unsubscribe(server: MailServer, channel: Open) -> None:
    channel(server, email_unsubscribe=LINK).send(replace(MESSAGE, category="news & offers"))
    link = LINK.format(user_id=42, category="news%20%26%20offers")
    assert f"\nList-Unsubscribe: <{link}>\r\n".encode() in server.messages[0].content
    assert server.messages[0].parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize("link", [None, "mailto:hello@shop.example?subject=unsubscribe%20{category}"])
def test_a_mailto_link_offers_no_one_click(server: MailServer, channel: Open, link: str | None) -> None:
    channel(server, email_unsubscribe=link).send(replace(MESSAGE, category="news"))
    got = server.messages[0].parsed
    assert got["List-Unsubscribe"] == "<mailto:hello@shop.example?subject=unsubscribe%20news>"
    assert got["List-Unsubscribe-Post"] is None


def test_transactional_mail_cannot_be_unsubscribed_from(server: MailServer, channel: Open) -> None:
    channel(server, email_unsubscribe=LINK).send(MESSAGE)
    assert server.messages[0].parsed["List-Unsubscribe"] is None


# What no mail can be made of

SMUGGLED = "Hi\r\nBcc: victim@example.org"
ENCODED = "=?utf-8?q?Hi=0D=0ABcc:_victim@example.org?="


SMUGGLING = [SMUGGLED, "a\nb", "a\rb", "a\x00b", "a\x85b", "a\u2028b", ENCODED]


@pytest.mark.parametrize("text", SMUGGLING)
def test_what_could_make_a_header_of_its_own_is_no_name(server: MailServer, channel: Open, text: str) -> None:
    answer = refused(channel(server).send(replace(MESSAGE, recipient=text)))
    assert answer.permanent
    assert answer.reason.startswith("the name holds")
    assert server.connections == 0


@pytest.mark.parametrize("text", SMUGGLING)
def test_in_a_subject_it_is_text(server: MailServer, channel: Open, text: str) -> None:
    assert channel(server).send(replace(MESSAGE, subject=text)) == Sent(MESSAGE_ID)
    (mail,) = server.messages
    assert mail.recipients == (ADA,)
    assert mail.parsed["Bcc"] is None
    shown = mail.parsed["Subject"]
    assert shown.split() == CONTROL.sub(" ", text).replace("=?", "= ?").split()


@pytest.mark.parametrize("name", ["victim@x.example, ", '"q" ', "\\", "[2J ", "(c) ", "Ж, ж ", "a; b: c "])
@pytest.mark.parametrize("domain", ["example.org", f"{'d' * 60}.{'e' * 60}.example"])
def test_a_long_name_stays_one_name(server: MailServer, channel: Open, name: str, domain: str) -> None:
    whole = name * 50
    channel(server).send(replace(MESSAGE, recipient=whole, address=f"ada@{domain}"))
    (to,) = server.messages[0].parsed["To"].addresses
    assert to.addr_spec == f"ada@{domain}"
    assert to.display_name
    assert whole.startswith(to.display_name)


def test_a_subject_is_cut(server: MailServer, channel: Open) -> None:
    channel(server).send(replace(MESSAGE, subject="x" * 1_000_000))
    assert server.messages[0].parsed["Subject"] == "x" * 499 + "…"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "a da@example.org",
        "ada@exa mple.org",
        "ada@example..org",
        "a,b@example.org",
        '"a"b"@example.org',
        '"a\\"@example.org',
        '"a> SIZE=1"@example.org',
        '""@example.org',
        "<ada@example.org>",
        "ada@[127.0.0.1]",
        "ada@-.example",
        f"ada@{'x' * 64}.example",
        "ada@\ud800.example",
        "ada@example.org> SIZE=1",
    ],
)
def test_no_address_is_refused(server: MailServer, channel: Open, address: str) -> None:
    answer = channel(server).send(replace(MESSAGE, address=address))
    assert answer == Refused("no valid e-mail address", permanent=True)
    assert server.connections == 0


@pytest.mark.parametrize("address", ['"quoted local"@example.org', '"ada@home, or not"@example.org'])
def test_a_local_part_may_be_quoted(server: MailServer, channel: Open, address: str) -> None:
    assert channel(server).send(replace(MESSAGE, address=address)) == Sent(MESSAGE_ID)
    (received,) = server.messages
    assert received.recipients == (address,)
    assert [each.addr_spec for each in received.parsed["To"].addresses] == [address]


@pytest.mark.parametrize("address", [f"{ADA}\r\nRCPT TO:<victim@example.org>", f"=?utf-8?q?=0A?={ADA}"])
def test_commands_in_an_address_are_refused(server: MailServer, channel: Open, address: str) -> None:
    assert refused(channel(server).send(replace(MESSAGE, address=address))).permanent
    assert server.connections == 0


def test_broken_text_is_the_messages_own_failure(server: MailServer, channel: Open) -> None:
    email = channel(server)
    for broken in (replace(MESSAGE, text="\ud800"), replace(MESSAGE, subject="\ud800")):
        assert refused(email.send(broken)).permanent
    assert isinstance(email.send(MESSAGE), Sent)


# What the server refuses


@pytest.mark.parametrize("stage", ["RCPT", "DATA", "CONTENT"])
@pytest.mark.parametrize(("code", "permanent"), [("451 4.3.0", False), ("550 5.1.1", True)])
def test_a_refused_message_fails_alone(
    server: MailServer, channel: Open, stage: Stage, code: str, permanent: bool
) -> None:
    server.script(stage, f"{code} not you", "bob@example.org")
    email = channel(server)
    what = "recipient" if stage == "RCPT" else "message"
    answer = email.send(replace(MESSAGE, address="bob@example.org"))
    assert answer == Refused(f"the mail server refused the {what}: {code} not you", permanent)
    assert isinstance(email.send(MESSAGE), Sent)
    assert [mail.recipients for mail in server.messages] == [(ADA,)]
    assert server.connections == 1


def test_a_reason_is_one_line_without_the_address(server: MailServer, channel: Open) -> None:
    server.script("RCPT", "550-<ADA@EXAMPLE.ORG>:\r\n550 \x1b[31m" + f"no {ADA} here" + "x" * 1000)
    reason = refused(channel(server).send(MESSAGE)).reason
    assert reason.startswith(
        "the mail server refused the recipient: 550 <recipient>: [31mno <recipient> herex"
    )
    assert len(reason) == 300


def test_a_server_that_forwards_has_accepted(server: MailServer, channel: Open) -> None:
    server.script("CONTENT", "250 2.0.0 queued as 4711")
    assert channel(server).send(MESSAGE) == Sent(MESSAGE_ID)


def test_a_refused_sender_closes_the_channel(server: MailServer, channel: Open) -> None:
    server.script("MAIL", "550 5.7.1 not from you", times=1)
    email = channel(server)
    assert down(email) == "the mail server refused the sender: 550 5.7.1 not from you"
    assert isinstance(email.send(MESSAGE), Sent)


@pytest.mark.parametrize("stage", ["CONNECT", "MAIL", "RCPT", "DATA", "CONTENT"])
@pytest.mark.parametrize("earlier", [0, 1])
def test_421_closes_the_channel_at_every_stage(
    server: MailServer, channel: Open, stage: Stage, earlier: int
) -> None:
    server.script(stage, "421 4.3.2 shutting down", after=earlier)
    email = channel(server)
    for _ in range(earlier):
        assert isinstance(email.send(MESSAGE), Sent)
    if stage == "CONNECT":
        server.hang_up()
    assert "421 4.3.2 shutting down" in down(email)
    assert len(server.messages) == earlier
    before = server.connections
    server.unscript()
    assert isinstance(email.send(MESSAGE), Sent)
    assert server.connections == before + 1


# Connections


def test_a_thread_reuses_its_connection(server: MailServer, channel: Open) -> None:
    email = channel(server)
    for _ in range(5):
        email.send(MESSAGE)
    assert (server.connections, len(server.messages)) == (1, 5)


def test_every_thread_has_its_own_connection(server: MailServer, channel: Open) -> None:
    server.latency = 0.02
    email = channel(server)
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(email.send(MESSAGE))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [Sent(MESSAGE_ID)] * 8
    assert server.connections == 8


@pytest.mark.parametrize("farewell", ["", "421 4.4.2 idle for too long"])
def test_a_server_that_hung_up_on_the_idle_is_called_again(
    server: MailServer, channel: Open, farewell: str
) -> None:
    email = channel(server)
    email.send(MESSAGE)
    server.hang_up(farewell)
    assert isinstance(email.send(MESSAGE), Sent)
    assert (server.connections, len(server.messages)) == (2, 2)


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_a_drop_before_the_content_on_a_used_connection_is_tried_again_once(
    server: MailServer, channel: Open, stage: Stage
) -> None:
    server.script(stage, DROP, after=1, times=1)
    email = channel(server)
    assert [email.send(MESSAGE), email.send(MESSAGE)] == [Sent(MESSAGE_ID)] * 2
    assert (server.connections, len(server.messages)) == (2, 2)


@pytest.mark.parametrize("earlier", [0, 1])
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_a_drop_before_the_content_on_a_fresh_connection_closes_the_channel(
    server: MailServer, channel: Open, stage: Stage, earlier: int
) -> None:
    server.script(stage, DROP, after=earlier)
    email = channel(server)
    for _ in range(earlier):
        email.send(MESSAGE)
    assert down(email) == "the mail server dropped the connection: it closed the connection"
    assert server.connections == 1 + earlier


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_drop_after_the_content_is_lost_and_never_repeated(
    server: MailServer, channel: Open, earlier: int
) -> None:
    server.script("CONTENT", DROP, after=earlier, times=1)
    email = channel(server)
    for _ in range(earlier):
        email.send(MESSAGE)
    lost = Lost("the mail server did not confirm the message: it closed the connection")
    assert email.send(MESSAGE) == lost
    assert len(server.messages) == 1 + earlier
    assert isinstance(email.send(MESSAGE), Sent)
    assert server.connections == 2


def test_an_answer_that_comes_too_late_is_lost(server: MailServer, channel: Open) -> None:
    server.latency = 0.5
    email = channel(server, smtp_timeout=timedelta(seconds=0.1))
    lost = Lost("the mail server did not confirm the message: no answer in time")
    assert email.send(MESSAGE) == lost


def test_an_answer_that_is_no_smtp_is_lost(server: MailServer, channel: Open) -> None:
    server.script("CONTENT", "hello?", times=1)
    email = channel(server)
    assert isinstance(email.send(MESSAGE), Lost)
    assert isinstance(email.send(MESSAGE), Sent)
    assert server.connections == 2


def test_an_unreachable_server_closes_the_channel(server: MailServer, channel: Open) -> None:
    reason = down(channel(server, smtp_port=closed_port()))
    assert reason == "the mail server could not be reached: Connection refused"


# TLS and login


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_is_verified(channel: Open, tls: Any, host: str) -> None:
    with MailServer(tls=tls) as server:
        email = channel(server, smtp_host=host)
        assert [email.send(MESSAGE), email.send(MESSAGE)] == [Sent(MESSAGE_ID)] * 2
        assert server.connections == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_of_an_unknown_ca_is_refused(channel: Open, tls: Any) -> None:
    with MailServer(tls=tls) as server:
        assert "the mail server's certificate is not trusted" in down(channel(server, smtp_ca_file=None))
        other = Certificate()
        assert "the mail server's certificate is not trusted" in down(
            channel(server, smtp_ca_file=other.ca_file)
        )
        other.remove()
        assert server.messages == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_for_another_host_is_refused(channel: Open, tls: Any) -> None:
    with MailServer(tls=tls, names=("other.example",)) as server:
        assert "the mail server's certificate is not trusted" in down(channel(server))


def test_a_server_without_starttls_is_not_spoken_to_in_clear(server: MailServer, channel: Open) -> None:
    reason = down(channel(server, smtp_tls="starttls"))
    assert "SMTP_TLS" in reason
    assert server.commands == []


def test_a_ca_file_without_certificates_is_a_wrong_setting(server: MailServer, tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    with pytest.raises(MisconfiguredError, match="SMTP_CA_FILE"):
        Email(settings(server, smtp_tls="starttls", smtp_ca_file=empty))


LOGIN = {"smtp_username": "jobctl", "smtp_password": "s3cret"}


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_the_login_is_used_where_it_is_set(channel: Open, tls: Any) -> None:
    with MailServer(tls=tls, login=("jobctl", "s3cret")) as server:
        assert isinstance(channel(server, **LOGIN).send(MESSAGE), Sent)
        assert "530 5.7.0" in down(channel(server))


def test_a_refused_login_closes_the_channel_and_hides_the_password(channel: Open) -> None:
    with MailServer(tls="starttls", login=("jobctl", "other")) as server:
        reason = down(channel(server, **LOGIN))
        assert reason == "the mail server refused the login: 535 5.7.8 ******** is wrong"


def test_a_login_that_smtp_cannot_send_is_told(channel: Open) -> None:
    with MailServer(tls="starttls", login=("jobctl", "other")) as server:
        reason = down(channel(server, smtp_username="jobctl", smtp_password="gehéim"))
        assert reason == "the mail server refused the login: only ASCII can be sent"


# The end


def test_closing_takes_leave_of_the_server(server: MailServer, channel: Open) -> None:
    email = channel(server)
    email.send(MESSAGE)
    email.close()
    assert server.commands[-1] == "QUIT"
    with pytest.raises(NotBegunError):
        email.send(MESSAGE)


def test_closing_does_not_wait_for_a_thread_that_is_stuck(server: MailServer, channel: Open) -> None:
    email = channel(server, smtp_timeout=timedelta(seconds=30))
    server.latency = 20
    answers: list[Answer] = []
    stuck = threading.Thread(target=lambda: answers.append(email.send(MESSAGE)))
    stuck.start()
    server.wait_for(1)
    began = time.monotonic()
    email.close()
    stuck.join(15)
    assert time.monotonic() - began < 15
    assert answers == [Lost("the mail server did not confirm the message: it closed the connection")]


def test_closing_after_the_server_has_gone_is_silent(channel: Open) -> None:
    with MailServer() as server:
        email = channel(server)
        email.send(MESSAGE)
    email.close()
