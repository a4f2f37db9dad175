"""`gunicorn 'creek:create_app()'` in this folder. CREEK_BIND: `host:port` or `unix:/path`."""

import os

bind = os.environ.get("CREEK_BIND", "127.0.0.1:8300")
worker_class = "gthread"
workers = 1
threads = 4
keepalive = 60
control_socket_disable = True
