"""The share manager, under its published names."""

from penstock.share.manager.hooks import add_hooks
from penstock.share.manager.locks import locked_share_replica_operation
from penstock.share.manager.manager import ShareManager

__all__ = ["ShareManager", "add_hooks", "locked_share_replica_operation"]
