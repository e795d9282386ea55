"""What people may write for a duration, a rate, an instant, an address; and that nothing else is taken."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobctl import parsing
from jobctl.parsing import CHANNELS, Parser, Rate
from jobctl.settings import declared

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NEEDS_A_FILE = {"templates_folder", "smtp_ca_file"}
KEY = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # Base64 of 24 bytes


def refuses(parse: Parser, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


@pytest.mark.parametrize("each", declared(), ids=lambda each: each.name)
def test_what_a_setting_gives_as_its_example_is_taken(each: Any) -> None:
    if each.name not in NEEDS_A_FILE:
        assert each.metadata["parse"](each.metadata["example"]) is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1s", 1),
        ("15m", 900),
        ("24h", 86400),
        ("3d", 3 * 86400),
        ("2w", 14 * 86400),
        ("1y", 365 * 86400),
        ("1.5h", 5400),
        ("0.001s", 0.001),
        ("100y", 36500 * 86400),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parsing.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "90",
            "90S",
            "90 s",
            " 90s",
            "90s ",
            "90s\n",
            "1h30m",
            "-5s",
            "+5s",
            "1e3s",
            "s",
            "1,5h",
            "\u0661s",
        ),
        *("0s", "0.0h", "101y", "999999y", "1month", "inf", "nan"),
    ],
)
def test_what_is_no_duration(text: str) -> None:
    """No unit, two of them, a sign, a blank, nothing at all, or more than a hundred years."""
    refuses(parsing.duration, text)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("15m", [15]),
        ("24h,15m", [15, 1440]),
        ("15m, 24h ,1h", [15, 60, 1440]),
        ("60m,1h,3600s", [60]),
        (" 15m ", [15]),
        ("0.5m,500ms", [1 / 120, 0.5]),
    ],
)
def test_durations_come_each_once_and_the_shortest_first(text: str, minutes: list[float]) -> None:
    assert parsing.durations(text) == tuple(timedelta(minutes=each) for each in minutes)


@pytest.mark.parametrize(
    "text",
    ["", " ", ",", "15m,", ",15m", "15m,,24h", "15m;24h", "15m 24h", "15", "24h,0m", "24h,-15m", "24h,x"],
)
def test_what_are_no_durations(text: str) -> None:
    """Not one of them wrong, missing, or nothing at all."""
    refuses(parsing.durations, text)


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("email", ("email",)),
        ("tray,email", ("tray", "email")),
        (" push , sms,webhook", ("push", "sms", "webhook")),
        ("email,tray,email", ("email", "tray")),
        (",".join(CHANNELS), CHANNELS),
    ],
)
def test_channels_come_each_once_in_the_order_given(text: str, channels: tuple[str, ...]) -> None:
    assert parsing.channels(text) == channels


@pytest.mark.parametrize(
    "text",
    ["", " ", ",", "email,", ",email", "email,,tray", "email;tray", "email tray", "fax", "Email", "e-mail"],
)
def test_what_are_no_channels(text: str) -> None:
    refuses(parsing.channels, text)


@pytest.mark.parametrize(
    ("text", "rate", "spacing"),
    [("14/s", Rate(14, 1), 1 / 14), ("600/m", Rate(600, 60), 0.1), ("1/h", Rate(1, 3600), 3600)],
)
def test_a_rate(text: str, rate: Rate, spacing: float) -> None:
    assert parsing.rate(text) == rate
    assert rate.spacing == pytest.approx(spacing)
    assert str(rate) == text


@pytest.mark.parametrize(
    "text", ["14", "0/s", "-1/s", "1.5/s", "14/ s", "14 /s", "14/sec", "14/d", "/s", "14/", "014/s", "14/s\n"]
)
def test_what_is_no_rate(text: str) -> None:
    refuses(parsing.rate, text)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "yes", "on", "1"])
def test_true(text: str) -> None:
    assert parsing.boolean(text) is True


@pytest.mark.parametrize("text", ["false", "False", "no", "off", "0"])
def test_false(text: str) -> None:
    assert parsing.boolean(text) is False


@pytest.mark.parametrize("text", ["t", "y", "2", "-1", "maybe", "true ", "truefalse", "null", "none"])
def test_what_is_neither_true_nor_false(text: str) -> None:
    refuses(parsing.boolean, text)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("65535", 65535), ("007", 7)])
def test_a_whole_number(text: str, number: int) -> None:
    assert parsing.whole(1, 65535)(text) == number


@pytest.mark.parametrize(
    "text", ["0", "65536", "-1", "+1", "1.0", "1e3", "1_000", " 1", "1\n", "٣", "0x10", "9" * 30]
)
def test_what_is_no_whole_number_within_its_bounds(text: str) -> None:
    refuses(parsing.whole(1, 65535), text)


@pytest.mark.parametrize("text", ["Auto", "auto ", "a", "auto,never"])
def test_a_choice_is_one_of_the_words_and_nothing_like_them(text: str) -> None:
    assert parsing.choice("auto", "never")("never") == "never"
    refuses(parsing.choice("auto", "never"), text)


class TestUncertain:
    """ON_UNCERTAIN: one policy for all channels, or one by channel over the defaults."""

    @pytest.mark.parametrize(
        ("text", "hold"),
        [
            ("hold", set(CHANNELS)),
            ("resend", set()),
            ("email=hold", {"email", "sms", "push"}),
            ("sms=resend", {"push"}),
            ("sms=resend, push=resend,webhook=hold", {"webhook"}),
        ],
    )
    def test_what_is_held(self, text: str, hold: set[str]) -> None:
        assert parsing.uncertain(text).hold == hold

    @pytest.mark.parametrize("text", ["hold", "resend", "email=hold", "sms=resend"])
    def test_what_is_shown_of_it_reads_back_as_the_same(self, text: str) -> None:
        read = parsing.uncertain(text)
        assert parsing.uncertain(str(read)) == read

    @pytest.mark.parametrize(
        "text",
        ["drop", "Hold", "email", "email=", "email=drop", "fax=hold", "email=hold,", "email=hold;sms=hold"],
    )
    def test_what_is_no_policy(self, text: str) -> None:
        refuses(parsing.uncertain, text)


class TestSince:
    """An ISO 8601 date or date-time, UTC where it doesn't say, or an age."""

    @pytest.mark.parametrize(
        ("text", "instant"),
        [
            ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
            ("2026-11-01T08:30", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
            ("2026-11-01 08:30:15", datetime(2026, 11, 1, 8, 30, 15, tzinfo=UTC)),
            ("2026-11-01T08:30:15.25", datetime(2026, 11, 1, 8, 30, 15, 250_000, tzinfo=UTC)),
            ("2026-11-01T08:30Z", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
            ("2026-11-01T08:30+05:45", datetime(2026, 11, 1, 2, 45, tzinfo=UTC)),
            ("2026-11-01T00:30-08:00", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
            ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
            ("90m", NOW - timedelta(minutes=90)),
            ("36h", NOW - timedelta(hours=36)),
            ("7d", NOW - timedelta(days=7)),
            ("1.5h", NOW - timedelta(minutes=90)),
        ],
    )
    def test_what_it_reads(self, text: str, instant: datetime) -> None:
        read = parsing.since(text, NOW)
        assert read == instant
        assert read.utcoffset() == timedelta(0)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "yesterday",
            "now",
            "7",
            "7x",
            "-7d",
            " 7d",
            "7d ",
            "7 d",
            "0h",
            "1h30m",
            "101y",
            "2026-02-30",
            "2026-13-01",
            "2026-11-01T25:00",
            "2026-11-01T08:30+25:00",
            "2026-11-01T",
            "01.11.2026",
            "11/01/2026",
            "2026-11",
            "1795262400",
            "2026-11-01\n",
            "0001-01-01T00:00+14:00",
        ],
    )
    def test_nonsense(self, text: str) -> None:
        refuses(lambda text: parsing.since(text, NOW), text)

    def test_only_a_t_or_a_blank_stands_between_date_and_time(self) -> None:
        refuses(lambda text: parsing.since(text, NOW), "2026-11-01x08:30")


class TestAsOf:
    """--as-of: an instant, or so much later than now."""

    @pytest.mark.parametrize(
        ("text", "instant"),
        [
            ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
            ("2026-11-01T08:30+05:45", datetime(2026, 11, 1, 2, 45, tzinfo=UTC)),
            ("+8h", NOW + timedelta(hours=8)),
            ("+1d", NOW + timedelta(days=1)),
        ],
    )
    def test_what_it_reads(self, text: str, instant: datetime) -> None:
        assert parsing.as_of(text, NOW) == instant

    @pytest.mark.parametrize("text", ["", "24h", "+", "+0h", "+24", "++1h", "+2026-11-01", "-1h", "tonight"])
    def test_nonsense(self, text: str) -> None:
        """An age, which --since takes, would ask of the past."""
        refuses(lambda text: parsing.as_of(text, NOW), text)


class TestPostgresUrl:
    """DATABASE_URL: three spellings of one scheme, and the rest as libpq takes it."""

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_the_schemes_are_all_the_same(self, scheme: str) -> None:
        assert parsing.postgres_url(f"{scheme}://u:p@h:5432/db") == "postgresql://u:p@h:5432/db"

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://h/db",
            "postgresql://u@h/db",
            "postgresql://u:p%40ss%2Fw%3Ard%23%3F@h/db",
            "postgresql://u:p@[::1]:5432/db",
            "postgresql:///db?host=/run/postgresql",
            "postgresql://u:p@h/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgresql://h1,h2/db",
            "postgresql://u:p@h1:5432,h2:5433/db?target_session_attrs=read-write",
            "postgresql://u:p@[::1]:5432,h2:5433/db",
        ],
    )
    def test_all_that_libpq_takes_is_kept_word_for_word(self, url: str) -> None:
        """TLS parameters, several hosts, a socket's folder, a password with its signs encoded."""
        assert parsing.postgres_url(url) == url

    @pytest.mark.parametrize(
        "url",
        [
            "sqlite:///jobctl.db",
            "mysql://u:p@h/db",
            "postgresql+asyncpg://u:p@h/db",
            "postgresqlx://h/db",
            "https://h/db",
            "postgresql:/h/db",
            "postgresql:h/db",
            "h/db",
            "jobctl.db",
            " postgresql://h/db",
        ],
    )
    def test_what_is_no_postgresql_is_refused(self, url: str) -> None:
        refuses(parsing.postgres_url, url)

    @pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "5432x"])
    def test_a_port_that_cannot_be(self, port: str) -> None:
        refuses(parsing.postgres_url, f"postgresql://u:p@h:{port}/db")

    @pytest.mark.parametrize("sign", "/@")
    @pytest.mark.parametrize("digits", ["12", "horse"])
    def test_a_sign_in_a_password_that_would_end_it_is_refused_where_it_is_not_encoded(
        self, sign: str, digits: str
    ) -> None:
        """What stands behind it would be taken for a host, and be printed as one."""
        refuses(parsing.postgres_url, f"postgresql://u:{digits}{sign}34@h/db")


