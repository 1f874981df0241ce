# SPDX-License-Identifier: GPL-2.0-or-later
"""A private kvmd for system tests: its own root, its own domains; everything it started is ended, by pid."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# On a machine with much other work 4 makes all limits four times as long (tools/check gives it to meson, too).
PATIENCE = float(os.environ.get('KVMD_TEST_PATIENCE', '1'))


def skip(why):
    print(f'1..0 # SKIP {why}')
    sys.exit(0)


def need_kvm():
    try:
        os.close(os.open('/dev/kvm', os.O_RDWR))
    except OSError as e:
        skip(f'/dev/kvm: {e.strerror}')


def need_linux(guest):
    if not os.path.exists(f'{guest}/vmlinux') or not os.path.exists(f'{guest}/initramfs.cpio'):
        skip(f'no Linux guest: tests/guest/linux/build.sh {guest} makes it')


class Failed(Exception):
    pass


def judge_image(path, fmt, convert=None):
    """QEMU's view of an image that a machine has let go: no error, no mark, and a map without gap or overlap up to its end."""
    def tool(*args):
        p = subprocess.run(['qemu-img', *args], capture_output=True, text=True)
        if p.returncode:
            raise Failed(f'qemu-img {" ".join(args)}: exit {p.returncode}: {p.stdout}{p.stderr}')
        return p.stdout
    info = json.loads(tool('info', '--output=json', '-f', fmt, path))
    marks = info.get('format-specific', {}).get('data', {})
    if info.get('dirty-flag') or marks.get('corrupt'):
        raise Failed(f'{path}: {info}')
    if fmt != 'raw':
        tool('check', '-f', fmt, path)
    end = 0
    for part in json.loads(tool('map', '--output=json', '-f', fmt, path)):
        if part['start'] != end or not part['length']:
            raise Failed(f'{path}: its map goes on at {part["start"]} instead of {end}')
        end += part['length']
    if end != info['virtual-size']:
        raise Failed(f'{path}: its map ends at {end} of {info["virtual-size"]} bytes')
    if convert:
        tool('convert', '-f', fmt, '-O', 'raw', path, convert)
        tool('compare', '-f', fmt, '-F', 'raw', path, convert)


