#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Character devices on TCP, UDP, FIFOs and ringbufs; a flat guest that echoes. In a network of its own."""
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import need_kvm, refused, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
HERE = '127.0.0.1'
need_kvm()
if not os.environ.get('KVMD_TEST_NET'):
    if os.geteuid() or not shutil.which('unshare') or subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        skip('a network of its own needs root and unshare')
    os.environ['KVMD_TEST_NET'] = '1'
    os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


def xml(serial, more=''):
    return f"""<domain type='kvm'>
  <name>e</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-echo</kernel></os>
  <features><acpi/></features>
  <devices>{serial}<memballoon model='none'/>{more}</devices>
</domain>"""


def serial(kind, source, more=''):
    return f"<serial type='{kind}'>{source}{more}<target port='0'/></serial>"


def start(k, text):
    k.define(text)
    k.ctl('start', 'e')


def fresh(k, text):
    k.ctl('destroy', 'e', check=False)
    k.ctl('undefine', 'e', check=False)
    start(k, text)


def connect(port, host=HERE):
    s = socket.create_connection((host, int(port)), 10)
    s.settimeout(20)
    return s


def until(s, want):
    got = b''
    while want not in got:
        part = s.recv(4096)
        assert part, got[-200:]
        got += part
    return got


def says(s, text):
    s.sendall(text)
    return until(s, text)


def filename(k, label='serial0'):
    return [c['filename'] for c in k.json('qmp', 'e', 'query-chardev') if c['label'] == label][0]


def change(k, kind, check=True, id='serial0', **data):
    return k.ctl('qmp', 'e', 'chardev-change', json.dumps({'id': id, 'backend': {'type': kind, 'data': data}}), check=check)


def inet(port, host=HERE, **more):
    return {'type': 'inet', 'data': {'host': host, 'port': str(port), **more}}


def listener(port=0):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((HERE, port))
    s.listen(4)
    s.settimeout(20)
    return s


def server(k):
    """The machine listens: one client at a time, the next ones wait; the log has all of it; telnet."""
    log = f'{k.root}/serial.log'
    start(k, xml(serial('tcp', f"<source mode='bind' host='{HERE}' service='4555' tls='no'/>", f"<protocol type='raw'/><log file='{log}'/>")))
    assert filename(k) == f'tcp:{HERE}:4555,server=on'
    first = connect(4555)
    assert b'ready' in until(first, b'ready')
    says(first, b'one')
    second, third = connect(4555), connect(4555)
    second.sendall(b'two')
    says(first, b'one again')
    first.close()
    until(second, b'two')
    second.close()
    says(third, b'three')
    with open(log, 'rb') as f:
        assert b'one again' in f.read()
    refused(k, 'port 4555 of 127.0.0.1 is in use', 'qmp', 'e', 'chardev-change', json.dumps({'id': 'serial0', 'backend': {
        'type': 'socket', 'data': {'addr': inet(4555)}}}))
    says(third, b'still here')
    # kvmd may die: the worker accepts
    k.kill()
    k.start()
    k.until(lambda: k.state('e') == 'running', 20, 'the machine is found again')
    third.close()
    says(connect(4555), b'four')
    # clients that come and go, and one that never reads while the guest goes on
    for i in range(200):
        connect(4555).close()
    deaf = connect(4555)
    deaf.setblocking(False)
    sent, end = 0, time.monotonic() + 3
    while sent < 8 << 20 and time.monotonic() < end:
        try:
            sent += deaf.send(b'x' * 65536)
        except BlockingIOError:
            time.sleep(0.01)
    k.ctl('dominfo', 'e')
    deaf.close()
    t = connect(4555)
    t.settimeout(60)
    says(t, b'five')
    t.close()
    # a port of its own choice, telnet, IPv6
    fresh(k, xml(serial('tcp', f"<source mode='bind' host='{HERE}' service='0'/>", "<protocol type='telnet'/>")))
    port = filename(k).split(':')[2].split(',')[0]
    assert port != '0' and filename(k).startswith('telnet:') and f"service='{port}'" in k.ctl('dumpxml', 'e').stdout
    assert "service='0'" in k.ctl('dumpxml', 'e', '--inactive').stdout
    t = connect(port)
    hello = b'\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00'
    got = until(t, hello)
    t.sendall(b'\xff\xfd\x01\xff\xfd\x03\xff\xfb\x18\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0ab\xff\xffc\r\0d\xff\xf1e')
    got = until(t, b'd' + b'e')
    assert b'\xff\xfe\x18' in got and b'ab\xff\xffc\rde' in got.replace(b'\xff\xfe\x18', b''), got
    change(k, 'socket', addr=inet(0, '::1'), server=True)
    port = filename(k).rsplit(':', 1)[1].split(',')[0]
    says(connect(port, '::1'), b'six')
    for want, data in (('tls-creds', {'addr': inet(0), 'tls-creds': 'x'}), ('websocket', {'addr': inet(0), 'websocket': True}), ("'to'", {'addr': inet(0, to=5)}),
                       ('incompatible', {'addr': inet(0), 'reconnect': 1}), ('no address', {'addr': inet(0, '192.0.2.1')}), ('vsock', {'addr': {'type': 'vsock', 'data': {}}}),
                       ("'telnet'", {'addr': {'type': 'unix', 'data': {'path': f'{k.root}/s'}}, 'telnet': True})):
        p = change(k, 'socket', check=False, **data)
        assert p.returncode and want in p.stderr, (want, p.stderr)
    k.ctl('destroy', 'e')
    k.ctl('undefine', 'e')
    k.define(xml(serial('tcp', f"<source mode='bind' host='{HERE}' service='4555' tls='yes'/>")))
    refused(k, 'tls', 'start', 'e')


