#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Back ends of character devices that change while the machine runs; a flat guest."""
import array
import json
import os
import re
import socket
import sys

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import need_kvm, refused, run  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()


def xml(path):
    return f"""<domain type='kvm'>
  <name>f</name>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-spin</kernel></os>
  <features><acpi/></features>
  <devices>
    <serial type='unix'><source mode='bind' path='{path}'/><target port='0'/></serial>
    <controller type='virtio-serial' index='0' ports='8'/>
    <channel type='null'><target type='virtio' name='org.kvmd.one'/></channel>
    <memballoon model='none'/>
  </devices>
</domain>"""


def change(k, id, kind, check=True, **data):
    return k.ctl('qmp', 'f', 'chardev-change', json.dumps({'id': id, 'backend': {'type': kind, 'data': data}}), check=check)


def filename(k, label='serial0'):
    return [c['filename'] for c in k.json('qmp', 'f', 'query-chardev') if c['label'] == label][0]


def live(k):
    return k.ctl('dumpxml', 'f').stdout


def says(k, path):
    """The guest's first words come again after a reset."""
    k.ctl('reset', 'f')

    def look():
        with open(path, 'rb') as f:
            return b'spinning' in f.read()
    k.until(look, 20, 'output there')


def changes(k):
    old, new, out = f'{k.root}/old.sock', f'{k.root}/new.sock', f'{k.root}/out.txt'
    k.define(xml(old))
    k.ctl('start', 'f')
    assert os.path.exists(old)
    s = socket.socket(socket.AF_UNIX)
    s.connect(old)
    change(k, 'serial0', 'file', out=out)
    s.settimeout(10)
    while s.recv(4096):
        pass                                    # what was out already; then the old end is closed
    assert not os.path.exists(old) and filename(k) == f'file:{out}'
    text = live(k)
    assert f"path='{out}'" in text and old not in text and text.count("type='file'") == 2, text
    assert old in k.ctl('dumpxml', 'f', '--inactive').stdout
    says(k, out)
    r = k.json('qmp', 'f', 'chardev-change', json.dumps({'id': 'serial0', 'backend': {'type': 'pty', 'data': {}}}))
    assert os.path.exists(r['pty']) and r['pty'] in live(k) and filename(k) == f"pty:{r['pty']}", r
    change(k, 'serial0', 'socket', addr={'type': 'unix', 'data': {'path': new}}, server=True, wait=False)
    s = socket.socket(socket.AF_UNIX)
    s.connect(new)
    s.settimeout(20)
    k.ctl('reset', 'f')
    got = b''
    while b'spinning' not in got:
        got += s.recv(4096)
    # a kvmd that is killed finds it as it is
    k.kill()
    k.start()
    k.until(lambda: k.state('f') == 'running', 20, 'the machine is found again')
    assert new in live(k)
    change(k, 'serial0', 'null')
    assert filename(k) == 'null' and not os.path.exists(new)
    change(k, 'channel0', 'file', out=out, append=True)
    assert filename(k, 'channel0') == f'file:{out}'
    for want, args in (('does not exist', ('nix', 'null', {})), ('power of two', ('serial0', 'ringbuf', {'size': 4095})), ('not there', ('serial0', 'nix', {})),
                       ('not there', ('serial0', 'socket', {'addr': {'type': 'vsock', 'data': {'cid': '1', 'port': '1'}}})),
                       ('nix', ('serial0', 'file', {'out': f'{k.root}/nix/x'})), ('out', ('serial0', 'file', {})), ('nix', ('serial0', 'null', {'nix': 1}))):
        p = change(k, args[0], args[1], check=False, **args[2])
        assert p.returncode and re.search(want, p.stderr), (args, p.stderr)
    assert filename(k) == 'null'
    # update-device, also of the console that is the serial port
    k.ctl('update-device', 'f', '-', stdin=f"<serial type='file'><source path='{out}' append='on'/><target port='0'/></serial>")
    assert filename(k) == f'file:{out}'
    k.ctl('update-device', 'f', '-', stdin="<console type='pty'><target type='serial' port='0'/></console>")
    assert filename(k).startswith('pty:')
    k.ctl('update-device', 'f', '-', '--config', stdin="<console type='null'><target type='serial' port='0'/></console>")
    assert "<serial type='null'" in k.ctl('dumpxml', 'f', '--inactive').stdout
    k.ctl('update-device', 'f', '-', stdin="<channel type='null'><target type='virtio' name='org.kvmd.one'/></channel>")
    assert filename(k, 'channel0') == 'null'
    refused(k, "'log", 'update-device', 'f', '-', stdin=f"<serial type='null'><log file='{k.root}/l'/><target port='0'/></serial>")
    # at the machine's own socket: what was handed over
    q = socket.socket(socket.AF_UNIX)
    q.connect(f'{k.root}/run/kvmd/vm/f.qmp')
    lines = q.makefile('r')

    def ask(command, fds=(), **arguments):
        data = json.dumps({'execute': command, 'arguments': arguments}).encode()
        q.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else [])
        while True:
            m = json.loads(lines.readline())
            if 'event' not in m:
                return m

    lines.readline()
    ask('qmp_capabilities')
    a, b = socket.socketpair()
    assert ask('getfd', [b.fileno()], fdname='x') == {'return': {}}
    b.close()
    assert ask('chardev-change', id='serial0', backend={'type': 'socket', 'data': {'addr': {'type': 'fd', 'data': {'str': 'x'}}}}) == {'return': {}}
    a.settimeout(20)
    k.ctl('reset', 'f')
    assert a.recv(100)
    # what is opened, kvmd opens, also for who asks at the machine's socket
    pty = ask('chardev-change', id='serial0', backend={'type': 'pty', 'data': {}})['return']['pty']
    assert pty in k.ctl('dumpxml', 'f').stdout, pty
    assert ask('chardev-change', id='serial0', backend={'type': 'null', 'data': {}}) == {'return': {}}


