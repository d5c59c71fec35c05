"""Accounts, groups, the audit log and operators' settings."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime

import pytest

from chatwright.errors import InputError
from chatwright.store import LOCAL, Group, Note, Person, Store

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def person(ident: str, role: str = "user", **more: object) -> Person:
    return Person(ident, ident.title(), role, NOW, f"{ident}@example.org", **more)  # type: ignore[arg-type]


def test_an_account_comes_back_whole(store: Store) -> None:
    store.groups.put_all([Group("friends", NOW, "who came first", early=True, limits={"streams": 3})])
    ada = person("ada", "operator", groups=("friends",), settings={"theme": "dark"})
    assert store.people.create(ada, password="a hash")
    found = store.people.get("ada")
    assert found is not None
    assert (found.name, found.role, found.email, found.created) == ("Ada", "operator", "ada@example.org", NOW)
    assert (found.groups, found.early, found.limits, found.password) == (("friends",), True, {"streams": 3}, True)
    assert store.people.by_email("ada@example.org") == (found, "a hash")
    assert store.people.by_email("nobody@example.org") == (None, None)


def test_an_address_or_a_subject_has_one_account(store: Store) -> None:
    assert store.people.create(person("ada"), subject="https://id.example ada")
    assert not store.people.create(Person("ada2", "Ada", "user", NOW, "ada@example.org"))
    assert not store.people.create(Person("ada3", "Ada", "user", NOW), subject="https://id.example ada")
    assert [one.id for one in store.people.page()] == ["ada"]
    found = store.people.by_subject("https://id.example ada")
    assert found is not None
    assert not found.password


def test_settings_are_kept_beside_the_others(store: Store) -> None:
    store.people.create(person("ada", settings={"theme": "dark"}))
    assert store.people.choose("ada", {"memory": True}) == {"theme": "dark", "memory": True}
    found = store.people.get("ada")
    assert found is not None
    assert found.settings == {"theme": "dark", "memory": True}


def test_the_local_person_is_nobody_who_could_sign_in(store: Store) -> None:
    store.people.local(NOW)
    assert not store.people.has_admin()
    assert store.people.get(LOCAL) is not None


def test_a_change_and_its_entry_are_there_together_or_not_at_all(store: Store) -> None:
    ada = person("ada", "admin")
    store.people.create(ada)
    with pytest.raises(InputError):
        store.people.change_by(ada, "ada", NOW, role="user")
    with pytest.raises(InputError, match="no group 'none'"):
        store.people.change_by(ada, "ada", NOW, disabled=False, groups=["none"])
    with pytest.raises(ValueError, match="role"):
        store.people.change("ada", {"role": "user"})
    assert store.audit.page() == []
    store.people.change("ada", {"name": "Ada L."}, Note("ada", "Ada", "person.change", "ada", {"name": "Ada L."}))
    (entry,) = store.audit.page()
    assert (entry.who, entry.name, entry.what, entry.subject, entry.detail) == (
        "ada", "Ada", "person.change", "ada", {"name": "Ada L."},
    )  # fmt: skip


def test_the_log_is_read_newest_first_and_page_by_page(store: Store) -> None:
    for number in range(5):
        store.audit.add(Note("ada" if number % 2 else "bob", "", "x", str(number)))
    first = store.audit.page(limit=2)
    assert [one.subject for one in first] == ["4", "3"]
    assert [one.subject for one in store.audit.page(before=first[-1].id)] == ["2", "1", "0"]
    assert [one.subject for one in store.audit.page(who="ada")] == ["3", "1"]
    assert store.audit.page(what="y") == []


def test_of_several_limits_the_most_generous_counts(store: Store) -> None:
    groups = [
        Group("a", NOW, limits={"streams": 2, "requests_per_minute": 10}),
        Group("b", NOW, limits={"streams": 5, "tokens_per_minute": 100}),
        Group("c", NOW, limits={"requests_per_minute": 0}),
    ]
    store.groups.put_all(groups)
    store.people.create(person("ada", groups=("a", "b", "c")))
    found = store.people.get("ada")
    assert found is not None
    assert found.limits == {"streams": 5, "requests_per_minute": 0, "tokens_per_minute": 100}
    store.groups.put_all(groups[1:2])
    assert store.groups.sizes() == {"b": 1}
    store.groups.put_all([])
    found = store.people.get("ada")
    assert found is not None
    assert (found.groups, found.limits) == ((), {})


def test_an_unknown_limit_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="'cookies'"):
        store.groups.put_all([Group("a", NOW, limits={"cookies": 1})])
    assert store.groups.all() == []


def _step_down(url: str, ident: str, barrier: object, told: object) -> None:
    with Store.open(url) as store:
        barrier.wait()  # pyright: ignore[reportAttributeAccessIssue]
        try:
            store.people.change_by(person(ident, "admin"), ident, NOW, role="user")
            told.put(ident)  # pyright: ignore[reportAttributeAccessIssue]
        except InputError:
            told.put("")  # pyright: ignore[reportAttributeAccessIssue]


def test_two_admins_who_step_down_at_once_leave_one(url: str) -> None:
    with Store.open(url) as store:
        for ident in ("ada", "bob"):
            store.people.create(person(ident, "admin"))
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_step_down, args=(url, ident, barrier, told)) for ident in ("ada", "bob")]
    for worker in workers:
        worker.start()
    said = sorted(told.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(60)
    assert said[0] == ""
    assert said[1] in ("ada", "bob")
    with Store.open(url) as store:
        assert store.people.has_admin()
