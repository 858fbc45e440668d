"""A fax terminal of spandsp's over T.38: sends a page, or takes one, to whom it is told.

fax.py send|take ADDRESS:PORT PEER-ADDRESS FILE-WITH-PEER-PORT TIFF

It waits for the file, in which SIPp writes the port of its peer. What it says at the end: what spandsp
thinks of the fax, the datagrams that went and came, and a digest of the page as it was sent or taken.
"""

import ctypes
import hashlib
import json
import os
import socket
import struct
import sys
import time

TICK_S = 0.02
SAMPLES = 160  # of a tick, at 8 kHz
REDUNDANCY = 2  # earlier packets in each datagram
PATIENCE_S = 75  # a page takes some twenty
WIDTH, ROWS = 1728, 400

spandsp = ctypes.CDLL("libspandsp.so.2")
tiff = ctypes.CDLL("libtiff.so.6")
SEND = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint8),
    ctypes.c_int,
    ctypes.c_int,
)
DONE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
for name, result, takes in [
    ("t38_terminal_init", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int, SEND, ctypes.c_void_p]),
    ("t38_terminal_get_t30_state", ctypes.c_void_p, [ctypes.c_void_p]),
    ("t38_terminal_get_t38_core_state", ctypes.c_void_p, [ctypes.c_void_p]),
    ("t38_terminal_send_timeout", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    ("t38_core_rx_ifp_packet", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint16]),
    ("t30_set_tx_file", None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    ("t30_set_rx_file", None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
    ("t30_set_phase_e_handler", None, [ctypes.c_void_p, DONE, ctypes.c_void_p]),
    ("t30_set_ecm_capability", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    ("t30_completion_code_to_str", ctypes.c_char_p, [ctypes.c_int]),
]:
    function = getattr(spandsp, name)
    function.restype, function.argtypes = result, takes
tiff.TIFFOpen.restype, tiff.TIFFOpen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
tiff.TIFFReadScanline.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint16]
tiff.TIFFClose.argtypes = [ctypes.c_void_p]


def page(path):
    """Writes a page: bars that move, as no line is to be like the one before."""
    rows = b"".join(
        bytes((0xFF if (column + row // 3) % 17 < 5 else 0) for column in range(WIDTH // 8))
        for row in range(ROWS)
    )
    entries = [
        (256, 4, 1, WIDTH), (257, 4, 1, ROWS), (258, 3, 1, 1), (259, 3, 1, 1), (262, 3, 1, 0),
        (266, 3, 1, 1), (273, 4, 1, 0), (277, 3, 1, 1), (278, 4, 1, ROWS), (279, 4, 1, len(rows)),
        (282, 5, 1, 0), (283, 5, 1, 0), (296, 3, 1, 2),
    ]  # fmt: skip
    after = 8 + 2 + 12 * len(entries) + 4
    values = {282: after, 283: after + 8, 273: after + 16}
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, kind, count, value in entries:
        head += struct.pack("<HHII", tag, kind, count, values.get(tag, value))
    head += struct.pack("<I", 0) + struct.pack("<4I", 204, 1, 98, 1)
    with open(path, "wb") as file:
        file.write(head + rows)


def digest(path):
    """Of the first page's lines."""
    opened = tiff.TIFFOpen(path.encode(), b"r")
    if not opened:
        return None
    line, lines = ctypes.create_string_buffer(WIDTH // 8), []
    while len(lines) < ROWS and tiff.TIFFReadScanline(opened, line, len(lines), 0) == 1:
        lines.append(line.raw)
    tiff.TIFFClose(opened)
    return {"rows": len(lines), "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}


def length(of):
    return bytes([of]) if of < 128 else struct.pack(">H", 0x8000 | of)


def read_length(octets, at):
    if octets[at] < 128:
        return octets[at], at + 1
    return struct.unpack(">H", octets[at : at + 2])[0] & 0x3FFF, at + 2


def packets(datagram):
    """What a datagram of UDPTL holds, oldest first, each with its number."""
    number = struct.unpack(">H", datagram[:2])[0]
    size, at = read_length(datagram, 2)
    held, at = [(number, datagram[at : at + size])], at + size
    if at < len(datagram) and datagram[at] == 0:
        count, at = read_length(datagram, at + 1)
        for before in range(1, count + 1):
            size, at = read_length(datagram, at)
            held.insert(0, ((number - before) & 0xFFFF, datagram[at : at + size]))
            at += size
    return held


def main():
    role, own, peer, port_file, path = sys.argv[1:6]
    sends = role == "send"
    if sends:
        page(path)
    address, port = own.split(":")
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind((address, int(port)))
    wire.setblocking(False)
    began = time.monotonic()
    while not (os.path.exists(port_file) and open(port_file).read().strip()):
        if time.monotonic() - began > PATIENCE_S:
            sys.exit("nobody told the port of the peer")
        time.sleep(TICK_S)
    to = (peer, int(open(port_file).read().split()[0]))

    earlier, count, ended = [], {"sent": 0, "received": 0}, []

    def send(_core, _user, octets, size, times):
        packet = bytes(octets[:size])
        for _ in range(times):
            kept = earlier[-REDUNDANCY:][::-1]
            made_good = b"".join(length(len(it)) + it for it in kept)
            number = struct.pack(">H", count["sent"] & 0xFFFF)
            datagram = number + length(size) + packet + b"\0" + length(len(kept)) + made_good
            wire.sendto(datagram, to)
            earlier.append(packet)
            count["sent"] += 1
        return 0

    def done(_t30, _user, code):
        ended.append(code)

    send, done = SEND(send), DONE(done)
    terminal = spandsp.t38_terminal_init(None, int(sends), send, None)
    t30 = spandsp.t38_terminal_get_t30_state(terminal)
    core = spandsp.t38_terminal_get_t38_core_state(terminal)
    if sends:
        spandsp.t30_set_tx_file(t30, path.encode(), -1, -1)
    else:
        spandsp.t30_set_rx_file(t30, path.encode(), -1)
    spandsp.t30_set_ecm_capability(t30, 1)
    spandsp.t30_set_phase_e_handler(t30, done, None)

    due, seen, over = time.monotonic(), -1, None
    while over is None or time.monotonic() < over:
        time.sleep(max(0, due - time.monotonic()))
        due += TICK_S
        while True:
            try:
                datagram, source = wire.recvfrom(2048)
            except BlockingIOError:
                break
            if source != to or len(datagram) < 3:
                continue
            count["received"] += 1
            for number, packet in packets(datagram):
                if number > seen:
                    spandsp.t38_core_rx_ifp_packet(core, packet, len(packet), number)
                    seen = number
        spandsp.t38_terminal_send_timeout(terminal, SAMPLES)
        if over is None and (ended or time.monotonic() - began > PATIENCE_S):
            over = time.monotonic() + 1
    said = spandsp.t30_completion_code_to_str(ended[0]).decode() if ended else "never ended"
    print(json.dumps({"result": said, "page": digest(path), **count}), flush=True)
    sys.exit(0 if ended and ended[0] == 0 else 1)


main()
