"""What operators and admins may do with accounts, on both databases; each change is in the audit log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatwright.errors import InputError
from chatwright.store import LOCAL, Person, Store
from chatwright.store.engine import transaction
from chatwright.store.staff import Forbidden
from chatwright.store.tables import invitations, keys, people, sessions

AT = datetime(2026, 1, 1, tzinfo=UTC)


def add(store: Store, ident: str, role: str = "user", minutes: int = 0, **more: Any) -> Person:
    at = AT + timedelta(minutes=minutes)
    row = {"id": ident, "name": ident.title(), "email": f"{ident}@example.org", "role": role, "disabled": False,
           "created": at, "settings": "{}"}  # fmt: skip
    with transaction(store._engine, writes=True) as connection:
        connection.execute(people.insert().values(row | more))
    return Person(ident, ident.title(), role, at)


def logged(store: Store) -> list[tuple[str, str, str]]:
    return [(row["who"], row["what"], row["subject"]) for row in reversed(store.operators.audited(None, 200))]


def test_only_an_admin_changes_roles_and_nobody_reaches_above_themselves(store: Store) -> None:
    admin, operator = add(store, "ada", "admin"), add(store, "otto", "operator")
    for name, role in (("una", "user"), ("lea", "labeller")):
        add(store, name, role)
    with pytest.raises(Forbidden, match="only an admin"):
        store.staff.change("una", operator, AT, role="admin")
    with pytest.raises(Forbidden, match="more than you are"):
        store.staff.change("ada", operator, AT, disabled=True)
    assert logged(store) == []
    assert store.staff.change("una", operator, AT, disabled=True)["disabled"]  # type: ignore[index]
    assert store.staff.change("una", admin, AT, role="operator")["role"] == "operator"  # type: ignore[index]
    assert store.staff.change("nobody", admin, AT, role="user") is None
    assert logged(store) == [("otto", "person.disabled", "una"), ("ada", "person.role", "una")]
    assert store.operators.audited(None, 1)[0]["detail"] == {"from": {"role": "user"}, "to": {"role": "operator"}}


def test_nobody_demotes_or_disables_the_last_admin(store: Store) -> None:
    store.people.local(AT)
    admin = add(store, "ada", "admin")
    for change in ({"role": "user"}, {"disabled": True}):
        with pytest.raises(Forbidden, match="last admin"):
            store.staff.change("ada", admin, AT, **change)
        with pytest.raises(Forbidden):
            store.staff.change(LOCAL, admin, AT, **change)
    assert store.operators.is_last_admin("ada")
    add(store, "ben", "admin", disabled=True)
    with pytest.raises(Forbidden, match="last admin"):
        store.staff.change("ada", admin, AT, role="user")
    store.staff.change("ben", admin, AT, disabled=False)
    assert not store.operators.is_last_admin("ada")
    assert store.staff.change("ada", admin, AT, role="user")["role"] == "user"  # type: ignore[index]


def test_two_admins_who_demote_each_other_at_once_leave_one(store: Store) -> None:
    names = [f"a{number}" for number in range(6)]
    admins = [add(store, name, "admin") for name in names]

    def demote(number: int) -> bool:
        try:
            store.staff.change(names[number], admins[number - 1], AT, role="user")
        except Forbidden:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(demote, range(6)))
    left = [one for one in store.staff.people(None, 10) if one["role"] == "admin"]
    assert len(left) == 1
    assert sum(done) == 5


def test_who_is_disabled_is_signed_out(store: Store) -> None:
    admin = add(store, "ada", "admin")
    add(store, "una")
    row = {"id": "h", "person": "una", "created": AT, "seen": AT, "expires": AT, "agent": ""}
    with transaction(store._engine, writes=True) as connection:
        connection.execute(sessions.insert().values(row))
    store.staff.change("una", admin, AT, disabled=True)
    with transaction(store._engine, writes=False) as connection:
        assert connection.execute(sessions.select()).all() == []


def test_groups_are_put_whole_and_people_into_them(store: Store) -> None:
    admin = add(store, "ada", "admin")
    early = {"name": "early", "about": "first", "early": True, "limits": {"streams": 2}}
    store.staff.put_groups([early, {"name": "all", "about": "", "early": False, "limits": {}}], admin, AT)
    store.staff.put_groups([early, {"name": "all", "about": "", "early": False, "limits": {}}], admin, AT)
    with pytest.raises(InputError, match="no group 'nobody'"):
        store.staff.change("ada", admin, AT, into=["nobody"])
    assert store.staff.change("ada", admin, AT, into=["early", "all"])["groups"] == ["all", "early"]  # type: ignore[index]
    assert {one["name"]: one["people"] for one in store.staff.groups()} == {"all": 1, "early": 1}
    store.staff.put_groups([early | {"about": "changed"}], admin, AT)
    assert store.staff.people(None, 9)[0]["groups"] == ["early"]
    assert [what for _, what, _ in logged(store)] == [
        "group.made", "group.made", "person.groups", "group.changed", "group.deleted",
    ]  # fmt: skip


def test_invitations_and_keys(store: Store) -> None:
    admin, operator = add(store, "ada", "admin"), add(store, "otto", "operator")
    with pytest.raises(Forbidden, match="only an admin"):
        store.staff.invite("h" * 64, operator, "operator", [], None, AT, AT)
    store.staff.invite("h" * 64, operator, "user", [], "x@example.org", AT, AT)
    row = {
        "id": "cw1",
        "person": "ada",
        "name": "laptop",
        "hash": "secret-hash",
        "scopes": "chat api",
        "created": AT,
        "limits": "{}",
    }
    with transaction(store._engine, writes=True) as connection:
        assert len(connection.execute(invitations.select()).all()) == 1
        connection.execute(keys.insert().values(row))
    (shown,) = store.staff.keys()
    assert (shown["id"], shown["person"], shown["scopes"]) == ("cw1", "ada", ["chat", "api"])
    assert "secret-hash" not in str(shown)
    with pytest.raises(Forbidden):
        store.staff.revoke("cw1", operator, AT)
    assert store.staff.revoke("cw1", admin, AT)
    assert not store.staff.revoke("cw1", admin, AT)
    assert store.staff.keys() == []


def test_people_are_paged_and_found(store: Store) -> None:
    for number in range(25):
        add(store, f"p{number:02}", minutes=number // 3)
    seen: list[str] = []
    while page := store.staff.people(seen[-1] if seen else None, 4):
        seen += [one["id"] for one in page]
    assert seen == [f"p{number:02}" for number in range(25)]
    assert [one["id"] for one in store.staff.people(None, 9, "P07@")] == ["p07"]
    assert store.staff.people(None, 9, "%") == []
    assert store.staff.people("nobody", 9) == []
