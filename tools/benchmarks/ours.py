# SPDX-License-Identifier: GPL-2.0-or-later
"""A private kvmd, a client of its control socket, and a worker without kvmd."""
import array
import json
import os
import shutil
import signal
import socket
import time

from rig import Trouble, end, finish, spawn

# What kvmd runs instead of the worker, once: it writes down what a worker is told.
RECORDER = '''#!/usr/bin/python3
import array, json, os, socket, sys
if '--probe' in sys.argv:
    os.execv({worker!r}, [{worker!r}] + sys.argv[1:])
s = socket.socket(fileno=3)
text, fds = b'', []
while b'"machine-create"' not in text or not text.endswith(b'\\n'):
    data, extra, _, _ = s.recvmsg(1 << 20, socket.CMSG_SPACE(4 * 253))
    if not data:
        sys.exit(1)
    text += data
    for level, kind, d in extra:
        a = array.array('i')
        a.frombytes(d[:len(d) - len(d) % 4])
        fds += a
import fcntl
with open({out!r} + '.tmp', 'w') as f:
    json.dump({{'argv': sys.argv[1:], 'messages': [json.loads(line) for line in text.decode().splitlines()],
               'fds': [(os.readlink('/proc/self/fd/%d' % fd), fcntl.fcntl(fd, fcntl.F_GETFL), os.fstat(fd).st_size) for fd in fds]}}, f)
os.rename({out!r} + '.tmp', {out!r})
'''


def guest_xml(name, kernel, console, mib=128, cmdline=''):
    """The machine of all start measurements: one CPU, one serial port into a file."""
    return (f"<domain type='kvm'><name>{name}</name><memory unit='MiB'>{mib}</memory><vcpu>1</vcpu>"
            f"<os><type arch='x86_64'>hvm</type><kernel>{kernel}</kernel><cmdline>{cmdline}</cmdline></os>"
            "<features><acpi/><apic/></features><on_reboot>destroy</on_reboot>"
            f"<devices><serial type='file'><source path='{console}'/><target port='0'/></serial></devices></domain>")


def disk_xml(name, kernel, console, image, fmt, cmdline, mib=128, null=False):
    """The same with a disk."""
    disk = (f"<disk type='file' device='disk'><driver name='qemu' type='{fmt}' cache='none' io='io_uring'/>"
            f"<source file='{image}'/><target dev='vda' bus='virtio'/></disk>")
    test = "<metadata><kvmd:test xmlns:kvmd='urn:kvmd:domain:1'><kvmd:null-disks/></kvmd:test></metadata>" if null else ''
    return guest_xml(name, kernel, console, mib, cmdline).replace('<devices>', '<devices>' + disk).replace('<memory ', test + '<memory ', 1)


