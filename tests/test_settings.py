"""Where settings come from, what is said of wrong ones, and that no secret is ever printed."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from jobctl.errors import Exit
from jobctl.settings import declared, variable
from tests.servers import MailServer, closed_port
from tests.world import Done, World, command

NEEDS_A_FOLDER = {"jobctl_home", "templates_folder", "console_folder"}
TAKES_ANY_TEXT = {"smtp_username", "smtp_password"}
NONSENSE = "<no such thing>"
SECRETS = [each for each in declared() if each.metadata["secret"]]
KEY = base64.b64encode(b"correct horse battery staple").decode()
SIGNING = f"whsec_{KEY}"


class Environment:
    """The real environment, changed for one test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def __call__(self, **values: object) -> None:
        for name, value in values.items():
            self.monkeypatch.setenv(name, str(value))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    return Environment(monkeypatch)


def shown() -> Mapping[str, Any]:
    """Return what `jobctl config` shows, by the settings' names."""
    done = command("config", "--json")
    assert (done.exit_code, done.err) == (Exit.DONE, "")
    return {each["setting"]: each for each in done.document}


def value(name: str) -> Any:
    return shown()[name]["value"]


def origin(name: str) -> Any:
    return shown()[name]["origin"]


def refused() -> str:
    """Return what is said on stderr of settings that don't do, line by line."""
    done = command("config", "--json")
    assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
    return done.err


def problems() -> list[str]:
    """Return the problems, a line each, without the sentence above them."""
    return [line.strip() for line in refused().splitlines() if line.startswith("  ")]


class TestProblems:
    """Whoever deploys sees all that is wrong at once, with what would be right."""

    @pytest.mark.parametrize(
        "each", [each for each in declared() if each.name not in TAKES_ANY_TEXT], ids=lambda each: each.name
    )
    def test_a_problem_names_the_setting_and_an_example(
        self, home: Path, environment: Environment, each: Any
    ) -> None:
        (home / "file").touch()
        wrong = home / "file" if each.name in NEEDS_A_FOLDER else NONSENSE
        environment(**{variable(each): wrong})
        named = [line for line in problems() if line.startswith(f"{variable(each)}: expected ")]
        assert len(named) == 1
        assert each.metadata["example"] in named[0]
        assert (str(wrong) in named[0]) is not each.metadata["secret"]

    def test_all_are_reported_at_once(self, home: Path, environment: Environment) -> None:
        (home / ".env").write_text("SMTP_PORT=many\nEMAIL_RATE_LIMIT=fast\n")
        environment(
            NOTIFICATION_MAX_ATTEMPTS="0",
            SMTP_TIMEOUT="soon",
            WEBHOOK_ALLOW_PRIVATE="maybe",
            ON_UNCERTAIN="fax=hold",
            WEBHOOK_SECRET="whsec_short",
            DATABASE_URL="sqlite:///x",
            DATABASE_LOCK_URL_FILE=home / "missing",
        )
        assert sorted(each.partition(":")[0] for each in problems()) == [
            "DATABASE_LOCK_URL_FILE",
            "DATABASE_URL",
            "EMAIL_RATE_LIMIT",
            "NOTIFICATION_MAX_ATTEMPTS",
            "ON_UNCERTAIN",
            "SMTP_PORT",
            "SMTP_TIMEOUT",
            "WEBHOOK_ALLOW_PRIVATE",
            "WEBHOOK_SECRET",
        ]

    @pytest.mark.parametrize(
        "arguments", [("notification-sender",), ("jobs",), ("db", "check"), ("db", "upgrade")], ids=str
    )
    def test_no_command_begins_with_wrong_settings(
        self, home: Path, environment: Environment, arguments: tuple[str, ...]
    ) -> None:
        environment(STOP_GRACE="soon")
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert "STOP_GRACE" in done.err
        assert list(home.iterdir()) == []

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"SMTP_HOST": "smtp.example.com"}, ["EMAIL_FROM"]),
            ({"EMAIL_CHANNEL": "smtp"}, ["SMTP_HOST"]),
            ({"SMTP_USERNAME": "jobctl"}, ["SMTP_USERNAME", "SMTP_PASSWORD"]),
            ({"SMTP_PASSWORD": "horse"}, ["SMTP_USERNAME", "SMTP_PASSWORD"]),
            ({"WEBHOOK_CHANNEL": "http"}, ["WEBHOOK_SECRET"]),
            ({"DATABASE_LOCK_URL": "postgresql://h/db"}, ["DATABASE_LOCK_URL", "DATABASE_URL"]),
        ],
        ids=str,
    )
    def test_settings_that_are_right_alone_and_wrong_together(
        self, home: Path, environment: Environment, given: dict[str, str], named: list[str]
    ) -> None:
        environment(**given)
        (problem,) = problems()
        assert all(name in problem for name in named)

    def test_a_setting_that_is_wrong_is_not_called_missing_too(
        self, home: Path, environment: Environment
    ) -> None:
        environment(SMTP_HOST="smtp.example.com", EMAIL_FROM=NONSENSE)
        assert len(problems()) == 1


