#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP of a machine beside QEMU's own: test-qmp-beside.py BUILD CASE…

The same questions go to a machine of kvmd and to a QEMU 7.2 of the same size; qmp_beside.py judges the answers.
"""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import need_kvm, run, skip  # noqa: E402
from qmp import Client, machine  # noqa: E402
from qmp_beside import Qemu, compare, dialogue, differences, fill, judge, kind  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()


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


LIMITS = {'bps': 0, 'bps_rd': 0, 'bps_wr': 0, 'iops': 0, 'iops_rd': 0, 'iops_wr': 0}


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


cases = {f.__name__: f for f in (conformance, text, blocks, media, paths, schema)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
