"""Brings the kernel's iSCSI target (LIO) to what is wanted, by configfs. This file runs on the storage host.

See `target_agent`. One command however much changes; targetcli would be 0.9 s a call. What is wanted is also merged
into rtslib's ``saveconfig.json``, beside what others have there; Debian's rtslib-fb-targetctl.service restores it at
boot.
"""

import contextlib
import os
import pathlib
import re
import stat
import typing

from penstock.exports import lio_plan, target_agent
from penstock.exports.target_agent import Fault

ROUNDS = 3
PLUGINS = ("iblock", "fileio")  # how configfs names them; saveconfig.json says block for iblock

if typing.TYPE_CHECKING:
    Step = tuple[str, ...]
    Seen = dict[str, typing.Any]
    Wanted = dict[str, typing.Any]


class Configfs:
    """``/sys/kernel/config/target``: names relative to it."""

    def __init__(self, top):  # type: (str) -> None
        self.top = pathlib.Path(top)

    def names(self, path):  # type: (str) -> list[str]
        """Directories there, none when it is not there."""
        try:
            return sorted(
                one.name for one in self.top.joinpath(path).iterdir() if one.is_dir() and not one.is_symlink()
            )
        except FileNotFoundError:
            return []

    def text(self, path):  # type: (str) -> str
        """The file's text without its end of line; empty when it is not there."""
        try:
            return self.top.joinpath(path).read_text(errors="replace").rstrip("\n\0")
        except FileNotFoundError:
            return ""

    def target(self, path):  # type: (str) -> str
        """Where the one link in that directory leads to."""
        for one in self.top.joinpath(path).iterdir():
            if one.is_symlink():
                return os.path.realpath(str(one))[len(str(self.top)) + 1 :]
        return ""

    def carry_out(self, step):  # type: (Step) -> None
        verb, path = step[0], self.top.joinpath(step[1])
        if verb == "mkdir":
            path.mkdir(parents=True, exist_ok=True)
        elif verb == "rmdir":
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()
        elif verb == "write":
            path.write_text(step[2])
        elif verb == "link":
            self.top.joinpath(step[2]).symlink_to(path)
        elif verb == "unlink":
            for one in path.iterdir():
                if one.is_symlink():
                    one.unlink()
        elif self.text(step[1] + "/attrib/max_unmap_block_desc_count") not in ("", "0"):  # "discards"
            path.joinpath("attrib/emulate_tpu").write_text("1")


