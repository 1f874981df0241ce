# SPDX-License-Identifier: GPL-2.0-or-later
"""The installed tree under systemd: socket activation, notification, a scope for each machine, machines that outlive kvmd.

systemd is PID 1 of a container (systemd-nspawn) whose root is this machine's own, with the installed tree over it; what is written
goes to a tmpfs. Usage: test-systemd.py BUILD
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from kvmd import Failed, need_kvm, skip

build = os.path.abspath(sys.argv[1])
STOP = signal.SIGRTMIN + 4      # systemd(1): power off


def mount(*args):
    p = subprocess.run(['mount', *args], capture_output=True, text=True)
    if p.returncode:
        skip(f'mount {" ".join(args)}: {p.stderr.strip()}')


class Container:
    """systemd as PID 1 over the machine's root and the installed tree."""
    def __init__(self):
        self.proc, self.init, self.mounts = None, None, []
        self.dir = tempfile.mkdtemp(prefix='kvmd-systemd-')

    def start(self):
        mount('-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', self.dir)
        self.mounts.append(self.dir)
        for name in ('upper', 'work', 'root'):
            os.mkdir(f'{self.dir}/{name}')
        subprocess.run(['meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', f'{self.dir}/upper'], check=True,
                       stdout=subprocess.DEVNULL)
        if os.path.islink('/lib'):      # a folder would hide the link
            shutil.copytree(f'{self.dir}/upper/lib', f'{self.dir}/upper/usr/lib', dirs_exist_ok=True)
            shutil.rmtree(f'{self.dir}/upper/lib')
        mount('-t', 'overlay', 'overlay', '-o', f'lowerdir=/,upperdir={self.dir}/upper,workdir={self.dir}/work', f'{self.dir}/root')
        self.mounts.append(f'{self.dir}/root')
        self.log = open(f'{self.dir}/log', 'ab')
        self.proc = subprocess.Popen(
            ['systemd-nspawn', '--quiet', f'--directory={self.dir}/root', '--register=no', '--keep-unit', '--private-network', '--link-journal=no',
             '--bind=/dev/kvm', '--capability=all', '--console=pipe', f'--machine=kvmd-test-{os.getpid()}', '--boot', 'systemd.unit=basic.target'],
            env={'PATH': os.environ['PATH']}, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        self.until(self.is_up, 60, 'systemd runs in the container')

    def until(self, what, seconds, text):
        begun = time.monotonic()
        while not what():
            if self.proc.poll() is not None or time.monotonic() - begun > seconds:
                with open(f'{self.dir}/log', errors='replace') as f:
                    raise Failed(f'not within {seconds} s: {text}: {f.read()[-500:]}')
            time.sleep(0.05)

    def is_up(self):
        try:
            with open(f'/proc/{self.proc.pid}/task/{self.proc.pid}/children') as f:
                self.init = int(f.read().split()[0])
            with open(f'/proc/{self.init}/comm') as f:
                if f.read().strip() != 'systemd':
                    return False
        except (OSError, IndexError):
            return False
        return self.run('systemctl', 'is-system-running', check=False) in ('running', 'degraded')

    def run(self, *args, check=True):
        p = subprocess.run(['nsenter', '--target', str(self.init), '--all', 'env', '-i', 'HOME=/root',
                            'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin', *args], capture_output=True, text=True, timeout=60)
        if check and p.returncode:
            raise Failed(f'{" ".join(args)}: exit {p.returncode}: {p.stderr.strip()}')
        return p.stdout.strip()

    def stop(self):
        if self.proc:
            if self.init:
                os.kill(self.init, STOP)
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
            self.log.close()
        for m in reversed(self.mounts):
            subprocess.run(['umount', m], check=False)
        os.rmdir(self.dir)


def worker(c):
    """The machine's process as the container numbers it."""
    pids = c.run('pgrep', '-f', 'kvmd-vm --fd', check=False).split()
    assert len(pids) == 1, pids
    return pids[0]


def activation(c):
    c.run('systemctl', 'enable', '--now', 'kvmd.socket')
    assert c.run('systemctl', 'is-active', 'kvmd.service', check=False) == 'inactive'
    c.run('kvmctl', 'version')
    assert c.run('systemctl', 'is-active', 'kvmd.service') == 'active'
    assert c.run('systemctl', 'show', '-P', 'StatusText', 'kvmd.service') == 'serving'


def scope(c):
    prefix = '/usr/local' if os.path.exists(f'{c.dir}/upper/usr/local') else '/usr'
    c.run('kvmctl', 'define', f'{prefix}/share/kvmd/examples/hello.xml')
    c.run('kvmctl', 'start', 'hello')
    uuid = c.run('kvmctl', 'domuuid', 'hello')
    # the scope is made behind the start
    c.until(lambda: uuid in c.run('systemctl', 'list-units', '--plain', '--no-legend', 'kvmd-vm-*.scope'), 10, "the machine's scope")
    with open(f'/proc/{c.init}/root/proc/{worker(c)}/cgroup') as f:
        assert f'{uuid}.scope' in f.read()


def outlives(c):
    pid = worker(c)
    c.run('systemctl', 'restart', 'kvmd.service')
    assert worker(c) == pid and c.run('kvmctl', 'domstate', 'hello') == 'running'
    c.run('systemctl', 'stop', 'kvmd.service', 'kvmd.socket')
    assert worker(c) == pid
    c.run('systemctl', 'start', 'kvmd')
    assert worker(c) == pid and c.run('kvmctl', 'domstate', 'hello') == 'running'
    c.run('systemctl', 'kill', '--signal=KILL', 'kvmd.service')
    c.until(lambda: c.run('kvmctl', 'domstate', 'hello', check=False) == 'running', 20, 'systemd starts kvmd again')
    assert worker(c) == pid


def journal(c):
    c.run('journalctl', '--sync')
    said = c.run('journalctl', '-u', 'kvmd.service', '-o', 'cat')
    assert "vm 'hello': started" in said, said
    assert 'systemd scopes' in said, said


def ends(c):
    uuid = c.run('kvmctl', 'domuuid', 'hello')
    c.run('kvmctl', 'destroy', 'hello')
    c.until(lambda: uuid not in c.run('systemctl', 'list-units', '--plain', '--no-legend', 'kvmd-vm-*.scope'), 10, 'the scope goes with the machine')


if os.geteuid() != 0:
    skip('needs root')
need_kvm()
for program in ('systemd-nspawn', 'meson', 'nsenter'):
    if not shutil.which(program):
        skip(f'no {program}')
cases = [('socket activation', activation), ('a scope for each machine', scope), ('machines outlive kvmd', outlives),
         ('kvmd logs to the journal', journal), ('a scope ends with its machine', ends)]
bad = 0
box = Container()
try:
    box.start()
    print(f'1..{len(cases)}')
    for i, (name, fn) in enumerate(cases, 1):
        try:
            fn(box)
            print(f'ok {i} {name}', flush=True)
        except (Failed, AssertionError, subprocess.TimeoutExpired) as e:
            bad += 1
            print(f'not ok {i} {name}\n# {type(e).__name__}: {e}', flush=True)
finally:
    box.stop()
sys.exit(1 if bad else 0)
