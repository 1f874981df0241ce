#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths named at a machine's own QMP socket, as QEMU's clients name them; the machine's process can open none: test-paths.py BUILD CASE…"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PATIENCE, Failed, need_kvm, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()


class Client:
    def __init__(self, path, enable=None):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * PATIENCE)
        self.s.connect(path)
        self.buf, self.events = b'', []
        self.read()
        args = {'arguments': {'enable': [enable]}} if enable else {}
        assert self.ask({'execute': 'qmp_capabilities', **args}) == {'return': {}}

    def read(self):
        while b'\n' not in self.buf:
            got = self.s.recv(1 << 20)
            if not got:
                raise Failed('the connection ended')
            self.buf += got
        line, self.buf = self.buf.split(b'\n', 1)
        return json.loads(line)

    def send(self, *messages):
        self.s.sendall(b''.join(m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages))

    def answer(self):
        while 'event' in (m := self.read()):
            self.events.append(m)
        return m

    def ask(self, *messages):
        self.send(*messages)
        return self.answer()

    def run(self, command, **args):
        m = self.ask(cmd(command, **args))
        if 'error' in m:
            raise Failed(f'{command}: {m["error"]}')
        return m['return']

    def fails(self, want, command, **args):
        m = self.ask(cmd(command, 7, **args))
        assert m.get('id') == 7 and 'error' in m and re.search(want, m['error']['desc']), (want, m)

    def wait(self, name):
        while not any(e['event'] == name for e in self.events):
            m = self.read()
            assert 'event' in m, m
            self.events.append(m)
        self.events = []


