"""Rows of share group types, on every database; and that the migrations make the tables the code declares."""

from __future__ import annotations

from datetime import timedelta

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from penstock.domain.group_types import ShareGroupType
from penstock.domain.types import ShareType
from penstock.ids import ShareGroupTypeId, ShareTypeId, new_id
from penstock.store import group_types, types
from penstock.store.database import Database, Transaction, whole_connection
from penstock.store.schema import metadata
from tests.factories import NOW


def a_group_type(tx: Transaction, name: str, *, is_public: bool = True, age: int = 0) -> ShareGroupType:
    gold = types.get_by_name(tx, "gold")
    if gold is None:
        gold = ShareType(ShareTypeId(new_id()), "gold", None, True, NOW, None)
        types.insert_type(tx, gold)
    made = ShareGroupType(
        ShareGroupTypeId(new_id()), name, is_public, NOW - timedelta(seconds=age), None, (gold.id,), {"a": "1"}
    )
    group_types.insert_type(tx, made)
    return made


def test_the_migrations_make_what_the_code_declares(database: Database) -> None:
    with database.read() as tx:
        assert compare_metadata(MigrationContext.configure(whole_connection(tx)), metadata) == []


def test_they_are_open_to_everybody_or_to_some(database: Database) -> None:
    with database.begin() as tx:
        public = a_group_type(tx, "public", age=1)
        private = a_group_type(tx, "private", is_public=False)
        assert group_types.get(tx, public.id) == public
        assert group_types.get_by_name(tx, "private") == private
        assert group_types.list_types(tx) == [public, private]
        assert group_types.list_types(tx, is_public=False) == [private]
        assert group_types.list_types(tx, project_id="p1") == [public]
        group_types.ROWS.add_project(tx, private.id, "p1")
        assert group_types.ROWS.projects_of(tx, private.id) == ["p1"]
        assert group_types.list_types(tx, project_id="p1") == [public, private]
        assert group_types.ROWS.remove_project(tx, private.id, "p1")
        assert not group_types.ROWS.remove_project(tx, private.id, "p1")


def test_specs_are_set_and_removed_and_all_goes_with_the_type(database: Database) -> None:
    with database.begin() as tx:
        made = a_group_type(tx, "made")
        group_types.set_specs(tx, made.id, {"a": "2", "b": "3"})
        assert group_types.delete_spec(tx, made.id, "b")
        assert not group_types.delete_spec(tx, made.id, "b")
        found = group_types.get(tx, made.id)
        assert found is not None
        assert found.group_specs == {"a": "2"}
        assert types.in_use(tx, made.share_type_ids[0])
        group_types.delete_type(tx, made.id)
        assert group_types.get(tx, made.id) is None
        assert not types.in_use(tx, made.share_type_ids[0])
