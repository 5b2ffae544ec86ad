"""Which program serves a LUN, as far as that matters to who copies onto it: SCSI's INQUIRY tells.

tgt (1.0.85, usr/bs_rdwr.c) carries WRITE SAME out in blocks of 512 bytes, one at a time, and where it may not punch
holes it takes the same space as zeros that are sent as data. On zfs-fuse, where each write is slow, that is 6 MiB/s
instead of 43, and has been seen to be 0.1. LIO and others release the space: there WRITE SAME is the better way.
"""

from __future__ import annotations

import re

import structlog

from penstock.errors import Unavailable, UnknownResult
from penstock.host.runner import Completed, Host
from penstock.images.nodes import BlockNode

TIMEOUT_S = 30.0
MOST_QUOTED = 500
TGT = "IET"
PROVISIONING_PAGE = "178"  # 0xb2, Logical Block Provisioning; the program reads decimal numbers only
VENDOR = re.compile(r"^Vendor:(.*)$", re.MULTILINE)
# Where it may punch holes QEMU has it do that, which is quick and releases the space.
MAY_PUNCH = re.compile(r"^lbpws:1$", re.MULTILINE)
# The secret goes past the command line, which everybody can read.
_ASK = (
    "IFS= read -r user; IFS= read -r secret; "
    'if [ -n "$user" ]; then export LIBISCSI_CHAP_USERNAME="$user" LIBISCSI_CHAP_PASSWORD="$secret"; fi; '
    'exec iscsi-inq "$@"'
)

log = structlog.get_logger(__name__)


def writes_zeros_one_by_one(host: Host, node: BlockNode) -> bool:
    """Is zeroing a part of it slower, and no smaller, than writing it? `host` is where its data are reached from.

    False also where nobody can say, which the log tells: then QEMU does what it takes for best, as everywhere. Changes
    nothing.
    """
    if node.driver != "iscsi":
        return False
    try:
        standard = _inquiry(host, node)
        found = VENDOR.search(standard.stdout)
        if standard.exit_code != 0 or found is None:
            said = standard.stderr.strip()[-MOST_QUOTED:]
            log.warning("lun.server_unknown", lun=str(node), exit_code=standard.exit_code, reason=said)
            return False
        if found[1].strip() != TGT:
            return False
        return MAY_PUNCH.search(_inquiry(host, node, "-e", "1", "-c", PROVISIONING_PAGE).stdout) is None
    except (Unavailable, UnknownResult) as fault:
        log.warning("lun.server_unknown", lun=str(node), reason=fault.message)
        return False


def _inquiry(host: Host, node: BlockNode, *page: str) -> Completed:
    options = node.options
    url = f"iscsi://{options['portal']}/{options['target']}/{options['lun']}"
    told = f"{options.get('user', '')}\n{node.secrets.get('password-secret', '')}\n"
    argv = ("sh", "-c", _ASK, "iscsi-inq", *page, "-i", options["initiator-name"], url)
    return host.run(argv, timeout_s=TIMEOUT_S, stdin=told)
