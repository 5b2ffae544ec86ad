"""A storage host that exists only in memory: zfs, zpool, files, and faults on demand. Deterministic, no threads.

Trusted only because tests/contract/test_zfs.py holds it to the answers of real OpenZFS and zfs-fuse.
"""

from __future__ import annotations

import copy
import zlib
from calendar import timegm
from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.clock import Clock, ManualClock
from penstock.errors import Unavailable
from penstock.host.runner import Completed
from penstock.zfs.flavour import ZFS_FUSE, Flavour, openzfs
from tests.simulation.zfs_cli import Answer, Cli
from tests.simulation.zfs_model import Model
from tests.simulation.zfs_properties import shown
from tests.simulation.zfs_state import Filesystem, Snap, State
from tests.simulation.zfs_transfer import Stream

OPENZFS = openzfs("2.1.11")

Program = Callable[[Sequence[str], str], tuple[int, str, str]]
"""A further program: the arguments after its name, and stdin; exit code, stdout, stderr."""


class Hooks(Protocol):
    """Where a simulation brings trouble. `words` is an argv; for files, ``("write_file", path)`` and the like."""

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        """Raise (nothing happened), or answer in the command's place (nothing happened either), or None: go on."""

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        """Raise or answer otherwise although the command took effect, or None: leave the answer as it is."""


