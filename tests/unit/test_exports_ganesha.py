"""NFS-Ganesha's files and D-Bus answers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BackendFault, Unsupported
from penstock.exports import ganesha_files, shards
from penstock.exports.bus_text import read_answer
from penstock.exports.ganesha_bus import Served, listed_in, served_by, shown_in
from penstock.exports.ganesha_files import Numbered
from penstock.exports.model import ClientRule, Export, Squash
from penstock.exports.nfs_ganesha import LAST_BYTES, free_id
from penstock.exports.shards import shard_of
from tests.unit.test_exports_kernel import PATHS, RULES

# dbus-send's print of DisplayExport, Ganesha 4.3 on Debian 12
SHOWN = """method return time=1795229698.190925 sender=:1.1407 -> destination=:1.1434 serial=320 reply_serial=2
   uint16 50001
   string "/export/x/s00001"
   string "/export/x/s00001"
   string ""
   array [
      struct {
         string "fd00::5/128"
         int32 0
         byte 253
         byte 255
         int32 2
         uint32 4294967294
         uint32 4294967294
         uint32 0
         uint32 53489828
         uint32 487
      }
      struct {
         string "10.80.0.0/24"
         int32 0
         byte 0
         byte 255
         int32 1
         uint32 4294967294
         uint32 4294967294
         uint32 0
         uint32 53490146
         uint32 487
      }
   ]
"""

LISTED = """method return time=1795229698.262125 sender=:1.1407 -> destination=:1.1439 serial=325 reply_serial=2
   struct {
      uint64 1795229406
      uint64 348389137
   }
   array [
      struct {
         uint16 0
         string "/"
         struct {
            struct {
               string "NFSv3"
               boolean false
            }
         }
         struct {
            uint64 0
            uint64 0
         }
      }
      struct {
         uint16 10
         string "/export/x/a b"
         struct {
         }
      }
   ]
