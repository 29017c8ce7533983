"""Devices that share an uplink: what larger streams of some cost all of them. Plain numpy."""