class TestOrigins:
    """Each value's origin is shown: the default, the environment, `.env` or a secret's file."""

    def test_nothing_set_is_all_defaults(self, home: Path) -> None:
        origins = {name: each["origin"] for name, each in shown().items()}
        assert origins.pop("JOBCTL_HOME") == "environment"
        assert set(origins.values()) == {"default"}
        assert set(origins) == {variable(each) for each in declared()} - {"JOBCTL_HOME"}

    @pytest.mark.parametrize(
        "each",
        [each for each in declared() if each.metadata["default"] and each.name != "jobctl_home"],
        ids=lambda each: each.name,
    )
    def test_a_default_is_shown_as_it_would_be_written(self, home: Path, each: Any) -> None:
        parse = each.metadata["parse"]
        assert parse(value(variable(each))) == parse(each.metadata["default"])

    def test_the_environment_goes_before_the_file(self, home: Path, environment: Environment) -> None:
        (home / ".env").write_text("STOP_GRACE=5s\nSMTP_TIMEOUT=20s\n")
        environment(STOP_GRACE="6s")
        assert (value("STOP_GRACE"), origin("STOP_GRACE")) == ("6s", "environment")
        assert (value("SMTP_TIMEOUT"), origin("SMTP_TIMEOUT")) == ("20s", ".env")

    @pytest.mark.parametrize("name", ["STOP_GRACE", "DATABASE_URL", "SMTP_PORT", "WEBHOOK_ALLOW_PRIVATE"])
    def test_an_empty_value_is_none(self, home: Path, environment: Environment, name: str) -> None:
        default = value(name)
        (home / ".env").write_text(f"{name}=\n")
        environment(**{name: ""})
        assert (value(name), origin(name)) == (default, "default")

    def test_what_the_environment_leaves_empty_the_file_may_set(
        self, home: Path, environment: Environment
    ) -> None:
        (home / ".env").write_text("STOP_GRACE=5s\n")
        environment(STOP_GRACE="")
        assert (value("STOP_GRACE"), origin("STOP_GRACE")) == ("5s", ".env")