def ports(k):
    """chardev-add, a virtserialport on it by device_add, and both gone again."""
    out = f'{k.root}/port.txt'
    k.define(xml(f'{k.root}/s.sock'))
    k.ctl('start', 'f')
    before = live(k)

    def qmp(command, **arguments):
        return k.ctl('qmp', 'f', command, json.dumps(arguments), check=False)

    def fails(want, command, **arguments):
        p = qmp(command, **arguments)
        assert p.returncode and re.search(want, p.stderr), (command, p.stdout, p.stderr)

    pty = k.json('qmp', 'f', 'chardev-add', json.dumps({'id': 'c0', 'backend': {'type': 'pty', 'data': {}}}))['pty']
    assert os.path.exists(pty)
    fails('already exists', 'chardev-add', id='c0', backend={'type': 'null', 'data': {}})
    fails("can't find", 'device_add', driver='virtserialport', id='p', chardev='nix')
    fails('not found', 'chardev-remove', id='nix')
    fails('not found', 'device_add', driver='virtserialport', id='p', chardev='c0', bus='nix.0')
    fails('ports', 'device_add', driver='virtserialport', id='p', chardev='c0', nr=60)
    assert qmp('device_add', driver='virtserialport', id='p', chardev='c0', name='org.kvmd.two').returncode == 0
    k.until(lambda: 'org.kvmd.two' in live(k) and pty in live(k), 10, 'the description follows')
    fails('in use', 'device_add', driver='virtserialport', id='p2', chardev='c0')
    fails('busy', 'chardev-remove', id='c0')
    assert qmp('device_del', id='p').returncode == 0
    k.until(lambda: live(k) == before, 10, 'the description is as before')
    assert qmp('chardev-remove', id='c0').returncode == 0
    assert qmp('chardev-add', id='c0', backend={'type': 'file', 'data': {'out': out}}).returncode == 0 and os.path.exists(out)
    assert qmp('device_add', driver='virtserialport', id='p', chardev='c0').returncode == 0
    k.until(lambda: out in live(k), 10, 'the description follows')
    change(k, 'p', 'null')
    assert qmp('device_del', id='p').returncode == 0
    assert qmp('chardev-add', id='c0', backend={'type': 'null', 'data': {}}).returncode == 0
    # a port is there for the next command; what listened and was never used leaves nothing behind
    for n in range(20):
        assert qmp('device_add', driver='virtserialport', id=f'q{n}', chardev='c0').returncode == 0
        change(k, f'q{n}', 'file', out=out)
        assert filename(k, f'q{n}') == f'file:{out}'
        assert qmp('device_del', id=f'q{n}').returncode == 0
        assert qmp('chardev-add', id='c0', backend={'type': 'null', 'data': {}}).returncode == 0
    sock = f'{k.root}/left.sock'
    listen = {'type': 'socket', 'data': {'addr': {'type': 'unix', 'data': {'path': sock}}}}
    assert qmp('chardev-add', id='c1', backend=listen).returncode == 0 and os.path.exists(sock)
    assert filename(k, 'c1') == f'unix:{sock}'
    assert qmp('chardev-remove', id='c1').returncode == 0
    k.until(lambda: not os.path.exists(sock), 10, 'the socket has gone')
    assert qmp('chardev-add', id='c1', backend=listen).returncode == 0 and os.path.exists(sock)
    assert qmp('device_add', driver='virtserialport', id='p', chardev='c1').returncode == 0
    assert qmp('device_del', id='p').returncode == 0
    k.until(lambda: not os.path.exists(sock), 10, 'the socket has gone')
    assert qmp('chardev-add', id='r', backend={'type': 'ringbuf', 'data': {'size': 16}}).returncode == 0
    fails('no device has it', 'ringbuf-write', device='r', data='x')
    assert qmp('device_add', driver='virtserialport', id='p', chardev='r').returncode == 0
    assert qmp('ringbuf-write', device='r', data='x').returncode == 0
    assert k.json('qmp', 'f', 'ringbuf-read', json.dumps({'device': 'p', 'size': 10})) == 'x'
    change(k, 'r', 'file', out=out)
    assert filename(k, 'p') == f'file:{out}'
    k.ctl('update-device', 'f', '-', stdin="<channel type='null'><target type='virtio'/><address type='virtio-serial' controller='0' bus='0' port='2'/></channel>", check=False)
    change(k, 'r', 'null')
    assert filename(k, 'p') == 'null'


cases = {'changes': changes, 'ports': ports}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