def cmd(command, id_=None, **args):
    m = {'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in args.items()}}
    return m if id_ is None else {**m, 'id': id_}


def add(node, path, driver='raw', id_=None, **more):
    return cmd('blockdev-add', id_, driver=driver, node_name=node, file={'driver': 'file', 'filename': path}, **more)


def machine(k, disks=''):
    k.define(f'''<domain type='kvm'>
  <name>q</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-plug</kernel></os>
  <features><acpi/></features>
  <devices><serial type='pty'><target port='0'/></serial><memballoon model='none'/>{disks}</devices>
</domain>''')
    k.ctl('start', 'q')
    return k.json('dominfo', 'q')['qmp']


def images(k):
    if not shutil.which('qemu-img'):
        skip('qemu-img is not installed')
    raw, base, top = (f'{k.root}/{n}' for n in ('raw.img', 'base.qcow2', 'top.qcow2'))
    for args in (['-f', 'raw', raw, '8M'], ['-f', 'qcow2', base, '16M'], ['-f', 'qcow2', '-b', base, '-F', 'qcow2', top]):
        subprocess.run(['qemu-img', 'create', '-q', *args], check=True)
    return raw, base, top


def files_of(k):
    pid = k.json('dominfo', 'q')['pid']
    return {os.readlink(f'/proc/{pid}/fd/{n}') for n in os.listdir(f'/proc/{pid}/fd')}


# --- cases ---

def disks(k):
    """A disk comes and goes by paths: a chain of images, twice, by a file's node, read-only; what is wrong is said."""
    raw, base, top = images(k)
    c = Client(machine(k))
    before = k.ctl('dumpxml', 'q').stdout
    assert c.ask(add('d0', top, 'qcow2', id_=1)) == {'return': {}, 'id': 1}
    nodes = {n['node-name']: n for n in c.run('query-named-block-nodes')}
    assert nodes['d0']['file'] == top and nodes['d0']['drv'] == 'qcow2' and nodes['d0']['image']['virtual-size'] == 16 << 20, nodes
    for _ in range(2):
        c.run('device_add', driver='virtio-blk-pci', drive='d0', id='disk9')
        block = [b for b in c.run('query-block') if b['device'] == 'drive-disk9'][0]
        assert block['inserted']['backing_file'] == base and block['inserted']['node-name'] == 'd0', block
        k.until(lambda: base in k.ctl('dumpxml', 'q').stdout, 10, 'the description follows')
        c.run('device_del', id='disk9')
        c.wait('DEVICE_DELETED')
    k.until(lambda: k.ctl('dumpxml', 'q').stdout == before, 10, 'the machine is as before')
    assert {top, base} <= files_of(k)
    c.fails('in use', 'blockdev-add', **add('d1', top, 'qcow2')['arguments'])
    c.fails('taken', 'blockdev-add', **add('d0', raw)['arguments'])
    c.run('blockdev-del', node_name='d0')
    assert not {top, base} & files_of(k)
    # a file's node, and a format's on it
    c.run('blockdev-add', driver='file', node_name='f1', filename=raw)
    c.run('blockdev-add', driver='raw', node_name='d1', file='f1')
    c.run('device_add', driver='virtio-blk-pci', drive='d1', id='disk1')
    k.until(lambda: f"file='{raw}'" in k.ctl('dumpxml', 'q').stdout, 10, 'the description follows')
    c.run('device_del', id='disk1')
    c.wait('DEVICE_DELETED')
    c.run('blockdev-del', node_name='d1')
    c.run('blockdev-del', node_name='f1')
    # as libvirt writes it: the options reach the disk, the file is open past the cache
    below = {'driver': 'file', 'filename': raw, 'node-name': 'storage', 'cache': {'direct': True, 'no-flush': False}, 'auto-read-only': True,
             'discard': 'unmap', 'aio': 'threads'}
    c.run('blockdev-add', driver='raw', node_name='fmt', read_only=False, cache={'direct': True, 'no-flush': False}, discard='unmap',
          detect_zeroes='unmap', file=below)
    c.run('device_add', driver='virtio-blk-pci', drive='fmt', id='disk2')
    k.until(lambda: f"file='{raw}'" in k.ctl('dumpxml', 'q').stdout, 10, 'the description follows')
    driver = re.search(rf"<driver([^>]*)/>\s*<source file='{raw}'", k.ctl('dumpxml', 'q').stdout)[1]
    assert {"cache='none'", "io='threads'", "discard='unmap'", "detect_zeroes='unmap'"} <= set(driver.split()), driver
    pid = k.json('dominfo', 'q')['pid']
    flags = [int(re.search(r'flags:\s*(\d+)', open(f'/proc/{pid}/fdinfo/{n}').read())[1], 8) for n in os.listdir(f'/proc/{pid}/fd')
             if os.readlink(f'/proc/{pid}/fd/{n}') == raw]
    assert flags and all(f & os.O_DIRECT for f in flags), flags
    c.run('device_del', id='disk2')
    c.wait('DEVICE_DELETED')
    c.run('blockdev-del', node_name='fmt')
    c.fails('locking', 'blockdev-add', **{**add('l', raw)['arguments'], 'locking': 'off'})
    # many may read
    for n in 'a', 'b':
        assert c.ask(add(n, raw, read_only=True)) == {'return': {}}
    c.fails('in use', 'blockdev-add', **add('w', raw)['arguments'])
    # the same at kvmd's socket
    p = k.ctl('qmp', 'q', json.dumps(add('k', base, 'qcow2')))
    assert 'k' in [n['node-name'] for n in c.run('query-named-block-nodes')], p
    for want, m in (("there is no '/nix'", add('x', '/nix')), ('from the root', add('x', 'raw.img')), ('neither a file', add('x', '/dev/null')),
                    ('not there', add('x', raw, 'vmdk')), ('unknown', add('x', raw, nix=1)), ('qcow2|format', add('x', raw, 'qcow2', read_only=True))):
        m = c.ask({**m, 'id': [want]})
        assert m['id'] == [want] and re.search(want, m.get('error', {}).get('desc', '')), (want, m)
    assert not {'x', 'd1'} & {n['node-name'] for n in c.run('query-named-block-nodes')}
    log = open(f'{k.root}/kvmd.log').read()
    assert f'uid {os.geteuid()}, pid {os.getpid()}' in log and "at q's socket: blockdev-add" in log, 'kvmd logs who gave it'


def others(k):
    """All else that names what kvmd opens: media, back ends, dumps, taps."""
    raw, base, _ = images(k)
    c = Client(machine(k, "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"))
    drive = [b['qdev'] for b in c.run('query-block') if b['removable']][0]
    for path in raw, base:
        c.run('blockdev-change-medium', id=drive, filename=path)
        assert [b['inserted']['file'] for b in c.run('query-block') if b['removable']] == [path]
    c.fails("no '/nix'", 'blockdev-change-medium', id=drive, filename='/nix')
    out, sock = f'{k.root}/out', f'{k.root}/sock'
    c.run('chardev-add', id='f', backend={'type': 'file', 'data': {'out': out}})
    assert c.run('chardev-add', id='p', backend={'type': 'pty', 'data': {}})['pty'].startswith('/dev/pts/')
    c.run('chardev-change', id='serial0', backend={'type': 'socket', 'data': {'addr': {'type': 'unix', 'data': {'path': sock}}, 'server': True}})
    c.run('system_reset')
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(sock)
        c.run('system_reset')
        assert s.recv(100)
    assert os.path.exists(out)
    c.run('dump-guest-memory', paging=False, protocol=f'file:{out}')
    with open(out, 'rb') as f:
        assert f.read(4) == b'\x7fELF'
    c.fails("no folder '/nix'", 'dump-guest-memory', paging=False, protocol='file:/nix/x')
    c.fails('from the root', 'dump-guest-memory', paging=False, protocol='file:x')
    c.fails('no scripts', 'netdev_add', type='tap', id='n', ifname='x', script='/etc/qemu-ifup')
    name = f'kt{os.getpid() % 100000}'
    m = c.ask(cmd('netdev_add', type='tap', id='n', ifname=name, script='no', downscript='no'))
    if 'error' in m and m['error']['code'] in ('AccessDenied', 'FileNotFound', 'HostLacks'):
        return f'no taps here: {m["error"]["desc"]}'
    assert m == {'return': {}} and os.path.exists(f'/sys/class/net/{name}'), m
    c.run('device_add', driver='virtio-net-pci', netdev='n', id='net9')
    c.run('set_link', name='n', up=False)       # the card, by what it stands on
    k.until(lambda: "<link state='down'" in k.ctl('dumpxml', 'q').stdout, 10, 'the cable is out')
    c.fails('invalid net client name', 'query-rx-filter', name='nix')
    c.run('device_del', id='net9')
    c.wait('DEVICE_DELETED')
    c.run('netdev_del', id='n')
    k.until(lambda: not os.path.exists(f'/sys/class/net/{name}'), 10, 'the tap goes with it')


def order(k):
    """What stands behind such a command waits, and is answered in order; halves, hang-ups, single quotes."""
    raw, _, _ = images(k)
    path = machine(k)
    c = Client(path, 'oob')
    messages = []
    for i in range(40):
        messages += [add('n', raw, id_=4 * i), cmd('query-named-block-nodes', 4 * i + 1), cmd('blockdev-del', 4 * i + 2, node_name='n'), cmd('query-name', 4 * i + 3)]
    for end in b'', b'\n', b'\r\n \n':
        c.send(*[json.dumps(m).encode() + end for m in messages])
        for i in range(160):
            m = c.answer()
            assert m.get('id') == i and 'return' in m, (i, m)
            assert i % 4 != 1 or [n['node-name'] for n in m['return']][:1] == ['n'], m
    # behind a command that is answered late, too, and with one out of band in between
    c.send(cmd('stop', 1), add('n', raw, id_=2), {'exec-oob': 'query-status', 'id': 3}, cmd('blockdev-del', 4, node_name='n'), cmd('cont', 5))
    assert [c.answer()['id'] for _ in range(5)] == [1, 2, 3, 4, 5]
    # in two pieces that come soon; in two that do not
    text = json.dumps(add('n', raw, id_=6)).encode()
    c.send(text[:30])
    time.sleep(0.005)
    m = c.ask(text[30:])
    assert m == {'return': {}, 'id': 6} or 'in pieces' in m['error']['desc'], m
    if 'return' in m:
        c.run('blockdev-del', node_name='n')
    c.send(text[:30])
    assert Client(path).run('query-name')['name'] == 'q'
    time.sleep(0.5)
    m = c.ask(text[30:], cmd('query-name', 8))
    assert m['id'] == 6 and 'in pieces' in m['error']['desc'] and c.answer()['id'] == 8, m
    # what kvmd reads itself has double quotes
    m = c.ask(str(add('n', raw, id_=9)).encode(), cmd('query-name', 10))
    assert m['id'] == 9 and 'double quotes' in m['error']['desc'] and c.answer()['id'] == 10, m
    # long ones, byte by byte ones
    m = c.ask(add('n', raw + '/' * 70000, id_=11), cmd('query-name', 12))
    assert m['id'] == 11 and 'error' in m and c.answer()['id'] == 12, m
    for b in json.dumps(cmd('query-name', 'x' * 2000)).encode():
        c.send(bytes([b]))
    assert c.answer()['return'] == {'name': 'q'}
    # gone before the answer, gone in the middle, one direction only
    for tail in b'', b'{"execute":"query-name"', text[:20]:
        d = Client(path)
        d.send(text, tail)
        d.s.close()
        k.until(lambda: 'n' in [n['node-name'] for n in c.run('query-named-block-nodes')], 10, 'it is done all the same')
        c.run('blockdev-del', node_name='n')
    d = Client(path)
    d.send(text, cmd('blockdev-del', 7, node_name='n'))
    d.s.shutdown(socket.SHUT_WR)
    assert [d.answer()['id'], d.answer()['id']] == [6, 7]
    assert c.run('query-name') == {'name': 'q'}


def clients(k):
    """QEMU's own Python client, and socat."""
    raw, _, top = images(k)
    path = machine(k)
    said = []
    if shutil.which('socat'):
        text = '\n'.join(["{'execute':'qmp_capabilities'}", json.dumps(add('s', raw), indent=2), "{'execute':'query-named-block-nodes'}",
                          "{'execute':'blockdev-del','arguments':{'node-name':'s'}}", ''])
        p = subprocess.run(['socat', '-t', '10', '-', f'UNIX-CONNECT:{path}'], input=text, capture_output=True, text=True, timeout=60)
        lines = [m for m in (json.loads(x) for x in p.stdout.splitlines()) if 'event' not in m]
        assert [next(iter(x)) for x in lines] == ['QMP'] + ['return'] * 4 and lines[3]['return'][0]['node-name'] == 's', p
        said.append('socat')
    sys.path.insert(0, f'{build}/qemu-python')
    try:
        from qemu.qmp import QMPClient
    except ImportError:
        return ', '.join(said + ['qemu.qmp is not there (tests/system/qemu-python.sh fetches it)'])
    import asyncio

    async def session():
        q = QMPClient('test')
        await q.connect(path)
        await q.execute('blockdev-add', add('d0', top, 'qcow2')['arguments'])
        await q.execute('device_add', {'driver': 'virtio-blk-pci', 'drive': 'd0', 'id': 'disk0'})
        await q.execute('device_del', {'id': 'disk0'})
        async for e in q.events:
            if e['event'] == 'DEVICE_DELETED':
                break
        await q.execute('blockdev-del', {'node-name': 'd0'})
        # several at once: it sends them without anything between
        await asyncio.gather(*[q.execute('blockdev-add', add(f'r{i}', raw, read_only=True)['arguments']) for i in range(20)])
        assert len(await q.execute('query-named-block-nodes')) == 40
        await q.disconnect()
    asyncio.run(session())
    shell = subprocess.run([sys.executable, '-m', 'qemu.qmp.qmp_shell', path], capture_output=True, text=True, timeout=60,
                           input=f'chardev-add id=c backend={{"type":"file","data":{{"out":"{k.root}/o"}}}}\nquery-name\n',
                           env=dict(os.environ, PYTHONPATH=f'{build}/qemu-python'))
    assert os.path.exists(f'{k.root}/o'), shell
    return ', '.join(said + ['qemu.qmp', 'qmp-shell'])


def absent(k):
    """Without kvmd it is refused at once; one that ends meanwhile, or hangs, leaves nothing half done."""
    raw, _, _ = images(k)
    path = machine(k)
    c = Client(path)
    k.kill()
    begun = time.monotonic()
    m = c.ask(add('n', raw, id_='x'), cmd('query-name', 2))
    assert m['id'] == 'x' and re.search('does not run.*add-fd|ended meanwhile', m['error']['desc']) and c.answer()['id'] == 2, m
    for command, args in (('chardev-add', {'id': 'c', 'backend': {'type': 'pty', 'data': {}}}), ('dump-guest-memory', {'paging': False, 'protocol': 'file:/nix/x'}),
                          ('netdev_add', {'type': 'tap', 'id': 'n'}), ('chardev-change', {'id': 'serial0', 'backend': {'type': 'pty', 'data': {}}})):
        c.fails('does not run', command, **args)
    assert time.monotonic() - begun < 5 * PATIENCE
    k.start()
    k.until(lambda: k.state('q') == 'running', 20, 'adopted')
    assert c.ask(add('n', raw, id_=3)) == {'return': {}, 'id': 3}
    c.run('blockdev-del', node_name='n')
    # it dies with the command unread, behind which others wait; also such as are the same
    for last in add('n', '/nix', id_=4), add('n', raw, id_=5):
        k.proc.send_signal(signal.SIGSTOP)
        c.send(add('n', raw, id_=4), last, cmd('query-name', 6))
        assert Client(path).run('query-name') == {'name': 'q'}, 'others do not wait'
        k.kill()
        got = [c.answer() for _ in range(3)]
        assert [m['id'] for m in got] == [4, last['id'], 6] and 'ended meanwhile' in got[0]['error']['desc'], got
        assert 'does not run' in got[1]['error']['desc'], got
        k.start()
        k.until(lambda: k.state('q') == 'running', 20, 'adopted')
        assert c.run('query-named-block-nodes') == []
    # anywhere between: done or not, and told
    done = 0
    for i in range(12):
        c.send(add('n', raw, id_=i), cmd('query-name', 'behind'))
        time.sleep(i * 0.0002)
        k.kill()
        m = c.answer()
        assert m['id'] == i and c.answer()['id'] == 'behind', m
        there = bool(c.run('query-named-block-nodes'))
        assert there or 'error' in m, m
        done += there
        if there:
            c.run('blockdev-del', node_name='n')
        assert raw not in files_of_pid(pid_of(path))
        k.start()
        k.until(lambda: k.state('q') == 'running', 20, 'adopted')
    assert c.ask(add('n', raw, id_=3)) == {'return': {}, 'id': 3}
    return f'{done} of 12 were done'


def pid_of(path):
    """The machine's process, from its socket's folder."""
    with open(f'{os.path.dirname(os.path.realpath(path))}/lock') as f:
        return int(re.search(r'\d+', f.read())[0])


def files_of_pid(pid):
    return {os.readlink(f'/proc/{pid}/fd/{n}') for n in os.listdir(f'/proc/{pid}/fd')}


def hangs(k):
    """kvmd that does not read: the client is told within its time, its connection ends, others go on."""
    raw, _, _ = images(k)
    path = machine(k)
    c = Client(path)
    k.proc.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        m = c.ask(add('n', raw, id_=1), add('n', raw, id_=2))
        assert m['id'] == 1 and m['error']['code'] == 'Timeout' and 25 < time.monotonic() - begun < 60 * PATIENCE, m
        try:
            raise Failed(f'its connection lives: {c.answer()}')
        except (Failed, ConnectionError) as e:
            assert 'ended' in str(e) or isinstance(e, ConnectionError), e
        d = Client(path)
        assert d.run('query-name') == {'name': 'q'}
    finally:
        k.proc.send_signal(signal.SIGCONT)
    k.until(lambda: k.ctl('version', check=False).returncode == 0, 20, 'kvmd goes on')
    assert d.run('query-named-block-nodes') == [], 'nothing is done later'
    assert d.ask(add('n', raw, id_=3)) == {'return': {}, 'id': 3}


def strangers(k):
    """Who may not use kvmd's socket may not have it open anything by way of a machine's."""
    if os.geteuid():
        skip('needs root: other users')
    raw, _, _ = images(k)
    path = os.path.realpath(machine(k))
    os.chmod(path, 0o666)           # as somebody may do who gives a machine away
    for folder in k.root, f'{k.root}/run', f'{k.root}/run/kvmd', f'{k.root}/run/kvmd/vm', os.path.dirname(path):
        os.chmod(folder, 0o755)
    script = f'''
import json, os, socket, sys
os.setgroups([]); os.setgid(54321); os.setuid(54321)
s = socket.socket(socket.AF_UNIX); s.connect({path!r}); f = s.makefile("rw")
for m in {{"execute": "qmp_capabilities"}}, {add('n', raw, id_=1)!r}, {{"execute": "query-name", "id": 2}}:
    f.write(json.dumps(m)); f.flush()
line = ""
while '"id":2' not in line:
    line = f.readline()
    if '"event"' not in line:
        print(line, end="")
'''
    p = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    got = [json.loads(x) for x in p.stdout.splitlines()]
    assert got[2]['id'] == 1 and got[2]['error']['code'] == 'AccessDenied' and 'add-fd' in got[2]['error']['desc'] and got[3]['id'] == 2, p
    # whom kvmd's own socket takes
    os.chown(f'{k.root}/run/kvmd/control.sock', 0, 54321)
    p = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    assert json.loads(p.stdout.splitlines()[2]) == {'return': {}, 'id': 1}, p


cases = {f.__name__: f for f in (disks, others, order, clients, absent, hangs, strangers)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