class Qmp:
    """A machine's own socket: qmp('query-status'), qmp.error('set_link', name='x', up=True)."""
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60 * PATIENCE)
        self.s.connect(path)
        self.f = self.s.makefile('rw')
        json.loads(self.f.readline())
        self('qmp_capabilities')

    def ask(self, command, args):
        self.f.write(json.dumps({'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in args.items()}}) + '\n')
        self.f.flush()
        while 'event' in (m := json.loads(self.f.readline())):
            pass
        return m

    def __call__(self, command, **args):
        m = self.ask(command, args)
        if 'error' in m:
            raise Failed(f'{command}: {m["error"]}')
        return m['return']

    def error(self, command, **args):
        return self.ask(command, args)['error']


class Kvmd:
    def __init__(self, build, *options):
        self.build, self.options = build, options
        self.root = tempfile.mkdtemp(prefix='kvmd-test-')
        os.chmod(self.root, 0o755)
        self.env = dict(os.environ, KVMD_ROOT=self.root)
        self.proc = None
        self.start()

    def start(self):
        self.log = open(f'{self.root}/kvmd.log', 'ab')
        self.proc = subprocess.Popen([f'{self.build}/daemon/kvmd', *self.options], env=self.env, stdout=self.log,
                                     stderr=self.log, stdin=subprocess.DEVNULL)
        self.until(lambda: self.ctl('version', check=False).returncode == 0, 20, 'kvmd answers')

    def kill(self, sig=signal.SIGKILL):
        self.proc.send_signal(sig)
        self.proc.wait()

    def ctl(self, *args, check=True, stdin=None, timeout=60):
        p = subprocess.run([f'{self.build}/tools/kvmctl', *args], env=self.env, input=stdin, capture_output=True,
                           text=True, timeout=timeout * PATIENCE)
        if check and p.returncode:
            raise Failed(f'kvmctl {" ".join(args)}: exit {p.returncode}: {p.stderr.strip()}')
        return p

    def json(self, *args, **kw):
        return json.loads(self.ctl(*args, '-o', 'json', **kw).stdout)

    def define(self, xml):
        return self.ctl('define', '-', stdin=xml)

    def state(self, name):
        return self.ctl('domstate', name).stdout.strip()

    def console(self, name):
        try:
            with open(f'{self.root}/var/log/kvmd/{name}.console.log', errors='replace') as f:
                return f.read()
        except OSError:
            return ''

    def events(self):
        return [json.loads(x) for x in self.ctl('event', '-o', 'jsonl').stdout.splitlines()]

    def qmp(self, name):
        return Qmp(f'{self.root}/run/kvmd/vm/{self.json("domuuid", name)["uuid"]}/qmp.sock')

    def until(self, what, seconds, text):
        """Polls, for there is nothing to wait on from outside; says so every 10 s."""
        seconds *= PATIENCE
        begun = told = time.monotonic()
        while not what():
            now = time.monotonic()
            if now - begun > seconds:
                raise Failed(f'not within {seconds} s: {text}')
            if now - told > 10:
                told = now
                print(f'# {text}: {now - begun:.0f} s', flush=True)
            time.sleep(0.02)
        return time.monotonic() - begun

    def close(self, failed):
        try:
            if self.proc.poll() is not None:
                self.start()
            for d in self.json('list', '--all').get('domains', []):
                self.ctl('destroy', d['name'], check=False)
            self.kill(signal.SIGTERM)
        finally:
            if failed:
                for name in [f'{self.root}/kvmd.log'] + [f'{self.root}/var/log/kvmd/{x}' for x in os.listdir(f'{self.root}/var/log/kvmd')]:
                    with open(name, errors='replace') as f:
                        print(f'# --- {name}\n# ' + '\n# '.join(f.read().splitlines()[-40:]))
            else:
                shutil.rmtree(self.root, ignore_errors=True)


class Watch:
    """Sees each step that kvmd takes (kill-at.c tells what that is), and kills it before one of them: at its number, or by a part
    of its text; 0: never. Needs root."""
    def __init__(self, k, at):
        self.p = subprocess.Popen([f'{k.build}/tests/system/kill-at', str(k.proc.pid), str(at)], stdout=subprocess.PIPE, text=True)
        self.lines = []
        if self.p.stdout.readline() != 'ready\n':
            raise Failed('kill-at does not begin')

    def wait_sent(self):
        """Until kvmd has sent a machine a request that is not a question."""
        number = None
        late = threading.Timer(30 * PATIENCE, self.p.terminate)
        late.start()
        try:
            for line in self.p.stdout:
                self.lines.append(line)
                n, _, what = line.strip().partition(' ')
                if is_order(what):
                    number = n
                elif what == 'done' and n == number:
                    return
            raise Failed('kvmd sent the machine nothing')
        finally:
            late.cancel()

    def end(self):
        """The steps it took: [(name and what, it came to its end)]."""
        self.p.terminate()
        steps, done = {}, set()
        for line in self.lines + self.p.stdout.read().splitlines():
            n, _, what = line.strip().partition(' ')
            if what == 'done':
                done.add(n)
            elif n.isdigit():
                steps[n] = what
        self.p.wait()
        return [(what, n in done) for n, what in steps.items()]


def is_order(step):
    m = re.search(r'"execute": ?"([^"]+)"', step) if step.startswith('sendmsg') else None
    return bool(m) and m[1] not in ('hello', 'query-machine', 'replay-events')


marks = 0


def guest_says(k, name, command):
    """What a shell command prints in a Linux guest."""
    global marks
    marks += 1
    k.ctl('console', name, stdin=f'echo "A{marks}=$( {command} )"\n', timeout=240)
    found = []

    def look():
        found[:] = re.findall(rf'^A{marks}=(.*?)\r?\n', k.console(name), re.M)
        return found
    k.until(look, 240, f'the guest answers to {command}')
    return found[0].strip()


def tools_image(path, programs, files={}):
    """Makes an ext4 image of the host's own, unmodified programs for a Linux guest: bin/NAME, with the loader and the
    libraries that ldd tells beside them in lib/; files: {where in the image: the host's file, or bytes}. Its size in bytes.
    In the guest, mounted at DIR, guest_tool('DIR', 'NAME') is how NAME is called."""
    with tempfile.TemporaryDirectory(prefix='kvmd-tools-') as top:
        want = dict(files)
        for program in programs:
            found = shutil.which(program)
            if not found:
                skip(f'{program} is not installed')
            want[f'bin/{os.path.basename(found)}'] = found
            p = subprocess.run(['ldd', found], capture_output=True, text=True)
            if 'not found' in p.stdout:
                skip(f'{program}: a library is missing: {p.stdout}')
            for line in p.stdout.splitlines() if not p.returncode else []:      # 1: it is linked statically
                if m := re.search(r'(/\S+) \(0x', line):
                    want[f'lib/{os.path.basename(line.split()[0])}'] = m[1]
        for name, source in want.items():
            os.makedirs(os.path.dirname(f'{top}/{name}'), exist_ok=True)
            if isinstance(source, bytes):
                with open(f'{top}/{name}', 'wb') as f:
                    f.write(source)
            else:
                shutil.copy(source, f'{top}/{name}')
        used = sum(os.path.getsize(f'{where}/{n}') + 8192 for where, _, names in os.walk(top) for n in names)
        size = (used * 5 // 4 + (4 << 20)) & -(1 << 20)
        with open(path, 'wb') as f:
            f.truncate(size)
        p = subprocess.run(['mkfs.ext4', '-q', '-F', '-m', '0', '-O', '^has_journal', '-E', 'root_owner=0:0', '-d', top, path],
                           capture_output=True, text=True)
        if p.returncode:
            raise Failed(f'mkfs.ext4 {path}: {p.stderr.strip()}')
        return size


def suite_cmdline(guest, slow=4):
    """The kernel command line that the tests give the small Linux guest; its time runs `slow` times slower."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../guest/linux/cmdline.sh')
    return subprocess.run(['bash', script, 'suite', str(slow)], env=dict(os.environ, OUTDIR=guest), check=True, capture_output=True,
                          text=True).stdout.strip()


PROMPT = 'kvmd-guest:'          # of the shell that it boots to
SERIAL = "<serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>"


def linux_domain(guest, name, devices='', memory=128, vcpus=1, current=None, slow=4, more='', command=None, head='', cpu='', kernel='vmlinux',
                 console=SERIAL):
    """The small Linux guest's definition. memory: MiB; current: vCPUs at the start; slow, more: of its command line, or command
    is all of it; head: elements before <memory>; cpu: those before <devices>."""
    need_linux(guest)
    command = command or f'{suite_cmdline(guest, slow)} {more}'.strip()
    current = f" current='{current}'" if current else ''
    return f'''<domain type='kvm'>
  <name>{name}</name>
  {head}
  <memory unit='MiB'>{memory}</memory>
  <vcpu{current}>{vcpus}</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{guest}/{kernel}</kernel>
    <initrd>{guest}/initramfs.cpio</initrd>
    <cmdline>{command}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  {cpu}
  <devices>
    {console}
    {devices}
  </devices>
</domain>
'''


def shell(k, xml, seconds=400):
    """Defines a Linux guest and starts it, up to its shell; the seconds that took."""
    name = re.search('<name>(.*?)</name>', xml)[1]
    k.define(xml)
    begun = len(k.console(name))
    k.ctl('start', name)
    return k.until(lambda: PROMPT in k.console(name)[begun:], seconds, 'a shell on the console')


def guest_tool(where, name):
    """How a guest's shell calls a program of a tools image that is mounted at `where`: by the image's own loader."""
    return f'{where}/lib/ld-linux-x86-64.so.2 --library-path {where}/lib {where}/bin/{name}'


def refused(k, want, *args, **kw):
    """kvmctl fails, and says so in words that `want` finds."""
    p = k.ctl(*args, check=False, **kw)
    assert p.returncode and re.search(want, p.stderr), f'kvmctl {" ".join(args)}: exit {p.returncode}: {p.stdout}{p.stderr}'
    return p


def run(cases, build, *options):
    """cases: list of (name, function taking a Kvmd); TAP on standard output; each case has a kvmd of its own."""
    # a test that takes too long is told so: its machines would outlive it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('ended by SIGTERM'))
    print(f'1..{len(cases)}')
    bad = 0
    for i, (name, fn) in enumerate(cases, 1):
        k = Kvmd(build, *options)
        failed = True
        try:
            note = fn(k)
            failed = False
            print(f'ok {i} {name}' + (f' # {note}' if note else ''), flush=True)
        except (Failed, AssertionError, subprocess.TimeoutExpired) as e:
            bad += 1
            print(f'not ok {i} {name}\n# {type(e).__name__}: {e}', flush=True)
        finally:
            k.close(failed)
    sys.exit(1 if bad else 0)
