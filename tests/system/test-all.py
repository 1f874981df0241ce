#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything at once: a Linux guest of 4 vCPUs that writes disks over 4 queues, moves data over its card, talks over a virtio
console and a channel and reads /dev/hwrng at the same time. test-all.py BUILD. In a network namespace of its own.

KVMD_ALL_MB says how many MB go over the network each way (2: on a host that emulates guest kernel code, and has two cores for
the guest's four, each MB takes seconds)."""
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from kvmd import PROMPT, Failed, linux_domain, need_kvm, need_linux, run, skip, suite_cmdline  # noqa: E402

build = os.path.abspath(sys.argv[1])
guest = f'{build}/linux'
MB = int(os.environ.get('KVMD_ALL_MB', '2'))

need_kvm()
if os.geteuid():
    skip('taps and namespaces need root')
if not shutil.which('ip') or not shutil.which('unshare') or not os.path.exists('/dev/net/tun'):
    skip('iproute2, util-linux or /dev/net/tun is missing')
need_linux(guest)
if 'KVMD_TEST_NETNS' not in os.environ:
    os.environ['KVMD_TEST_NETNS'] = '1'
    if subprocess.run(['unshare', '--net', 'true'], stderr=subprocess.DEVNULL).returncode:
        skip('this host makes no network namespaces')
    os.execvp('unshare', ['unshare', '--net', sys.executable, *sys.argv])

CHUNK = 250000                  # of each CPU's part of the disk
LINES = 24                      # over the console and the channel, each way


def sh(*args):
    p = subprocess.run(args, capture_output=True, text=True)
    if p.returncode:
        raise Failed(f'{" ".join(args)}: {p.stderr.strip()}')


def xml(k):
    return linux_domain(guest, 'a', f'''
    <disk type='file' device='disk'><driver name='qemu' type='raw' queues='4'/><source file='{k.root}/disk.raw'/><target dev='vda' bus='virtio'/></disk>
    <interface type='bridge'><mac address='52:54:00:aa:bb:03'/><source bridge='brt'/><model type='virtio'/><driver queues='4'/><mtu size='65000'/></interface>
    <console type='unix'><source mode='bind' path='{k.root}/hvc'/><target type='virtio'/></console>
    <channel type='unix'><source mode='bind' path='{k.root}/chan'/><target type='virtio' name='test.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='virtio'/>
    ''', memory=192, vcpus=4, command=suite_cmdline(guest, 4).replace(' quiet', ''))


class Echo(threading.Thread):
    """Lines to a socket, each of which must come back before the next goes."""
    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.error, self.n = path, None, 0
        self.start()

    def run(self):
        try:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(200)
            s.connect(self.path)
            got = b''
            for i in range(LINES):
                line = f'{self.path} line {i} {"x" * 60}\n'.encode()
                s.sendall(line)
                while len(got) < len(line):
                    if not (part := s.recv(4096)):
                        raise OSError('closed')
                    got += part
                if got[:len(line)] != line:
                    raise OSError(f'{line} came back as {got}')
                got = got[len(line):]
                self.n += 1
        except OSError as e:
            self.error = e


class Net(threading.Thread):
    """Gives data to one connection and takes it from the next."""
    def __init__(self, data):
        super().__init__(daemon=True)
        self.data, self.got, self.error = data, hashlib.sha256(), None
        self.listeners = [socket.create_server(('10.77.0.1', 7000 + n)) for n in range(2)]
        self.start()

    def run(self):
        try:
            c, _ = self.listeners[0].accept()
            with c:
                c.sendall(self.data)
            c, _ = self.listeners[1].accept()
            with c:
                while part := c.recv(1 << 20):
                    self.got.update(part)
        except OSError as e:
            self.error = e


SCRIPT = r'''
for d in /sys/bus/pci/devices/*; do read c <$d/class; read v <$d/vendor; l=none; [ -e $d/driver ] && l=$(readlink $d/driver); echo "PCI ${d##*/} $c $v ${l##*/}"; done
p=$(ls -d /sys/class/virtio-ports/vport*p1); p=/dev/${p##*/}
ip addr add 10.77.0.2/24 dev eth0 && ip link set eth0 up
exec 3<>/dev/hvc0 4<>$p
stty raw -echo <&3
{
cat <&3 >&3 &
cat <&4 >&4 &
echo ALL-"READY"
for q in 0 1 2 3; do taskset $((1 << q)) dd if=/bin/busybox of=/dev/vda bs=CHUNK count=1 seek=$q skip=$q conv=notrunc,fsync 2>/dev/null & jobs="$jobs $!"; done
dd if=/dev/hwrng of=/tmp/rng bs=512 count=64 iflag=fullblock 2>/dev/null & jobs="$jobs $!"
{ nc 10.77.0.1 7000 </dev/null >/tmp/f && nc 10.77.0.1 7001 -e cat /tmp/f; } & jobs="$jobs $!"
bad=0; for j in $jobs; do wait $j || bad=1; done
echo ALL-"JOBS" $bad
}
dd if=/dev/vda bs=CHUNK count=4 iflag=fullblock 2>/dev/null | md5sum
ls -l /tmp/rng | while read a b c d size rest; do echo RNG $size; done
grep -E 'virtio|ERR' /proc/interrupts
echo ALL-"ENDED"
'''.replace('CHUNK', str(CHUNK))


def everything(k):
    begun = time.monotonic()
    busybox = open(f'{guest}/root/bin/busybox', 'rb').read() if os.path.exists(f'{guest}/root/bin/busybox') else open('/bin/busybox', 'rb').read()
    with open(f'{k.root}/disk.raw', 'wb') as f:
        f.truncate(8 << 20)
    sh('ip', 'link', 'set', 'lo', 'up')
    sh('ip', 'link', 'add', 'brt', 'type', 'bridge')
    sh('ip', 'addr', 'add', '10.77.0.1/24', 'dev', 'brt')
    sh('ip', 'link', 'set', 'brt', 'mtu', '65000', 'up')
    data = os.urandom(1 << 20) * MB
    net = Net(data)
    k.define(xml(k))
    k.ctl('start', 'a')
    k.until(lambda: PROMPT in k.console('a'), 400, 'a shell on the console')
    booted = time.monotonic()
    k.ctl('console', 'a', stdin=SCRIPT, timeout=600)
    k.until(lambda: 'ALL-READY' in k.console('a'), 200, 'the guest has opened its ports')
    echoes = [Echo(f'{k.root}/hvc'), Echo(f'{k.root}/chan')]
    k.until(lambda: 'ALL-ENDED' in k.console('a'), 600, 'disks, network, consoles and random numbers at once')
    for e in echoes:
        e.join(200)
        assert not e.error and e.n == LINES, f'{e.path}: {e.n} lines, {e.error}'
    net.join(60)
    out = k.console('a')
    assert 'ALL-JOBS 0' in out, out
    assert not net.error and net.got.digest() == hashlib.sha256(data).digest(), f'network: {net.error or "other bytes came back"}'
    written = busybox[:4 * CHUNK]
    want = hashlib.md5(written.ljust(4 * CHUNK, b'\0')).hexdigest()
    assert f'{want}  -' in out, f'the guest reads other bytes from its disk than {want}:\n{out}'
    with open(f'{k.root}/disk.raw', 'rb') as f:
        assert f.read(len(written)) == written, 'the image has other bytes'
    assert 'RNG 32768' in out, out
    # every function is there and has its driver
    functions = re.findall(r'^PCI (\S+) 0x(\w+) 0x(\w+) (\S+)', out, re.M)
    virtio = [f for f in functions if f[2] == '1af4']
    assert len(virtio) == 5 and all(f[3] == 'virtio-pci' for f in virtio), functions
    # each queue of the disk and of the card has raised interrupts, and none was without a handler
    for queue in [f'req.{n}' for n in range(4)]:
        counts = re.search(rf'^ *\d+: +(\d+) +(\d+) +(\d+) +(\d+) .*virtio\d+-{queue}', out, re.M)
        assert counts and sum(int(n) for n in counts.groups()), f'{queue}: no interrupt\n{out}'
    assert re.search(r'virtio\d+-input\.3', out) and re.search(r'^ *ERR: +0', out, re.M), out
    # the kernel is not quiet: all it says comes on this console
    for bad in ("can't claim BAR", 'no compatible bridge window', 'nobody cared', 'virtio_pci: probe', 'failed to', 'BUG:', 'WARNING:', 'rcu: INFO',
                'Call Trace', 'hung task', 'soft lockup', 'I/O error'):
        assert bad not in out, f'"{bad}" on the console:\n{out}'
    counters = k.qmp('a')('query-counters')
    assert not counters['fence-violations'] and not [d for d in counters['devices'] if d['guest-errors']], counters
    return f'{booted - begun:.0f} s to the shell, {time.monotonic() - booted:.0f} s of work, {MB} MB each way'


run([('everything', everything)], build)
