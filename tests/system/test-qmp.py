#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP of a machine beside QEMU's own: test-qmp.py BUILD CASE…

The same dialogue goes to a machine of kvmd and to a QEMU 7.2 of the same size; answers are compared by shape: which keys,
which JSON types, which class of error. Where kvmd differs, `differences` below says so and why; a difference that is not
listed there is a failure, and so is a listed one that is not there any more.
"""
import array
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import Failed, need_kvm, run, skip  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()
MIB = 16

# command (or 'event NAME') -> {path: why}. A path is where in the answer: 'model.props', '[].qdev_id'; '+' before it: kvmd has a key more,
# '-': a key less, '~': another type or another kind of answer.
differences = {
    '*': {
        '+error.code': 'kvmd says the finer reason in a key of its own beside class and desc',
    },
    'event *': {
        '+seq': 'the number of the event: a client that comes back knows what it missed',
    },
    'query-cpus-fast': {'+[].props.die-id': 'QEMU gives die-id only when there are dies; kvmd always'},
    'query-hotpluggable-cpus': {'+[].props.die-id': 'the same'},
    'query-machines': {
        '-[].alias': 'kvmd has one machine, by one name',
    },
    'query-cpu-model-expansion': {
        'model.props': 'properties are features by libvirt\'s names; QEMU has knobs of its emulation there too',
    },
    'query-migrate-parameters': {f'-{k}': 'of compression, COLO and block migration as only QEMU had them, and has dropped since' for k in (
        'compress-level', 'compress-threads', 'compress-wait-thread', 'decompress-threads', 'xbzrle-cache-size', 'block-incremental',
        'x-checkpoint-delay')},
    'query-events': {'~': 'QEMU dropped the command in 6.0; libvirt of Debian 12 still knows it, so kvmd answers'},
    'exec-oob query-status': {'~': 'QEMU runs only a few commands out of band; kvmd all that change nothing'},
    'query-pci': {
        '~': 'the devices differ: another chipset',
        '-[].devices[].class_info.desc': 'a text for people: the class says it',
    },
    'blocks query-blockstats': {
        '-[].parent': 'kvmd counts where the guest asks, not at each file below',
        '-[].backing': 'the same',
    },
    'blocks block_resize smaller': {'~': 'what is cut off would be lost: kvmd refuses'},
    'paths blockdev-add in use': {'~': 'kvmd locks an image when it is opened; QEMU when a device writes'},
    'human-monitor-command': {'~': 'refused: there is no monitor for people'},
}

PROPS = {'socket-id': 0, 'core-id': 2, 'thread-id': 0}
# name (for `differences`; the command when None), message
dialogue = [
    (None, {'execute': 'query-status'}),
    (None, {'execute': 'query-version'}),
    (None, {'execute': 'query-name'}),
    (None, {'execute': 'query-uuid'}),
    (None, {'execute': 'query-kvm'}),
    (None, {'execute': 'query-target'}),
    (None, {'execute': 'query-commands'}),
    (None, {'execute': 'query-events'}),
    (None, {'execute': 'query-cpus-fast'}),
    (None, {'execute': 'query-hotpluggable-cpus'}),
    (None, {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'static', 'model': {'name': 'MODEL'}}}),
    (None, {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': {'name': 'MODEL'}}}),
    ('expansion bad type', {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'half', 'model': {'name': 'MODEL'}}}),
    ('expansion bad model', {'execute': 'query-cpu-model-expansion', 'arguments': {'type': 'full', 'model': {'name': 'nix'}}}),
    (None, {'execute': 'query-machines'}),
    (None, {'execute': 'query-current-machine'}),
    (None, {'execute': 'query-chardev'}),
    (None, {'execute': 'query-iothreads'}),
    (None, {'execute': 'query-jobs'}),
    (None, {'execute': 'query-block-jobs'}),
    (None, {'execute': 'query-memory-size-summary'}),
    (None, {'execute': 'query-memory-devices'}),
    (None, {'execute': 'query-balloon'}),
    (None, {'execute': 'balloon', 'arguments': {'value': 8 << 20}}),
    ('balloon nothing', {'execute': 'balloon', 'arguments': {}}),
    ('balloon zero', {'execute': 'balloon', 'arguments': {'value': 0}}),
    ('balloon text', {'execute': 'balloon', 'arguments': {'value': 'much'}}),
    (None, {'execute': 'query-block'}),
    (None, {'execute': 'query-blockstats'}),
    (None, {'execute': 'query-named-block-nodes'}),
    (None, {'execute': 'query-pci'}),
    (None, {'execute': 'query-rx-filter'}),
    (None, {'execute': 'query-migrate'}),
    (None, {'execute': 'query-migrate-parameters'}),
    (None, {'execute': 'query-migrate-capabilities'}),
    (None, {'execute': 'migrate_cancel'}),
    (None, {'execute': 'migrate-set-parameters', 'arguments': {'downtime-limit': 20, 'max-bandwidth': 1 << 30}}),
    (None, {'execute': 'query-migrate-parameters'}),
    ('migrate parameter nix', {'execute': 'migrate-set-parameters', 'arguments': {'nix': 1}}),
    ('migrate parameter range', {'execute': 'migrate-set-parameters', 'arguments': {'cpu-throttle-initial': 100}}),
    (None, {'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': [{'capability': 'events', 'state': False}]}}),
    ('migrate capability nix', {'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': [{'capability': 'nix', 'state': True}]}}),
    ('migrate-continue', {'execute': 'migrate-continue', 'arguments': {'state': 'pre-switchover'}}),
    (None, {'execute': 'migrate-pause'}),
    (None, {'execute': 'migrate-recover', 'arguments': {'uri': 'tcp:127.0.0.1:1'}}),
    (None, {'execute': 'migrate-start-postcopy'}),
    ('migrate-incoming', {'execute': 'migrate-incoming', 'arguments': {'uri': 'defer'}}),
    (None, {'execute': 'query-stats', 'arguments': {'target': 'vcpu'}}),
    (None, {'execute': 'query-stats', 'arguments': {'target': 'vm'}}),
    ('query-stats bad target', {'execute': 'query-stats', 'arguments': {'target': 'disk'}}),
    (None, {'execute': 'query-stats-schemas'}),
    (None, {'execute': 'query-acpi-ospm-status'}),
    (None, {'execute': 'query-dump'}),
    (None, {'execute': 'query-dump-guest-memory-capability'}),
    (None, {'execute': 'qom-list', 'arguments': {'path': '/machine/peripheral'}}),
    ('qom-list nix', {'execute': 'qom-list', 'arguments': {'path': '/machine/nix'}}),
    (None, {'execute': 'qom-get', 'arguments': {'path': '/machine', 'property': 'type'}}),
    ('qom-get nix', {'execute': 'qom-get', 'arguments': {'path': '/machine', 'property': 'nix'}}),
    ('qom-set nothing', {'execute': 'qom-set', 'arguments': {'path': '/machine/nix', 'property': 'x', 'value': 1}}),
    ('qom-set nix', {'execute': 'qom-set', 'arguments': {'path': '/machine', 'property': 'nix', 'value': 1}}),
    ('qom-set no value', {'execute': 'qom-set', 'arguments': {'path': '/machine', 'property': 'nix'}}),
    ('qom-get nothing', {'execute': 'qom-get', 'arguments': {'path': '/machine/nix', 'property': 'type'}}),
    (None, {'execute': 'getfd', 'arguments': {'fdname': 'x'}}),
    (None, {'execute': 'closefd', 'arguments': {'fdname': 'x'}}),
    (None, {'execute': 'add-fd', 'arguments': {}}),
    (None, {'execute': 'remove-fd', 'arguments': {'fdset-id': 3}}),
    (None, {'execute': 'query-fdsets'}),
    (None, {'execute': 'system_wakeup'}),
    (None, {'execute': 'human-monitor-command', 'arguments': {'command-line': 'info status'}}),
    (None, {'execute': 'screendump', 'arguments': {'filename': '/nix/x'}}),
    ('dump no fd', {'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'fd:nix'}}),
    ('dump bad protocol', {'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'nix'}}),
    (None, {'execute': 'inject-nmi'}),
    # ids of every kind
    ('id', {'execute': 'query-name', 'id': 'text'}), ('id', {'execute': 'query-name', 'id': 7}), ('id', {'execute': 'query-name', 'id': 1.5}),
    ('id', {'execute': 'query-name', 'id': True}), ('id', {'execute': 'query-name', 'id': None}),
    ('id', {'execute': 'query-name', 'id': [1, {'a': None}]}), ('id', {'execute': 'nix', 'id': {'a': [[]]}}),
    # wrong messages
    ('unknown', {'execute': 'nix'}),
    ('no execute', {}),
    ('no execute', {'id': 1}),
    ('execute no string', {'execute': 7}),
    ('arguments no object', {'execute': 'stop', 'arguments': []}),
    ('surplus argument', {'execute': 'stop', 'arguments': {'x': 1}}),
    ('surplus key', {'execute': 'stop', 'nix': 1}),
    ('negotiated twice', {'execute': 'qmp_capabilities'}),
    ('exec-oob query-status', {'exec-oob': 'query-status', 'id': 9}),
    ('exec-oob stop', {'exec-oob': 'stop', 'id': 10}),
    ('missing argument', {'execute': 'device_add', 'arguments': {'id': 'x'}}),
    ('mistyped argument', {'execute': 'device_add', 'arguments': {'driver': 7}}),
    ('device_add nix', {'execute': 'device_add', 'arguments': {'driver': 'nix'}}),
    ('device_add place', {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c2'}}),
    ('device_add range', {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c2', **PROPS, 'socket-id': 9}}),
    (None, {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c2', **PROPS}}),
    ('device_add twice', {'execute': 'device_add', 'arguments': {'driver': 'DRIVER', 'id': 'c3', **PROPS}}),
    (None, {'execute': 'query-cpus-fast'}),
    (None, {'execute': 'query-hotpluggable-cpus'}),
    (None, {'execute': 'qom-list', 'arguments': {'path': '/machine/peripheral'}}),
    ('qom-get core', {'execute': 'qom-get', 'arguments': {'path': '/machine/peripheral/c2', 'property': 'core-id'}}),
    ('device_del nix', {'execute': 'device_del', 'arguments': {'id': 'nix'}}),
    ('device_del boot', {'execute': 'device_del', 'arguments': {'id': '/machine/unattached/device[0]'}}),
    (None, {'execute': 'cont'}),
    (None, {'execute': 'query-status'}),
    (None, {'execute': 'stop'}),
    (None, {'execute': 'query-status'}),
    (None, {'execute': 'system_reset'}),
    (None, {'execute': 'query-status'}),
]


def kind(v):
    return {dict: 'object', list: 'array', str: 'string', bool: 'boolean', int: 'number', float: 'number', type(None): 'null'}[type(v)]


def merge(values):
    """One value that stands for all entries of a list: the union of their keys."""
    if not values:
        return None
    if all(isinstance(v, dict) for v in values):
        return {k: merge([v[k] for v in values if k in v]) for v in values for k in v}
    if all(isinstance(v, list) for v in values):
        return [x for v in values for x in v]
    return values[0]


def compare(theirs, ours, path=''):
    """Paths at which they differ."""
    if kind(theirs) != kind(ours):
        return {f'~{path}'}
    if isinstance(theirs, list):
        a, b = merge(theirs), merge(ours)
        return compare(a, b, path + '[]') if theirs and ours else set()
    out = set()
    if isinstance(theirs, dict):
        dot = path + '.' if path else ''
        out |= {f'-{dot}{k}' for k in theirs.keys() - ours.keys()} | {f'+{dot}{k}' for k in ours.keys() - theirs.keys()}
        for k in theirs.keys() & ours.keys():
            out |= compare(theirs[k], ours[k], dot + k)
    return out


class Client:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60)
        self.s.connect(path)
        self.buf = b''
        self.events = []
        self.greeting = self.read()

    def read(self):
        while b'\n' not in self.buf:
            got = self.s.recv(1 << 20)
            if not got:
                raise Failed('the connection ended')
            self.buf += got
        line, self.buf = self.buf.split(b'\n', 1)
        return json.loads(line)

    def send(self, message, fds=()):
        data = (message if isinstance(message, bytes) else json.dumps(message).encode()) + b'\n'
        if fds:
            self.s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))])
        else:
            self.s.sendall(data)

    def answer(self):
        while True:
            m = self.read()
            if 'event' not in m:
                return m
            self.events.append(m)

    def ask(self, message, fds=()):
        self.send(message, fds)
        return self.answer()

    def run(self, command, **arguments):
        m = self.ask({'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}})
        if 'error' in m:
            raise Failed(f'{command}: {m["error"]}')
        return m['return']

    def wait(self, name):
        while True:
            for e in self.events:
                if e['event'] == name:
                    self.events.remove(e)
                    return e
            m = self.read()
            if 'event' in m:
                self.events.append(m)


def machine(k, name='q', current=1, guest='spin', disks=''):
    k.define(f'''<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>{MIB}</memory>
  <vcpu current='{current}'>4</vcpu>
  <os><type arch='x86_64'>hvm</type><kernel>{build}/tests/guest/flat/flat-{guest}</kernel></os>
  <features><acpi/></features>
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <memballoon model='none'/>
    {disks}
  </devices>
</domain>''')
    k.ctl('start', name, '--paused')
    return k.json('dominfo', name)['qmp']


class Qemu:
    def __init__(self, *options):
        if not shutil.which('qemu-system-x86_64'):
            skip('qemu-system-x86 is not installed')
        self.dir = tempfile.mkdtemp(prefix='kvmd-qemu-')
        self.path = f'{self.dir}/qmp'
        self.proc = subprocess.Popen(['qemu-system-x86_64', '-M', 'pc,accel=kvm', '-S', '-nodefaults', '-display', 'none', '-m', str(MIB),
                                      '-smp', '1,maxcpus=4', '-name', 'q', '-serial', 'pty', '-qmp', f'unix:{self.path},server=on,wait=off', *options],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                self.client = Client(self.path)
                return
            except OSError:
                if time.monotonic() > end or self.proc.poll() is not None:
                    raise Failed('QEMU does not start')
                time.sleep(0.05)

    def close(self):
        self.proc.terminate()
        self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def fill(message, client):
    """What each calls its own model."""
    text = json.dumps(message)
    if 'MODEL' in text or 'DRIVER' in text:
        driver = client.run('query-hotpluggable-cpus')[0]['type']
        text = text.replace('DRIVER', driver).replace('MODEL', driver[:-len('-x86_64-cpu')])
    return json.loads(text)


def judge(name, theirs, ours, seen, wrong):
    allowed = dict(differences['event *' if name.startswith('event ') else '*'])
    allowed.update(differences.get(name, {}))
    if 'id' in theirs or 'id' in ours:
        if ('id' in theirs, theirs.get('id')) != ('id' in ours, ours.get('id')):
            wrong.append(f'{name}: id {theirs.get("id")!r} came back as {ours.get("id")!r}')
    which = [next(iter({'return', 'error', 'event'} & m.keys())) for m in (theirs, ours)]
    found = set()
    if which[0] != which[1]:
        found = {'~'}
    elif which[0] == 'error':
        found = compare(theirs, ours)
        if theirs['error']['class'] != ours['error']['class']:
            found.add('~error.class')
    elif which[0] == 'return':
        found = compare(theirs['return'], ours['return'])
    else:
        found = compare(theirs, ours)
    for path in found:
        skip_ = [a for a in allowed if a == path or (a[0] not in '+-~' and path[1:].startswith(a)) or (a == '~' and path != '~' and which[0] != 'error')]
        if not skip_:
            wrong.append(f'{name}: {path}: QEMU {json.dumps(theirs)[:300]}; kvmd {json.dumps(ours)[:300]}')
        seen.update((name, a) for a in skip_)


# --- cases ---

def conformance(k):
    ours = Client(machine(k))
    q = Qemu()
    wrong, seen = [], set()
    try:
        theirs = q.client
        found = compare(theirs.greeting, ours.greeting)
        assert not found, found
        for name, message in [('before', {'execute': 'query-status'}), ('before', {'execute': 'nix', 'id': 3}),
                              ('oob before', {'exec-oob': 'query-status'}),
                              ('bad capability', {'execute': 'qmp_capabilities', 'arguments': {'enable': ['nix']}}),
                              ('negotiate', {'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}})]:
            judge(name, theirs.ask(message), ours.ask(message), seen, wrong)
        for name, message in dialogue:
            a, b = theirs.ask(fill(message, theirs)), ours.ask(fill(message, ours))
            judge(name or message['execute'], a, b, seen, wrong)
        for name in 'RESUME', 'STOP', 'RESET':
            judge(f'event {name}', theirs.wait(name), ours.wait(name), seen, wrong)
    finally:
        q.close()
    gone = [f'{n}: {a}' for n, paths in differences.items() if '*' not in n and not n.startswith(('blocks ', 'paths ')) for a in paths
            if (n, a) not in seen]
    assert not wrong and not gone, '\n# '.join(['differences that are not listed:'] + wrong + ['listed, but not there any more:'] + gone)
    return f'{len(dialogue)} commands, {len({s for s in seen if s[1] not in ("+error.code", "+seq")})} differences, all listed'


LIMITS = {'bps': 0, 'bps_rd': 0, 'bps_wr': 0, 'iops': 0, 'iops_rd': 0, 'iops_wr': 0}


# What a client may write, byte by byte: read by both, or refused by both.
texts = [
    b"{'execute':'query-name'}", b"{\"execute\":'query-name', 'id': \"x'y\"}", b"{'execute':'query-name','id':'a\"b'}", b"{'execute':'query-name','id':'it\\'s'}",
    b'{"execute":"query-name","id":"it\\\'s"}', b"{'execute':'query-name','id':'a\\\"b'}", b"{'execute':'query-name','id':'\\u0041\\\\'}", b"{'execute':'query-name','id':''}",
    b"{'execute':'query-name','id':\"}{'\"}", b'{ "execute" :\n "query-name",\r\n "id":\t3 }', b'{"execute":"query-name","id":1}{"execute":"query-name","id":2}',
    b'\r\n\t {"execute":"query-name","id":8}\r', b'{"execute":"query-name","arguments":{},"id":[]}', b'{"execute":"query-name","id":"\\u00e4\xc3\xa4\\/"}',
    b'{"execute":"query-name","id":-0}', b'{"execute":"query-name","id":1e5}', b'{"execute":"query-name","id":18446744073709551615}',
    # out of a message that has no end
    b'\xff{"execute":"query-name","id":1}', b'{"execute":"quer\xff{"execute":"query-name","id":2}', b'{"execute":[\x01{"execute":"query-name","id":2}',
    b'}{"execute":"query-name","id":5}', b"{'execute':'\x1f{'execute':'query-name','id':5}",
    # no JSON, here as there
    b"{'execute\":'query-name'}", b'{"execute":"query-name","id":"a\nb"}', b'{"execute":"query-name","id":"a\tb"}', b"{'execute':'query-name','id':'a\tb'}",
    b'{"execute":"query-name","id":01}', b'{"execute":"query-name","id":1,}', b'{"execute":"query-name","id":[1,]}', b'{/**/"execute":"query-name"}',
    b'{"execute":"query-name","id":%d}', b'%s', b'{"execute":"query-name","id":NaN}', b'{"execute":"query-name","id":True}', b'{"execute":"query-name","id":.5}',
    b'{"execute":"query-name","id":+5}', b'{"execute":"query-name","id":"\\x"}', b"{'execute':'query-name','id':'\\x'}", b'{"execute":"query-name" "id":1}',
    b'{"execute":"query-name","id":1,"id":2}', b"{'execute':'query-name','id':1,\"id\":2}", b'{execute:"query-name"}', b'{"execute":"query-name","id":"\xc3("}',
    b"{'execute':'query-name','id':'\xed\xa0\x80'}", b'{"execute":"query-name","id":"\xfe"}', b']', b'{]', b'[}', b'"s"', b'[1]', b'hello', b'{"execute":"query-name","arguments":null}',
    b'{' * 2000,
]


def text(k):
    """What is JSON and what is none: the same bytes to both, as hand-written clients send them."""
    def ask(c, data):
        """Kinds and ids of the answers; of errors in a row (QEMU tells some for what follows the wrong byte, too) the first."""
        got = []
        c.send(data + b'\n\x01' + b'{"execute":"query-name","id":"end"}')
        while not got or got[-1] != ('return', 'end'):
            m = c.answer()
            now = ('error' if 'error' in m else 'return', m.get('id'))
            if not got or now[0] == 'return' or got[-1] != now:
                got.append(now)
        return got
    ours, q, wrong = Client(machine(k)), Qemu(), []
    try:
        for c in ours, q.client:
            c.run('qmp_capabilities')
        for data in texts:
            a, b = ask(q.client, data), ask(ours, data)
            if a != b:
                wrong.append(f'{data[:80]}: QEMU {a}; kvmd {b}')
    finally:
        q.close()
    assert not wrong, '\n# '.join(wrong)
    return f'{len(texts)} texts'


def blocks(k):
    """Disks: what is told of them, their counters, sizes and limits, beside QEMU with the same images."""
    def images(folder):
        os.mkdir(folder)
        raw, base, top = (f'{folder}/{n}' for n in ('raw.img', 'base.qcow2', 'top.qcow2'))
        for args in (['-f', 'raw', raw, '8M'], ['-f', 'qcow2', base, '16M'], ['-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', top]):
            subprocess.run(['qemu-img', 'create', '-q', *args], check=True)
        return raw, base, top

    if not shutil.which('qemu-img'):
        skip('qemu-img is not installed')
    raw, base, top = images(f'{k.root}/kvmd')
    path = machine(k, disks=f'''<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{raw}'/>
      <target dev='vda' bus='virtio'/></disk>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{top}'/><target dev='vdb' bus='virtio'/>
      <iotune><total_bytes_sec>1000000</total_bytes_sec></iotune></disk>''')
    qraw, _, qtop = images(f'{k.root}/qemu')
    ours, wrong, seen = Client(path), [], set()
    q = Qemu('-drive', f'file={qraw},format=raw,if=none,id=drive-virtio-disk0', '-device', 'virtio-blk-pci,drive=drive-virtio-disk0,id=virtio-disk0',
             '-drive', f'file={qtop},format=qcow2,if=none,id=drive-virtio-disk1,bps=1000000', '-device',
             'virtio-blk-pci,drive=drive-virtio-disk1,id=virtio-disk1')
    device = '/machine/peripheral/virtio-disk0/virtio-backend'
    asked = [(None, n, {}) for n in ('query-block', 'query-blockstats', 'query-named-block-nodes')]
    asked += [('block_resize ' + n, 'block_resize', a) for n, a in (
        ('nix', {'device': 'nix', 'size': 1 << 20}), ('nix', {'node-name': 'nix', 'size': 1 << 20}), ('none', {'size': 1 << 20}),
        ('both', {'device': 'a', 'node-name': 'b', 'size': 1 << 20}), ('negative', {'device': 'drive-virtio-disk0', 'size': -1}),
        ('no size', {'device': 'drive-virtio-disk0'}), ('raw', {'device': 'drive-virtio-disk0', 'size': 12 << 20}),
        ('odd', {'device': 'drive-virtio-disk0', 'size': (12 << 20) + 1000}), ('qcow2', {'device': 'drive-virtio-disk1', 'size': 1 << 40}),
        ('smaller', {'device': 'drive-virtio-disk0', 'size': 1 << 20}))]
    asked += [('throttle ' + n, 'block_set_io_throttle', {**({} if n == 'none' else {'id': device}), **LIMITS, **a}) for n, a in (
        ('none', {}), ('nix', {'id': 'nix'}), ('both', {'device': 'drive-virtio-disk0'}), ('contradiction', {'bps': 1, 'bps_rd': 1}),
        ('negative', {'bps': -1}), ('burst below', {'bps': 1000, 'bps_max': 10}), ('burst alone', {'bps_max': 10}),
        ('length alone', {'bps': 100, 'bps_max_length': 3}), ('size alone', {'iops_size': 4096}), ('too much', {'iops': 10**16}),
        ('all', {'bps_rd': 1000, 'bps_rd_max': 2000, 'bps_rd_max_length': 3, 'iops': 10, 'iops_max': 20, 'iops_size': 4096, 'group': 'g'}),
        ('stays', {'bps': 77777}))]
    asked.append((None, 'query-block', {}))
    try:
        for c in ours, q.client:
            c.run('qmp_capabilities')
        for name, command, args in asked:
            message = {'execute': command, 'arguments': args}
            judge(f'blocks {name or command}', q.client.ask(message), ours.ask(message), seen, wrong)
        gone = [f'{n}: {a}' for n, paths in differences.items() if n.startswith('blocks ') for a in paths if (n, a) not in seen]
        assert not wrong and not gone, '\n# '.join(wrong + gone)
        theirs, mine = q.client.run('query-block'), ours.run('query-block')
    finally:
        q.close()
    for a in theirs:
        b = [x for x in mine if x['device'] == a['device']][0]
        for key in 'bps', 'bps_rd', 'iops', 'group', 'iops_size', 'bps_rd_max', 'drv', 'ro', 'backing_file_depth', 'detect_zeroes', 'cache', 'encrypted':
            assert a['inserted'].get(key) == b['inserted'].get(key), (key, a, b)
        assert a['device'] == 'drive-virtio-disk0' or a['inserted']['image']['virtual-size'] == b['inserted']['image']['virtual-size'], (a, b)
        for key in 'format', 'cluster-size', 'format-specific', 'backing-filename', 'backing-filename-format', 'dirty-flag':
            assert a['inserted']['image'].get(key) == b['inserted']['image'].get(key), (key, a, b)
        assert a['io-status'] == b['io-status'] == 'ok' and a['removable'] == b['removable']
    xml = k.ctl('dumpxml', 'q').stdout
    assert '<total_bytes_sec>77777</total_bytes_sec>' in xml and '<group_name>g</group_name>' in xml, xml
    k.ctl('destroy', 'q')
    for path, size in ((raw, (12 << 20) + 1024), (top, 1 << 40)):
        info = json.loads(subprocess.run(['qemu-img', 'info', '--output', 'json', path], capture_output=True, check=True).stdout)
        assert info['virtual-size'] == size, info
    subprocess.run(['qemu-img', 'check', '-q', top], check=True)
    return f'{len(asked)} questions'


def media(k):
    """Media of drives and back ends of character devices, as QEMU's IDE drive and serial port have them."""
    iso, hard = f'{k.root}/a.iso', f'{k.root}/h.img'
    for path in iso, hard:
        with open(path, 'wb') as f:
            f.write(bytes(1 << 20))
    ours = Client(machine(k, disks="<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>"
                          f"<disk><source file='{hard}'/><target dev='vda'/></disk>"))
    hard2 = hard + '2'
    shutil.copy(hard, hard2)
    q = Qemu('-drive', 'if=none,id=drive-ide0-0-0,media=cdrom', '-device', 'ide-cd,drive=drive-ide0-0-0,id=cd', '-drive',
             f'if=none,id=hd,format=raw,file={hard2}', '-device', 'virtio-blk-pci,drive=hd,id=hd0')
    wrong, seen = [], set()
    try:
        names = [{'DRIVE': 'cd', 'HARD': 'hd0', 'SERIAL': q.client.run('qmp_capabilities') or 'serial0'}]
        ours.run('qmp_capabilities')
        names.append({'DRIVE': [b['qdev'] for b in ours.run('query-block') if b['removable']][0], 'HARD': 'vda', 'SERIAL': 'serial0'})
        for c in q.client, ours:
            with open(iso, 'rb') as f:
                c.ask({'execute': 'add-fd', 'arguments': {'fdset-id': 1}}, [f.fileno()])
        empty = {'type': 'null', 'data': {}}
        medium = {'filename': '/dev/fdset/1', 'format': 'raw', 'read-only-mode': 'read-only'}
        for name, command, args in (
                ('hard', 'eject', {'id': 'HARD'}), ('nix', 'eject', {'id': 'nix'}), ('nix', 'eject', {'device': 'nix'}), ('none', 'eject', {}),
                ('both', 'eject', {'id': 'a', 'device': 'b'}), ('put in', 'blockdev-change-medium', {'id': 'DRIVE', **medium}), ('out', 'eject', {'id': 'DRIVE'}),
                ('again', 'eject', {'id': 'DRIVE', 'force': True}), ('in', 'blockdev-change-medium', {'id': 'DRIVE', **medium}),
                ('hard', 'blockdev-change-medium', {'id': 'HARD', **medium}), ('nix', 'blockdev-change-medium', {'id': 'nix', **medium}),
                ('no file', 'blockdev-change-medium', {'id': 'DRIVE'}), ('format', 'blockdev-change-medium', {'id': 'DRIVE', **medium, 'format': 'nix'}),
                ('mode', 'blockdev-change-medium', {'id': 'DRIVE', **medium, 'read-only-mode': 'nix'}),
                ('', 'chardev-change', {'id': 'SERIAL', 'backend': empty}), ('nix', 'chardev-change', {'id': 'nix', 'backend': empty}),
                ('type', 'chardev-change', {'id': 'SERIAL', 'backend': {'type': 'nix', 'data': {}}}), ('no data', 'chardev-change', {'id': 'SERIAL', 'backend': {'type': 'null'}}),
                ('', 'chardev-add', {'id': 'c', 'backend': empty}), ('twice', 'chardev-add', {'id': 'c', 'backend': empty}),
                ('no such bus', 'device_add', {'driver': 'virtserialport', 'chardev': 'c', 'bus': 'nix.0'}), ('nix', 'chardev-remove', {'id': 'nix'}), ('', 'chardev-remove', {'id': 'c'}),
                ('ring', 'chardev-add', {'id': 'r', 'backend': {'type': 'ringbuf', 'data': {'size': 64}}}), ('ring', 'chardev-remove', {'id': 'r'}),
                ('odd ring', 'chardev-add', {'id': 'r', 'backend': {'type': 'ringbuf', 'data': {'size': 60}}}),
                ('no ring', 'ringbuf-read', {'device': 'SERIAL', 'size': 1}), ('nix', 'ringbuf-read', {'device': 'nix', 'size': 1}),
                ('no ring', 'ringbuf-write', {'device': 'SERIAL', 'data': 'x'}), ('format', 'ringbuf-read', {'device': 'SERIAL', 'size': 1, 'format': 'nix'}),
                ('ring', 'chardev-change', {'id': 'SERIAL', 'backend': {'type': 'ringbuf', 'data': {}}}),
                ('none', 'ringbuf-read', {'device': 'SERIAL', 'size': 0}), ('', 'ringbuf-write', {'device': 'SERIAL', 'data': 'kvmd'}),
                ('', 'ringbuf-read', {'device': 'SERIAL', 'size': 100}), ('empty', 'ringbuf-read', {'device': 'SERIAL', 'size': 100}),
                ('base64', 'ringbuf-write', {'device': 'SERIAL', 'data': 'a3ZtZA==', 'format': 'base64'}),
                ('base64', 'ringbuf-read', {'device': 'SERIAL', 'size': 2, 'format': 'base64'}), ('rest', 'ringbuf-read', {'device': 'SERIAL', 'size': 2}),
                ('udp', 'chardev-add', {'id': 'u', 'backend': {'type': 'udp', 'data': {'remote': {'type': 'inet', 'data': {'host': '127.0.0.1', 'port': '9'}}}}}),
                ('udp', 'chardev-remove', {'id': 'u'}),
                ('tcp', 'chardev-add', {'id': 't', 'backend': {'type': 'socket', 'data': {'wait': False, 'addr': {'type': 'inet', 'data': {'host': '127.0.0.1', 'port': '0'}}}}}),
                ('tcp', 'chardev-remove', {'id': 't'}),
                ('reconnect', 'chardev-add', {'id': 't', 'backend': {'type': 'socket', 'data': {'reconnect': 1, 'addr': {'type': 'inet', 'data': {'host': '127.0.0.1', 'port': '0'}}}}}),
                ('fifo', 'chardev-add', {'id': 'p', 'backend': {'type': 'pipe', 'data': {'device': f'{k.root}/nix'}}})):
            answers = [c.ask({'execute': command, 'arguments': {n: v if not isinstance(v, str) else who.get(v, v) for n, v in args.items()}})
                       for c, who in zip((q.client, ours), names)]
            judge(f'media {command} {name}', *answers, seen, wrong)
        for c in q.client, ours:
            block = [b for b in c.run('query-block') if b['removable']][0]
            assert block['tray_open'] is False and block['inserted']['ro'] and block['inserted']['image']['virtual-size'] == 1 << 20, block
        events = [[e for e in c.events if e['event'] == 'DEVICE_TRAY_MOVED'] for c in (q.client, ours)]
        assert [e['data']['tray-open'] for e in events[0]] == [e['data']['tray-open'] for e in events[1]], events
        judge('event DEVICE_TRAY_MOVED', events[0][0], events[1][0], seen, wrong)
        assert not wrong, '\n# '.join(wrong)
    finally:
        q.close()


