"""Serve a model's weights on loopback: ``... local_server WEIGHTS NAME THREADS CONTEXT``.

A process of its own, so that its memory goes with it. The key comes in the
environment, the address goes out on stdout, and when stdin closes (because the
one who started it is gone) it ends.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Serve until stdin closes."""
    import xllamacpp

    weights, name, threads, context = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = context
    params.n_parallel = 1
    params.offline = True
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.api_keys = [os.environ["TUTOR_LOCAL_KEY"]]
    server = xllamacpp.Server(params)
    print(f"address {server.listening_address}", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
