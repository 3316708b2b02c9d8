"""A slow network link: two tap devices, between which frames are delayed and some are lost, in both directions.

    python scripts/slow_link.py DEVICE DEVICE MILLISECONDS LOSS     # as tc's netem, which not every kernel has

Prints `ready` when both devices exist; they end with the process. It receives whole frames with their checksums from
the system.
"""

import argparse
import contextlib
import fcntl
import os
import random
import selectors
import struct
import time
from collections import deque

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
MOST_BYTES = 2**16
MOST_WAITING = 20_000
"""Maximum number of frames in transit in one direction; further ones are lost, as in a full queue."""


def opened(name: str) -> int:
    """The descriptor of a new tap device."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def relay(ends: tuple[int, int], delay: float, loss: float, rng: random.Random) -> None:
    """Carry frames for ever; `delay` in seconds."""
    ways = [(ends[0], ends[1], deque[tuple[float, bytes]]()), (ends[1], ends[0], deque[tuple[float, bytes]]())]
    selector = selectors.DefaultSelector()
    for source, _, waiting in ways:
        selector.register(source, selectors.EVENT_READ, waiting)
    while True:
        due = min((waiting[0][0] for _, _, waiting in ways if waiting), default=None)
        for key, _ in selector.select(None if due is None else max(0.0, due - time.monotonic())):
            frame, waiting = os.read(key.fd, MOST_BYTES), key.data
            if rng.random() >= loss and len(waiting) < MOST_WAITING:
                waiting.append((time.monotonic() + delay, frame))
        for _, target, waiting in ways:
            while waiting and waiting[0][0] <= time.monotonic():
                with contextlib.suppress(OSError):  # its queue is full, or the device is down: lost
                    os.write(target, waiting[0][1])
                waiting.popleft()


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", nargs=2)
    parser.add_argument("milliseconds", type=float)
    parser.add_argument("loss", type=float)
    given = parser.parse_args()
    ends = (opened(given.device[0]), opened(given.device[1]))
    print("ready", flush=True)
    relay(ends, given.milliseconds / 1000, given.loss, random.Random(0))


if __name__ == "__main__":
    main()
