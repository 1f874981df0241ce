# SPDX-License-Identifier: GPL-2.0-or-later
"""reaper.py PROGRAM ARGS…: runs a daemon and reaps at once what is orphaned below it.

libvirt's destroy waits until the process number is free. Where PID 1 reaps only now and then that would be measured
instead of libvirt. SIGTERM is passed on; what the daemon leaves behind is ended with it.
"""
import ctypes
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36

ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
child = os.fork()
if not child:
    os.execv(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        pid, _ = os.wait()
    except ChildProcessError:
        sys.exit(0)
    if pid == child:
        with open(f'/proc/self/task/{os.getpid()}/children', encoding='ascii') as f:
            for left in f.read().split():
                os.kill(int(left), signal.SIGKILL)
