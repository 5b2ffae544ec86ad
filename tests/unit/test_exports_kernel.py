"""The kernel server's files: what we write, read back, and change in etab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BackendFault, Invalid
from penstock.exports import etab_edit, kernel_files
from penstock.exports.model import ClientRule, Export, Squash, check_path
from penstock.host.files import digest

RULES = (
    ClientRule("10.0.0.5", writable=True),
    ClientRule("10.0.0.0/8", writable=False, squash=Squash.NO_ROOT_SQUASH),
    ClientRule("0.0.0.0/0", writable=True, squash=Squash.ALL_SQUASH),
    ClientRule("fd00::1", writable=True),
)
EXPORT = Export("/tank/a b", "i-1", RULES)


def is_path(text: str) -> bool:
    try:
        check_path(text)
    except Invalid:
        return False
    return True


PATHS = st.text(min_size=1, max_size=30).map(lambda text: f"/{text}").filter(is_path)


def test_render() -> None:
    assert kernel_files.render([EXPORT]) == (
        "# penstock instance=i-1 path=/tank/a\\040b\n"
        "/tank/a\\040b 10.0.0.5/32(rw,sync,no_subtree_check,sec=sys,mountpoint,root_squash)"
        " 10.0.0.0/8(ro,sync,no_subtree_check,sec=sys,mountpoint,no_root_squash)"
        " 0.0.0.0/1(rw,sync,no_subtree_check,sec=sys,mountpoint,all_squash)"
        " 128.0.0.0/1(rw,sync,no_subtree_check,sec=sys,mountpoint,all_squash)"
        " fd00::1/128(rw,sync,no_subtree_check,sec=sys,mountpoint,root_squash)\n"
    )


def test_without_rules_there_is_no_line_because_that_would_mean_everybody() -> None:
    assert kernel_files.render([Export("/tank/a", "i-1")]) == "# penstock instance=i-1 path=/tank/a\n"


@given(paths=st.sets(PATHS, max_size=5), rules=st.sets(st.sampled_from(RULES)))
def test_what_we_write_we_read(paths: set[str], rules: set[ClientRule]) -> None:
    exports = {path: Export(path, "i-1", tuple(rules)) for path in paths}
    assert kernel_files.parse(kernel_files.render(exports.values())) == exports


@given(path=PATHS)
def test_escapes_are_plain_and_undone(path: str) -> None:
    text = kernel_files.escaped(path)
    assert text.isascii()
    assert not set(text) & set(" \t\n#\"'()")
    assert kernel_files.unescaped(text) == path
    assert etab_edit.unescaped(text.encode()) == path.encode()


@pytest.mark.parametrize(
    "text",
    [
        "/tank/a 10.0.0.1/32(rw)\n",
        "# penstock instance=i path=/tank/a\n/tank/b 10.0.0.1/32(rw,sync,no_subtree_check,sec=sys,root_squash)\n",
        "# penstock instance=i path=/tank/a\n/tank/a *(rw,sync,no_subtree_check,sec=sys,root_squash)\n",
        "# penstock instance=i path=/tank/a\n/tank/a\n",
    ],
)
def test_foreign_lines_in_our_files_are_a_fault(text: str) -> None:
    with pytest.raises(BackendFault):
        kernel_files.parse(text)


def test_in_force_is_judged_by_what_we_choose_not_by_spelling() -> None:
    # as another release of exportfs writes it: the path escaped less, other defaults named
    etab = (
        "/tank/a\\040b\t10.0.0.5/32(rw,sync,hide,xprtsec=none,root_squash,no_all_squash,mountpoint,sec=sys,rw,"
        "root_squash)\n"
    )
    export = Export("/tank/a b", "i-1", RULES[:1])
    assert kernel_files.parse_etab(etab)["/tank/a b"] == kernel_files.served_by(export)
    read_only = Export("/tank/a b", "i-1", (ClientRule("10.0.0.5", writable=False),))
    assert kernel_files.parse_etab(etab)["/tank/a b"] != kernel_files.served_by(read_only)


def test_etab_edit_leaves_others_alone(tmp_path: Path) -> None:
    others = "/srv/x\t*(rw)\n/tank/a\t10.9.9.9(ro)\n/tank/ab\t10.9.9.9(ro)\n"
    (tmp_path / "etab").write_text(others)
    assert etab_edit.rewrite(str(tmp_path), {"/tank/a": ["/tank/a\t10.0.0.1/32(rw)"]}, {})
    assert (tmp_path / "etab").read_text() == "/srv/x\t*(rw)\n/tank/ab\t10.9.9.9(ro)\n/tank/a\t10.0.0.1/32(rw)\n"


def test_etab_edit_again_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "etab").write_text("")
    replace = {"/tank/a": ["/tank/a\t10.0.0.1/32(rw)", "/tank/a\t10.0.0.0/8(ro)"]}
    assert etab_edit.rewrite(str(tmp_path), replace, {})
    inode = (tmp_path / "etab").stat().st_ino
    assert not etab_edit.rewrite(str(tmp_path), replace, {})
    assert (tmp_path / "etab").stat().st_ino == inode  # rpc.mountd does not read it again
    assert etab_edit.rewrite(str(tmp_path), {"/tank/a": list(reversed(replace["/tank/a"]))}, {})


def test_etab_edit_of_a_path_escaped_otherwise(tmp_path: Path) -> None:
    (tmp_path / "etab").write_bytes("/tank/ü\t10.0.0.1/32(rw)\n".encode())
    assert etab_edit.rewrite(str(tmp_path), {"/tank/\\303\\274": []}, {})
    assert (tmp_path / "etab").read_bytes() == b""


def test_the_program_uses_only_what_the_host_has() -> None:
    source = Path(etab_edit.__file__).read_text()
    assert "penstock." not in source
    assert os.path.basename(etab_edit.__file__) == "etab_edit.py"  # noqa: PTH119


def test_etab_edit_does_nothing_when_the_configuration_has_changed(tmp_path: Path) -> None:
    (tmp_path / "etab").write_text("/srv/x\t*(rw)\n")
    file = tmp_path / "penstock-00.exports"
    lines = {"/tank/a": ["/tank/a\t10.0.0.1/32(rw)"]}
    file.write_text("one")
    for expected in (None, "two"):
        with pytest.raises(etab_edit.Overtaken):
            etab_edit.rewrite(str(tmp_path), lines, {str(file): digest(expected)})
    assert (tmp_path / "etab").read_text() == "/srv/x\t*(rw)\n"
    assert etab_edit.rewrite(str(tmp_path), lines, {str(file): digest("one"), str(tmp_path / "none"): digest(None)})