def client(k):
    """The machine is connected, and connected again when that is asked for."""
    who = listener()
    port = who.getsockname()[1]
    start(k, xml(serial('tcp', f"<source mode='connect' host='{HERE}' service='{port}'/>")))
    s = who.accept()[0]
    s.settimeout(20)
    says(s, b'hello')
    s.close()
    who.close()
    k.ctl('destroy', 'e')
    refused(k, 'nobody listens there', 'start', 'e')
    # a start does not wait for it
    again = "<reconnect enabled='yes' timeout='1'/>"
    sock = f'{k.root}/peer.sock'
    fresh(k, xml(serial('tcp', f"<source mode='connect' host='{HERE}' service='{port}'>{again}</source>"),
                 "<controller type='virtio-serial' index='0' ports='31'/>"
                 f"<channel type='unix'><source mode='connect' path='{sock}'>{again}</source><target type='virtio' name='c'/></channel>"))
    assert filename(k) == f'disconnected:tcp:{HERE}:{port}' and filename(k, 'channel0') == f'disconnected:unix:{sock}'
    who, local = listener(port), socket.socket(socket.AF_UNIX)
    local.bind(sock)
    local.listen(4)
    local.settimeout(20)
    s, c = who.accept()[0], local.accept()[0]
    s.settimeout(20)
    assert b'ready' in until(s, b'ready')
    says(s, b'there')
    k.until(lambda: filename(k) == f'tcp:{HERE}:{port}' and filename(k, 'channel0') == f'unix:{sock}', 10, 'both are connected')
    # lost, and a kvmd that is not there just then
    s.close()
    k.until(lambda: filename(k).startswith('disconnected'), 10, 'it is told')
    s = who.accept()[0]
    s.settimeout(20)
    says(s, b'back')
    k.kill()
    s.close()
    c.close()
    k.start()
    s, c = who.accept()[0], local.accept()[0]
    s.settimeout(20)
    says(s, b'after')
    # one that ends each connection at once costs a try per second
    s.close()
    n, end = 0, time.monotonic() + 3.5
    while time.monotonic() < end:
        who.settimeout(max(0.01, end - time.monotonic()))
        try:
            who.accept()[0].close()
            n += 1
        except TimeoutError:
            pass
    assert 1 <= n <= 4, n
    # another back end, and nobody is called any more
    change(k, 'null')
    who.settimeout(2)
    try:
        while True:
            who.accept()[0].close()
    except TimeoutError:
        pass
    change(k, 'socket', addr=inet(port), server=False, reconnect=1)
    who.settimeout(20)
    s = who.accept()[0]
    s.settimeout(20)
    says(s, b'changed')
    # update-device and attach-device know the same; hosts that do not answer hold up nobody
    a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a.bind((HERE, 0))
    a.settimeout(20)
    to = a.getsockname()[1]
    k.ctl('update-device', 'e', '-', stdin=serial('udp', f"<source mode='bind' host='{HERE}' service='4558'/><source mode='connect' host='{HERE}' service='{to}'/>"))
    text = k.ctl('dumpxml', 'e').stdout
    assert f"service='{to}'" in text and "service='4558'" in text and filename(k) == f'udp:{HERE}:{to}', text
    a.sendto(b'udp', (HERE, 4558))
    assert a.recv(100)
    k.ctl('update-device', 'e', '-', stdin=serial('tcp', f"<source mode='bind' host='{HERE}' service='4559'/>"))
    says(connect(4559), b'tcp')
    for n in range(12):
        k.ctl('attach-device', 'e', '-', stdin=f"<channel type='tcp'><source mode='connect' host='{HERE}' service='{port + 1}'>{again}</source>"
              f"<target type='virtio' name='n{n}'/></channel>")
    t = time.monotonic()
    k.ctl('attach-device', 'e', '-', stdin=f"<channel type='tcp'><source mode='connect' host='{HERE}' service='{port}'>{again}</source>"
          "<target type='virtio' name='last'/></channel>")
    s = who.accept()[0]
    assert time.monotonic() - t < 10
    k.until(lambda: sum('disconnected' in c['filename'] for c in k.json('qmp', 'e', 'query-chardev')) == 13, 10, 'one is connected')


