"""`jobctl credentials`: stored without being shown, encrypted, and encrypted anew."""

import pytest
from sqlalchemy import update

from jobctl import sealing
from jobctl.errors import Exit
from jobctl.tables.frame import runs
from jobctl.tables.marketplace import provider_credentials
from tests.rival import while_held
from tests.world import Done, World, command

pytestmark = pytest.mark.usefixtures("environment")
KEY, OTHER = sealing.new_key(), sealing.new_key()
SECRET = "test_of_a_secret"


def add(secret: str = SECRET, name: str = "main", client: str = "client-1") -> Done:
    return command("credentials", "add", name, "--client-id", client, given=f"{secret}\n")


def test_they_are_stored_as_they_are_without_a_key(world: World) -> None:
    done = add()
    assert (done.exit_code, SECRET in done.out + done.err) == (Exit.DONE, False)
    (found,) = world.rows(provider_credentials)
    assert (found.name, found.client_id, found.client_secret) == ("main", "client-1", SECRET)
    assert (found.provider, found.active) == ("flutterwave", True)


def test_and_encrypted_with_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCTL_SECRET_KEY", KEY)
    add()
    (found,) = world.rows(provider_credentials)
    assert sealing.unseal([KEY], found.client_secret) == SECRET
    assert SECRET not in str(world.everything())


def test_those_of_the_same_name_are_changed(world: World) -> None:
    add()
    add("test_another", client="client-2")
    (found,) = world.rows(provider_credentials)
    assert (found.client_id, found.client_secret) == ("client-2", "test_another")
    assert len(world.rows(runs)) == 2


def test_the_list_shows_no_secret(world: World) -> None:
    add()
    done = command("credentials", "list", "--json")
    (shown,) = done.document
    (found,) = world.rows(provider_credentials)
    assert (shown["id"], shown["client_id"], shown["encrypted"]) == (found.id, "client-1", False)
    assert SECRET not in done.out + command("credentials", "list").out


def test_a_new_key_takes_the_place_of_the_old_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    add()
    monkeypatch.setenv("JOBCTL_SECRET_KEY", KEY)
    assert command("credentials", "rotate").exit_code == Exit.DONE
    monkeypatch.setenv("JOBCTL_SECRET_KEY", f"{OTHER},{KEY}")
    assert command("credentials", "rotate").exit_code == Exit.DONE
    (found,) = world.rows(provider_credentials)
    assert sealing.unseal([OTHER], found.client_secret) == SECRET


@pytest.mark.only("postgresql")
def test_a_token_that_is_stored_meanwhile_is_encrypted_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    add()
    world.change(provider_credentials, world.rows(provider_credentials)[0].id, access_token="old")
    monkeypatch.setenv("JOBCTL_SECRET_KEY", KEY)
    fresh = update(provider_credentials).values(access_token="fresh")
    assert while_held(world, fresh, lambda: command("credentials", "rotate")).exit_code == Exit.DONE
    (found,) = world.rows(provider_credentials)
    assert sealing.unseal([KEY], found.access_token) == "fresh"


@pytest.mark.parametrize("keys", [None, OTHER], ids=["none", "another"])
def test_what_cannot_be_read_is_left_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, keys: str | None
) -> None:
    monkeypatch.setenv("JOBCTL_SECRET_KEY", KEY)
    add()
    before = world.rows(provider_credentials)
    if keys:
        monkeypatch.setenv("JOBCTL_SECRET_KEY", keys)
    else:
        monkeypatch.delenv("JOBCTL_SECRET_KEY")
    assert command("credentials", "rotate").exit_code == Exit.MISCONFIGURED
    assert world.rows(provider_credentials) == before


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("", "c"),
        (" ", "c"),
        ("n", ""),
        ("\udcff", "c"),
        ("n", "a\nb"),
    ],
)
def test_what_is_no_name_is_refused(world: World, name: str, client: str) -> None:
    assert add(name=name, client=client).exit_code == Exit.USAGE
    assert world.rows(provider_credentials) == []


@pytest.mark.parametrize("secret", ["", "  ", "\x00"])
def test_without_a_secret_nothing_is_stored(world: World, secret: str) -> None:
    assert add(secret).exit_code == Exit.USAGE
    assert world.rows(provider_credentials) == []


def test_a_key_is_one_that_the_setting_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCTL_SECRET_KEY", command("credentials", "key").out.strip())
    assert add().exit_code == Exit.DONE
    monkeypatch.setenv("JOBCTL_SECRET_KEY", "short")
    done = add("test_another")
    assert (done.exit_code, "short" in done.err) == (Exit.MISCONFIGURED, False)
    assert len(world.rows(provider_credentials)) == 1