def paths(k):
    """What is named by its path, at the machine's own socket: the same answers as QEMU's."""
    if not shutil.which('qemu-img'):
        skip('qemu-img is not installed')
    ours, q, wrong, seen = Client(machine(k)), Qemu(), [], set()
    try:
        clients_ = (q.client, 'qemu'), (ours, 'kvmd')
        for c, who in clients_:
            c.run('qmp_capabilities')
            os.mkdir(f'{k.root}/{who}')
            for args in (['-f', 'raw', 'raw', '8M'], ['-f', 'qcow2', 'base', '16M'], ['-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'top']):
                subprocess.run(['qemu-img', 'create', '-q', *args], check=True, cwd=f'{k.root}/{who}')

        def node(name, file, driver='raw', **more):
            return {'driver': driver, 'node-name': name, 'file': {'driver': 'file', 'filename': file}, **more}

        def pty(name):
            return {'id': name, 'backend': {'type': 'pty', 'data': {}}}
        for name, command, args in (
                ('', 'blockdev-add', node('a', 'DIR/raw')), ('twice', 'blockdev-add', node('a', 'DIR/base')), ('in use', 'blockdev-add', node('b', 'DIR/raw')),
                ('no file', 'blockdev-add', node('b', 'DIR/nix')), ('folder', 'blockdev-add', node('b', 'DIR')), ('driver', 'blockdev-add', node('b', 'DIR/raw', 'nix')),
                ('surplus', 'blockdev-add', node('b', 'DIR/raw', nix=1)), ('no format', 'blockdev-add', node('b', 'DIR/base', 'qcow2', **{'read-only': 7})),
                ('is not', 'blockdev-add', node('b', 'DIR/base', 'qcow2', **{'detect-zeroes': 'nix'})),
                ('chain', 'blockdev-add', node('t', 'DIR/top', 'qcow2')), ('bare', 'blockdev-add', {'driver': 'file', 'node-name': 'f', 'filename': 'DIR/base', 'read-only': True}),
                ('', 'blockdev-del', {'node-name': 'a'}), ('again', 'blockdev-add', node('a', 'DIR/raw', **{'read-only': True})), ('', 'blockdev-del', {'node-name': 't'}),
                ('file', 'chardev-add', {'id': 'f', 'backend': {'type': 'file', 'data': {'out': 'DIR/out'}}}), ('pty', 'chardev-add', pty('p')), ('twice', 'chardev-add', pty('p')),
                ('unix', 'chardev-add', {'id': 'u', 'backend': {'type': 'socket', 'data': {'addr': {'type': 'unix', 'data': {'path': 'DIR/s'}}, 'server': True, 'wait': False}}}),
                ('no file', 'chardev-add', {'id': 'n', 'backend': {'type': 'file', 'data': {'out': 'DIR/nix/x'}}}), ('pty', 'chardev-change', pty('serial0')),
                ('file', 'dump-guest-memory', {'paging': False, 'protocol': 'file:DIR/core'}), ('folder', 'dump-guest-memory', {'paging': False, 'protocol': 'file:DIR'})):
            answers = []
            for c, who in clients_:
                answers.append(c.ask(json.loads(json.dumps({'execute': command, 'arguments': args, 'id': name}).replace('DIR', f'{k.root}/{who}'))))
            judge(f'paths {command} {name}', *answers, seen, wrong)
        gone = [f'{n}: {a}' for n, found in differences.items() if n.startswith('paths ') for a in found if (n, a) not in seen]
        assert not wrong and not gone, '\n# '.join(wrong + gone)
    finally:
        q.close()


def schema(k):
    """query-qmp-schema is whole, what commands answer is what it says, and arguments are those of QEMU's."""
    c = Client(machine(k))
    c.run('qmp_capabilities')
    infos = c.run('query-qmp-schema')
    types = {i['name']: i for i in infos}
    assert len(types) == len(infos), 'a name comes twice'

    def check(value, type_, path):
        t = types[type_]
        meta = t['meta-type']
        if meta == 'builtin':
            want = {'value': kind(value), 'int': 'number'}.get(t['json-type'], t['json-type'])
            assert kind(value) == want, f'{path}: {value!r} is no {type_}'
        elif meta == 'array':
            assert kind(value) == 'array', f'{path}: {value!r} is no array'
            for i, v in enumerate(value):
                check(v, t['element-type'], f'{path}[{i}]')
        elif meta == 'enum':
            assert value in t['values'], f'{path}: {value!r} is not in {t["values"]}'
        else:
            assert kind(value) == 'object', f'{path}: {value!r} is no object'
            members = {m['name']: m for m in t['members']}
            assert not value.keys() - members.keys(), f'{path}: {value.keys() - members.keys()}'
            for n, m in members.items():
                if n in value:
                    check(value[n], m['type'], f'{path}.{n}')
                else:
                    assert 'default' in m, f'{path}.{n} is missing'

    for i in infos:
        for key in 'arg-type', 'ret-type', 'element-type':
            assert key not in i or i[key] in types, i
        for m in i.get('members', []) if i['meta-type'] == 'object' else []:
            assert m['type'] in types, (i, m)
    names = {n['name'] for n in c.run('query-commands')}
    assert names == {i['name'] for i in infos if i['meta-type'] == 'command'}
    assert {n['name'] for n in c.run('query-events')} == {i['name'] for i in infos if i['meta-type'] == 'event'}
    asked = 0
    for name, message in dialogue:
        r = c.ask(fill(message, c))
        if 'return' in r and 'execute' in message:
            check(r['return'], types[message['execute']]['ret-type'], message['execute'])
            asked += 1
    for e in c.events:
        check(e.get('data', {}), types[e['event']]['arg-type'], e['event'])
    # what no command may do: take wrong arguments
    for name in sorted(names - {'quit', 'qmp_capabilities'}):
        for bad in ({'no-such-key': 1}, {'no-such-key': None}):
            r = c.ask({'execute': name, 'arguments': bad})
            assert r.get('error', {}).get('class') == 'GenericError', (name, bad, r)
        members = types[types[name]['arg-type']]['members']
        for m in members:
            if types[m['type']]['meta-type'] == 'builtin' and m['type'] != 'any':
                r = c.ask({'execute': name, 'arguments': {m['name']: {'wrong': 'type'}}})
                assert 'error' in r, (name, m, r)
    q = Qemu()
    try:
        q.client.run('qmp_capabilities')
        theirs = {i['name']: i for i in q.client.run('query-qmp-schema')}
    finally:
        q.close()
    # QEMU takes them, its schema does not say so: they are the device's properties
    extra = {'device_add': {'socket-id', 'die-id', 'core-id', 'thread-id', 'netdev', 'drive', 'mac', 'addr', 'serial', 'chardev', 'name', 'nr'}}
    # QEMU makes a name up when a client gives none, and nobody can use the node then
    needed = {('blockdev-add', 'node-name')}
    wrong = []

    def members(name):
        """Those of an object, and of all its variants, which are not needed then."""
        t = theirs[name]
        found = {m['name']: m for m in t.get('members', [])}
        for v in t.get('variants', []):
            for n, m in members(v['type']).items():
                found.setdefault(n, dict(m, default=None))
        return found
    for name in names:
        t = theirs.get(name)
        if not t or t['meta-type'] != 'command':
            continue
        a = members(t['arg-type'])
        b = {m['name']: m for m in types[types[name]['arg-type']]['members']}
        for n in b.keys() - a.keys() - extra.get(name, set()):
            wrong.append(f'{name}: QEMU has no argument {n}')
        for n in a.keys() - b.keys():
            if 'default' not in a[n]:
                wrong.append(f'{name}: kvmd lacks the argument {n}')
        for n in a.keys() & b.keys():
            if ('default' in a[n]) != ('default' in b[n]) and (name, n) not in needed:
                wrong.append(f'{name}: {n} is {"optional" if "default" in a[n] else "needed"} for QEMU')
    assert not wrong, '\n# '.join(wrong)
    own = sorted(n for n in names if n not in theirs)
    return f'{len(names)} commands, {asked} answers true to it; not QEMU\'s: {", ".join(own)}'


def order(k):
    """In-band commands are answered in order, also behind one that takes its time; out of band overtakes; nothing is lost."""
    path = machine(k)
    c = Client(path)
    assert 'return' in c.ask({'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}})
    c.run('cont')
    batch = b'\n'.join(json.dumps({'execute': n, 'id': i}).encode() for i, n in enumerate(['stop', 'query-status', 'cont', 'query-status'] * 40))
    c.send(batch)
    for i in range(160):
        r = c.answer()
        assert r['id'] == i and 'return' in r, (i, r)
        if i % 4 in (1, 3):
            assert r['return']['running'] == (i % 4 == 3), (i, r)
    c.send({'execute': 'stop', 'id': 1})
    c.send({'exec-oob': 'query-status', 'id': 2})
    assert {c.answer()['id'], c.answer()['id']} == {1, 2}
    # garbage is answered and does no harm
    for bad in (b'nix', b'[]', b'7', b'"x"', b'{"execute":}', b'}', b'{"a":1,"a":2}', b'\xff', b'{"execute":"stop\\u0000"}'):
        assert c.ask(bad)['error']['class'] in ('GenericError', 'CommandNotFound'), bad
    c.send(b' ' * 10 + b'{"execute": "query-name"}   \r')
    assert c.answer()['return'] == {'name': 'q'}
    e = c.wait('STOP')
    assert set(e['timestamp']) == {'seconds', 'microseconds'} and abs(e['timestamp']['seconds'] - time.time()) < 600
    # a second client sees the events too, a third that does not negotiate none
    d, quiet = Client(path), Client(path)
    d.run('qmp_capabilities')
    c.run('cont')
    d.wait('RESUME')
    quiet.s.settimeout(0.3)
    try:
        m = quiet.read()
        raise Failed(f'not negotiated, and got {m}')
    except TimeoutError:
        pass
    # an event reader that never reads is cut off, others go on
    begun = time.monotonic()
    for _ in range(1500):
        c.run('query-commands')
    return f'{(time.monotonic() - begun) / 1500 * 1e6:.0f} us for a query-commands'


def descriptors(k):
    path = machine(k)
    c = Client(path)
    c.run('qmp_capabilities')
    r, w = os.pipe()
    assert c.ask({'execute': 'getfd', 'arguments': {'fdname': 'x'}}, [w]) == {'return': {}}
    assert c.ask({'execute': 'getfd', 'arguments': {'fdname': 'x'}}, [w]) == {'return': {}}    # replaces
    assert 'error' in c.ask({'execute': 'getfd', 'arguments': {'fdname': 'y'}}, [r, w])
    assert 'error' in c.ask({'execute': 'query-name', 'arguments': {'x': 1}}, [w])
    os.close(w)
    assert c.run('closefd', fdname='x') == {}
    assert os.read(r, 1) == b'', 'every copy of the pipe is closed'
    a = c.ask({'execute': 'add-fd', 'arguments': {'opaque': 'note'}}, [r])['return']
    b = c.ask({'execute': 'add-fd', 'arguments': {'fdset-id': a['fdset-id']}}, [r])['return']
    assert a['fdset-id'] == b['fdset-id'] and a['fd'] != b['fd']
    assert 'error' in c.ask({'execute': 'add-fd', 'arguments': {'fdset-id': -1}}, [r])
    sets = c.run('query-fdsets')
    assert len(sets) == 1 and len(sets[0]['fds']) == 2 and sets[0]['fds'][0]['opaque'] == 'note', sets
    assert c.run('remove-fd', fdset_id=a['fdset-id'], fd=a['fd']) == {}
    assert c.run('remove-fd', fdset_id=a['fdset-id']) == {}
    assert c.run('query-fdsets') == []
    for i in range(70):
        m = c.ask({'execute': 'getfd', 'arguments': {'fdname': f'n{i}'}}, [r])
        assert ('return' in m) == (i < 64), (i, m)
    os.close(r)


def dump(k):
    """An ELF core of a running guest that readelf and gdb can read."""
    path = machine(k, current=3)
    c = Client(path)
    c.run('qmp_capabilities')
    c.run('cont')
    name = f'{k.root}/core'
    with open(name, 'wb') as f:
        assert c.ask({'execute': 'getfd', 'arguments': {'fdname': 'core'}}, [f.fileno()]) == {'return': {}}
    assert c.run('dump-guest-memory', paging=False, protocol='fd:core') == {}
    assert c.run('query-dump') == {'status': 'completed', 'completed': MIB << 20, 'total': MIB << 20}
    for e in 'STOP', 'DUMP_COMPLETED', 'RESUME':
        e = c.wait(e)
    assert c.run('query-status')['running']
    with open(name, 'rb') as f:
        data = f.read()
    kernel = open(f'{build}/tests/guest/flat/flat-spin', 'rb').read()
    phoff, phnum = struct.unpack_from('<Q', data, 32)[0], struct.unpack_from('<H', data, 56)[0]
    loads = [struct.unpack_from('<IIQQQQQQ', data, phoff + 56 * i) for i in range(phnum)]
    notes, ram = loads[0], loads[1]
    assert notes[0] == 4 and [x[0] for x in loads[1:]] == [1] and ram[5] == MIB << 20 and ram[4] == 0, loads
    # a piece of the guest's program is where it was loaded
    k_phoff, k_phnum = struct.unpack_from('<Q', kernel, 32)[0], struct.unpack_from('<H', kernel, 56)[0]
    text = [p for p in (struct.unpack_from('<IIQQQQQQ', kernel, k_phoff + 56 * i) for i in range(k_phnum)) if p[0] == 1][0]
    assert data[ram[2] + text[4]:ram[2] + text[4] + 64] == kernel[text[2]:text[2] + 64]
    if shutil.which('readelf'):
        out = subprocess.run(['readelf', '-hln', name], capture_output=True, text=True)
        assert out.returncode == 0 and not out.stderr and out.stdout.count('NT_PRSTATUS') == 3 and 'CORE (Core file)' in out.stdout, out
    if shutil.which('gdb'):
        out = subprocess.run(['gdb', '-nx', '-batch', '-ex', 'info threads', '-ex', 'info registers rip', '-ex', f'x/4xb {text[4]:#x}', '-c', name],
                             capture_output=True, text=True)
        assert out.returncode == 0 and out.stdout.count('LWP') >= 3 and re_hex(kernel[text[2]:text[2] + 4]) in out.stdout, out
    # by its path, over what was there
    with open(name, 'ab') as f:
        f.write(bytes(5 << 20))
    assert c.run('dump-guest-memory', paging=False, protocol=f'file:{name}') == {}
    with open(name, 'rb') as f:
        got = f.read()
    assert len(got) == len(data), (len(got), len(data))
    for e in 'STOP', 'DUMP_COMPLETED', 'RESUME':
        c.wait(e)
    # a part of it, detached; to a reader that has gone; two at once
    with open(name, 'wb') as f:
        c.ask({'execute': 'getfd', 'arguments': {'fdname': 'core'}}, [f.fileno()])
    assert c.run('dump-guest-memory', paging=False, protocol='fd:core', detach=True, begin=0x1000, length=0x2000) == {}
    assert c.wait('DUMP_COMPLETED')['data']['result'] == {'status': 'completed', 'completed': 0x2000, 'total': 0x2000}
    r, w = os.pipe()
    c.ask({'execute': 'getfd', 'arguments': {'fdname': 'a'}}, [w])
    c.ask({'execute': 'getfd', 'arguments': {'fdname': 'b'}}, [w])
    os.close(w)
    assert c.run('dump-guest-memory', paging=False, protocol='fd:a', detach=True) == {}
    assert c.ask({'execute': 'dump-guest-memory', 'arguments': {'paging': False, 'protocol': 'fd:b'}})['error']['code'] == 'ResourceBusy'
    for command in 'cont', 'system_reset':
        m = c.ask({'execute': command})
        assert m.get('error', {}).get('code') in ('ResourceBusy', 'WrongState'), (command, m)
    os.close(r)
    e = c.wait('DUMP_COMPLETED')
    assert e['data']['result']['status'] == 'failed' and e['data']['error'], e
    c.run('closefd', fdname='b')
    c.wait('RESUME')
    # who says stop meanwhile means it: the machine does not go on behind the dump
    r, w = os.pipe()
    c.ask({'execute': 'getfd', 'arguments': {'fdname': 'a'}}, [w])
    os.close(w)
    c.run('dump-guest-memory', paging=False, protocol='fd:a', detach=True)
    c.run('stop')
    os.close(r)
    c.wait('DUMP_COMPLETED')
    assert c.run('query-status')['status'] == 'paused'
    c.run('cont')
    for bad in ({'paging': True, 'protocol': 'fd:x'}, {'paging': False, 'protocol': 'file:x'}, {'paging': False, 'protocol': 'file:/nix/x'}, {'paging': True, 'protocol': f'file:{name}'}, {'paging': False}, {'protocol': 'fd:x'},
                {'paging': False, 'protocol': 'fd:x', 'format': 'kdump-zlib'}, {'paging': False, 'protocol': 'fd:x', 'begin': -1}):
        assert 'error' in c.ask({'execute': 'dump-guest-memory', 'arguments': bad}), bad


def nmi(k):
    """The button reaches a machine whose processors halt, and one that is paused; it answers on at once."""
    path = machine(k, current=3)
    c = Client(path)
    c.run('qmp_capabilities')
    for command in ('inject-nmi', 'cont', 'inject-nmi', 'query-status', 'inject-nmi', 'stop', 'inject-nmi', 'cont'):
        begun = time.monotonic()
        c.run(command)
        assert time.monotonic() - begun < 5, command
    assert c.run('query-status')['status'] == 'running'


def re_hex(some):
    return '\t'.join(f'0x{b:02x}' for b in some)


def clients(k):
    """Existing clients: socat, and QEMU's own Python library where it can be had."""
    path = machine(k)
    said = []
    if shutil.which('socat'):
        p = subprocess.run(['socat', '-t', '2', '-', f'UNIX-CONNECT:{path}'], input='{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n',
                           capture_output=True, text=True, timeout=20)
        lines = [json.loads(x) for x in p.stdout.splitlines()]
        assert 'QMP' in lines[0] and lines[1] == {'return': {}} and lines[2]['return']['status'] == 'prelaunch', lines
        p = subprocess.run(['socat', '-t', '2', '-', f'UNIX-CONNECT:{path}'], input="{'execute':'qmp_capabilities'}\n{'execute':\n  'query-status'}\n",
                           capture_output=True, text=True, timeout=20)
        assert json.loads(p.stdout.splitlines()[2])['return']['status'] == 'prelaunch', p.stdout
        said.append('socat')
    else:
        said.append('socat is not installed')
    sys.path.insert(0, f'{build}/qemu-python')
    try:
        from qemu.qmp import QMPClient
    except ImportError:
        said.append('qemu.qmp is not there (tests/system/qemu-python.sh fetches it): only our own client drove a session')
        return '; '.join(said)
    import asyncio

    shell = subprocess.run([sys.executable, '-m', 'qemu.qmp.qmp_shell', path], input='query-status\nquery-kvm\nnix\n', capture_output=True, text=True,
                           timeout=20, env=dict(os.environ, PYTHONPATH=f'{build}/qemu-python'))
    assert '"status": "prelaunch"' in shell.stdout and '"enabled": true' in shell.stdout and 'CommandNotFound' in shell.stdout, shell
    said.append('qmp-shell')

    async def session():
        q = QMPClient('test')
        await q.connect(path)
        assert (await q.execute('query-status'))['status'] == 'prelaunch'
        await q.execute('cont')
        async for e in q.events:
            if e['event'] == 'RESUME':
                break
        slots = await q.execute('query-hotpluggable-cpus')
        free = [s for s in slots if 'qom-path' not in s][0]
        await q.execute('device_add', {'driver': free['type'], 'id': 'x', **free['props']})
        assert len(await q.execute('query-cpus-fast')) == 2
        try:
            await q.execute('nix')
            raise Failed('nix is a command')
        except Exception as e:
            assert 'nix' in str(e), e
        await q.execute('system_reset')
        await q.execute('quit')
        await q.disconnect()
    asyncio.run(session())
    k.until(lambda: k.state('q') == 'shut off', 10, 'it ended')
    said.append('qemu.qmp')
    return ', '.join(said)


cases = {f.__name__: f for f in (conformance, text, blocks, media, paths, schema, order, descriptors, dump, nmi, clients)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