class TestWebhookSecret:
    """`whsec_` and Base64 of 24 to 64 bytes, as the Standard Webhooks specification has it."""

    @pytest.mark.parametrize(("secret", "length"), [(KEY, 24), (KEY + KEY, 48), ("A" * 84 + "AA==", 64)])
    def test_a_key(self, secret: str, length: int) -> None:
        assert len(parsing.webhook_secret(f"whsec_{secret}")) == length

    @pytest.mark.parametrize(
        "text",
        [
            KEY,
            "whsec_",
            "whsec_short",
            f"whsec_{KEY[:-4]}",
            f"whsec_{'A' * 88}",
            f"whsec_{KEY[:-1]}",
            f"whsec_{KEY} ",
            f"whsec_{KEY[:-1]}*",
            f"WHSEC_{KEY}",
            f"whsec_whsec_{KEY}",
        ],
    )
    def test_what_is_no_key(self, text: str) -> None:
        refuses(parsing.webhook_secret, text)


@pytest.mark.parametrize(
    "text", ["m@example.com", "Market <m@example.com>", '"Market, Inc." <m@example.com>', "Märkte <m@x.de>"]
)
def test_a_mailbox(text: str) -> None:
    assert parsing.mailbox(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        "m@",
        "@x",
        "m@a@b",
        "m @x.de",
        "A <m@x.de",
        "m@x.de>",
        "m@x.de, n@x.de",
        "A\nBcc: b@x.de <m@x.de>",
        "A <m@x.de>\n",
        "A <m@x.de> B",
    ],
)
def test_what_is_no_mailbox(text: str) -> None:
    """Above all nothing that could end one header line and begin another."""
    refuses(parsing.mailbox, text)


@pytest.mark.parametrize("text", ["smtp.example.com", "localhost", "127.0.0.1", "::1", "[::1]"])
def test_a_host(text: str) -> None:
    assert parsing.host(text) == text


@pytest.mark.parametrize("text", ["smtp://h", "h:25", "h/x", "h ", "-h", "a b", "u@h", "h\n"])
def test_what_is_no_host(text: str) -> None:
    refuses(parsing.host, text)


@pytest.mark.parametrize(
    "text",
    [
        "http://x.de/{user_id}",
        "https://x.de/{name}",
        "https://x.de/{0}",
        "https://x.de/{",
        "javascript:x",
        "https://x.de/a b",
        "https://",
        "https://x.de/>",
    ],
)
def test_what_is_no_unsubscribe_link(text: str) -> None:
    refuses(parsing.unsubscribe, text)
