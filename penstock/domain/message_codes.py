"""The published three-digit codes of user messages: what was attempted, how it ended, and the sentence for it.

Source: Shared File Systems API v2, "User messages". The numbers are published; the sentences are ours, except that
clients search for the first words of "no valid host".
"""

from __future__ import annotations

from enum import StrEnum


class MessageResource(StrEnum):
    """What a message is about (``resource_type``)."""

    SHARE = "SHARE"
    SHARE_GROUP = "SHARE_GROUP"
    SHARE_REPLICA = "SHARE_REPLICA"
    SHARE_SNAPSHOT = "SHARE_SNAPSHOT"


class MessageAction(StrEnum):
    """What was attempted (``action_id``)."""

    ALLOCATE_HOST = "001"
    CREATE = "002"
    DELETE_ACCESS_RULES = "003"
    PROMOTE = "004"
    UPDATE = "005"
    REVERT_TO_SNAPSHOT = "006"
    DELETE = "007"
    EXTEND = "008"
    SHRINK = "009"
    UPDATE_ACCESS_RULES = "010"


class MessageDetail(StrEnum):
    """How it ended (``detail_id``): the codes we give."""

    UNKNOWN_ERROR = "001"
    NO_VALID_HOST = "002"
    FILTER_AVAILABILITY_ZONE = "007"
    FILTER_CAPABILITIES = "008"
    FILTER_CAPACITY = "009"
    FILTER_DRIVER = "010"
    DRIVER_FAILED_EXTEND = "015"
    FILTER_CREATE_FROM_SNAPSHOT = "016"
    DRIVER_FAILED_CREATING_FROM_SNAPSHOT = "017"
    DRIVER_REFUSED_SHRINK = "018"
    DRIVER_FAILED_SHRINK = "019"
    FORBIDDEN_CLIENT_ACCESS = "020"
    UNSUPPORTED_CLIENT_ACCESS = "021"
    NO_DEFAULT_SHARE_TYPE = "024"
    BACKEND_NOT_READY = "028"
    # Ours: no published code says these.
    REPLICA_BEHIND = "901"
    PROMOTED_WITHOUT_OLD_ACTIVE = "902"
    SNAPSHOT_NOT_REPLICATED = "903"
    REPLICA_SET_ASIDE = "904"


NO_STORAGE = "No storage could be allocated for this share request"

_SENTENCES: dict[MessageDetail, str] = {
    MessageDetail.UNKNOWN_ERROR: "Something went wrong that we have no code for.",
    MessageDetail.NO_VALID_HOST: f"{NO_STORAGE}. Another size or share type may fit.",
    MessageDetail.FILTER_AVAILABILITY_ZONE: f"{NO_STORAGE}: no backend is in that availability zone.",
    MessageDetail.FILTER_CAPABILITIES: f"{NO_STORAGE}: no pool has what the share type asks for.",
    MessageDetail.FILTER_CAPACITY: f"{NO_STORAGE}: no pool has room for that size.",
    MessageDetail.FILTER_DRIVER: f"{NO_STORAGE}: every backend's own filter refused it.",
    MessageDetail.DRIVER_FAILED_EXTEND: "The backend could not extend the share.",
    MessageDetail.FILTER_CREATE_FROM_SNAPSHOT: f"{NO_STORAGE}: no pool can make a share from that snapshot.",
    MessageDetail.DRIVER_FAILED_CREATING_FROM_SNAPSHOT: "The backend could not make a share from the snapshot.",
    MessageDetail.DRIVER_REFUSED_SHRINK: "The share holds more than the new size; it was left as it was.",
    MessageDetail.DRIVER_FAILED_SHRINK: "The backend could not shrink the share.",
    MessageDetail.FORBIDDEN_CLIENT_ACCESS: "The backend does not let this client have access.",
    MessageDetail.UNSUPPORTED_CLIENT_ACCESS: "The backend does not have this access type or level.",
    MessageDetail.NO_DEFAULT_SHARE_TYPE: "There is no default share type: name one.",
    MessageDetail.REPLICA_BEHIND: "The replica is further behind than its recovery point objective allows.",
    MessageDetail.PROMOTED_WITHOUT_OLD_ACTIVE: "The replica was promoted without the old active one, which was away.",
    MessageDetail.REPLICA_SET_ASIDE: "What only the old active one had is kept on its storage, outside of the share.",
    MessageDetail.SNAPSHOT_NOT_REPLICATED: "The snapshot had not reached the replica that was promoted.",
    MessageDetail.BACKEND_NOT_READY: f"{NO_STORAGE}: no backend is ready yet.",
}


def sentence(detail: MessageDetail, reason: str = "") -> str:
    """What the owner reads: the sentence of the code, and after it what is known beyond it."""
    return f"{_SENTENCES[detail]} {reason}".rstrip()
