"""Sessions, links, keys and the count of attempts: what lets somebody in, and for how long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from chatwright.errors import InputError
from chatwright.store import Group, Invitation, Key, Pace, Person, Session, Store

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY, IDLE = timedelta(days=1), timedelta(days=7)


@pytest.fixture(autouse=True)
def ada(store: Store) -> None:
    store.people.create(Person("ada", "Ada", "user", NOW, "ada@example.org"))


def session(ident: str = "s", **more: datetime) -> Session:
    times = {"created": NOW, "seen": NOW, "expires": NOW + 30 * DAY} | more
    return Session(ident, "ada", agent="a browser", **times)


def test_a_session_lasts_while_it_is_used_and_never_longer_than_its_end(store: Store) -> None:
    store.sessions.add(session())
    at = NOW
    while at < NOW + 30 * DAY:
        assert store.sessions.find("s", at, IDLE) is not None, at
        at += IDLE - timedelta(seconds=1)
    assert store.sessions.find("s", NOW + 30 * DAY, IDLE) is None


def test_a_session_that_nobody_uses_is_over(store: Store) -> None:
    store.sessions.add(session())
    assert store.sessions.find("s", NOW + IDLE, IDLE) is None
    assert store.sessions.of("ada", NOW + IDLE, IDLE) == []
    assert store.sessions.forget(NOW + IDLE, IDLE) == 1


def test_a_session_made_under_a_wrong_clock_is_not_valid_before_it_began(store: Store) -> None:
    store.sessions.add(session("future", created=NOW + DAY, seen=NOW + DAY))
    store.sessions.add(session("near", created=NOW + timedelta(minutes=1), seen=NOW + timedelta(minutes=1)))
    assert store.sessions.find("future", NOW, IDLE) is None
    assert store.sessions.find("near", NOW, IDLE) is not None, "clocks of two gateways differ a little"


def test_use_is_noted_once_a_minute(store: Store) -> None:
    store.sessions.add(session())
    store.sessions.find("s", NOW + timedelta(seconds=59), IDLE)
    assert store.sessions.of("ada", NOW, IDLE)[0].seen == NOW
    store.sessions.find("s", NOW + timedelta(seconds=60), IDLE)
    assert store.sessions.of("ada", NOW, IDLE)[0].seen == NOW + timedelta(seconds=60)


def test_whoever_is_disabled_is_out_at_once(store: Store) -> None:
    store.sessions.add(session())
    store.keys.add(Key("k", "ada", "", "hash", frozenset({"chat"}), NOW), 10)
    store.people.change_by(Person("root", "Root", "admin", NOW), "ada", NOW, disabled=True)
    assert store.sessions.find("s", NOW, IDLE) is None
    assert store.keys.find("k", NOW) is None


def test_sessions_end_one_by_one_or_all_but_this(store: Store) -> None:
    store.people.create(Person("bob", "Bob", "user", NOW))
    for ident in ("a", "b", "c"):
        store.sessions.add(session(ident))
    assert not store.sessions.end("a", "bob")
    assert store.sessions.end("a", "ada")
    assert store.sessions.end_all("ada", but="b") == 1
    assert [one.id for one in store.sessions.of("ada", NOW, IDLE)] == ["b"]
    store.sessions.add(session("d"), instead_of="b")
    assert [one.id for one in store.sessions.of("ada", NOW, IDLE)] == ["d"]


def invitation(ident: str = "i", purpose: str = "invite", **more: object) -> Invitation:
    return Invitation(ident, purpose, "labeller", NOW, NOW + DAY, **more)  # type: ignore[arg-type]


def bob(email: str = "bob@example.org") -> Person:
    return Person("bob", "Bob", "admin", NOW, email)


def test_an_invitation_makes_one_account_of_its_role(store: Store) -> None:
    store.groups.put_all([Group("friends", NOW), Group("gone", NOW)])
    store.invitations.add(invitation(groups=("friends", "gone")))
    with pytest.raises(InputError, match="no group 'none'"):
        store.invitations.add(invitation("none", groups=("none",)))
    store.groups.put_all([Group("friends", NOW)])
    assert store.invitations.get("i", NOW) is not None
    assert store.invitations.accept("i", NOW, bob(), password="hash")
    found = store.people.get("bob")
    assert found is not None
    assert (found.role, found.groups) == ("labeller", ("friends",))
    assert store.invitations.get("i", NOW) is None
    assert not store.invitations.accept("i", NOW, Person("eve", "Eve", "user", NOW))
    assert store.people.get("eve") is None
    assert store.audit.page()[0].what == "account.join"


def test_an_invitation_that_made_nothing_stays_open(store: Store) -> None:
    store.invitations.add(invitation())
    with pytest.raises(InputError, match="already"):
        store.invitations.accept("i", NOW, bob("ada@example.org"))
    assert store.invitations.get("i", NOW) is not None


def test_old_and_revoked_invitations_are_not_found(store: Store) -> None:
    store.invitations.add(invitation())
    assert store.invitations.get("i", NOW + DAY) is None
    assert not store.invitations.accept("i", NOW + DAY, bob())
    assert [one.id for one in store.invitations.pending(NOW)] == ["i"]
    assert store.invitations.revoke_by(bob(), "i", NOW)
    assert store.invitations.get("i", NOW) is None


def test_a_link_for_the_first_admin_is_dead_once_there_is_one(store: Store) -> None:
    for ident in ("first", "second"):
        store.invitations.add(Invitation(ident, "setup", "admin", NOW, NOW + DAY))
    assert store.invitations.accept("first", NOW, bob())
    assert store.invitations.get("second", NOW) is None
    assert not store.invitations.accept("second", NOW, Person("eve", "Eve", "user", NOW))


def test_two_at_once_with_links_for_the_first_admin_make_one(store: Store) -> None:
    for ident in ("first", "second"):
        store.invitations.add(Invitation(ident, "setup", "admin", NOW, NOW + DAY))
    made = [Person(name, name, "user", NOW, f"{name}@example.org") for name in ("x", "y")]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(store.invitations.accept, ("first", "second"), (NOW, NOW), made))
    assert sorted(done) == [False, True]


def test_a_reset_sets_the_password_and_signs_out(store: Store) -> None:
    store.sessions.add(session())
    store.invitations.add(Invitation("r", "reset", "user", NOW, NOW + DAY, person="ada", by="admin"))
    assert not store.invitations.accept("r", NOW, bob()), "it makes no account"
    store.invitations.add(Invitation("r2", "reset", "user", NOW, NOW + DAY, person="ada", by="admin"))
    assert store.invitations.reset("r2", NOW, "new hash") == "ada"
    assert store.people.password_of("ada") == "new hash"
    assert store.sessions.find("s", NOW, IDLE) is None
    assert store.invitations.reset("r2", NOW, "again") is None


def test_a_key_ends_with_its_time_or_when_it_is_revoked(store: Store) -> None:
    store.keys.add(
        Key("k", "ada", "mine", "hash", frozenset({"chat", "files"}), NOW, NOW + DAY, limits={"streams": 1}), 2
    )
    found = store.keys.find("k", NOW)
    assert found is not None
    key, whose = found
    assert (key.scopes, key.limits, whose.id) == ({"chat", "files"}, {"streams": 1}, "ada")
    assert store.keys.find("k", NOW + DAY) is None
    assert not store.keys.revoke("k", NOW, "bob")
    assert store.keys.revoke("k", NOW, "ada")
    assert store.keys.find("k", NOW) is None
    assert store.keys.of("ada") == []


def test_nobody_has_more_keys_than_that(store: Store) -> None:
    made = [store.keys.add(Key(f"k{n}", "ada", "", "hash", frozenset({"chat"}), NOW), 2) for n in range(3)]
    assert made == [True, True, False]
    assert len(store.keys.all()) == 2


def test_use_of_a_key_is_written_at_most_once_a_minute(store: Store) -> None:
    store.keys.add(Key("k", "ada", "", "hash", frozenset({"chat"}), NOW), 2)
    for seconds, expected in ((0, 0), (59, 0), (60, 60)):
        store.keys.use("k", NOW + timedelta(seconds=seconds))
        assert store.keys.of("ada")[0].used == NOW + timedelta(seconds=expected)


def test_attempts_run_out_and_come_back(store: Store) -> None:
    pace = Pace(3, 10)
    assert [store.attempts.take("a", pace, NOW) for _ in range(4)] == [0, 0, 0, 10]
    assert store.attempts.take("b", pace, NOW) == 0
    assert store.attempts.take("a", pace, NOW + timedelta(seconds=4)) == pytest.approx(6)
    assert store.attempts.take("a", pace, NOW + timedelta(seconds=10)) == pytest.approx(0)
    store.attempts.give_back("a")
    assert [store.attempts.take("a", pace, NOW) for _ in range(3)] == [0, 0, 0]
    assert store.attempts.forget(NOW + timedelta(days=2)) == 2


def test_a_clock_that_is_set_back_gives_no_attempts_and_takes_none(store: Store) -> None:
    pace = Pace(2, 10)
    for _ in range(2):
        store.attempts.take("a", pace, NOW)
    assert store.attempts.take("a", pace, NOW - DAY) == 10
    assert store.attempts.take("a", pace, NOW - DAY + timedelta(seconds=10)) == 0


def test_many_at_once_get_no_more_attempts_than_there_are(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        waits = list(pool.map(lambda _: store.attempts.take("a", Pace(5, 60), NOW), range(20)))
    assert sum(wait == 0 for wait in waits) == 5