"""


def test_render() -> None:
    export = Export("/tank/a b", "i-1", (RULES[0], RULES[2]))
    text = ganesha_files.render([Numbered(7, export)])
    assert text.lower() == (
        "# penstock instance=i-1\n"
        'export { export_id = 7; path = "/tank/a b"; pseudo = "/tank/a b"; access_type = none; '
        "protocols = nfsv3, nfsv4; transports = tcp; sectype = sys; "
        "anonymous_uid = 0xfffe; anonymous_gid = 0xfffe; fsal { name = vfs; }\n"
        " client { clients = 10.0.0.5/32; access_type = rw; squash = root_squash; }\n"
        " client { clients = 0.0.0.0/1, 128.0.0.0/1; access_type = rw; squash = all_squash; }\n"
        "}\n"
    )


def test_what_the_first_release_wrote_is_still_read() -> None:
    text = (
        "# penstock instance=i-1\n"
        'EXPORT { Export_Id = 7; Path = "/tank/a"; Pseudo = "/tank/a"; Access_Type = NONE; Protocols = 3, 4; '
        "Transports = TCP; SecType = sys; Anonymous_Uid = 65534; Anonymous_Gid = 65534; FSAL { Name = VFS; }\n"
        " CLIENT { Clients = 10.0.0.5/32; Access_Type = RW; Squash = root_squash; }\n"
        "}\n"
    )
    assert ganesha_files.parse(text) == {"/tank/a": Numbered(7, Export("/tank/a", "i-1", RULES[:1]))}


def test_ganesha_finds_the_words_of_many_exports_quickly() -> None:
    """With 10,000 it looks at a sixth of what it would look at with each word spelled in one way: `ganesha_words`."""
    count = 2000
    exports = [
        Export(f"/tank/shares/{n}", f"i-{n}", (ClientRule(f"10.{n >> 8}.{n & 255}.1", writable=True),))
        for n in range(count)
    ]
    by_file: dict[int, list[Numbered]] = {}
    for n, export in enumerate(exports, 1):
        by_file.setdefault(shard_of(export.path), []).append(Numbered(n, export))
    text = "".join(ganesha_files.render(by_file[shard]) for shard in sorted(by_file))
    assert searched(text) < searched(text.lower()) / 3


def searched(text: str) -> int:
    """How many words Ganesha 4.3 looks at while it reads the text: each from the newest new one on."""
    new: dict[str, int] = {}
    looks_at = 0
    for word in re.findall(r'"[^"]*"|[^\s{};=,]+', re.sub("#.*", "", text)):
        looks_at += len(new) - new.get(word, 0)
        new.setdefault(word, len(new))
    return looks_at


@given(paths=st.sets(PATHS, max_size=5), rules=st.sets(st.sampled_from(RULES)))
def test_what_we_write_we_read(paths: set[str], rules: set[ClientRule]) -> None:
    numbered = {path: Numbered(n, Export(path, "i-1", tuple(rules))) for n, path in enumerate(sorted(paths), 1)}
    assert ganesha_files.parse(ganesha_files.render(numbered.values())) == numbered


@pytest.mark.parametrize("prefix", [99, 120, 126, 127, 128])
def test_small_networks_of_ipv6_are_their_addresses(prefix: int) -> None:
    rule = ClientRule("fd00::100" if prefix == 128 else f"fd00::/{prefix}", writable=True)
    text = ganesha_files.render([Numbered(7, Export("/tank/a", "i-1", (rule, RULES[0])))])
    assert not re.search(r"/1\d\d", text), "Ganesha 4.3 reads two digits"
    assert ganesha_files.parse(text)["/tank/a"].export.clients == (RULES[0], rule)
    said = {block for block, *_ in served_by(Export("/tank/a", "i-1", (rule,))).rules}
    assert said == ({f"fd00::/{prefix}"} if prefix == 99 else {f"{address}/128" for address in rule.network})


@pytest.mark.parametrize("prefix", [100, 112, 119])
def test_other_networks_of_ipv6_are_refused(prefix: int) -> None:
    export = Export("/tank/a", "i-1", (ClientRule(f"fd00::/{prefix}", writable=True),))
    with pytest.raises(Unsupported, match="up to 99 or from 120"):
        ganesha_files.check_clients(export)


@pytest.mark.parametrize(
    "change",
    [
        (" = none", " = rw"),
        (" { clients", "  { clients"),
        ("# penstock", "# by hand"),
        ("10.0.0.5", "*"),
        ("10.0.0.5/32", "10.0.0.5/32, 10.0.0.9/32"),
        ("10.0.0.5/32", "10.0.0.5/32, fd00::1"),
    ],
)
def test_foreign_lines_in_our_files_are_a_fault(change: tuple[str, str]) -> None:
    text = ganesha_files.render([Numbered(7, Export("/tank/a", "i-1", RULES))])
    with pytest.raises(BackendFault):
        ganesha_files.parse(re.sub(change[0], change[1], text, flags=re.IGNORECASE))


def test_what_ganesha_shows_is_what_we_asked() -> None:
    rules = (
        ClientRule("fd00::5", writable=False, squash=Squash.ALL_SQUASH),
        ClientRule("10.80.0.0/24", writable=True),
    )
    shown = shown_in(read_answer(SHOWN))
    assert shown.path == "/export/x/s00001"
    assert set(shown.rules) == set(served_by(Export("/export/x/s00001", "i-1", rules)).rules)


def test_no_clients_shown() -> None:
    assert shown_in(read_answer(SHOWN[: SHOWN.index("      struct")] + "   ]\n")) == Served("/export/x/s00001", ())


def test_list() -> None:
    assert listed_in(read_answer(LISTED)) == {0: "/", 10: "/export/x/a b"}


def test_numbers_are_stable_and_distinct() -> None:
    in_file: dict[int, set[int]] = {}
    taken: set[int] = set()
    for index in range(10_000):
        export = Export(f"/tank/{index}", f"i-{index}")
        known = in_file.setdefault(shards.hash_of(export.path) % shards.COUNT, set())
        number = free_id(export, known)
        assert number == free_id(export, known)
        assert number not in taken, "what other files give out need not be known"
        assert 1 <= number <= 65535
        known.add(number)
        taken.add(number)


def test_files_do_not_share_numbers() -> None:
    assert LAST_BYTES % shards.COUNT == 0


def test_a_full_ganesha_is_said_so() -> None:
    with pytest.raises(BackendFault, match="no free Export_Id"):
        free_id(Export("/tank/a", "i"), set(range(1, 65536)))