class Api:
    """A control connection."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise
        self.text = b''
        self._line()

    def _line(self):
        while b'\n' not in self.text:
            data = self.sock.recv(1 << 20)
            if not data:
                raise Trouble('kvmd closed the connection')
            self.text += data
        line, self.text = self.text.split(b'\n', 1)
        return line

    def call(self, execute, vm=None, **arguments):
        m = {'execute': execute, 'arguments': arguments}
        if vm:
            m['vm'] = vm
        self.sock.sendall(json.dumps(m).encode() + b'\n')
        while True:
            reply = json.loads(self._line())
            if 'error' in reply:
                raise Trouble(f"{execute} {vm or ''}: {reply['error']['desc']}")
            if 'return' in reply:
                return reply['return']

    def close(self):
        self.sock.close()


class Kvmd:
    def __init__(self, build, root, worker=None):
        self.program = os.path.abspath(f'{build}/daemon/kvmd')
        self.ctl = os.path.abspath(f'{build}/tools/kvmctl')
        self.vm = os.path.abspath(f'{build}/daemon/kvmd-vm')
        self.root, self.worker, self.pid = root, worker, 0
        self.log = os.path.join(root, 'bench.log')
        self.control = os.path.join(root, 'run/kvmd/control.sock')

    def launch(self):
        os.makedirs(self.root, exist_ok=True)
        argv = [self.program, '--root', self.root]
        if self.worker:
            argv += ['--worker', self.worker]
        self.pid = spawn(argv, self.log)

    def start(self):
        """Returns the seconds from exec to the first answer."""
        before = time.perf_counter()
        self.launch()
        while True:
            try:
                api = Api(self.control)
                api.call('list')
                seconds = time.perf_counter() - before
                api.close()
                return seconds
            except (OSError, Trouble):
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    self.pid = 0
                    with open(self.log, encoding='utf-8', errors='replace') as f:
                        raise Trouble('kvmd ended: ' + f.read()[-500:]) from None
            time.sleep(0.0005)

    def ready(self):
        """Waits for what kvmd does behind its first answer, the look at the host."""
        api = Api(self.control)
        api.call('host')
        return api

    def verb(self, *args):
        return [self.ctl, '--root', self.root, *args]

    def quiet(self, *args):
        finish(spawn(self.verb(*args), self.log), 'kvmctl ' + ' '.join(args))

    def stop(self):
        if not self.pid:
            return
        try:
            api = Api(self.control)
            for d in api.call('list')['domains']:
                try:
                    api.call('destroy', d['name'])
                except Trouble:
                    pass
            api.close()
        except (OSError, Trouble):
            pass
        end(self.pid)
        self.pid = 0


class Worker:
    """kvmd-vm as kvmd starts it, with everything at hand already: what remains is the worker's own time."""

    def __init__(self, build, folder, xml):
        self.vm = os.path.abspath(f'{build}/daemon/kvmd-vm')
        self.folder, self.log = folder, os.path.join(folder, 'worker.log')
        out, script = os.path.join(folder, 'told.json'), os.path.join(folder, 'recorder')
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        os.chmod(folder, 0o755)
        with open(script, 'w', encoding='utf-8') as f:
            f.write(RECORDER.format(worker=self.vm, out=out))
        os.chmod(script, 0o755)
        kvmd = Kvmd(build, os.path.join(folder, 'root'), script)
        kvmd.start()
        try:
            api = kvmd.ready()
            api.call('define', xml=xml)
            try:
                api.call('start', 'worker')
            except Trouble:
                pass            # the recorder ends without becoming a machine
            with open(out, encoding='utf-8') as f:
                self.told = json.load(f)
        except FileNotFoundError:
            raise Trouble('kvmd told its worker nothing') from None
        finally:
            kvmd.stop()

    def _fd(self, path, flags, size):
        if path.startswith('socket:'):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.bind('')          # a name of the kernel's choice
            s.listen(16)
            return s.detach()
        if path.startswith('/memfd:') or path.endswith(' (deleted)'):
            fd = os.memfd_create('ram', os.MFD_CLOEXEC)
            os.ftruncate(fd, size)
            return fd
        os.makedirs(os.path.dirname(path), exist_ok=True)       # kvmd has cleaned up after its failed start
        return os.open(path, flags & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK) | os.O_CREAT, 0o666)

    def start(self):
        """Returns the moment before exec, the process and kvmd's end of the socket."""
        ours, its = socket.socketpair()
        fds = [self._fd(*f) for f in self.told['fds']]
        lines = [json.dumps(m).encode() + b'\n' for m in self.told['messages']]
        before = time.perf_counter()
        pid = spawn([self.vm] + self.told['argv'], self.log, fds=[(its.fileno(), 3)])
        sent = 0
        for line, m in zip(lines, self.told['messages']):
            n = len(m.get('arguments', {}).get('names', [])) if m['execute'] == 'add-fds' else 0
            ours.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds[sent:sent + n]))] if n else [])
            sent += n
        its.close()
        for fd in fds:
            os.close(fd)
        return before, pid, ours

    def stop(self, pid, sock):
        sock.close()
        end(pid, signal.SIGKILL)