class SimulatedHost:
    """Implements `penstock.host.runner.Host`. `state` is plain data and may be deep-copied, kept and put back."""

    def __init__(
        self,
        name: str = "sim",
        *,
        flavour: Flavour = OPENZFS,
        clock: Clock | None = None,
        pools: dict[str, int] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """`pools`: usable bytes by name."""
        self.name = name
        self.flavour = flavour
        self.clock = clock or ManualClock()
        self.hooks = hooks
        self.programs: dict[str, Program] = {}
        self.commands_run = 0
        self.sent: tuple[Stream, ...] | None = None  # by the last ``zfs send``
        self.is_cut_off = False  # from the control plane; what runs there goes on
        self.use(State(salt=zlib.crc32(name.encode())))
        for pool, size in (pools or {}).items():
            self.model.add_pool(pool, size, self._now())

    def use(self, state: State) -> None:
        """Become the host with this state; whoever kept it elsewhere deep-copies it."""
        self.state = state
        self.model = Model(state, is_old=not self.flavour.several_per_command)
        self._cli = Cli(self.model, self._now)

    def saved(self) -> State:
        """A copy of the state, for `use`."""
        return copy.deepcopy(self.state)

    def reboot(self) -> None:
        """A power cut: what is on disk stays, open files close, filesystems mount as at boot."""
        for filesystem in self.state.filesystems.values():
            filesystem.is_busy = filesystem.lingers = False
            self.model.mount_at_boot(filesystem)

    def cut_in_creation(self, words: tuple[str, ...], groups: int) -> bool:
        """A power cut in the midst of the creation `words`: the dataset is on disk, and `groups` of the transaction
        groups after it. Quota and reservation are one each; whatever else ``-o`` gave comes last, in one. False for
        what creates nothing."""
        made = self.state.filesystems.get(words[-1])
        if words[:1] != ("zfs",) or words[1] not in ("create", "clone") or "-o" not in words or made is None:
            return False
        sizes = [name for name in ("refquota", "refreservation") if name in made.local]
        made.local = {name: made.local[name] for name in sizes[:groups]}
        self.model.changed()
        self.reboot()
        return True

    # --- Host --------------------------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        return self._completed(tuple(argv), lambda: self._execute(argv, stdin or ""))

    def pipe(self, source: Sequence[str], target: Sequence[str], *, timeout_s: float) -> tuple[Completed, Completed]:
        """Hooks see the words of both, with ``|`` between, and decide the target's answer."""
        words = (*source, "|", *target)
        sent: list[Answer] = []

        def both() -> Answer:
            first, second = self._cli.pipe(_plain(source)[1:], _plain(target)[1:])
            sent.append(first)
            return second

        done = self._completed(words, both)
        first = sent[0] if sent else Answer(141, "", "")
        return (
            Completed(tuple(source), first.code, first.stdout, first.stderr, 0.0),
            Completed(tuple(target), done.exit_code, done.stdout, done.stderr, 0.0),
        )

    # --- streams to and from other hosts: see zfs_network -------------------------------------------------------------

    def begin_send(self, argv: Sequence[str]) -> tuple[Completed, tuple[Stream, ...] | None]:
        """What ``zfs send`` says, and prints; None when it fails. `sent` keeps it, also for who gets no answer."""
        self.sent = None

        def effect() -> Answer:
            answer, self.sent = self._cli.begin_send(_plain(argv)[1:])
            return answer

        done = self._completed(tuple(argv), effect)
        return done, (self.sent if done.exit_code == 0 else None)

    def lose_sender(self, argv: Sequence[str], stream: tuple[Stream, ...] | None) -> None:
        """A ``zfs receive`` whose input ends in the midst of that stream; there is nobody to hear what it says."""
        if stream is not None and not self.is_cut_off:
            self._cli.end_receive(_plain(argv)[1:], stream, 0.5)

    def end_receive(self, argv: Sequence[str], stream: tuple[Stream, ...], share: float) -> Completed:
        """``zfs receive`` of that share of a stream."""
        return self._completed(tuple(argv), lambda: self._cli.end_receive(_plain(argv)[1:], stream, share))

    def read_file(self, path: str) -> str | None:
        self._completed(("read_file", path), lambda: Answer(0, "", ""))
        return self.state.files.get(path)

    def read_files(self, paths: Sequence[str]) -> dict[str, str]:
        found = ((path, self.read_file(path)) for path in paths)
        return {path: text for path, text in found if text is not None}

    def write_file(self, path: str, text: str, *, mode: int = 0o644) -> None:
        def write() -> Answer:
            self.state.files[path] = text
            return Answer(0, "", "")

        self._completed(("write_file", path), write)

    def remove_file(self, path: str) -> None:
        def remove() -> Answer:
            self.state.files.pop(path, None)
            return Answer(0, "", "")

        self._completed(("remove_file", path), remove)

    def swap_file(self, path: str, old: str | None, new: str | None, *, mode: int = 0o644) -> bool:
        if self.state.files.get(path) != old:
            return False
        if new is None:
            self.remove_file(path)
        else:
            self.write_file(path, new, mode=mode)
        return True

    def _completed(self, words: tuple[str, ...], effect: Callable[[], Answer]) -> Completed:
        self.commands_run += 1
        if self.is_cut_off:
            raise Unavailable(f"{self.name} is cut off")
        hooks = self.hooks
        answer = hooks.before(self, words) if hooks is not None else None
        if answer is None:
            answer = effect()
            if hooks is not None:
                answer = hooks.after(self, words, answer) or answer
        return Completed(words, answer.code, answer.stdout, answer.stderr, 0.0)

    def _execute(self, argv: Sequence[str], stdin: str) -> Answer:
        program, *args = _plain(argv)
        if program in ("zfs", "zpool"):
            return self._cli.run(program, args)
        if program == "find" and "-mindepth" in args:  # others look for files of the server's
            return self._listed(args[0])
        if program not in self.programs:
            raise Unavailable(f"{self.name}: there is no program {program}")
        return Answer(*self.programs[program](args, stdin))

    def _listed(self, path: str) -> Answer:
        """``find PATH -mindepth 1 -maxdepth 1 -print -quit``: the blocks of a filesystem are its files."""
        for filesystem in self.state.filesystems.values():
            if filesystem.is_mounted and shown(filesystem, "mountpoint")[0] == path:
                return Answer(0, f"{path}/{min(filesystem.blocks)}\n" if filesystem.blocks else "", "")
        return Answer(1, "", f"find: '{path}': No such file or directory\n")

    def _now(self) -> int:
        return timegm(self.clock.utc().timetuple())

    # --- what tests do behind the commands' back ----------------------------------------------------------------------

    def filesystem(self, path: str) -> Filesystem:
        """The filesystem as it is inside. KeyError when there is none."""
        return self.state.filesystems[path]

    def write(self, path: str, size: int) -> None:
        """A client writes that many new bytes. OSError when full, read-only or not mounted."""
        filesystem = self.filesystem(path)
        if not filesystem.is_mounted:
            raise OSError(2, f"{path} is not mounted")
        self.model.write(filesystem, size)

    def empty(self, path: str) -> None:
        """A client removes all files."""
        self.filesystem(path).blocks.clear()
        self.model.changed()

    def content(self, path: str) -> tuple[int, ...]:
        """What is written in a filesystem or snapshot: equal for copies and clones, wherever they are."""
        found: Filesystem | Snap = self.model.find(path)
        return tuple(sorted(block.content for block in found.blocks.values()))

    def open_file(self, path: str) -> None:
        """A client keeps a file open: unmount, rename, rollback and destroy say busy until `close_files`."""
        self.filesystem(path).is_busy = True

    def close_files(self, path: str) -> None:
        """The client closes it."""
        self.filesystem(path).is_busy = False


def simulated_zfs_fuse(name: str = "simfuse", *, clock: Clock | None = None, pools: dict[str, int]) -> SimulatedHost:
    """A simulated host with zfs-fuse's answers and inabilities."""
    return SimulatedHost(name, flavour=ZFS_FUSE, clock=clock, pools=pools)


def _plain(argv: Sequence[str]) -> Sequence[str]:
    """Without sudo, and the program without its folder."""
    words = argv[2:] if argv[0] == "sudo" else argv
    return (words[0].rpartition("/")[2], *words[1:])
