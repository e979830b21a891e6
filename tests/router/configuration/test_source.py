"""The contract of every StateSource: versions in one line, atomic changes, documents by digest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from router.configuration.changing import apply, rollback
from router.configuration.documents import digest_of
from router.configuration.source import Draft
from router.configuration.watching import look
from router.errors import ConfigConflictError, ConfigError

if TYPE_CHECKING:
    from router.configuration.source import Version
    from tests.router.configuration.conftest import Place

POLICY = "policies: [{id: support, version: %d, cost_weight: %s}]\n"


def newest(place: Place) -> Version:
    """The newest version, which must be there."""
    version = place.source().newest()
    assert version is not None
    return version


@pytest.mark.smoke
def test_a_set_is_noted_once(place: Place) -> None:
    """The first look adds version 1; another look, also of another process, adds nothing."""
    first = look(place.source(), place.settings).version
    again = look(place.source(), place.settings).version
    assert first is not None
    assert (first.number, first.parent, first.origin, first.environment) == (1, None, "edited", "test")
    assert again == first
    assert list(place.source().versions()) == [first]


def test_an_edit_is_a_version_with_its_parent(place: Place) -> None:
    """An edited document is the next version, and both sets can be read by their digests."""
    look(place.source(), place.settings)
    before = place.source().read()
    place.edit("policies.yaml", POLICY % (1, 0.3))
    look(place.source(), place.settings)
    one, two = place.source().versions()
    assert (two.number, two.parent) == (2, 1)
    assert two.created_at >= one.created_at
    assert one.config_hash != two.config_hash
    assert "policies.yaml" not in one.documents
    source = place.source()
    assert source.document(two.documents["policies.yaml"]) == (POLICY % (1, 0.3)).encode()
    assert source.document(one.documents["catalog.yaml"]) == before["catalog.yaml"]


def test_an_edit_back_is_a_version_with_the_old_hash(place: Place) -> None:
    """Each change of the documents in force is a line, also when an older set returns."""
    look(place.source(), place.settings)
    for content in (POLICY % (1, 0.3), POLICY % (2, 0.4), POLICY % (1, 0.3)):
        place.edit("policies.yaml", content)
        look(place.source(), place.settings)
    versions = place.source().versions()
    assert [version.number for version in versions] == [1, 2, 3, 4]
    assert versions[1].config_hash == versions[3].config_hash
    assert versions[1].documents == versions[3].documents


def test_every_process_sees_one_change_and_one_line_is_added(place: Place) -> None:
    """Twenty threads with sources of their own look at the same change at once: one version."""
    look(place.source(), place.settings)
    place.edit("limits.yaml", "limits: []\n")
    start = threading.Barrier(20)

    def watch() -> None:
        start.wait()
        look(place.source(), place.settings)

    threads = [threading.Thread(target=watch) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version.number for version in place.source().versions()] == [1, 2]


def test_a_change_is_in_force_with_its_version(place: Place) -> None:
    """`apply` changes what readers get, and names its author and the version it was made from."""
    look(place.source(), place.settings)
    version = apply(
        place.source(), place.settings, {"policies.yaml": (POLICY % (1, 0.3)).encode()}, author="ada"
    )
    assert (version.number, version.parent, version.author, version.origin) == (2, 1, "ada", "applied")
    assert place.source().read()["policies.yaml"] == (POLICY % (1, 0.3)).encode()
    assert look(place.source(), place.settings).version == version == newest(place)


def test_a_change_that_changes_nothing_adds_no_version(place: Place) -> None:
    """The documents in force, applied again, stay the newest version."""
    first = look(place.source(), place.settings).version
    documents = place.source().read()
    assert apply(place.source(), place.settings, {"catalog.yaml": documents["catalog.yaml"]}) == first
    assert newest(place) == first


def test_a_change_from_an_older_version_is_refused(place: Place) -> None:
    """A change names the version it was made from, and the error says which one is in force."""
    look(place.source(), place.settings)
    apply(place.source(), place.settings, {"limits.yaml": b"limits: []\n"}, expected=1)
    with pytest.raises(ConfigConflictError, match=r"at version `2`.*made from version `1`") as refused:
        apply(place.source(), place.settings, {"policies.yaml": b"policies: []\n"}, expected=1)
    assert (refused.value.expected, refused.value.newest) == (1, 2)
    assert "policies.yaml" not in place.source().read()
    assert newest(place).number == 2


def test_one_of_racing_changes_wins(place: Place) -> None:
    """Ten changes from one version at once: one version more, nine conflicts."""
    look(place.source(), place.settings)
    start = threading.Barrier(10)
    results: list[str] = []

    def change(weight: int) -> None:
        start.wait()
        try:
            apply(
                place.source(),
                place.settings,
                {"policies.yaml": (POLICY % (weight + 1, weight)).encode()},
                expected=1,
            )
            results.append("won")
        except ConfigConflictError:
            results.append("conflict")

    threads = [threading.Thread(target=change, args=(weight,)) for weight in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["conflict"] * 9 + ["won"]
    assert newest(place).number == 2


def test_a_note_needs_the_newest_parent(place: Place) -> None:
    """A version can only follow the newest one, so that the history has no branches."""
    look(place.source(), place.settings)
    source = place.source()
    draft = Draft(
        documents={"limits.yaml": b"limits: []\n"},
        config_hash="0" * 16,
        policies={},
        environment="test",
        author="ada",
        origin="edited",
    )
    for parent in (None, 0, 2):
        with pytest.raises(ConfigConflictError):
            source.note(draft, parent=parent)
    assert newest(place).number == 1


def test_a_rollback_is_a_new_version_of_old_documents(place: Place) -> None:
    """The documents of the old version are in force, one that it lacks is gone, and the past stays."""
    first = look(place.source(), place.settings).version
    assert first is not None
    apply(place.source(), place.settings, {"policies.yaml": (POLICY % (1, 0.3)).encode()})
    apply(place.source(), place.settings, {"limits.yaml": b"limits: []\n"})
    version = rollback(place.source(), place.settings, 1)
    assert (version.number, version.parent, version.origin) == (4, 3, "rolled_back")
    assert (version.documents, version.config_hash) == (first.documents, first.config_hash)
    assert {"policies.yaml", "limits.yaml"}.isdisjoint(place.source().read())
    assert [item.number for item in place.source().versions()] == [1, 2, 3, 4]


def test_an_unknown_version_or_document_is_named(place: Place) -> None:
    """A number or a digest that the history lacks is an error with what there is."""
    with pytest.raises(ConfigError, match="no history yet"):
        rollback(place.source(), place.settings, 1)
    look(place.source(), place.settings)
    with pytest.raises(ConfigError, match=r"no version `7`.*1 to 1 exist"):
        rollback(place.source(), place.settings, 7)
    with pytest.raises(ConfigError, match="holds no document"):
        place.source().document(digest_of(b"never seen"))


def test_the_revision_follows_the_documents(place: Place) -> None:
    """It changes with an edit and with a change, and not with a look."""
    source = place.source()
    first = source.revision()
    look(source, place.settings)
    assert source.revision() == first
    place.edit("limits.yaml", "limits: []\n")
    second = source.revision()
    apply(place.source(), place.settings, {"policies.yaml": (POLICY % (1, 0.3)).encode()})
    third = source.revision()
    assert len({repr(item) for item in (first, second, third)}) == 3


def test_a_person_leaves_the_history(place: Place) -> None:
    """Their id is in no document of any version, a longer id stays, and every digest still resolves."""
    for users in ("u-17: quality", "u-17: quality, u-170: cheapest"):
        place.edit("policies.yaml", f"assignments: {{users: {{{users}}}}} # for u-17\n")
        look(place.source(), place.settings)
    place.edit("policies.yaml", None)
    look(place.source(), place.settings)
    source = place.source()
    assert source.forget("u-17") == 2
    contents = [
        source.document(digest) for version in source.versions() for digest in version.documents.values()
    ]
    assert not any(b"u-17" in content.replace(b"u-170", b"") for content in contents)
    assert any(b"u-170" in content for content in contents)
    assert source.forget("u-17") == 0
