# SPDX-License-Identifier: GPL-2.0-or-later
"""What can't be: kernels that are none, messages without an end. One clear error, nothing lost. Usage: test-refused.py BUILD"""
import gzip
import json
import os
import socket
import sys

from kvmd import need_kvm, run

build = os.path.abspath(sys.argv[1])
need_kvm()
GUEST = f'{build}/tests/guest/flat/flat-echo'


def xml(kernel, more=''):
    return f'''<domain type='kvm'><name>x</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
      <os><type arch='x86_64'>hvm</type><kernel>{kernel}</kernel>{more}</os>
      <devices><serial type='pty'/></devices></domain>'''


def kernels(k):
    """The error has the file as the definition names it, and a command that works as it stands."""
    none, packed = f'{k.root}/no kernel', f'{k.root}/guest.gz'
    with open(none, 'w') as f:
        f.write('hello')
    with open(GUEST, 'rb') as f, gzip.open(packed, 'wb') as g:
        g.write(f.read())
    for kernel, more, code, words in [
            (none, '', 6, f"os/kernel: '{none}': neither an ELF file nor a bzImage"),
            (packed, '', 6, f"os/kernel: '{packed}': the file is compressed with gzip; unpack it: gunzip < '{packed}' > '{packed[:-3]}'"),
            (f'{k.root}/nothing', '', 3, f"os/kernel: there is no '{k.root}/nothing'"),
            (GUEST, f'<initrd>{k.root}/nothing</initrd>', 3, f"os/initrd: there is no '{k.root}/nothing'")]:
        k.define(xml(kernel, more))
        p = k.ctl('start', 'x', check=False)
        assert p.returncode == code and words in p.stderr, p
        assert k.state('x') == 'shut off'


def endless(k):
    """A line without an end, at kvmd and at the machine: who writes can read why, then the end; others notice nothing."""
    k.define(xml(GUEST))
    k.ctl('start', 'x')
    for path in f'{k.root}/run/kvmd/control.sock', f'{k.root}/run/kvmd/vm/x.qmp':
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(path)
            sent, block, answer = 0, b'x' * (1 << 20), b''
            try:
                while sent < 1024:
                    s.sendall(block)
                    sent += 1
            except BrokenPipeError:
                pass
            assert sent < 100, f'{path} took {sent} MiB'
            while part := s.recv(65536):        # ConnectionResetError would be the failure
                answer += part
        error = json.loads(answer.splitlines()[-1])['error']
        assert 'the limit, or its newline is missing' in error['desc'], error
        assert k.qmp('x')('query-status')['status'] == 'running'


run([('kernels', kernels), ('endless', endless)], build)
