"""What counts as ended, of processes that end slowly."""

import subprocess
import sys

import psutil

from genre_assets.processes import kill
from genre_assets.stack.supervision.service import check_port_free
from genre_assets_tests.waiting import until

# The first thread ends, as in a killed server with a lot of memory; another lives on and has the port.
HALF_ENDED = """
import ctypes, socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
threading.Thread(target=time.sleep, args=(120,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_zombie_whose_threads_live_on_is_waited_for_until_its_port_is_free() -> None:
    with subprocess.Popen([sys.executable, "-c", HALF_ENDED], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            port = int(child.stdout.readline())
            process = psutil.Process(child.pid)
            until(lambda: process.status() == psutil.STATUS_ZOMBIE, "its first thread has ended", 10)
            kill([process])
            check_port_free("127.0.0.1", port, "any_port")
        finally:
            child.kill()
