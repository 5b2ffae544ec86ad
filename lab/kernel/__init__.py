"""User-mode Linux machines with OpenZFS and the kernel NFS server."""