class TestEnvFile:
    def test_it_is_looked_for_in_jobctl_home(self, home: Path) -> None:
        Path(".env").write_text("STOP_GRACE=1s\n")
        (home / ".env").write_text("STOP_GRACE=5s\n")
        assert value("STOP_GRACE") == "5s"

    def test_without_jobctl_home_it_is_looked_for_where_one_is(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("JOBCTL_HOME")
        Path(".env").write_text("STOP_GRACE=1s\n")
        assert value("STOP_GRACE") == "1s"

    def test_it_cannot_move_jobctl_home(self, home: Path) -> None:
        (home / ".env").write_text("JOBCTL_HOME=/elsewhere\n")
        done = command("config", "--json")
        told = {each["setting"]: each for each in done.document}["JOBCTL_HOME"]
        assert (told["value"], told["origin"]) == (str(home), "environment")
        assert "JOBCTL_HOME" in done.err, "said, and not just done"

    def test_a_path_in_it_starts_from_its_folder(self, home: Path, environment: Environment) -> None:
        """Cron starts anywhere; in the environment a path starts from where the command does."""
        (home / "ours").mkdir()
        (home / ".env").write_text("TEMPLATES_FOLDER=ours\nCONSOLE_FOLDER=box\n")
        assert value("TEMPLATES_FOLDER") == str(home / "ours")
        assert value("CONSOLE_FOLDER") == str(home / "box")

    def test_a_home_under_the_users_own_folder_is_one_folder_for_file_and_database(
        self, home: Path, environment: Environment
    ) -> None:
        (home / ".env").write_text("STOP_GRACE=5s\n")
        environment(HOME=home.parent, JOBCTL_HOME="~/home")
        assert value("JOBCTL_HOME") == str(home)
        assert value("STOP_GRACE") == "5s"

    def test_comments_quotes_and_export_are_understood(self, home: Path) -> None:
        (home / ".env").write_text(
            '# why\n\nexport STOP_GRACE=5s\nEMAIL_FROM="A B <m@example.com>"\nSMTP_TIMEOUT=1m # why\n'
        )
        assert [value(name) for name in ("STOP_GRACE", "EMAIL_FROM", "SMTP_TIMEOUT")] == [
            "5s",
            "A B <m@example.com>",
            "1m",
        ]

    def test_a_secret_is_taken_word_for_word(self, home: Path, environment: Environment) -> None:
        """A `$` in a password is a `$`: what the file says does not depend on other variables."""
        environment(WORD="horse")
        (home / ".env").write_text("EMAIL_FROM=${WORD}@example.com\n")
        assert value("EMAIL_FROM") == "${WORD}@example.com"

    def test_a_byte_order_mark_before_the_first_name_is_no_part_of_it(self, home: Path) -> None:
        (home / ".env").write_text("STOP_GRACE=5s\n", encoding="utf-8-sig")
        assert value("STOP_GRACE") == "5s"

    @pytest.mark.parametrize("line", ["SMTP TIMEOUT=5s", "=5s", 'EMAIL_FROM="never closed', "STOP_GRACE"])
    def test_a_broken_line_is_named_by_its_number(self, home: Path, line: str) -> None:
        (home / ".env").write_text(f"SMTP_TIMEOUT=5s\n\n{line}\n")
        (problem,) = problems()
        assert str(home / ".env") in problem
        assert "line 3" in problem

    def test_a_broken_line_hides_no_other_problem(self, home: Path) -> None:
        (home / ".env").write_text("STOP_GRACE=never\na broken line\nSMTP_PORT=many\nSMTP TIMEOUT=5s\n")
        assert sorted(each.removeprefix(f"{home}/").partition(":")[0] for each in problems()) == [
            ".env, line 2",
            ".env, line 4",
            "SMTP_PORT",
            "STOP_GRACE",
        ]

    def test_a_file_that_is_not_utf_8(self, home: Path) -> None:
        (home / ".env").write_bytes("EMAIL_FROM=Märkte <m@example.com>\n".encode("latin-1"))
        (problem,) = problems()
        assert str(home / ".env") in problem

    def test_a_file_that_cannot_be_read(self, home: Path) -> None:
        (home / ".env").mkdir()
        (problem,) = problems()
        assert str(home / ".env") in problem

    @pytest.mark.parametrize(
        ("name", "meant"), [("SMTP_PASWORD", "SMTP_PASSWORD"), ("STOP_GRAC", "STOP_GRACE")]
    )
    def test_a_name_that_is_nearly_a_setting_is_remarked_on(self, home: Path, name: str, meant: str) -> None:
        (home / ".env").write_text(f"{name}=5s\nSOMEBODY_ELSES=1\n")
        done = command("config", "--json")
        assert done.exit_code == Exit.DONE
        assert done.document
        assert name in done.err
        assert meant in done.err
        assert "SOMEBODY_ELSES" not in done.err


class TestSecretFiles:
    """NAME_FILE, for secrets that an orchestrator mounts as files."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        return tmp_path / "secret"

    def test_the_file_holds_the_value(self, home: Path, environment: Environment, secret: Path) -> None:
        secret.write_text("postgresql://u:horse@h/db\n")
        environment(DATABASE_URL_FILE=secret)
        assert (value("DATABASE_URL"), origin("DATABASE_URL")) == (
            "postgresql://u:********@h/db",
            str(secret),
        )

    def test_the_env_file_may_name_it(self, home: Path, secret: Path) -> None:
        secret.write_text(SIGNING)
        (home / ".env").write_text(f"WEBHOOK_SECRET_FILE={secret}\n")
        assert (value("WEBHOOK_SECRET"), origin("WEBHOOK_SECRET")) == ("********", str(secret))

    def test_the_environments_file_goes_before_the_value_in_the_env_file(
        self, home: Path, environment: Environment, secret: Path
    ) -> None:
        secret.write_text("postgresql://one/db")
        (home / ".env").write_text("DATABASE_URL=postgresql://other/db\n")
        environment(DATABASE_URL_FILE=secret)
        assert value("DATABASE_URL") == "postgresql://one/db"

    def test_an_empty_name_of_a_file_is_none(self, home: Path, environment: Environment) -> None:
        environment(DATABASE_URL_FILE="")
        assert origin("DATABASE_URL") == "default"

    def test_set_both_ways_is_a_problem(self, home: Path, environment: Environment, secret: Path) -> None:
        secret.write_text(SIGNING)
        environment(WEBHOOK_SECRET_FILE=secret, WEBHOOK_SECRET=SIGNING)
        (problem,) = problems()
        assert "WEBHOOK_SECRET_FILE" in problem

    def test_one_that_is_missing(self, home: Path, environment: Environment, secret: Path) -> None:
        environment(WEBHOOK_SECRET_FILE=secret)
        (problem,) = problems()
        assert problem.startswith("WEBHOOK_SECRET_FILE: ")
        assert str(secret) in problem

    @pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\xfe"], ids=["empty", "blank", "no text"])
    def test_one_that_holds_nothing_readable(
        self, home: Path, environment: Environment, secret: Path, content: bytes
    ) -> None:
        secret.write_bytes(content)
        environment(WEBHOOK_SECRET_FILE=secret)
        (problem,) = problems()
        assert problem.startswith("WEBHOOK_SECRET_FILE: ")
        assert str(secret) in problem

    def test_one_that_is_a_folder(self, home: Path, environment: Environment, secret: Path) -> None:
        secret.mkdir()
        environment(WEBHOOK_SECRET_FILE=secret)
        (problem,) = problems()
        assert problem.startswith("WEBHOOK_SECRET_FILE: ")

    def test_one_whose_value_is_wrong_is_reported_without_it(
        self, home: Path, environment: Environment, secret: Path
    ) -> None:
        secret.write_text("whsec_horse")
        environment(WEBHOOK_SECRET_FILE=secret)
        (problem,) = problems()
        assert problem.startswith("WEBHOOK_SECRET: ")
        assert "horse" not in problem

    def test_only_secrets_have_one(self, home: Path, environment: Environment, secret: Path) -> None:
        secret.write_text("5s")
        environment(STOP_GRACE_FILE=secret)
        assert origin("STOP_GRACE") == "default"


# What stands between the two words of a secret, as people choose them and as they forget to encode them.
BETWEEN = ["", "-", "/", "@", ":", "#", "?", "%", "&", "=", '"', "'", "\\", " ", "$", "://", "ü", "<b>"]
COMMANDS = (
    ("config",),
    ("config", "--json"),
    ("db", "check"),
    ("db", "check", "--json"),
    ("db", "current"),
    ("db", "upgrade"),
    ("jobs", "--json"),
    ("notification-sender", "--json", "-vv"),
    ("notification-sender", "--dry-run"),
)


def all_secrets(word: str) -> dict[str, str]:
    """Set every secret that there is to something with that word in it; a new one has to be added here."""
    url = f"postgresql://jobctl:{word}@127.0.0.1:{closed_port()}/market"
    values = {
        "DATABASE_URL": url,
        "DATABASE_LOCK_URL": url,
        "SMTP_PASSWORD": word,
        "WEBHOOK_SECRET": SIGNING,
        "YOOKASSA_SECRET_KEY": f"live_{''.join(filter(str.isalnum, word))}",
        "STRIPE_SECRET_KEY": f"sk_live_{''.join(filter(str.isalnum, word))}",
        "PAYSTACK_SECRET_KEY": f"sk_live_{''.join(filter(str.isalnum, word))}",
        "APIKEY": word,
        "JOBCTL_SECRET_KEY": f"{''.join(filter(str.isalnum, word)):x<43.43}=",
    }
    assert set(values) == {variable(each) for each in SECRETS}
    return values | {"SMTP_USERNAME": "jobctl"}


def said(done: Done) -> str:
    return done.out + done.err


class TestSecrecy:
    """No secret, nor a part of one, is in anything that is ever printed."""

    @pytest.mark.parametrize("command_line", COMMANDS, ids=" ".join)
    @pytest.mark.parametrize("between", BETWEEN)
    def test_a_secret_encoded_as_it_must_be(
        self, home: Path, environment: Environment, between: str, command_line: tuple[str, ...]
    ) -> None:
        secret = f"HORSE{between}STAPLE"
        environment(**all_secrets(quote(secret, safe="")) | {"SMTP_PASSWORD": secret})
        done = command(*command_line)
        expected = Exit.DONE if command_line[0] == "config" else Exit.UNREACHABLE
        assert done.exit_code == expected
        self.assert_nothing_is_told(done)

    @pytest.mark.parametrize("start", ["HORSE", "12", ""], ids=["word", "digits", "nothing"])
    @pytest.mark.parametrize("between", BETWEEN)
    def test_a_secret_that_somebody_forgot_to_encode(
        self, home: Path, environment: Environment, between: str, start: str
    ) -> None:
        """Whether the URL is refused or taken, what was meant as its password is not printed."""
        environment(**all_secrets(f"{start}{between}STAPLE"))
        for command_line in COMMANDS:
            self.assert_nothing_is_told(command(*command_line))

    @pytest.mark.parametrize("parameter", ["password", "sslpassword"])
    def test_a_secret_among_a_urls_parameters(
        self, home: Path, environment: Environment, parameter: str
    ) -> None:
        server = f"postgresql://jobctl@127.0.0.1:{closed_port()}/market"
        url = f"{server}?connect_timeout=5&{parameter}=HORSE%20STAPLE"
        environment(DATABASE_URL=url)
        for command_line in COMMANDS:
            self.assert_nothing_is_told(command(*command_line))

    @pytest.mark.parametrize("each", SECRETS, ids=lambda each: each.name)
    @pytest.mark.parametrize("form", ["HORSE STAPLE", "mysql://u:HORSE@h/db", "whsec_HORSE", "a@b:HORSE"])
    def test_a_secret_that_is_wrong(self, home: Path, environment: Environment, each: Any, form: str) -> None:
        environment(**{variable(each): form, "STOP_GRACE": "soon"})
        for command_line in COMMANDS:
            done = command(*command_line)
            assert done.exit_code == Exit.MISCONFIGURED
            self.assert_nothing_is_told(done)

    def test_an_address_that_cannot_be_found(self, home: Path, environment: Environment) -> None:
        environment(DATABASE_URL="postgresql://jobctl:HORSE@no-such-host.invalid/STABLE")
        for command_line in COMMANDS:
            self.assert_nothing_is_told(command(*command_line))

    def assert_nothing_is_told(self, done: Done) -> None:
        for part in ("HORSE", "STAPLE", KEY, KEY[:12]):
            assert part not in said(done)

    @pytest.mark.parametrize("password", ["HORSE STAPLE", 'HORSE"STAPLE', "HORSE\\STAPLE"])
    def test_a_server_that_repeats_it_is_not_repeated(self, world: World, password: str) -> None:
        """Neither on the terminal, nor in JSON, where signs are written otherwise, nor in the database."""
        world.message(channel="email")
        with MailServer(login=("jobctl", "another"), tls="starttls") as server:
            done = world.call(
                "notification-sender",
                "--json",
                "-vv",
                SMTP_HOST="127.0.0.1",
                SMTP_PORT=str(server.port),
                SMTP_CA_FILE=str(server.ca_file),
                SMTP_USERNAME="jobctl",
                SMTP_PASSWORD=password,
                EMAIL_FROM="m@example.com",
            )
        assert done.exit_code == Exit.UNREACHABLE
        for part in ("HORSE", "STAPLE"):
            assert part not in said(done) + str(world.everything())

    @pytest.mark.parametrize("password", ["postgres", "true"])
    def test_a_short_password_does_not_damage_what_is_printed(self, world: World, password: str) -> None:
        """JSON stays JSON, and says the same, whatever words the password shares with it."""
        login = {"SMTP_USERNAME": "jobctl", "SMTP_PASSWORD": password}
        plain, with_password = (
            world.call("db", "check", "--json"),
            world.call("db", "check", "--json", **login),
        )
        assert with_password.document == plain.document
