#!/usr/bin/env python3
"""Writes flows.txt: what rtpengine makes of the packets of ../libsrtp/flows.txt, in the same form, and
what it reads of libsrtp's (which ours equal, octet for octet): ../contexts.rs plays them.

Tried with rtpengine 10.5.3.5 of Debian 12:
  rtpengine --config-file=none --table=-1 --interface=127.0.0.1 --listen-ng=127.0.0.1:2223 \\
    --port-min=30000 --port-max=30999 --num-threads=1 --foreground --log-stderr --log-level=4
  ./record.py 127.0.0.1:2223 ../libsrtp/flows.txt > flows.txt
"""
import base64, os, re, socket, struct, sys

SUITES = ("AEAD_AES_256_GCM AEAD_AES_128_GCM AES_256_CM_HMAC_SHA1_80 AES_256_CM_HMAC_SHA1_32 AES_192_CM_HMAC_SHA1_80 "
          "AES_192_CM_HMAC_SHA1_32 AES_CM_128_HMAC_SHA1_80 AES_CM_128_HMAC_SHA1_32 F8_128_HMAC_SHA1_80 "
          "F8_128_HMAC_SHA1_32 NULL_HMAC_SHA1_80 NULL_HMAC_SHA1_32").split()


def encode(o):
    if isinstance(o, int): return b'i%de' % o
    if isinstance(o, str): o = o.encode()
    if isinstance(o, bytes): return b'%d:%s' % (len(o), o)
    if isinstance(o, list): return b'l' + b''.join(map(encode, o)) + b'e'
    return b'd' + b''.join(encode(k) + encode(o[k]) for k in sorted(o)) + b'e'


def decode(b, i=0):
    c = b[i:i + 1]
    if c == b'i':
        e = b.index(b'e', i)
        return int(b[i + 1:e]), e + 1
    if c in b'ld':
        i += 1
        r = []
        while b[i:i + 1] != b'e':
            v, i = decode(b, i)
            r.append(v)
        return (r if c == b'l' else dict(zip(r[::2], r[1::2]))), i + 1
    e = b.index(b':', i)
    n = int(b[i:e])
    return b[e + 1:e + 1 + n].decode('latin1'), e + 1 + n


class Ng:
    """rtpengine's control protocol: bencode over UDP."""

    def __init__(self, address):
        host, port = address.rsplit(':', 1)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((host, int(port)))
        self.socket.settimeout(3)
        self.count = 0

    def ask(self, **words):
        self.count += 1
        cookie = b'%d_%d' % (os.getpid(), self.count)
        self.socket.send(cookie + b' ' + encode({k.replace('_', '-'): v for k, v in words.items()}))
        while True:
            got, _, body = self.socket.recv(65535).partition(b' ')
            if got == cookie:
                answer = decode(body)[0]
                assert answer['result'] == 'ok', answer
                return answer


class Call:
    """Plain RTP on one side of rtpengine, SRTP under `suite` on the other; `key` is the far side's."""
    count = 0

    def __init__(self, ng, suite, key):
        Call.count += 1
        self.ng, self.id = ng, f'flow{os.getpid()}-{Call.count}'
        self.plain, self.secured = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in '12']
        for s in (self.plain, self.secured):
            s.bind(('127.0.0.1', 0))
            s.settimeout(2)
        names = dict(call_id=self.id, from_tag='a', ICE='remove', replace=['origin'])
        others = ['no-' + other for other in SUITES if other != suite]
        offer = ng.ask(command='offer', sdp=self.sdp(self.plain, 'RTP/AVP'), transport_protocol='RTP/SAVP',
                       SDES=others, DTLS='off', **names)['sdp']
        tag, self.key = re.search(rf'^a=crypto:(\d+) {suite} inline:(\S+?)(\||\r)', offer, re.M).group(1, 2)
        line = f'a=crypto:{tag} {suite} inline:{base64.b64encode(key).decode()}\r\n'
        answer = ng.ask(command='answer', to_tag='b', sdp=self.sdp(self.secured, 'RTP/SAVP') + line, **names)['sdp']
        for s, sdp in ((self.plain, answer), (self.secured, offer)):
            s.connect(('127.0.0.1', int(re.search(r'^m=audio (\d+)', sdp, re.M).group(1))))

    @staticmethod
    def sdp(s, profile):
        return ('v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n'
                f'm=audio {s.getsockname()[1]} {profile} 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n')

    def protect(self, plain):
        self.plain.send(plain)
        return self.secured.recv(2000)

    def read(self, protected):
        self.secured.send(protected)
        return self.plain.recv(2000)

    def end(self):
        self.ng.ask(command='delete', call_id=self.id, from_tag='a', delete_delay=0)


def number(packet, ssrc, sequence):
    return packet[:2] + struct.pack('>H', sequence) + packet[4:8] + struct.pack('>I', ssrc) + packet[12:]


def main():
    ng = Ng(sys.argv[1])
    flows, at = [], None
    for line in open(sys.argv[2]):
        words = line.split()
        if words[0] == 'flow':
            at = (words[1], words[2], [], [])
            flows.append(at)
        elif words[0] == 'key':
            at[2].append(bytes.fromhex(words[1]))
        elif words[0] == 'rtp':
            at[3].append((int(words[1]), bytes.fromhex(words[2]), bytes.fromhex(words[3])))
    print('# rtpengine 10.5.3.5, record.py: flow NAME SUITE, key KEY_SALT twice, then rtp KEY PLAIN PROTECTED')
    for name, suite, keys, packets in flows:
        calls = [Call(ng, suite, key) for key in keys]
        print('flow', name, suite)
        for call in calls:
            print('key', base64.b64decode(call.key + '=' * (-len(call.key) % 4)).hex())
        first = packets[0][1]
        if name == 'late_joiner':   # three times round before anybody listens
            ssrc = struct.unpack('>I', first[8:12])[0]
            for sequence in (1, 30000, 60000, 20000, 50000, 10000, 40000, 4000, 15000):
                calls[0].protect(number(first, ssrc, sequence))
        for key, plain, protected in packets:
            print('rtp', key, plain.hex(), calls[key].protect(plain).hex())
        if name != 'late_joiner':
            for key, plain, protected in packets:
                heard = calls[key].read(protected)
                assert heard == plain, f'{name} {suite}: rtpengine read {heard.hex()} for {plain.hex()}'
        for call in calls:
            call.end()


main()