def others(k):
    """Datagrams, FIFOs, ringbufs."""
    a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a.bind((HERE, 0))
    a.settimeout(20)
    to = a.getsockname()[1]
    start(k, xml(serial('udp', f"<source mode='bind' host='{HERE}' service='4557'/><source mode='connect' host='{HERE}' service='{to}'/>")))
    assert filename(k) == f'udp:{HERE}:{to}'
    k.ctl('reset', 'e')
    got = b''
    while b'ready' not in got:
        got += a.recv(65536)
    big = bytes(range(65, 91)) * 1000
    a.sendto(b'', (HERE, 4557))
    a.sendto(big, (HERE, 4557))
    got = b''
    while big not in got:
        part = a.recv(65536)
        assert len(part) <= 1400 and len(got) < 2 * len(big)
        got += part
    b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    b.sendto(b'not from its peer', (HERE, 4557))
    a.close()                                   # what is sent now is lost, no more
    k.ctl('reset', 'e')
    a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a.bind((HERE, to))
    a.settimeout(1)

    def answers():
        a.sendto(b'?', (HERE, 4557))
        try:
            return b'?' in a.recv(65536)
        except TimeoutError:
            return False
    k.until(answers, 20, 'an answer')
    # FIFOs
    path = f'{k.root}/fifo'
    data = {'device': path}
    assert 'no' in change(k, 'pipe', check=False, **data).stderr
    for end in '.in', '.out':
        os.mkfifo(path + end)
    change(k, 'pipe', **data)
    assert filename(k) == f'pipe:{path}'
    k.ctl('reset', 'e')                         # nobody reads: it waits
    r, w = os.open(path + '.out', os.O_RDONLY), os.open(path + '.in', os.O_WRONLY)
    got = b''
    while b'ready' not in got:
        got += os.read(r, 4096)
    os.write(w, b'by fifo')
    while b'by fifo' not in got:
        got += os.read(r, 4096)
    os.close(w)
    os.close(r)
    w, r = os.open(path + '.in', os.O_WRONLY), os.open(path + '.out', os.O_RDONLY)
    os.write(w, b'once more')
    got = b''
    while b'once more' not in got:
        got += os.read(r, 4096)
    alone = f'{k.root}/alone'
    os.mkfifo(alone)
    change(k, 'pipe', device=alone)
    with open(f'{k.root}/file', 'w'):
        pass
    assert 'is no FIFO' in change(k, 'pipe', check=False, device=f'{k.root}/file').stderr
    # ringbuf

    def qmp(command, **arguments):
        return k.json('qmp', 'e', command, json.dumps(arguments))

    def ask(command, **arguments):
        return k.ctl('qmp', 'e', command, json.dumps(arguments), check=False)

    assert 'not a ringbuf' in ask('ringbuf-read', device='serial0', size=10).stderr
    assert 'power of two' in change(k, 'ringbuf', check=False, size=1000).stderr
    change(k, 'ringbuf', size=16)
    assert filename(k) == 'ringbuf' and "<serial type='null'" in k.ctl('dumpxml', 'e').stdout
    qmp('ringbuf-read', device='serial0', size=100)
    k.ctl('reset', 'e')
    got = ''

    def ready():
        nonlocal got
        got += qmp('ringbuf-read', device='serial0', size=3)
        return 'ready' in got
    k.until(ready, 20, 'the guest\'s words')
    while qmp('ringbuf-read', device='serial0', size=100):
        pass
    ask('ringbuf-write', device='serial0', data='0123456789abcdefXYZ')
    assert qmp('ringbuf-read', device='serial0', size=4) == '3456'
    ask('ringbuf-write', device='serial0', data=base64.b64encode(b'\xff\0!').decode(), format='base64')
    assert base64.b64decode(qmp('ringbuf-read', device='serial0', size=1 << 40, format='base64')) == b'789abcdefXYZ\xff\0!'
    ask('ringbuf-write', device='serial0', data=base64.b64encode(b'a\xff\0z').decode(), format='base64')
    assert qmp('ringbuf-read', device='serial0', size=100) == 'a\ufffd\ufffdz'
    assert 'greater than zero' in ask('ringbuf-read', device='serial0', size=0).stderr
    assert 'does not exist' in ask('ringbuf-read', device='nix', size=1).stderr


cases = {'server': server, 'client': client, 'others': others}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
