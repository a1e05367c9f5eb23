"""Hearth's runner: loads a user's Python model inside a replica and answers wire frames (docs/formats/wire.md).

Only the standard library, Python 3.8 or later. Nothing here may import what costs start-up time for nothing
(dataclasses, inspect, asyncio, typing, traceback: the last one only when an error is told).
"""
