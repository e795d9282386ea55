"""One real PostgreSQL for the whole run, and for each test a migrated database of its own on each kind."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, event

from jobctl import db, migrating
from jobctl.locks import Locks, open_locks
from jobctl.providers import transport
from jobctl.sandbox import Sandbox
from jobctl.settings import Settings, declared, variable
from tests import postgres
from tests.bazaar import Bazaar
from tests.credits import Office
from tests.payments import Market
from tests.servers import MailServer
from tests.subscribers import Club, Subscribers
from tests.world import World

TEMPLATE = "jobctl_test_template"
SERVER, FOLDER = "JOBCTL_TEST_SERVER", "JOBCTL_TEST_FOLDER"
KINDS = ("sqlite", "postgresql")
Worlds = Callable[..., AbstractContextManager[World]]


class Engines:
    """Engines that share what they have compiled, and on SQLite wait for no disk: thousands are opened."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, object], Engine] = {}

    def create(self, *args: Any, **options: Any) -> Engine:
        made = create_engine(*args, **options)
        kind = (made.dialect.name, options.get("isolation_level"))
        first = self.known.get(kind)
        if first is None or getattr(first.dialect, "server_version_info", None) is None:
            self.known[kind] = made  # in place of one that was never connected
        else:
            made.dialect = first.dialect
            made._compiled_cache = first._compiled_cache  # noqa: SLF001 (there is no other way to share one)
        if made.dialect.name == "sqlite":
            event.listen(
                made, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF")
            )
        return made


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sqlite-only", action="store_true", help="leave PostgreSQL out")


def pytest_configure(config: pytest.Config) -> None:
    """Start the server and make the templates, once: in the process that hands the tests to others."""
    db.create_engine = Engines().create  # type: ignore[attr-defined] # it imports what is replaced here
    if FOLDER in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="jobctl-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    server = None if config.getoption("--sqlite-only") else postgres.start()
    if server:
        config.add_cleanup(server.stop)
        os.environ[SERVER] = server.url
    make_templates(folder, server.url if server else None)
    os.environ[FOLDER] = str(folder)


def make_templates(folder: Path, server_url: str | None) -> None:
    """Migrate what each test's database is a copy of."""
    migrating.upgrade(Settings(jobctl_home=folder))
    if server_url:
        postgres.drop_database(server_url, TEMPLATE)
        migrating.upgrade(Settings(database_url=plain(postgres.create_database(server_url, TEMPLATE))))


def plain(url: str) -> str:
    return url.replace("+psycopg", "", 1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a database on both kinds."""
    if "kind" in metafunc.fixturenames:
        kinds = KINDS[:1] if metafunc.config.getoption("--sqlite-only") else KINDS
        only = metafunc.definition.get_closest_marker("only")
        metafunc.parametrize("kind", [each for each in kinds if not only or each in only.args])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the kinds of database that a single parameter leaves out."""
    items[:] = [each for each in items if of_its_kind(each)]


def of_its_kind(item: pytest.Item) -> bool:
    only, call = item.get_closest_marker("only"), getattr(item, "callspec", None)
    return not (only and call and "kind" in call.params) or call.params["kind"] in only.args


@pytest.fixture
def empty(kind: str, tmp_path: Path) -> Iterator[Settings]:
    """Give the settings of a database that exists and is empty (SQLite: of one that doesn't exist)."""
    if kind == "sqlite":
        yield Settings(jobctl_home=tmp_path)
        return
    name = f"jobctl_test_{uuid4().hex}"
    url = plain(postgres.create_database(os.environ[SERVER], name))
    yield Settings(jobctl_home=tmp_path, database_url=url)
    postgres.drop_database(os.environ[SERVER], name)


@pytest.fixture
def worlds(kind: str, tmp_path: Path) -> Worlds:
    """Give the way to as many databases as a test wants."""

    @contextmanager
    def another(home: Path = tmp_path, like: World | None = None) -> Iterator[World]:
        """Make a database; like: as that one is, which nobody may have open. Its home must not be `home`."""
        home.mkdir(exist_ok=True)
        if kind == "sqlite":
            origin = like.settings.jobctl_home if like else Path(os.environ[FOLDER])
            shutil.copy(origin / "jobctl.db", home)
            with World(Settings(jobctl_home=home)) as made:
                yield made
            return
        name = f"jobctl_test_{uuid4().hex}"
        template = str(like.settings.database_url).rpartition("/")[2] if like else TEMPLATE
        url = plain(postgres.create_database(os.environ[SERVER], name, template))
        with World(Settings(jobctl_home=home, database_url=url)) as made:
            yield made
        postgres.drop_database(os.environ[SERVER], name)

    return another


@pytest.fixture
def world(worlds: Worlds) -> Iterator[World]:
    """Give a migrated database with nobody in it."""
    with worlds() as made:
        yield made


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests, and their folder, out of them."""
    for each in declared():
        monkeypatch.delenv(variable(each), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line work on the world's database."""
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty JOBCTL_HOME, which is not the folder that the command is called in."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("JOBCTL_HOME", str(folder))
    return folder


@pytest.fixture
def locks(world: World) -> Iterator[Locks]:
    """Give the locks of another process, as far as the database and the file system can tell."""
    with open_locks(world.settings) as opened:
        yield opened


@pytest.fixture
def market(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """Give a marketplace whose payments go to a sandbox of its own."""
    # Repeats within a request are the transport's own tests.
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    with Sandbox() as sandbox:
        yield Market(world, sandbox)


@pytest.fixture
def bazaar(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bazaar]:
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    with Sandbox() as sandbox:
        yield Bazaar(world, sandbox)


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


@pytest.fixture
def subscribers(world: World) -> Subscribers:
    return Subscribers(world)


@pytest.fixture(params=["yookassa", "stripe"])
def club(request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Club]:
    monkeypatch.setattr(transport, "PATIENCE", timedelta(0))
    with Sandbox() as sandbox:
        yield Club(world, sandbox=sandbox, provider=request.param)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server
