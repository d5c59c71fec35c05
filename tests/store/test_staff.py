"""What operators and admins may do with accounts, on both databases; each change is in the audit log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatwright.errors import InputError
from chatwright.store import LOCAL, Group, Invitation, Key, Person, Session, Store
from chatwright.store.chats import Chat, ChatMessage
from chatwright.store.engine import transaction
from chatwright.store.people import Forbidden
from chatwright.store.tables import people

AT = datetime(2026, 1, 1, tzinfo=UTC)


def add(store: Store, ident: str, role: str = "user", minutes: int = 0, **more: Any) -> Person:
    at = AT + timedelta(minutes=minutes)
    row = {"id": ident, "name": ident.title(), "email": f"{ident}@example.org", "role": role, "disabled": False,
           "created": at, "settings": "{}"}  # fmt: skip
    with transaction(store._engine, writes=True) as connection:
        connection.execute(people.insert().values(row | more))
    return Person(ident, ident.title(), role, at)


def logged(store: Store) -> list[tuple[str, str, str]]:
    return [(row.who, row.what, row.subject) for row in reversed(store.audit.page(limit=200))]


def test_nobody_reaches_above_themselves(store: Store) -> None:
    admin, operator = add(store, "ada", "admin"), add(store, "otto", "operator")
    labeller = add(store, "lea", "labeller")
    add(store, "una")
    change = store.people.change_by
    for by, ident, changes in (
        (operator, "una", {"role": "admin"}), (operator, "otto", {"role": "admin"}), (operator, "ada", {"groups": []}),
        (operator, "ada", {"disabled": True}), (operator, "ada", {"role": "user"}),
        (labeller, "una", {"role": "operator"}),
    ):  # fmt: skip
        with pytest.raises(Forbidden, match="this takes the role"):
            change(by, ident, AT, **changes)  # type: ignore[arg-type]
    assert logged(store) == []
    assert (made := change(operator, "una", AT, disabled=True)) is not None
    assert made.disabled
    assert (made := change(admin, "una", AT, role="operator")) is not None
    assert made.role == "operator"
    assert change(admin, "nobody", AT, role="user") is None
    assert logged(store) == [("otto", "person.disabled", "una"), ("ada", "person.role", "una")]
    assert store.audit.page()[0].detail == {"from": "user", "to": "operator"}


def test_nobody_demotes_disables_or_ends_the_last_admin(store: Store) -> None:
    store.people.local(AT)
    admin = add(store, "ada", "admin")
    for change in ({"role": "user"}, {"disabled": True}):
        with pytest.raises(Forbidden, match="last admin"):
            store.people.change_by(admin, "ada", AT, **change)  # type: ignore[arg-type]
        with pytest.raises(Forbidden, match="one person"):
            store.people.change_by(admin, LOCAL, AT, **change)  # type: ignore[arg-type]
    add(store, "ben", "admin", disabled=True)
    with pytest.raises(Forbidden, match="last admin"):
        store.people.change_by(admin, "ada", AT, role="user")
    with pytest.raises(Forbidden, match="last admin"):
        store.belongings.delete("ada", [], AT)
    assert logged(store) == []
    store.people.change_by(admin, "ben", AT, disabled=False)
    changed = store.people.change_by(admin, "ada", AT, role="user")
    assert changed is not None
    assert changed.role == "user"
    store.belongings.delete("ada", [], AT)
    with pytest.raises(Forbidden, match="last admin"):
        store.belongings.delete("ben", [], AT)


def test_two_admins_who_demote_each_other_at_once_leave_one(store: Store) -> None:
    names = [f"a{number}" for number in range(6)]
    admins = [add(store, name, "admin") for name in names]

    def demote(number: int) -> bool:
        try:
            store.people.change_by(admins[number - 1], names[number], AT, role="user")
        except Forbidden:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(demote, range(6)))
    left = [one for one in store.people.page() if one.role == "admin"]
    assert len(left) == 1
    assert sum(done) == 5


def test_who_is_disabled_is_signed_out_and_what_answers_them_is_asked_to_end(store: Store) -> None:
    admin = add(store, "ada", "admin")
    later = AT + timedelta(days=1)
    for name in ("una", "ben"):
        add(store, name)
        store.sessions.add(Session(f"s-{name}", name, AT, AT, later))
        chat = Chat(f"c-{name}", name, AT, AT)
        store.chats.create(chat)
        store.chats.add(chat, [ChatMessage(f"m-{name}", chat.id, None, "t", "assistant", "wör", AT, "streaming",
                                           host="g", beat=AT)], {})  # fmt: skip
    store.people.change_by(admin, "una", AT, disabled=True)
    assert store.sessions.of("una", AT, timedelta(days=1)) == []
    assert len(store.sessions.of("ben", AT, timedelta(days=1))) == 1
    wanted = store.chats.grow({}, "g", AT)
    assert wanted["m-ben"] is None
    assert wanted["m-una"] is not None
    assert wanted["m-una"] > 10**9, "and all that came is kept"


def test_groups_are_put_whole_and_people_into_them(store: Store) -> None:
    admin = add(store, "ada", "admin")
    early, everybody = Group("early", AT, "first", early=True, limits={"streams": 2}), Group("all", AT)
    store.groups.put_all([early, everybody], "ada", "Ada")
    store.groups.put_all([early, everybody], "ada", "Ada")
    with pytest.raises(InputError, match="no group 'nobody'"):
        store.people.change_by(admin, "ada", AT, groups=["nobody"])
    changed = store.people.change_by(admin, "ada", AT, groups=["early", "all"])
    assert changed is not None
    assert changed.groups == ("all", "early")
    assert store.groups.sizes() == {"all": 1, "early": 1}
    store.groups.put_all([Group("early", AT, "changed", early=True, limits={"streams": 2})], "ada", "Ada")
    assert store.people.page()[0].groups == ("early",)
    assert [what for _, what, _ in logged(store)] == [
        "group.made", "group.made", "person.groups", "group.changed", "group.deleted",
    ]  # fmt: skip


def test_a_link_is_void_once_its_maker_has_another_role_or_is_out(store: Store) -> None:
    admin = add(store, "ada", "admin")
    for name in ("otto", "olga", "ben"):
        add(store, name, "operator")
        store.invitations.add(Invitation(name, "invite", "operator", AT, AT + timedelta(days=1), by=name))
    store.invitations.add(Invitation("r", "reset", "user", AT, AT + timedelta(days=1), person="otto", by="ben"))
    store.people.change_by(admin, "otto", AT, role="user")
    store.people.change_by(admin, "olga", AT, disabled=True)
    store.people.change_by(admin, "ben", AT, groups=[])
    assert [one.id for one in store.invitations.pending(AT)] == ["ben"]


def test_operators_take_back_links_and_keys_up_to_their_own_role(store: Store) -> None:
    admin, operator = add(store, "ada", "admin"), add(store, "otto", "operator")
    for role in ("admin", "user"):
        store.invitations.add(Invitation(role, "invite", role, AT, AT + timedelta(days=1), by="ada"))
    for ident, person in (("k-admin", "ada"), ("k-user", "otto")):
        store.keys.add(Key(ident, person, "laptop", "secret-hash", frozenset({"chat", "api"}), AT), 9)
    for revoke, about in ((store.invitations.revoke_by, ""), (store.keys.revoke_by, "k-")):
        with pytest.raises(Forbidden):
            revoke(operator, f"{about}admin", AT)
        assert revoke(operator, f"{about}user", AT)
        assert not revoke(operator, f"{about}user", AT)
        assert revoke(admin, f"{about}admin", AT)
    assert store.invitations.pending(AT) == []
    assert store.keys.all() == []
    assert [what for _, what, _ in logged(store)] == ["invitation.revoke"] * 2 + ["key.revoked"] * 2


def test_people_are_paged_and_found(store: Store) -> None:
    for number in range(25):
        add(store, f"p{number:02}", minutes=number // 3)
    seen: list[str] = []
    while page := store.people.page(seen[-1] if seen else None, 4):
        seen += [one.id for one in page]
    assert seen == [f"p{number:02}" for number in range(25)]
    assert [one.id for one in store.people.page(None, 9, "P07@")] == ["p07"]
    assert store.people.page(None, 9, "%") == []
    assert store.people.page("nobody", 9) == []
