"""Test hosts: namespaces with zfs-fuse, and user-mode Linux machines with OpenZFS. See README.md."""
