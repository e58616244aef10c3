"""Every number again: runs computed anew and compared bit by bit, across devices and precisions."""