class Lio(target_agent.Server):
    """See `target_agent.Server`."""

    def __init__(self, configfs, files, saveconfig):  # type: (Configfs, target_agent.Files, str) -> None
        self._configfs = configfs
        self._files = files
        self._saveconfig = saveconfig

    def observed(self):  # type: () -> dict[str, Seen]
        self._await_module()
        return {name: self._seen(name) for name in self._configfs.names("iscsi") if name != "discovery_auth"}

    def _await_module(self):  # type: () -> None
        """Loading the module is what makes the directory."""
        if not self._configfs.top.joinpath("core").exists():
            raise Fault("down", f"LIO has no {self._configfs.top}: configfs or target_core_mod is missing")
        with contextlib.suppress(OSError):
            self._configfs.top.joinpath("iscsi").mkdir(exist_ok=True)
        if not self._configfs.top.joinpath("iscsi").exists():
            raise Fault("down", "LIO has no iscsi fabric: iscsi_target_mod is missing")

    def _seen(self, name):  # type: (str) -> Seen
        top, see = f"iscsi/{name}/tpgt_1", self._configfs
        acls = {}
        for initiator in see.names(f"{top}/acls"):
            path = f"{top}/acls/{initiator}"
            acls[initiator] = {
                "luns": [int(one[4:]) for one in see.names(path) if one.startswith("lun_")],
                "auth": self._secrets(path),
                "from": re.findall(r"Address (\S+)", see.text(f"{path}/info")),
            }
        dynamic = see.text(f"{top}/dynamic_sessions").replace("\0", "").split()
        sessions = [(one, address) for one, acl in acls.items() for address in acl["from"]]
        luns = {int(one[4:]): see.target(f"{top}/lun/{one}") for one in see.names(f"{top}/lun")}
        return {
            "name": name,
            "luns": luns,
            "stores": {number: see.text(f"{store}/udev_path") for number, store in luns.items()},
            "serials": {n: see.text(f"{s}/wwn/vpd_unit_serial").rpartition(": ")[2] for n, s in luns.items()},
            "acls": acls,
            "auth": self._secrets(top),
            "attributes": {one: see.text(f"{top}/attrib/{one}") for one in lio_plan.attributes({"initiators": []})},
            "portals": see.names(f"{top}/np"),
            "enabled": see.text(f"{top}/enable") == "1",
            "sessions": [
                {"initiator": one, "connections": [{"address": address}]}
                for one, address in sessions + [(one, "") for one in dynamic]
            ],
        }

    def _secrets(self, path):  # type: (str) -> dict[str, str]
        names = lio_plan.secrets({"mutual": None}, None)
        return {name: self._configfs.text(f"{path}/auth/{name}") or lio_plan.NO_SECRET for name in names}

    def enforce(self, wanted):  # type: (dict[str, typing.Optional[Wanted]]) -> list[str]
        changed = set()  # type: set[str]
        trouble = ""
        for _ in range(ROUNDS):
            seen = self.observed()
            try:
                stores = self._stores()
                steps = [
                    (name, step)
                    for name in sorted(wanted)
                    for step in self._steps(wanted[name], seen.get(name), stores)
                ]
                if not steps:
                    self._clear_stores()
                    self._save(wanted)
                    return sorted(changed)
                for name, step in steps:
                    changed.add(name)
                    self._configfs.carry_out(step)
            except OSError as err:
                trouble = f"LIO refuses {err.filename}: {err.strerror}"
        raise Fault("backend", trouble or "LIO does not become what it should be")

    def _steps(self, wanted, seen, stores):
        # type: (typing.Optional[Wanted], typing.Optional[Seen], dict[str, Seen]) -> list[Step]
        if wanted is None:
            return lio_plan.plan_removal(seen["name"], seen) if seen else []
        steps = []  # type: list[Step]
        for lun in wanted["luns"]:
            steps += self._store(wanted["iqn"], lun, stores)
        return steps + lio_plan.plan(wanted["iqn"], wanted, seen)

    def _store(self, name, lun, stores):  # type: (str, dict[str, typing.Any], dict[str, Seen]) -> list[Step]
        """Notes in `lun` where its backstore is or will be, and in `stores` what will be."""
        size = self._files.size_of(lun["path"])
        if size is None:
            raise Fault("unavailable", "{}: {} is not there".format(name, lun["path"]))
        is_device = stat.S_ISBLK(pathlib.Path(lun["path"]).stat().st_mode)
        lun["name"], lun["plugin"] = lio_plan.PREFIX + lun["serial"], "block" if is_device else "fileio"
        store = stores.get(lun["name"])
        if store is not None and (store["udev"], store["is_device"]) != (lun["path"], is_device):
            raise Fault("conflict", "{}: {} is served as serial {}".format(name, store["udev"], lun["serial"]))
        if store is None:
            # a directory for each, as rtslib has it
            used = [one["path"].split("/")[1] for one in stores.values()] + self._configfs.names("core")
            numbers = [int(one.rpartition("_")[2]) for one in used if one.rpartition("_")[2].isdigit()]
            plugin = "iblock" if is_device else "fileio"
            path = "core/{}_{}/{}".format(plugin, max(numbers, default=0) + 1, lun["name"])
            stores[lun["name"]] = {"path": path, "udev": lun["path"], "is_device": is_device, "size": size}
            lun["store"] = path
            return lio_plan.plan_new_store(path, lun, size, is_device)
        lun["store"] = store["path"]
        if is_device or store["size"] == size:
            return []
        return [("write", "{}/control".format(store["path"]), f"fd_dev_size={size}")]

    def _stores(self):  # type: () -> dict[str, Seen]
        """Our backstores by name."""
        found = {}
        for hba in self._configfs.names("core"):
            plugin = hba.rpartition("_")[0]
            for name in self._configfs.names(f"core/{hba}") if plugin in PLUGINS else []:
                if name.startswith(lio_plan.PREFIX):
                    path = f"core/{hba}/{name}"
                    found[name] = {
                        "path": path,
                        "udev": self._configfs.text(f"{path}/udev_path"),
                        "is_device": plugin == "iblock",
                        "size": lio_plan.size_told(self._configfs.text(f"{path}/info")),
                        "attributes": {
                            one: int(self._configfs.text(f"{path}/attrib/{one}") or 0)
                            for one in ("block_size", "emulate_tpu")
                        },
                    }
        return found

    def _clear_stores(self):  # type: () -> None
        """Our backstores that no target uses."""
        used = {store for name in self._configfs.names("iscsi") for store in self._used(name)}
        for store in self._stores().values():
            if store["path"] not in used:
                self._configfs.carry_out(("rmdir", store["path"]))
                with contextlib.suppress(OSError):  # others may have theirs beside
                    self._configfs.carry_out(("rmdir", store["path"].rpartition("/")[0]))

    def _used(self, name):  # type: (str) -> list[str]
        top = f"iscsi/{name}/tpgt_1/lun"
        return [self._configfs.target(f"{top}/{one}") for one in self._configfs.names(top)]

    def _save(self, wanted):  # type: (dict[str, typing.Optional[Wanted]]) -> None
        before = self._files.read(self._saveconfig)
        after = lio_plan.saved(before, wanted, self._stores())
        if after != before:
            pathlib.Path(self._saveconfig).parent.mkdir(parents=True, exist_ok=True)
            self._files.replace(self._saveconfig, after)


def main(settings):  # type: (dict[str, str]) -> None
    """``{"configfs": path, "saveconfig": path}``."""
    configfs = Configfs(settings["configfs"])
    target_agent.serve(lambda files: Lio(configfs, files, settings["saveconfig"]))
