"""Runs a command in a network namespace of its own and writes down whom it tried to reach.

    unshare --net --map-root-user python outgoing.py REPORT COMMAND...

All addresses lead to the loopback interface, where nobody listens: whatever is tried is refused at once, and seen.
REPORT becomes JSON: `tried`, connections (TCP) and datagrams (UDP) to others than this machine, queries of names as
such; and `left`, the processes that were still there a while after the command ended. Linux; needs `ip` of iproute2.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

OWN = "192.0.2.1"
"""The address of this machine, as programs see it that look for one which others could reach it by."""

SETUP = (
    "ip link set lo up",
    f"ip address add {OWN}/32 dev lo",
    f"ip route add local 0.0.0.0/0 dev lo src {OWN}",
    "ip -6 route add local ::/0 dev lo",
)
IPV4, IPV6, EVERY_PROTOCOL = 0x0800, 0x86DD, 0x0003
TCP, UDP, SYN, ACK, DNS_PORT = 6, 17, 0x02, 0x10, 53
LEFT_SECONDS = 30.0
"""How long the processes that a command leaves behind may take to end."""


def target(packet: bytes, protocol: int) -> str | None:
    """Whom an IP packet opens a connection to, or what name it asks for; None for answers and within this machine."""
    if protocol == IPV4:
        kind, address, content = packet[9], socket.inet_ntoa(packet[16:20]), packet[4 * (packet[0] & 15) :]
    elif protocol == IPV6:
        kind, address, content = packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40]), packet[40:]
    else:
        return None
    if kind not in (TCP, UDP):
        return None
    (port,) = struct.unpack("!H", content[2:4])
    if kind == TCP and content[13] & (SYN | ACK) != SYN:
        return None
    if kind == UDP and port == DNS_PORT:
        return f"name {queried(content[8:])}"
    if address.startswith("127.") or address in (OWN, "::1"):
        return None
    return f"{'tcp' if kind == TCP else 'udp'} {address}:{port}"


def queried(message: bytes) -> str:
    """The first name that a DNS query asks for."""
    labels, place = [], 12
    while place < len(message) and message[place]:
        labels.append(message[place + 1 : place + 1 + message[place]].decode("latin-1"))
        place += 1 + message[place]
    return ".".join(labels)


def listen(sniffer: socket.socket, tried: set[str]) -> None:
    """Note the targets of all packets that are sent, for ever."""
    while True:
        packet, (_, protocol, direction, *_) = sniffer.recvfrom(2048)
        found = target(packet, protocol) if direction == socket.PACKET_OUTGOING else None
        if found is not None:
            tried.add(found)


def others() -> list[str]:
    """The command lines of the other processes in this network namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            same = (process / "ns" / "net").readlink() == Path("/proc/self/ns/net").readlink()
            words = (process / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
        if same and words and process.name != str(os.getpid()):
            found.append(words)
    return found


def main(report: Path, command: list[str]) -> int:
    """Run the command, write the report, and return the command's exit code."""
    for line in SETUP:
        subprocess.run(line.split(), check="-6" not in line.split(), capture_output=True)
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERY_PROTOCOL))
    tried = set[str]()
    threading.Thread(target=listen, args=(sniffer, tried), daemon=True).start()
    code = subprocess.run(command, check=False).returncode
    deadline = time.monotonic() + LEFT_SECONDS
    while others() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)  # for what the last packets were
    report.write_text(json.dumps({"tried": sorted(tried), "left": others()}))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
