#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's own QMP socket: order, descriptors, cores, and existing clients: test-qmp.py BUILD CASE…"""
import json
import os
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import Failed, need_kvm, run  # noqa: E402
from qmp import MIB, Client, machine  # noqa: E402

build = os.path.abspath(sys.argv[1])
need_kvm()


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
    for command in 'stop', 'system_reset':
        c.run(command)
    assert c.run('query-status')['status'] == 'prelaunch', 'as QEMU says of a machine that was reset while it stood'


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


cases = {f.__name__: f for f in (order, descriptors, dump, nmi, clients)}
run([(n, cases[n]) for n in sys.argv[2:] or cases], build)
