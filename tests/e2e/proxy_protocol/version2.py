"""Sends PROXY headers of version 2, written from the specification with `struct` alone, and a
request behind each; prints the status of every answer, or a dash where the connection just ended."""

import socket
import struct
import sys

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"


def castagnoli(data):
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def value(kind, content):
    return struct.pack("!BH", kind, len(content)) + content


def header(command, family, addresses, values=b"", summed=False):
    block = addresses + values + (value(3, bytes(4)) if summed else b"")
    head = SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(block)) + block
    if summed:
        head = head[:-4] + struct.pack("!I", castagnoli(head))
    return head


def four(address):
    ends = socket.inet_aton(address) + socket.inet_aton("198.51.100.1")
    return ends + struct.pack("!HH", 40123, 443)


def six(address):
    ends = socket.inet_pton(socket.AF_INET6, address) * 2
    return ends + struct.pack("!HH", 40123, 443)


def ask(head):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as peer:
        peer.sendall(head + REQUEST)
        answer = b""
        try:
            while part := peer.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
    return answer.split(b" ")[1].decode() if answer else "-"


alpn = value(1, b"h2") + value(4, bytes(40)) + value(0xEE, b"")
broken = header(1, 0x11, four("192.0.2.7"), alpn, summed=True)
print(ask(header(1, 0x11, four("203.0.113.9"), alpn)))
print(ask(header(1, 0x11, four("203.0.113.9"), alpn, summed=True)))
print(ask(header(1, 0x21, six("2001:db8::7"), summed=True)))
print(ask(header(1, 0x31, bytes(216))))
print(ask(header(0, 0x00, b"", alpn)))
print(ask(broken[:-1] + bytes([broken[-1] ^ 1])))
